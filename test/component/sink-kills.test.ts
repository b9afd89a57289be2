import { mkdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { checkLake, publishAll, readTable, readVersion } from '../support/lake.ts'
import { settled, startFlow, startWorkerChild, type WorkerProcess } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

const flush = { TICK_FLUSH_MS: '50', LEASE_MS: '300' }

/** Kills the sink with -9 as soon as a file with such a name appears in the lake. */
function killOn(lake: string, sink: WorkerProcess, name: RegExp): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(lake, { recursive: true }, (_event, path) => {
      if (path === null || !name.test(path)) return
      watcher.close()
      sink.kill('SIGKILL')
      resolve()
    })
  })
}

/** Every tick is one row, whose values are those that were published. */
async function checkTicks(t: Test, lake: string, count: number): Promise<void> {
  const { rows, commits } = await readTable(lake, 'market_ticks')
  t.equal(rows.length, count, 'as many rows as ticks')
  const wrong = rows.filter((row, index) => row['stream_seq'] !== BigInt(index + 1))
  t.same(wrong.slice(0, 3), [], 'each stream_seq once')
  const numbers = new Set(rows.map((row) => row['trade_id']))
  t.equal(numbers.size, count, 'each trade once')
  let next = 1
  for (const { firstStreamSeq, lastStreamSeq, rows, duplicates, deadLetters, empty } of commits) {
    t.equal(firstStreamSeq, next)
    t.same([duplicates, deadLetters, empty], [0, 0, 0])
    t.equal(rows, Number(lastStreamSeq) - next + 1)
    next = Number(lastStreamSeq) + 1
  }
}

void t.test('P3.07 P3.16 a sink killed with -9 anywhere in a commit writes every tick once', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env: { ...flush, LAKE_URI: lake } })
  const feed = startTickFeed(t, nats, lake)
  await feed.publish(100)
  await until('the first rows', async () => (await readVersion(lake, 'market_ticks')).txns[0] === 100)

  const points: readonly (readonly [name: string, file: RegExp])[] = [
    ['before the upload', /\.tmp/],
    ['between upload and commit', /market_ticks\/symbol=.*\.parquet$/],
    ['between commit and acknowledgement', /_delta_log\/\d{20}\.json$/],
  ]
  for (const [name, file] of points)
    for (let round = 1; round <= 2; round += 1) {
      const restarts = sink.restarts()
      const killed = killOn(lake, sink, file)
      await feed.publish(500)
      await killed
      await until(`${name}: the sink to run again`, () => sink.restarts() > restarts, 15_000)
    }
  await feed.allThere()
  await checkTicks(t, lake, feed.count)
  // A sink that makes its consumer anew has none for a moment.
  const pending = async () => (await consumerOf())?.num_ack_pending
  const consumerOf = () => nats.jsm.consumers.info('TICKS', 'tick-sink').catch(() => undefined)
  await until('all to be acknowledged', async () => (await pending()) === 0)
})

void t.test('P3.07 P3.16 sinks of reports and documents, killed with -9 in commits, write each once', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher', 'pnl-updater'] })
  const env = { EXECUTION_FLUSH_MS: '50', ALT_FLUSH_MS: '50', LEASE_MS: '300', LAKE_URI: lake }
  const sinks = await startWorkerChild(t, server.url, ['execution-sink', 'alt-sink'], { env })
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  const flow = startFlow(t, nats, { seed: 7, ratePerSecond: 300 })
  let documents = 0
  const publish = async (more: number) => {
    const from = documents
    documents += more
    const body = (number: number) => `{"event_ts":1795339800,"source":"wire","doc_id":"${number}","title":"t"}`
    const bodies = Array.from({ length: more }, (_, index) => ['alt.norm.news', body(from + index)] as const)
    await publishAll(publisher, bodies)
  }
  for (const file of [
    /\.tmp/,
    /executions\/dt=.*\.parquet$/,
    /alt_docs\/category=.*\.parquet$/,
    /executions\/_delta_log\/\d{20}\.json$/,
    /alt_docs\/_delta_log\/\d{20}\.json$/,
  ]) {
    const restarts = sinks.restarts()
    const killed = killOn(lake, sinks, file)
    await publish(100)
    await killed
    await until(`${file}: the sinks to run again`, () => sinks.restarts() > restarts, 15_000)
    await publish(100)
  }
  await flow.stop()
  await settled(nats)
  const { last_seq: last } = (await nats.jsm.streams.info('EXECUTIONS')).state
  const keys: string[] = []
  for await (const { data, sequence } of readStream(nats, 'EXECUTIONS', 1, last))
    for (const index of decodeExecution(data).reports.keys()) keys.push(`${sequence}-${index}`)
  const isDone = async (name: string, sequence: number) => (await readVersion(lake, name)).txns[0] === sequence
  // Epoch records at the end have no rows, and so no commit.
  const lastWithRows = Number(keys.at(-1)?.split('-')[0])
  await until('all reports', () => isDone('executions', lastWithRows), 20_000)
  await until('all documents', () => isDone('alt_docs', documents), 20_000)
  const { rows } = await readTable(lake, 'executions')
  t.same(
    rows.map((row) => `${String(row['stream_seq'])}-${String(row['report_index'])}`),
    keys,
    'each report is a row',
  )
  const { rows: news } = await readTable(lake, 'alt_docs')
  const ids = news.map((row) => row['doc_id'])
  t.same(
    ids,
    Array.from({ length: documents }, (_, number) => String(number)),
    'each document is a row',
  )
  await checkLake(t, { LAKE_URI: lake }, { executions: keys.length, alt_docs: documents })
})

void t.test('P3.07 P3.16 two sinks, one killed or stopped every second: every tick once', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const env = { ...flush, LAKE_URI: lake }
  const sinks = await Promise.all(
    ['one', 'two'].map((instance) => startWorkerChild(t, server.url, ['tick-sink'], { instance, env })),
  )
  const feed = startTickFeed(t, nats, lake)
  for (let round = 0; round < 4; round += 1) {
    const sink = sinks[round % 2]
    const publishing = feed.publish(3_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
    // Stopped, it is a zombie that believes that it is the active one when it goes on.
    if (round < 3) sink?.kill('SIGSTOP')
    else sink?.kill('SIGKILL')
    await publishing
    await feed.allThere()
    sink?.kill('SIGCONT')
  }
  await checkTicks(t, lake, feed.count)
})
