import t, { type Test } from 'tap'
import { PipelineError } from '../../src/base/errors.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import type { FlushLimits } from '../../src/runtime/flush-limits.ts'
import { createLog } from '../../src/runtime/log.ts'
import { connectNats, type Nats } from '../../src/runtime/nats.ts'
import type { SinkFold } from '../../src/runtime/sink-fold.ts'
import { SinkLoop } from '../../src/runtime/sink-loop.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { workerSpec } from '../../src/subjects/contract.ts'
import { FakeTable } from '../support/fake-table.ts'
import { startTestNats, until } from '../support/stack.ts'

const subject = 'market.tick.V.S'
const soon: FlushLimits = { ms: 50, rows: 5_000, bytes: 32 * 2 ** 20 }
const never: FlushLimits = { ms: 600_000, rows: 5_000, bytes: 32 * 2 ** 20 }

/** A row a message: its sequence and its text. `bad` is a dead letter, `same` a duplicate, `none` says nothing. */
const fold = (): SinkFold => ({
  table: 'rows',
  take: ({ sequence, data }, rows) => {
    const text = Buffer.from(data).toString()
    if (text === 'bad') return { problem: 'INVALID_MESSAGE: bad' }
    if (text === 'same') return 'duplicate'
    if (text === 'none') return 'empty'
    const [partition = ''] = text.split(' ')
    return rows.add(partition, () => ({ partition }), [sequence, text]) ? 1 : 'full'
  },
})

async function setUp(t: Test) {
  const server = await startTestNats(t)
  const nats = await connectNats(server.url, 'test')
  t.teardown(() => nats.close())
  await ensureStreams(nats, 512 * 2 ** 20)
  const publisher = new AckedPublisher(nats.connection)
  t.teardown(() => publisher.close())
  return { server, nats, publisher, publish: publishWith(publisher) }
}

function publishWith(publisher: AckedPublisher) {
  return async (texts: readonly string[]): Promise<void> => {
    for (let from = 0; from < texts.length; from += 1_000) {
      const acks = await Promise.all(texts.slice(from, from + 1_000).map((text) => publisher.request(subject, text)))
      if (!acks.every(({ outcome }) => outcome === 'stored')) throw new Error('not stored')
    }
  }
}

function startSink(
  t: Test,
  nats: Nats,
  publisher: AckedPublisher,
  table: FakeTable,
  options: { limits?: FlushLimits; instance?: string; fold?: SinkFold } = {},
) {
  const fatal = Promise.withResolvers<Error>()
  const loop = new SinkLoop({
    nats,
    spec: { ...workerSpec('tape'), input: 'TICKS' },
    fold: options.fold ?? fold(),
    table,
    limits: options.limits ?? soon,
    settings: settingsFrom({ LEASE_MS: '300' }),
    log: createLog('test', process.env['TEST_LOG_LEVEL'] ?? 'silent'),
    publisher,
    instance: options.instance ?? 'one',
    lastSequenceOf: () => undefined,
    onFatal: (error) => fatal.resolve(error),
  })
  t.teardown(() => loop.stop(0))
  return { loop, fatal: fatal.promise, started: loop.start() }
}

const texts = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => `p${index % 3} ${from + index}`)

/** Every message of the stream is one row, in the order of the stream within its partition, and counted once. */
function checkOnce(t: Test, table: FakeTable, messages: number): void {
  const sequences = table.rows.map(([sequence]) => sequence as number)
  t.same(
    sequences.toSorted((a, b) => a - b),
    Array.from({ length: messages }, (_, index) => index + 1),
    'every row once',
  )
  let next = 1
  for (const { firstSequence, lastSequence, messages, rows, duplicates, deadLetters, empty } of table.commits) {
    t.equal(firstSequence, next)
    t.equal(messages, lastSequence - firstSequence + 1)
    t.equal(rows + duplicates + deadLetters + empty, messages)
    next = lastSequence + 1
  }
}

void t.test('P3.07 P3.09 messages become rows, each once; a flush is by age, rows, or asked for', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { loop, started } = startSink(t, nats, publisher, table, { limits: { ...soon, ms: 1_000 } })
  await started
  await publish(texts(1, 10))
  await until('the age to pass', () => table.rows.length === 10)
  t.equal(table.commits.length, 1)
  t.match(loop.state(), { phase: 'active', settledSequence: 10, oldestPendingUs: undefined })
  await until('the acknowledgement', async () => {
    const { num_ack_pending, ack_floor } = await nats.jsm.consumers.info('TICKS', 'tape')
    return num_ack_pending === 0 && ack_floor.stream_seq === 10
  })
  await loop.stop()

  const next = startSink(t, nats, publisher, table, { limits: { ...never, rows: 100 } })
  await next.started
  await publish(texts(11, 250))
  const flushed = await until('a flush of 100 rows or more', () => table.rows.length > 10 && table.rows.length - 10)
  t.ok(flushed >= 100)
  const { rows } = await next.loop.flush(5_000)
  t.equal(flushed + rows, 250)
  t.same(await next.loop.flush(5_000), { version: table.commits.length, rows: 0 })
  await publish(texts(261, 5))
  await until('the rows to arrive', () => next.loop.state().pendingOutputs === 5)
  await next.loop.stop()
  checkOnce(t, table, 265)
  t.same([...table.transactions.values()], [265])
})

