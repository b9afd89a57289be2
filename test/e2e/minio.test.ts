import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import t from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import type { SinkName } from '../../src/runtime/flush-limits.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { tapeVenue } from '../../src/subjects/names.ts'
import { firstDocument, signalAndCheck, startCli } from '../support/cli-process.ts'
import { checkLake, publishAll, tickMessage } from '../support/lake.ts'
import { readTables } from '../support/lake-readers.ts'
import { startFlow, settled } from '../support/processes.ts'
import { connectTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

type Place = readonly (string | number)[]

async function* messagesOf(nats: Nats, stream: string) {
  yield* readStream(nats, stream, 1, (await nats.jsm.streams.info(stream)).state.last_seq)
}

/** Place and id of every message that is to be a row: the first with its id, of those that are JSON. */
async function expectedRows(
  nats: Nats,
  stream: 'TICKS' | 'ALT',
  id: string,
  isOf: (subject: string) => boolean = () => true,
) {
  const places = new Map<string, Place>()
  for await (const { data, sequence, subject } of messagesOf(nats, stream)) {
    const text = Buffer.from(data).toString()
    if (!text.endsWith('}') || !isOf(subject)) continue
    const name = String((JSON.parse(text) as Record<string, unknown>)[id])
    if (!places.has(name)) places.set(name, [String(sequence), name])
  }
  return [...places.values()]
}

async function expectedExecutions(nats: Nats) {
  const rows: Place[] = []
  const trades: string[] = []
  for await (const { data, sequence } of messagesOf(nats, 'EXECUTIONS'))
    for (const [index, { execId, execType, liquidity }] of decodeExecution(data).reports.entries()) {
      rows.push([String(sequence), String(index), execId, execType])
      if (liquidity === 'TAKER') trades.push(execId)
    }
  return { rows, trades }
}

void t.test('P3.13 the whole chain on MinIO: what the streams hold is in the tables, once', async (t) => {
  const dataDir = tempDir(t)
  const run = startCli(t, ['up', '--data-dir', dataDir, '--minio', '--free-ports', '--json'])
  const { urls } = (await firstDocument(run)) as { urls: Record<SinkName | 'nats', string> }
  const access = parseEnv(readFileSync(join(dataDir, 'minio.env'), 'utf8')) as Record<string, string>
  const nats = await connectTestNats(t, urls.nats)

  const flush = async () => {
    for (const sink of ['tick-sink', 'alt-sink', 'execution-sink'] as const) {
      const answer = await fetch(`${urls[sink]}/flush`, { method: 'POST' })
      t.equal(answer.status, 200, `${sink}: ${await answer.text()}`)
    }
  }
  const flow = startFlow(t, nats, { seed: 13, ratePerSecond: 1_000 })
  const publisher = new AckedPublisher(nats.connection, 1_000)
  const documents = Array.from({ length: 300 }, (_, number): readonly [string, string] => {
    const body = { event_ts: 1_795_339_800 + number, source: 'wire', doc_id: `d-${number}`, title: 'Zürich' }
    return [`alt.norm.${number % 2 ? 'news' : 'filings'}`, JSON.stringify(body)]
  })
  for (let from = 0; from < 3_000; from += 500) {
    const ticks = Array.from({ length: 500 }, (_, index) => tickMessage(from + index))
    await publishAll(publisher, [...ticks, ...documents.slice(from / 10, from / 10 + 50)])
    // Twice, and what nobody can read.
    await publishAll(publisher, [...ticks.slice(0, 5), ...documents.slice(from / 10, from / 10 + 5)])
    await publishAll(publisher, [
      ['market.tick.BINANCE.SYM1', '{'],
      ['alt.norm.news', 'none'],
    ])
    if (from === 1_500) await flush()
  }
  publisher.close()
  await until('orders', async () => (await nats.jsm.streams.info('ORDERS')).state.messages >= 500)
  const commands = await flow.stop()
  await settled(nats)
  const { rows: reports, trades } = await expectedExecutions(nats)
  t.ok(reports.length >= commands && trades.length > 50, `${commands} commands, ${trades.length} trades`)
  const ownTicks = () => expectedRows(nats, 'TICKS', 'trade_id', (subject) => subject.includes(`.${tapeVenue}.`))
  await until('the tape to have written every trade', async () => (await ownTicks()).length === trades.length)
  t.same((await ownTicks()).map(([, id]) => id).sort(), trades.sort(), 'each trade is a tick')

  const expected: Readonly<Record<string, readonly Place[]>> = {
    market_ticks: await expectedRows(nats, 'TICKS', 'trade_id'),
    alt_docs: await expectedRows(nats, 'ALT', 'doc_id'),
    executions: reports,
  }
  t.equal(expected['market_ticks']?.length, 3_000 + trades.length)
  t.equal(expected['alt_docs']?.length, 300)
  await flush()

  await checkLake(t, access, Object.fromEntries(Object.entries(expected).map(([name, rows]) => [name, rows.length])))
  const columns = { market_ticks: 'trade_id', alt_docs: 'doc_id', executions: 'report_index, exec_id, exec_type' }
  const readings = await readTables(
    Object.entries(columns).map(([name, ids]) => ({
      uri: `${access['LAKE_URI']}/${name}`,
      storageOptions: { ...access, AWS_ALLOW_HTTP: 'true' },
      sql: `select stream_seq, ${ids} from t`,
      engines: ['deltalake'],
    })),
  )
  for (const [index, name] of Object.keys(columns).entries()) {
    const rows = readings[index]?.engines[0]?.rows.map((row) => JSON.stringify(Object.values(row)))
    t.same(rows?.sort(), expected[name]?.map((row) => JSON.stringify(row)).sort(), `deltalake reads ${name}`)
  }
  await signalAndCheck(t, run, dataDir)
})
