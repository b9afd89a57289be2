import t, { type Test } from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { readInstruments } from '../../src/cli/config-folder.ts'
import { silentFold } from '../../src/cli/start-janitor.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import { createLog } from '../../src/runtime/log.ts'
import { sharedDecoder } from '../../src/runtime/shared-decoder.ts'
import { takeSnapshot } from '../../src/runtime/take-snapshot.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { snapshotWorkers } from '../../src/runtime/janitor.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import type { Fold } from '../../src/runtime/fold.ts'
import { WorkerLoop } from '../../src/runtime/worker-loop.ts'
import { workerSpec } from '../../src/subjects/contract.ts'
import { createOmsMatcher } from '../../src/workers/oms-matcher.ts'
import { listSnapshots, snapshotsKept, snapshotsStream } from '../../src/runtime/snapshots.ts'
import { planTrim, trim } from '../../src/runtime/trim.ts'
import { type Client, startClient } from '../support/client.ts'
import { readWhole, rewriteStream } from '../support/rewrite-stream.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
/** So often that every few orders make a snapshot due. */
const oftenEnv = { SNAPSHOT_GROWTH_PERCENT: '1', STREAMS_MAX_BYTES: String(100 * 2 ** 20) }

/** Orders that rest, trade, wait, are replaced and refused; names and positions of two accounts. */
async function trade(client: Client, round: number): Promise<{ resting: number; stop: number }> {
  const send = (kind: string, body: object) => client.send(`orders.${kind}`, body)
  const order = (account: string, side: string, more: object) =>
    send('new', { account, symbol: 'BTCUSDT', side, quantity: 0.001, ordType: 'LIMIT', ...more })
  const name = (text: string) => `${text}-${round}`
  const resting = await order('alice', 'BUY', { price: 44_000, clOrdId: name('rest'), quantity: 0.003 })
  await order('alice', 'SELL', { price: 45_000, clOrdId: name('maker'), quantity: 0.002 })
  await order('bob', 'BUY', { ordType: 'MARKET', clOrdId: name('taker') })
  const stop = await order('bob', 'SELL', { ordType: 'STOP', stopPrice: 43_950, clOrdId: name('stop') })
  await order('bob', 'BUY', { price: 43_900, quantity: 0.005, displayQuantity: 0.0025, clOrdId: name('iceberg') })
  await order('alice', 'BUY', { price: 43_800.001, clOrdId: name('off-tick') })
  await send('replace', { account: 'alice', origClOrdId: name('rest'), quantity: 0.002, clOrdId: name('replaced') })
  const last = await order('alice', 'BUY', { ordType: 'TRAILING_STOP', trailingOffset: 900, clOrdId: name('trail') })
  await client.answerTo(last)
  return { resting, stop }
}

async function untilSnapshots(nats: Nats, ownSequences: ReadonlyMap<string, number> = new Map()): Promise<void> {
  for (const worker of snapshotWorkers)
    await until(`a snapshot of ${worker}`, async () => {
      const [newest] = await listSnapshots(nats, worker)
      return newest && newest.ownSequence > (ownSequences.get(worker) ?? 0)
    })
}

async function newestOf(nats: Nats): Promise<Map<string, number>> {
  const entries = snapshotWorkers.map(async (worker) => {
    const [newest] = await listSnapshots(nats, worker)
    return [worker, newest?.ownSequence ?? 0] as const
  })
  return new Map(await Promise.all(entries))
}

/** Removes everything that the newest snapshots do not need. */
async function trimAll(t: Test, nats: Nats): Promise<void> {
  const { last_seq: settled } = (await nats.jsm.streams.info('EXECUTIONS')).state
  for (const plan of await planTrim(nats, () => Promise.resolve(settled)))
    if (plan.lastSequence > 0 && plan.stream !== 'TICKS' && plan.stream !== 'ALT') await trim(nats, plan)
  for (const stream of ['RISK', 'EXECUTIONS']) {
    const { first_seq: first } = (await nats.jsm.streams.info(stream)).state
    t.ok(first > 1, `${stream} begins at ${first}`)
  }
}

