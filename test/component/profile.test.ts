import { networkInterfaces } from 'node:os'
import t from 'tap'
import type { ProfileSummary } from '../../src/http/cpu-profile.ts'
import { asker, limitOrder, startDoor } from '../support/gateway.ts'
import { startWorkerChild } from '../support/processes.ts'
import { startTestWorkers, until } from '../support/stack.ts'

interface Profile extends ProfileSummary {
  readonly seconds: number
  readonly workload?: number
  readonly profile: { readonly nodes: unknown[]; readonly samples: number[]; readonly timeDeltas: number[] }
}

const processes = [['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'], ['gateway']] as const

void t.test('P2.08 /debug/profile of a live stack', async (t) => {
  const { server } = await startDoor(t, { isAlone: true })
  const [chain, gateway] = await Promise.all(processes.map((workers) => startWorkerChild(t, server.url, workers)))
  const ports = { ...chain?.ports, ...gateway?.ports }
  const ask = asker(ports.gateway)
  const profileAt = async (port: number | undefined, query: string) => {
    const answer = await asker(port)('GET', `/debug/profile${query}`)
    return { status: answer.status, profile: answer.json as unknown as Profile }
  }

  await t.test(
    'P2.08 every port: twenty hottest functions and a .cpuprofile, and orders go on meanwhile',
    async (t) => {
      let isOver = false
      const profiling = Promise.all([
        profileAt(ports['oms-matcher'], '?seconds=2'),
        profileAt(ports.gateway, '?seconds=2'),
      ])
      const profiles = profiling.finally(() => (isOver = true))
      let answered = 0
      const statuses = new Set<number>()
      const post = async () => {
        while (!isOver) {
          const side = answered % 2 === 0 ? 'buy' : 'sell'
          statuses.add((await ask('POST', '/orders', limitOrder('p', side, '0.01', '45000'))).status)
          answered += 1
        }
      }
      await Promise.all(Array.from({ length: 8 }, post))
      t.same([...statuses], [200])
      t.ok(answered > 100, `${answered} orders answered meanwhile`)
      for (const { status, profile } of await profiles) {
        t.equal(status, 200)
        t.ok(profile.seconds >= 2 && profile.seconds < 4, `${profile.seconds} s`)
        t.equal(profile.hottest.length, 20)
        t.same(
          profile.hottest.map(({ selfMs }) => selfMs),
          profile.hottest.map(({ selfMs }) => selfMs).sort((a, b) => b - a),
        )
        t.ok(
          profile.hottest.every(({ totalMs, selfMs, percent }) => totalMs >= selfMs && percent > 0 && percent <= 100),
        )
        t.ok(profile.hottest.some(({ file, line }) => /^(src|node_modules)\//.test(file) && line > 0))
        t.equal(profile.profile.samples.length, profile.samples)
        t.equal(profile.profile.timeDeltas.length, profile.samples)
        t.ok(profile.samples > 100 && profile.profile.nodes.length > 20)
      }
      for (const worker of ['risk-gate', 'pnl-updater', 'tape'] as const)
        t.equal((await profileAt(ports[worker], '?seconds=1')).status, 200, worker)
    },
  )

  await t.test('P2.08 workload: orders on a book of its own', async (t) => {
    const before = await ask('GET', '/book/WORKLOAD')
    const { status, profile } = await profileAt(ports.gateway, '?workload=100')
    t.equal(status, 200)
    t.match(profile, { workload: 100 })
    t.ok(profile.seconds < 3, 'no longer than the workload')
    const { profile: large } = await profileAt(ports['oms-matcher'], '?workload=200000&seconds=1')
    t.match(large, { workload: 200_000 })
    t.ok(large.seconds >= 1)
    t.ok(
      large.hottest.filter(({ file }) => file.startsWith('src/domain/')).length > 2,
      `the matcher is hot: ${large.hottest.map(({ file }) => file).join(' ')}`,
    )
    t.same((await ask('GET', '/book/WORKLOAD')).json, before.json, 'the live books know nothing of it')
    t.match(before.json, { bids: [], asks: [] })
  })

  await t.test('P2.08 a download', async (t) => {
    const response = await fetch(`http://127.0.0.1:${ports.tape}/debug/profile?seconds=1&format=cpuprofile`)
    t.match(response.headers.get('content-disposition'), /^attachment; filename="trade2026-.*\.cpuprofile"$/)
    const profile = (await response.json()) as Profile['profile'] & { startTime: number; endTime: number }
    t.same(Object.keys(profile).sort(), ['endTime', 'nodes', 'samples', 'startTime', 'timeDeltas'])
    t.ok(profile.endTime - profile.startTime > 900_000)
  })

  await t.test('P2.08 one at a time in a process; one that nobody waits for ends', async (t) => {
    const gone = new AbortController()
    const abandoned = fetch(`http://127.0.0.1:${ports['risk-gate']}/debug/profile?seconds=60`, { signal: gone.signal })
    const left = abandoned.catch((error: unknown) => error)
    const other = asker(ports.tape)
    const short = () => other('GET', '/debug/profile?seconds=1')
    const refused = await until('the refusal', async () => {
      const answer = await short()
      return answer.status === 409 && answer
    })
    t.match(refused.json, { error: 'PROFILE_RUNNING' }, 'the workers of a process have one profiler')
    gone.abort()
    await left
    await until('the profiler to be free', async () => (await short()).status === 200)
  })

  await t.test('P2.08 bad questions', async (t) => {
    for (const [query, field] of [
      ['seconds=0', 'seconds'],
      ['seconds=61', 'seconds'],
      ['seconds=1.5', 'seconds'],
      ['workload=-1', 'workload'],
      ['workload=1000001', 'workload'],
      ['format=pdf', 'format'],
    ])
      for (const port of [ports.gateway, ports['oms-matcher']])
        t.match(await asker(port)('GET', `/debug/profile?${query}`), {
          status: 400,
          json: { error: 'INVALID_FIELD', fields: [{ field }] },
        })
    t.match(await asker(ports.tape)('GET', '/nowhere'), { status: 404, json: { error: 'ROUTE_UNKNOWN' } })
  })

  await t.test('P2.08 loopback only, also on all addresses and behind a proxy', async (t) => {
    const refused = { status: 403, json: { error: 'LOOPBACK_ONLY' } }
    for (const header of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via']) {
      const response = await fetch(`http://127.0.0.1:${ports.tape}/debug/profile?seconds=1`, {
        headers: { [header]: '127.0.0.1' },
      })
      t.match({ status: response.status, json: await response.json() }, refused, header)
    }
    const address = Object.values(networkInterfaces())
      .flat()
      .find((entry) => entry?.family === 'IPv4' && !entry.internal)?.address
    if (address === undefined) return t.pass('no other address', { skip: 'this machine has no other address' })
    const open = await startTestWorkers(t, server.url, { workers: ['gateway'], env: { HTTP_HOST: '0.0.0.0' } })
    const from = async (host: string) => {
      const response = await fetch(`http://${host}:${open.ports.gateway}/debug/profile?seconds=1`)
      return { status: response.status, json: await response.json() }
    }
    t.match(await from(address), refused)
    t.match(await from('127.0.0.1'), { status: 200 })
  })
})
