import { join } from 'node:path'
import t, { type Test } from 'tap'
import { usFromRfc3339 } from '../../src/base/clock.ts'
import { parseDecimal, pow10 } from '../../src/base/decimal.ts'
import { decimalDigits, type TableDefinition } from '../../src/lake/schema.ts'
import { formatSchema } from '../../src/lake/table-schema.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { altDocs } from '../../src/workers/alt-sink.ts'
import { executions } from '../../src/workers/execution-sink.ts'
import { marketTicks } from '../../src/workers/tick-sink.ts'
import { asker } from '../support/gateway.ts'
import { type Cell, engines, readTables, type Row } from '../support/lake-readers.ts'
import { startFlow, settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

const sinks = { 'tick-sink': 'TICKS', 'alt-sink': 'ALT', 'execution-sink': 'EXECUTIONS' } as const
const slow = { TICK_FLUSH_MS: '600000', ALT_FLUSH_MS: '600000', EXECUTION_FLUSH_MS: '600000' }
const chain = ['risk-gate', 'oms-matcher', 'pnl-updater'] as const

/** A row as the readers give it: absent columns are null. */
function rowOf({ columns }: TableDefinition, cells: Readonly<Record<string, Cell | undefined>>): Row {
  return Object.fromEntries(columns.map(({ name }) => [name, cells[name] ?? null]))
}

const sorted = (rows: readonly Row[]) => rows.map((row) => JSON.stringify(row)).sort()

/** The rows that EXECUTIONS must come to, by what the contract says of the table. */
async function expectedExecutions(nats: Nats): Promise<Row[]> {
  const rows: Row[] = []
  const { last_seq: last } = (await nats.jsm.streams.info('EXECUTIONS')).state
  for await (const { data, sequence, srcSeq } of readStream(nats, 'EXECUTIONS', 1, last)) {
    const { cmdSeq, transactTime, reports, epoch } = decodeExecution(data)
    if (epoch !== undefined) continue
    for (const [index, report] of reports.entries()) {
      const fields = report as unknown as Readonly<Record<string, string | number | undefined>>
      const cells = executions.columns.map(({ name, type }): [string, Cell | undefined] => {
        const value = fields[name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())]
        return [name, value === undefined ? null : decimalCell(type, value)]
      })
      const timeUs = usFromRfc3339(transactTime)
      rows.push(
        rowOf(executions, {
          ...Object.fromEntries(cells),
          stream_seq: String(sequence),
          report_index: String(index),
          orders_seq: String(srcSeq),
          cmd_seq: String(cmdSeq),
          transact_time: String(timeUs),
          dt: transactTime.slice(0, 10),
        }),
      )
    }
  }
  return rows
}

/** With as many digits behind the point as the type has. */
function decimalCell(type: TableDefinition['columns'][number]['type'], value: string | number): Cell {
  const digits = typeof type === 'string' ? decimalDigits(type) : undefined
  const decimal = digits && parseDecimal(String(value))
  if (!decimal) return value
  const units = decimal.mantissa * pow10(digits.scale - decimal.scale)
  const text = String(units < 0n ? -units : units).padStart(digits.scale + 1, '0')
  return `${units < 0n ? '-' : ''}${text.slice(0, -digits.scale)}.${text.slice(-digits.scale)}`
}

const textOf = (cell: Cell) => (typeof cell === 'string' ? cell : JSON.stringify(cell))

/** The order of cells of a column; texts by code points. */
function compare(type: TableDefinition['columns'][number]['type'], left: Cell, right: Cell): number {
  if (type === 'string' || type === 'date') return Buffer.compare(Buffer.from(textOf(left)), Buffer.from(textOf(right)))
  // Decimals have as many digits behind the point.
  const numberOf = (cell: Cell) => (typeof cell === 'number' ? cell : BigInt(textOf(cell).replace('.', '')))
  return Number(numberOf(left) > numberOf(right)) - Number(numberOf(left) < numberOf(right))
}

/** The greatest value of the first partitions in each column finds its rows, in every engine. */
async function checkPredicates(
  t: Test,
  uri: string,
  { columns, partitionColumns }: TableDefinition,
  all: readonly Row[],
) {
  const partitions = Map.groupBy(all, (row) => JSON.stringify(partitionColumns.map((name) => row[name])))
  const asked = columns.flatMap(({ name, type }) => {
    if (typeof type !== 'string') return []
    const maxima = [...partitions.values()].slice(0, 3).map((rows) =>
      rows
        .map((row) => row[name] ?? null)
        .filter((cell) => cell !== null)
        .sort((left, right) => compare(type, left, right))
        .at(-1),
    )
    return [...new Set(maxima.filter((cell) => cell !== undefined))].map((cell) => ({ name, type, cell }))
  })
  const readings = await readTables(
    asked.map(({ name, cell }) => ({ uri, where: { column: name, op: '>=', value: textOf(cell) } })),
  )
  for (const [index, { name, type, cell }] of asked.entries()) {
    const expected = all.filter((row) => (row[name] ?? null) !== null && compare(type, row[name] ?? null, cell) >= 0)
    for (const { engine, rows } of readings[index]?.engines ?? [])
      t.same(sorted(rows), sorted(expected), `${engine}: ${name} >= ${textOf(cell)}`)
  }
}

