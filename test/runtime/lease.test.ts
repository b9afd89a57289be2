import t from 'tap'
import type { Test } from 'tap'
import { startNats } from '../../src/local/start-nats.ts'
import { acquireLease, type Lease } from '../../src/runtime/lease.ts'
import { createLog } from '../../src/runtime/log.ts'
import { connectNats, type Nats } from '../../src/runtime/nats.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { startProxy } from '../support/proxy.ts'
import { connectTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const leaseMs = 1_000
const log = createLog('test', 'silent')

/** Somebody who wants the lease of a worker; the worker's name keeps tests apart. */
function candidate(t: Test, nats: Nats, worker: string, instance: string, ms = leaseMs) {
  const abort = new AbortController()
  t.teardown(() => abort.abort())
  const seen = { holders: [] as string[], lost: undefined as Error | undefined, lease: undefined as Lease | undefined }
  const startedMs = Date.now()
  const acquired = acquireLease(nats, worker, {
    instance,
    leaseMs: ms,
    log,
    signal: abort.signal,
    onWaiting: (holder) => seen.holders.push(holder),
    onLost: (error) => (seen.lost = error),
  }).then((lease) => {
    seen.lease = lease
    return Date.now() - startedMs
  })
  acquired.catch(() => undefined)
  return Object.assign(seen, {
    acquired,
    /** As if killed: says nothing any more. */
    kill: () => abort.abort(),
    isActive: () => seen.lease !== undefined,
  })
}

void t.test('P1.19 the lease says which process is active', async (t) => {
  const dataDir = tempDir(t)
  let server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  const connect = async () => {
    const nats = await connectNats(server.url, 'test')
    t.teardown(() => nats.close())
    return nats
  }
  const nats = await connect()
  const other = await connect()
  await ensureStreams(nats, 512 * 2 ** 20)
  const bucket = await nats.kvm.open('LEASES')

  await t.test('P1.19 the first has it at once, the second waits for as long as it is renewed', async (t) => {
    const first = candidate(t, nats, 'waits', 'first')
    t.ok((await first.acquired) < leaseMs / 2)
    const second = candidate(t, other, 'waits', 'second')
    await until('the second to wait', () => second.holders.length > 0)
    t.same(second.holders, [`first (pid ${process.pid})`])
    const revision = (await bucket.get('waits'))?.revision ?? 0
    const renewals = Math.ceil((3 * leaseMs) / (leaseMs / 4))
    await until(
      'three leases of renewals',
      async () => ((await bucket.get('waits'))?.revision ?? 0) > revision + renewals,
    )
    t.notOk(second.isActive())
    t.ok(await first.lease?.isHeld())
    t.equal(first.lost, undefined)

    await first.lease?.release()
    await second.acquired
    t.notOk(await first.lease?.isHeld())
    t.ok(await second.lease?.isHeld())
    await first.lease?.release()
    t.ok(await second.lease?.isHeld(), 'released twice, nobody else loses it')
  })

  await t.test('P1.19 released, it goes to the other at once', async (t) => {
    const tookMs: number[] = []
    // A machine that stands still for a moment makes one of them longer.
    while (tookMs.length < 3 && !tookMs.some((ms) => ms < 300)) {
      const first = candidate(t, nats, `released${tookMs.length}`, 'first')
      await first.acquired
      const second = candidate(t, other, `released${tookMs.length}`, 'second')
      await until('the second to wait', () => second.holders.length > 0)
      const releasedMs = Date.now()
      await first.lease?.release()
      await second.acquired
      tookMs.push(Date.now() - releasedMs)
      await second.lease?.release()
    }
    t.ok(Math.min(...tookMs) < 300, `${tookMs.join(', ')} ms`)
  })

  await t.test('P1.19 after silence the next takes over, and no sooner', async (t) => {
    const first = candidate(t, nats, 'silent', 'first')
    await first.acquired
    const second = candidate(t, other, 'silent', 'second')
    const third = candidate(t, other, 'silent', 'third')
    await until('both to wait', () => second.holders.length + third.holders.length === 2)
    first.kill()
    const killedMs = Date.now()
    await Promise.race([second.acquired, third.acquired])
    const silentMs = Date.now() - killedMs
    t.ok(silentMs >= leaseMs - leaseMs / 4 - 50 && silentMs < leaseMs + 1_000, `taken over after ${silentMs} ms`)
    const [winner, loser] = second.isActive() ? [second, third] : [third, second]
    await until('the other to hear of it', () => loser.holders.length === 2)
    t.notOk(loser.isActive())
    await winner.lease?.release()
    await loser.acquired
  })

  await t.test('P1.19 the next life of the same instance has it back at once', async (t) => {
    const first = candidate(t, nats, 'restarts', 'same')
    await first.acquired
    first.kill()
    const next = candidate(t, other, 'restarts', 'same')
    t.ok((await next.acquired) < leaseMs / 2)
    t.same(next.holders, [])
  })

  await t.test('P1.19 who has lost it is told', async (t) => {
    const first = candidate(t, nats, 'lost', 'first')
    await first.acquired
    await bucket.put('lost', JSON.stringify({ instance: 'thief', pid: 1, startedMs: 0 }))
    await until('it to be told', () => first.lost !== undefined)
    t.match(first.lost, { code: 'WRITER_FENCED' })
    t.notOk(await first.lease?.isHeld())
    t.equal((await bucket.get('lost'))?.json<{ instance: string }>().instance, 'thief', 'it takes nothing back')
  })

  await t.test('P1.19 of many who ask, one at a time has it', async (t) => {
    const crowd = Array.from({ length: 12 }, (_, index) =>
      candidate(t, index % 2 ? nats : other, 'crowd', `instance-${index}`),
    )
    let inside = 0
    let most = 0
    await Promise.all(
      crowd.map(async (one) => {
        await one.acquired
        inside += 1
        most = Math.max(most, inside)
        t.ok(await one.lease?.isHeld())
        inside -= 1
        await one.lease?.release()
      }),
    )
    t.equal(most, 1)
  })

  await t.test('P1.19 a server that was away is no silence of the holder', async (t) => {
    const first = candidate(t, nats, 'away', 'first')
    await first.acquired
    const second = candidate(t, other, 'away', 'second')
    await until('the second to wait', () => second.holders.length > 0)
    const { port } = server
    await server.stop(5_000)
    const sinceMs = Date.now()
    await until('more than a lease to pass', () => Date.now() - sinceMs > 2 * leaseMs)
    server = await startNats({ dataDir, port })
    const revision = (await (await nats.whenConnected(), bucket.get('away')))?.revision ?? 0
    await until('renewals', async () => ((await bucket.get('away'))?.revision ?? 0) > revision + 3, 15_000)
    t.notOk(second.isActive())
    t.equal(first.lost, undefined)
    await first.lease?.release()
    await second.acquired
  })

  await t.test('P1.19 a renewal whose answer was lost with the connection is made again at once', async (t) => {
    const longMs = 3_000
    const proxy = await startProxy(t, server.port)
    const first = candidate(t, await connectTestNats(t, proxy.url), 'lossy', 'first', longMs)
    await first.acquired
    const second = candidate(t, other, 'lossy', 'second', longMs)
    await until('the second to wait', () => second.holders.length > 0)
    const revisionOf = async () => (await bucket.get('lossy'))?.revision ?? 0
    proxy.dropAnswers()
    const before = await revisionOf()
    await until('a renewal', async () => (await revisionOf()) > before)
    proxy.cut()
    proxy.open()
    const cut = await revisionOf()
    // A request waits for its answer for five seconds.
    await until('the next', async () => (await revisionOf()) > cut)
    t.notOk(second.isActive())
    t.equal(first.lost, undefined)
    await first.lease?.release()
    await second.acquired
  })

  await t.test('P1.19 who is stopped while it waits gives up', async (t) => {
    const first = candidate(t, nats, 'stopped', 'first')
    await first.acquired
    const second = candidate(t, other, 'stopped', 'second')
    await until('the second to wait', () => second.holders.length > 0)
    second.kill()
    await t.rejects(second.acquired, { code: 'WRITER_FENCED' })
  })
})