void t.test('P3.07 duplicates, dead letters and empty messages are counted with the next rows', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { loop, started } = startSink(t, nats, publisher, table)
  await started
  await publish(['same', 'bad', 'none', 'bad'])
  await until('all to be settled', () => loop.state().settledSequence === 4)
  t.match(loop.state(), { oldestPendingUs: undefined, deadLetters: 2 })
  t.match(await loop.flush(5_000), { rows: 0 })
  t.same(table.commits, [], 'no rows, no commit')
  const { state } = await nats.jsm.streams.info('DLQ')
  t.equal(state.messages, 2)
  await loop.stop()

  const again = startSink(t, nats, publisher, table)
  await again.started
  await publish(['a 5'])
  await until('the row', () => table.rows.length === 1)
  t.match(table.commits, [{ firstSequence: 1, lastSequence: 5, rows: 1, duplicates: 1, deadLetters: 2, empty: 1 }])
  t.equal((await nats.jsm.streams.info('DLQ')).state.messages, 2, 'dead letters are stored once')
  const letter = await nats.jsm.streams.getMessage('DLQ', { last_by_subj: 'dlq.tape.TICKS.4' })
  t.equal(letter?.string(), 'bad')
  t.equal(letter?.header.get('Reason'), 'INVALID_MESSAGE: bad')
})

void t.test(
  'P3.09 while a backlog is pending a flush has up to 50,000 rows, and a commit is filled behind another',
  async (t) => {
    const { nats, publisher, publish } = await setUp(t)
    await publish(texts(1, 130_000))
    const table = new FakeTable()
    const { started } = startSink(t, nats, publisher, table, { limits: { ...never, ms: 60_000 } })
    await started
    await until('all rows', () => table.rows.length >= 125_000, 90_000)
    t.same(
      table.commits.slice(0, 2).map(({ rows }) => rows),
      [50_000, 50_000],
    )
    t.ok(table.commits.every(({ rows }) => rows <= 50_000))
  },
)

void t.test('P3.09 a flush has at most 1,000 partitions', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  await publish(Array.from({ length: 2_500 }, (_, index) => `p${index} x`))
  const { loop, started } = startSink(t, nats, publisher, table, { limits: never })
  await started
  await until('the first two', () => table.rows.length === 2_000)
  await loop.flush(5_000)
  t.same(
    table.commits.map(({ partitions }) => partitions.length),
    [1_000, 1_000, 500],
  )
  await publish(Array.from({ length: 4_000 }, (_, index) => `q${index % 1_000} x`))
  await loop.flush(5_000)
  t.same(
    table.commits.slice(3).map(({ partitions, rows }) => [partitions.length, rows]),
    [[1_000, 4_000]],
    'to those that it has, rows are added',
  )
})

void t.test('P3.07 a store that is away: the batch is kept, pulling stops at the bound, nothing is lost', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { loop, started } = startSink(t, nats, publisher, table, { limits: { ms: 20, rows: 100, bytes: 20_000 } })
  await started
  await publish(texts(1, 10))
  await until('the first rows', () => table.rows.length === 10)
  table.isAway = true
  await publish(texts(11, 30_000))
  await until('the problem to be known', () => loop.storeProblem)
  let buffered = -1
  await until('pulling to stop', async () => {
    const before = buffered
    await new Promise((resolve) => setTimeout(resolve, 200))
    buffered = loop.state().pendingOutputs
    return before === buffered
  })
  t.ok(buffered < 10_000, `${buffered} rows are buffered`)
  const reads = table.reads
  await t.rejects(loop.flush(100), { code: 'LAKE_STORE_UNAVAILABLE' })
  table.isAway = false
  await until('all rows', () => table.rows.length === 30_010)
  t.equal(loop.storeProblem, undefined)
  t.equal(table.reads, reads, 'the batch was kept')
  checkOnce(t, table, 30_010)
})