/** Everything that followed an order in EXECUTIONS, without times. */
const reportsOf = (reports: readonly Readonly<Record<string, unknown>>[]) =>
  reports.map(({ execType, ordStatus, ordRejReason, leavesQty, cumQty }) => [
    ...[execType, ordStatus, leavesQty, cumQty],
    ...(ordRejReason === undefined ? [] : [ordRejReason]),
  ])

void t.test('P4.01 P4.03 P4.04 the chain goes on from snapshots when the streams before them are gone', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const first = await startTestWorkers(t, server.url, { workers: [...chain, 'janitor'], env: oftenEnv })
  const client = await startClient(t, nats)
  const { resting, stop } = await trade(client, 1)
  await untilSnapshots(nats)
  const before = await newestOf(nats)
  for (let round = 2; round < 120; round += 1) await trade(client, round)
  await until('more snapshots of all', async () => {
    const newest = await newestOf(nats)
    return snapshotWorkers.every((worker) => (newest.get(worker) ?? 0) > (before.get(worker) ?? 0))
  })
  await first.stop()
  await trimAll(t, nats)

  await startTestWorkers(t, server.url, { workers: chain, env: oftenEnv, instance: 'second' })
  const answer = async (subject: string, body: object) =>
    reportsOf((await client.answerTo(await client.send(subject, body))).reports)
  t.same(
    await answer('orders.new', {
      account: 'alice',
      symbol: 'BTCUSDT',
      side: 'BUY',
      quantity: 1,
      price: 1,
      ordType: 'LIMIT',
      clOrdId: 'rest-1',
    }),
    [['Rejected', 'Rejected', 0, 0, 'DUPLICATE_CL_ORD_ID']],
    'names are remembered, of the replaced too',
  )
  t.same(await answer('orders.cancel', { orderId: `o-${resting}` }), [['Canceled', 'Canceled', 0, 0]])
  t.same(await answer('orders.cancel', { orderId: `o-${resting}` }), [
    ['CancelRejected', 'Canceled', undefined, undefined, 'ORDER_CLOSED'],
  ])
  // A sale through the stops: they trigger, the oldest first.
  const through = { account: 'carol', symbol: 'BTCUSDT', side: 'SELL', quantity: 0.9, price: 43_000, ordType: 'LIMIT' }
  const { reports } = await client.answerTo(await client.send('orders.new', through))
  t.equal(reports.find(({ execType }) => execType === 'Triggered')?.['orderId'], `o-${stop}`, 'the first stop triggers')
  t.equal(new Set(client.answerCounts()).size, 1, 'every command has one answer')
})

void t.test('P4.01 a damaged snapshot falls back to an older one, and without any the start is refused', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const env = { LOG_LEVEL: 'silent' }
  const first = await startTestWorkers(t, server.url, { workers: chain, env })
  const client = await startClient(t, nats)
  const decoder = sharedDecoder('EXECUTIONS', decodeExecution)
  const parts = { nats, settings: settingsFrom({}), instruments: readInstruments(), decodeExecution: decoder }
  for (let round = 0; round <= snapshotsKept; round += 1) {
    await trade(client, round)
    for (const worker of snapshotWorkers)
      t.ok(await takeSnapshot(nats, worker, () => silentFold(worker, parts), createLog('test', 'silent')), worker)
  }
  for (const worker of snapshotWorkers) t.equal((await listSnapshots(nats, worker)).length, snapshotsKept)
  await first.stop()
  await trimAll(t, nats)
  const damage = async (keepOldest: boolean) => {
    for (const worker of snapshotWorkers)
      for (const { id } of (await listSnapshots(nats, worker)).slice(0, keepOldest ? -1 : undefined))
        await nats.js.publish(`$KV.SNAPSHOTS.${worker}.${id}.0`, 'not what it was')
  }
  await damage(true)
  const second = await startTestWorkers(t, server.url, { workers: chain, env, instance: 'second' })
  await trade(client, 1e6)
  t.equal(new Set(client.answerCounts()).size, 1, 'every command has one answer')
  await second.stop()

  await damage(false)
  const fatals: Error[] = []
  const third = await startTestWorkers(t, server.url, {
    workers: ['oms-matcher'],
    env,
    instance: 'third',
    onFatal: (error) => fatals.push(error),
  })
  await until('the refusal', () => fatals.length > 0)
  t.ok(isPipelineError(fatals[0], 'SNAPSHOT_MISSING'), String(fatals[0]))
  t.match(String(fatals[0]), /RISK|EXECUTIONS/)
  await third.stop()
  t.ok((await nats.jsm.streams.info(snapshotsStream)).state.messages > 0)
})