void t.test('P3.18 others read the tables of the sinks', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  const names = Object.keys(sinks) as (keyof typeof sinks)[]
  const env = { LAKE_URI: lake, ...slow }
  const { ports } = await startTestWorkers(t, server.url, { workers: [...chain, ...names], env })
  const flush = async (sink: keyof typeof sinks) => {
    const last = (await nats.jsm.streams.info(sinks[sink])).state.last_seq
    const flushed = async () => {
      await asker(ports[sink])('POST', '/flush')
      return Number((await asker(ports[sink])('GET', '/stats')).json['stream_seq']) >= last
    }
    await until(`${sink} to have committed ${last}`, flushed)
  }

  const us = 1_795_339_800_123_456
  const hour = 3_600_000_000
  const ticks: Row[] = []
  const documents: Row[] = []
  const publish = async (subject: string, body: object) => (await nats.js.publish(subject, JSON.stringify(body))).seq
  const flow = startFlow(t, nats, { seed: 5, ratePerSecond: 400 })
  for (let number = 0; number < 60; number += 1) {
    const symbol = ['BTCUSDT', 'EUR_USD', '0-A'][number % 3] ?? ''
    const eventUs = us - number * hour
    const tick = {
      price: number === 7 ? 123_456_789.125 : 45_000 + number / 3,
      size: number % 4 === 0 ? null : number / 7,
      side: number % 5 === 0 ? null : 'sell',
      trade_id: `${'long enough to be cut in statistics, '.repeat(2)}${number}`,
      source_seq: 9_007_199_254_740_991 - number,
    }
    const body = { ...tick, source_seq: String(tick.source_seq), event_ts: eventUs, ingest_ts: eventUs + 1 }
    const sequence = await publish(`market.tick.VENUE-${number % 2}.${symbol}`, body)
    ticks.push({
      ...tick,
      stream_seq: String(sequence),
      event_ts: String(eventUs),
      ingest_ts: String(eventUs + 1),
      venue: `VENUE-${number % 2}`,
      symbol,
      source_seq: String(tick.source_seq),
      dt: new Date(eventUs / 1_000).toISOString().slice(0, 10),
    })
    const document = {
      source: 'wire',
      doc_id: `d-${number}`,
      title: number % 3 === 0 ? null : `Zürich, "quoted" \u{1F600} ${number}`,
      body: '\u{10FFFF}'.repeat(number),
      url: null,
      symbols: [[], ['AAPL'], ['AAPL', 'ü']][number % 3] ?? null,
      sentiment: number / 100 - 0.25,
    }
    const category = ['news', 'filings 10-K', 'Bücher&Co=1/2'][number % 3] ?? ''
    const place = await publish(`alt.norm.${category.replaceAll(' ', '_')}`, {
      ...document,
      event_ts: eventUs,
      ingest_ts: eventUs,
    })
    documents.push({
      ...document,
      stream_seq: String(place),
      event_ts: String(eventUs),
      ingest_ts: String(eventUs),
      category: category.replaceAll(' ', '_'),
      metadata: null,
      dt: new Date(eventUs / 1_000).toISOString().slice(0, 10),
    })
    if (number === 30) for (const sink of names) await flush(sink)
  }
  await flow.stop()
  await settled(nats)
  for (const sink of names) await flush(sink)

  const tables = [
    ['tick-sink', marketTicks, ticks],
    ['alt-sink', altDocs, documents],
    ['execution-sink', executions, await expectedExecutions(nats)],
  ] as const
  for (const [sink, definition, expected] of tables)
    await t.test(`P3.18 P3.03 ${definition.name}`, async (t) => {
      const uri = join(lake, definition.name)
      const { state, created } = await nats.jsm.streams.info(sinks[sink])
      const appId = `${sinks[sink]}@${created}/${definition.name}`
      const [reading] = await readTables([{ uri, appIds: [appId] }])
      if (!reading) throw new Error('no answer')
      const { log } = reading
      t.ok(expected.length >= 60 && log.version >= 2, `${expected.length} rows in ${log.version} commits`)
      t.same({ type: 'struct', fields: log.schema }, JSON.parse(formatSchema(definition.columns)))
      t.same(log.partitionColumns, definition.partitionColumns)
      t.match(log.transactions[appId], /^\d+$/)
      t.equal(log.transactions[appId], String(state.last_seq))
      t.same(
        reading.engines.map(({ engine }) => engine),
        engines,
      )
      const rows = reading.engines[0]?.rows ?? []
      // How hash_id is made, test/schemas/ and test/component/sinks.test.ts say.
      const hashes = new Map(rows.map((row) => [row['stream_seq'], row['hash_id']]))
      const all = expected.map((row) => rowOf(definition, { ...row, hash_id: hashes.get(row['stream_seq'] ?? null) }))
      for (const { engine, rows: found } of reading.engines)
        t.same(sorted(found), sorted(all), `${engine} reads every row`)
      await checkPredicates(t, uri, definition, all)
    })
})