void t.test('P3.07 a commit that was done although it failed is not done again', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  table.failures = ['before', 'after', 'after']
  const { started } = startSink(t, nats, publisher, table)
  await started
  await publish(texts(1, 100))
  await until('the rows', () => table.rows.length >= 100)
  await publish(texts(101, 100))
  await until('the rows after it', () => table.rows.length >= 200)
  checkOnce(t, table, 200)
})

void t.test('P3.09 a flush answers as soon as it is known that its commit was done although it failed', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { loop, started } = startSink(t, nats, publisher, table, { limits: never })
  await started
  await publish(texts(1, 100))
  table.failures = ['after']
  const startedMs = performance.now()
  t.match(await loop.flush(20_000), { version: 1 })
  t.ok(performance.now() - startedMs < 10_000)
  checkOnce(t, table, 100)
})

void t.test('P3.07 two sinks by mistake write no row twice', async (t) => {
  const { server, nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const otherNats = await connectNats(server.url, 'other')
  t.teardown(() => otherNats.close())
  const first = startSink(t, nats, publisher, table, { limits: { ...soon, ms: 2_000 } })
  await first.started
  await publish(texts(1, 100))
  await until('rows to be buffered', () => first.loop.state().pendingOutputs === 100)
  // The same instance takes the lease from its earlier life at once, which finds out a moment later.
  const second = startSink(t, otherNats, publisher, table)
  await second.started
  await publish(texts(101, 100))
  t.match(await first.fatal, { code: 'WRITER_FENCED' })
  await until('all rows', () => table.rows.length >= 200)
  checkOnce(t, table, 200)
})

void t.test('P3.07 after NATS was away the position is read again', async (t) => {
  const { server, nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { loop, started } = startSink(t, nats, publisher, table, { limits: { ...soon, ms: 4_000 } })
  await started
  await publish(texts(1, 10))
  await until('rows to be buffered', () => loop.state().pendingOutputs === 10)
  const { reads } = table
  process.kill(server.pid ?? 0, 'SIGKILL')
  await until('the position to be read', () => table.reads > reads, 15_000)
  await until('the sink to be active', () => loop.state().phase === 'active', 15_000)
  await publish(texts(11, 10))
  await until('all rows', () => table.rows.length >= 20)
  checkOnce(t, table, 20)
})

void t.test('P3.07 a table and a stream that do not belong together are refused by name', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  await publish(texts(1, 10))
  const { created } = await nats.jsm.streams.info('TICKS')
  const refusals: readonly (readonly [name: string, code: string, make: (table: FakeTable) => void])[] = [
    [
      'it holds more than the stream',
      'LAKE_STREAM_REWOUND',
      (table) => table.transactions.set(`TICKS@${created}/rows`, 11),
    ],
    [
      'the stream was made anew',
      'LAKE_STREAM_REWOUND',
      (table) => table.transactions.set('TICKS@2026-01-01T00:00:00Z/rows', 5),
    ],
    [
      'its rows come from elsewhere',
      'LAKE_TXN_MISSING',
      (table) => {
        const columns = [[1], ['x']]
        const counts = {
          firstSequence: 1,
          lastSequence: 1,
          messages: 1,
          rows: 1,
          duplicates: 0,
          deadLetters: 0,
          empty: 0,
          skipped: 0,
        }
        table.commits.push({
          appId: 'x',
          expected: undefined,
          partitions: [{ partitionValues: {}, columns, rows: 1 }],
          ...counts,
        })
      },
    ],
  ]
  for (const [name, code, make] of refusals) {
    const table = new FakeTable()
    make(table)
    const commits = table.commits.length
    const { fatal, loop } = startSink(t, nats, publisher, table)
    t.match(await fatal, { code, message: /trade2026 lake adopt rows/ }, name)
    t.equal(table.commits.length, commits)
    await loop.stop(0)
  }
  await nats.jsm.streams.purge('TICKS', { seq: 6 })
  const table = new FakeTable()
  table.transactions.set(`TICKS@${created}/rows`, 3)
  const gap = startSink(t, nats, publisher, table)
  t.match(await gap.fatal, { code: 'LAKE_STREAM_GAP', message: /4 to 5 are gone/ })
  await gap.loop.stop(0)
  table.transactions.set(`TICKS@${created}/rows`, 5)
  const good = startSink(t, nats, publisher, table)
  await good.started
  await until('the rest', () => table.rows.length === 5)
  await good.loop.stop(0)

  // A table that was lost, or one that never was: it would lack what came before.
  const empty = startSink(t, nats, publisher, new FakeTable())
  t.match(await empty.fatal, { code: 'LAKE_STREAM_GAP', message: /rows is empty, and 1 to 5 .*lake adopt rows/ })
  await empty.loop.stop(0)
})

void t.test('P3.07 a stream that was made to begin later lacks nothing', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const { config } = await nats.jsm.streams.info('TICKS')
  await nats.jsm.streams.delete('TICKS')
  await nats.jsm.streams.add({ ...config, first_seq: 100 })
  const table = new FakeTable()
  const { started } = startSink(t, nats, publisher, table)
  await started
  await publish(texts(100, 5))
  await until('the rows', () => table.rows.length === 5)
  t.match(table.commits[0], { firstSequence: 100 })
})

