import t from 'tap'
import { documentsOf, firstDocument, signalAndCheck, startCli } from '../support/cli-process.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { healthAt } from '../support/health.ts'
import { checkAcknowledged } from '../support/order-life.ts'
import { settled, startDoors } from '../support/processes.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const named = (name: string, side = 'buy', price = '45000') =>
  limitOrder('a', side, '0.01', price, `,"clOrdId":"${name}"`)

void t.test('P2.10 any door answers for any order', async (t) => {
  const { ports } = await startDoors(t)
  const asks = ports.map(asker)
  const doorAt = (index: number) => asks[index % asks.length] ?? asks[0]
  for (let index = 0; index < 120; index += 1) {
    const posted = await doorAt(index)?.('POST', '/orders', named(`n${index}`))
    t.match(posted, { status: 200, json: { status: 'NEW' } })
    const path = `/orders/${String(posted?.json['order_id'])}`
    const seen = await Promise.all(asks.map((ask) => ask('GET', path)))
    for (const { status, text } of seen) t.same([status, text], [200, posted?.text], `GET ${path}`)
    if (index % 3 !== 0) continue
    const patched = await doorAt(index + 1)?.('PATCH', path, '{"price":44000}')
    t.match(patched, { status: 200, json: { price: 44000, error_message: null } })
    for (const ask of asks) t.equal((await ask('GET', path)).text, patched?.text)
    const lists = await Promise.all(asks.map((ask) => ask('GET', '/orders?account=a&active_only=true')))
    t.equal(new Set(lists.map(({ text }) => text)).size, 1, 'one list')
    t.match(lists[0]?.text, patched?.text)
    const deleted = await doorAt(index + 2)?.('DELETE', path)
    t.match(deleted, { status: 200, json: { status: 'CANCELLED', error_message: null } })
    for (const ask of asks) t.equal((await ask('GET', path)).text, deleted?.text)
  }
})

void t.test('P2.10 doors killed with -9 under load lose nothing that was acknowledged', async (t) => {
  const { nats, doors, ports } = await startDoors(t)
  const asks = ports.map(asker)
  const total = 3_000
  const acknowledged = new Map<string, string>()
  let next = 0
  let cut = 0
  const client = async (index: number) => {
    while (next < total) {
      const name = `k${(next += 1)}`
      const body = named(name, next % 2 === 0 ? 'buy' : 'sell')
      for (let attempt = 0; ; attempt += 1) {
        const ask = asks[(index + attempt) % asks.length] ?? asks[0]
        const answer = await ask?.('POST', '/orders', body).catch(() => undefined)
        if (answer?.status === 200 || answer?.status === 202) {
          acknowledged.set(name, String(answer.json['order_id']))
          break
        }
        // Nobody knows whether it was taken: the same name again, at the next door.
        cut += 1
        if (attempt > 100) throw new Error(`${name} is not taken: ${answer?.text ?? 'no answer'}`)
      }
    }
  }
  const load = Promise.all(Array.from({ length: 24 }, (_, index) => client(index)))
  for (const [kills, door] of doors.entries()) {
    await until('some load', () => next > (total / 4) * (kills + 1), 30_000)
    const before = door.restarts()
    door.kill('SIGKILL')
    await until('its restart', () => door.restarts() > before)
  }
  await load
  await settled(nats)
  t.equal(acknowledged.size, total)
  t.ok(cut > 0, `${cut} requests were cut off`)
  const accepted = await checkAcknowledged(t, nats, acknowledged)
  t.equal(accepted.size, total)
  const sample = [...acknowledged.values()].filter((_, index) => index % 50 === 0)
  for (const orderId of sample) {
    const states = new Set<string>()
    for (const [index, ask] of asks.entries())
      states.add(
        await until(`door ${index}`, async () => {
          const { status, text } = await ask('GET', `/orders/${orderId}`).catch(() => ({ status: 0, text: '' }))
          return status === 200 && text
        }),
      )
    t.equal(states.size, 1, `${orderId} is the same at every door, those started again too`)
  }
})

interface Ready {
  readonly processes: readonly { readonly name: string; readonly pid: number; readonly url?: string }[]
  readonly urls: { readonly gateway: string }
}

void t.test('P2.07 P2.10 WORKERS: gateways of up share the port, each is started again by itself', async (t) => {
  const dataDir = tempDir(t)
  const run = startCli(t, ['up', '--data-dir', dataDir, '--free-ports', '--json'], { WORKERS: '3' })
  const { processes, urls } = (await firstDocument(run)) as unknown as Ready
  const gateways = processes.filter(({ name }) => name === 'gateway')
  t.equal(new Set(gateways.map(({ pid }) => pid)).size, 3)
  const ports = gateways.map(({ url = '' }) => Number(new URL(url).port))
  t.equal(new Set([...ports, Number(new URL(urls.gateway).port)]).size, 4, 'each has a port of its own besides')
  const countsOf = () =>
    Promise.all(
      ports.map(async (port) => {
        const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
        return Number(/oms_orders_total\{status="NEW",source="http",worker="gateway"\} (\d+)/.exec(metrics)?.[1] ?? 0)
      }),
    )
  const post = async (name: string) => {
    const answer = await fetch(`${urls.gateway}/orders`, {
      method: 'POST',
      // A connection each, as from many clients.
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: named(name),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  for (let index = 0; index < 60; index += 1) t.match(await post(`w${index}`), { status: 200, body: { status: 'NEW' } })
  const counts = await countsOf()
  t.equal(
    counts.reduce((sum, count) => sum + count, 0),
    60,
  )
  t.ok(counts.filter((count) => count > 0).length >= 2, `connections are shared out: ${counts.join(' ')}`)
  for (const port of ports) t.match((await healthAt(port)).body, { service: 'gateway' })

  const victim = gateways[1]?.pid ?? 0
  process.kill(victim, 'SIGKILL')
  const restarted = await until('the restart to be said', () =>
    documentsOf(run).find(({ event, name, pid }) => event === 'restarted' && name === 'gateway' && pid !== victim),
  )
  t.equal(restarted['url'], gateways[1]?.url, 'and of which')
  for (let index = 0; index < 20; index += 1) t.match(await post(`v${index}`), { status: 200, body: { status: 'NEW' } })
  await until('its health', async () => (await healthAt(ports[1]).catch(() => undefined))?.code === 200, 20_000)
  for (const { pid } of gateways.filter(({ pid }) => pid !== victim)) t.ok(process.kill(pid, 0), 'the others go on')
  await signalAndCheck(t, run, dataDir, 'SIGTERM')
})