void t.test('P4.01 what is folded again is compared with what is stored', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const first = await startTestWorkers(t, server.url, { workers: chain })
  const client = await startClient(t, nats)
  for (let round = 0; round < 3; round += 1) await trade(client, round)
  await first.stop()
  // The same stream but for one digit of a price.
  const stored = await readWhole(nats, 'EXECUTIONS')
  const changedAt = stored.findIndex(({ text }) => text.includes('"lastPx":45000'))
  await rewriteStream(
    nats,
    'EXECUTIONS',
    stored.map((message, index) =>
      index === changedAt ? { ...message, text: message.text.replace('"lastPx":45000', '"lastPx":45001') } : message,
    ),
  )
  const fatals: Error[] = []
  await startTestWorkers(t, server.url, {
    workers: ['oms-matcher'],
    instance: 'second',
    onFatal: (error) => fatals.push(error),
  })
  await until('the refusal', () => fatals.length > 0)
  t.ok(isPipelineError(fatals[0], 'REPLAY_DIFFERS'), String(fatals[0]))
  t.match(fatals[0]?.message, new RegExp(`^EXECUTIONS ${changedAt + 1} is not what oms-matcher makes of RISK`))
})

void t.test('P4.08 a stand-by is warm: it has folded what is stored before it takes over', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const others = ['risk-gate', 'pnl-updater'] as const
  await startTestWorkers(t, server.url, { workers: others })
  const client = await startClient(t, nats)
  /** Messages of RISK that each matcher has folded, and how many of them while it was not active. */
  const startMatcher = (instance: string) => {
    const { fold } = createOmsMatcher()
    const folded = { again: 0, live: 0 }
    const counting: Fold = {
      ...fold,
      handle: (batch, isReplay, faults) => {
        folded[isReplay ? 'again' : 'live'] += batch.length
        return fold.handle(batch, isReplay, faults)
      },
    }
    const publisher = new AckedPublisher(nats.connection)
    const loop = new WorkerLoop({
      ...{ nats, spec: workerSpec('oms-matcher'), fold: counting, settings: settingsFrom({}), publisher, instance },
      log: createLog('test', 'silent'),
      lastSequenceOf: () => undefined,
      onFatal: (error) => t.fail(error.message),
    })
    t.teardown(async () => {
      await loop.stop(0)
      publisher.close()
    })
    const started = loop.start()
    return { loop, folded, started }
  }
  const first = startMatcher('first')
  await first.started
  const second = startMatcher('second')
  for (let round = 0; round < 20; round += 1) await trade(client, round)
  const { last_seq: answered } = (await nats.jsm.streams.info('RISK')).state
  await until('the stand-by to have folded it', () => second.folded.again >= answered - 1)
  t.equal(second.loop.state().phase, 'waiting')
  t.equal(second.folded.live, 0)
  const before = second.folded.again
  await first.loop.stop()
  await second.started
  t.ok(second.folded.again - before <= 1, `${second.folded.again - before} messages were left to fold`)
  await trade(client, 20)
  t.equal(new Set(client.answerCounts()).size, 1, 'every command has one answer')
})