void t.test('P3.07 messages that go while it runs are named', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  const { started, fatal } = startSink(t, nats, publisher, table)
  await started
  await publish(texts(1, 5))
  await until('the rows', () => table.rows.length === 5)
  await nats.jsm.consumers.pause('TICKS', 'tape', new Date(Date.now() + 600_000))
  await publish(texts(6, 5))
  await nats.jsm.streams.purge('TICKS', { seq: 9 })
  await nats.jsm.consumers.delete('TICKS', 'tape')
  t.match(await fatal, { code: 'LAKE_STREAM_GAP', message: /6 to 8 are gone/ })
  checkOnce(t, table, 5)
})

void t.test('P3.07 what is gone in the middle is named, and passed by once that is agreed to', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  await publish(texts(1, 5))
  const table = new FakeTable()
  const before = startSink(t, nats, publisher, table)
  await before.started
  await until('the rows', () => table.rows.length === 5)
  await before.loop.stop()
  // Every other message of 6 to 5,005 goes, more than are asked for at once; then 5,006 stays.
  const other = 'market.tick.V.OTHER'
  for (let number = 0; number < 2_500; number += 1)
    for (const each of [other, subject]) void publisher.request(each, `p0 ${number}`)
  await publish(['p0 last'])
  await nats.jsm.streams.purge('TICKS', { filter: other })
  const refused = startSink(t, nats, publisher, table)
  t.match(await refused.fatal, {
    code: 'LAKE_STREAM_GAP',
    message: /TICKS: 6 to 6 are gone.*trade2026 lake adopt rows/,
  })
  await refused.loop.stop(0)

  const [appId = ''] = table.transactions.keys()
  table.transactions.set(`${appId}/gaps`, 5_006)
  const { started, loop, fatal } = startSink(t, nats, publisher, table, { limits: { ...soon, rows: 300 } })
  await started
  await until('the rest', () => table.rows.length === 5 + 2_501)
  const kept = [1, 2, 3, 4, 5, ...Array.from({ length: 2_500 }, (_, index) => 7 + 2 * index), 5_006]
  t.same(
    table.rows.map(([sequence]) => sequence as number).toSorted((a, b) => a - b),
    kept,
  )
  let next = 1
  for (const { firstSequence, lastSequence, messages, rows, skipped } of table.commits) {
    t.same([firstSequence, messages, rows], [next, rows, lastSequence - firstSequence + 1 - skipped])
    next = lastSequence + 1
  }
  t.equal(
    table.commits.reduce((sum, { skipped }) => sum + skipped, 0),
    2_500,
  )
  t.equal(loop.state().redelivered, 0, 'the consumer was not made again')

  await nats.jsm.consumers.pause('TICKS', 'tape', new Date(Date.now() + 600_000))
  await publish(['p0 gone', 'p0 there'])
  await nats.jsm.streams.purge('TICKS', { seq: 5_008 })
  await nats.jsm.consumers.delete('TICKS', 'tape')
  t.match(await fatal, { code: 'LAKE_STREAM_GAP', message: /5007 to 5007 are gone/ }, 'what is lost later is not')
})

void t.test('P3.07 an error that does not pass ends the sink', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  table.append = () => Promise.reject(new PipelineError('LAKE_SCHEMA_MISMATCH', 'price is a string'))
  const { started, fatal } = startSink(t, nats, publisher, table)
  await started
  await publish(['a 1'])
  t.match(await fatal, { code: 'LAKE_SCHEMA_MISMATCH' })
})

void t.test('P3.07 a bug that shows when a message has waited for a commit ends the sink too', async (t) => {
  const { nats, publisher, publish } = await setUp(t)
  const table = new FakeTable()
  let openGate = () => {}
  table.gate = new Promise((resolve) => (openGate = resolve))
  const good = fold()
  const bug = new Error('a bug')
  const { started, fatal, loop } = startSink(t, nats, publisher, table, {
    limits: { ...never, bytes: 4 },
    fold: {
      table: 'rows',
      take: (message, rows) => {
        if (message.sequence === 3) throw bug
        return good.take(message, rows)
      },
    },
  })
  await started
  await publish(texts(1, 3))
  await until('two full batches, and a message behind them', () => loop.state().pendingOutputs === 2)
  openGate()
  t.equal(await fatal, bug)
})
