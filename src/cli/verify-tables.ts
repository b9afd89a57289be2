import { decimalTextOf } from '../base/decimal.ts'
import { openStore } from '../lake/open-store.ts'
import { type Cell, type Row } from '../lake/duckdb.ts'
import { queryLake } from '../lake/query.ts'
import { type Column, decimalDigits, type TableDefinition } from '../lake/schema.ts'
import { loadSnapshot } from '../lake/snapshot.ts'
import { type ObjectStore, storeBelow } from '../lake/store.ts'
import { KnownNames } from '../runtime/known-names.ts'
import type { Nats } from '../runtime/nats.ts'
import { readStream } from '../runtime/reader.ts'
import type { SinkFold } from '../runtime/sink-fold.ts'
import { appIdOf, gapsAppIdOf } from '../runtime/sink-position.ts'
import type { SinkValue } from '../runtime/sink-table.ts'
import { type StreamName, workerSpec } from '../subjects/contract.ts'
import { deadLetterSubject } from '../subjects/names.ts'
import { altDocs, createAltSink } from '../workers/alt-sink.ts'
import { createExecutionSink, executions } from '../workers/execution-sink.ts'
import { createTickSink, marketTicks } from '../workers/tick-sink.ts'
import type { VerifyParts } from './verify-chain.ts'
import { Check } from './verify-check.ts'

const temporaryBytesMax = 10e9
/** Of texts that never stand in a message. */
const separator = '\u0001'

interface SinkOfTable {
  readonly worker: 'tick-sink' | 'alt-sink' | 'execution-sink'
  readonly definition: TableDefinition & { readonly name: string }
  /** Columns that name a row. */
  readonly key: readonly string[]
  createFold(parts: VerifyParts): SinkFold
}

const none = () => Promise.resolve([])

const sinks: readonly SinkOfTable[] = [
  {
    worker: 'execution-sink',
    definition: executions,
    key: ['stream_seq', 'report_index'],
    createFold: createExecutionSink,
  },
  {
    worker: 'tick-sink',
    definition: marketTicks,
    key: ['stream_seq'],
    createFold: (parts) => createTickSink(anyNames(parts), none),
  },
  {
    worker: 'alt-sink',
    definition: altDocs,
    key: ['stream_seq'],
    createFold: (parts) => createAltSink(anyNames(parts), none),
  },
]

/** What had no partition left is in the DLQ. */
function anyNames({ log }: VerifyParts): KnownNames {
  return new KnownNames({ load: none, save: () => Promise.resolve(), rebuild: none }, Infinity, log)
}

/** Streams ↔ tables: every message that is still in its stream has just its rows, and no row is of nothing. */
export async function verifyTables(parts: VerifyParts, lakeUri: string): Promise<Check[]> {
  const checks: Check[] = []
  const lake = await openStore(lakeUri, process.env)
  try {
    for (const sink of sinks) {
      const check = new Check(`${String(workerSpec(sink.worker).input).toLowerCase()}-table`)
      checks.push(check)
      try {
        await verifyTable(parts, lake, sink, check)
      } catch (error) {
        check.failed(error)
      }
    }
  } finally {
    lake.close()
  }
  return checks
}

async function verifyTable(parts: VerifyParts, lake: ObjectStore, sink: SinkOfTable, check: Check): Promise<void> {
  const { nats, signal, onProgress } = parts
  const { name, columns, partitionColumns } = sink.definition
  const stream = workerSpec(sink.worker).input as StreamName
  const snapshot = await loadSnapshot(storeBelow(lake, `${name}/`))
  const { created, state } = await nats.jsm.streams.info(stream)
  const recorded = snapshot?.txns.get(appIdOf(stream, created, name))?.version
  if (!snapshot || recorded === undefined) {
    // A sink makes its table when it starts, and says how far it is with the first rows.
    if (snapshot && [...snapshot.txns.keys()].some((appId) => appId.startsWith(`${stream}@`)))
      check.differs(`${name} was filled from another ${stream} than the one made at ${created}`)
    return
  }
  const watermark = Number(recorded)
  const adopted = Number(snapshot.txns.get(gapsAppIdOf(appIdOf(stream, created, name)))?.version ?? 0)
  const first = Math.max(state.first_seq, adopted + 1)
  if (watermark > state.last_seq)
    check.differs(`${name} has ${stream} up to ${watermark}, which ends at ${state.last_seq}`)
  const own = columns.filter((column) => !partitionColumns.includes(column.name))
  onProgress(`${stream} and ${name}: what the stream says`)
  const expected = await expectedRows(parts, sink, stream, { first, last: Math.min(watermark, state.last_seq) }, own)

  onProgress(`${stream} and ${name}: what the table says`)
  const sql = `select ${own.map(expressionOf).join(', ')} from ${name} where stream_seq >= ${first}`
  const ids = new Set<string>()
  const idAt = own.findIndex((column) => column.name === 'hash_id')
  const result = await queryLake(lake, sql, { temporaryBytesMax, signal })
  try {
    for await (const rows of result.rows)
      for (const row of rows) {
        const key = keyOf(sink, own, row)
        if (idAt >= 0) ids.add(cellText(row[idAt]))
        const wanted = expected.rows.get(key)
        // Committed since the table was looked at.
        if (wanted === undefined && Number(row[0]) > watermark) continue
        expected.rows.delete(key)
        check.compared(differenceOf(name, key, own, row, wanted, expected.repeats.has(Number(row[0]))))
      }
  } finally {
    await result.close()
  }
  for (const [key, text] of expected.rows) {
    const isRepeat = idAt >= 0 && ids.has(text.split(separator)[idAt] ?? '')
    if (!isRepeat) check.differs(`${name} lacks the row ${key} of ${stream}: ${text.replaceAll(separator, ' | ')}`)
  }
}

interface Expected {
  /** By key: the cells as text. */
  readonly rows: Map<string, string>
  /** Sequences of messages that say what an earlier one has said. */
  readonly repeats: ReadonlySet<number>
}

async function expectedRows(
  parts: VerifyParts,
  sink: SinkOfTable,
  stream: StreamName,
  { first, last }: { readonly first: number; readonly last: number },
  columns: readonly Column[],
): Promise<Expected> {
  const { nats } = parts
  const rows = new Map<string, string>()
  const repeats = new Set<number>()
  const letters = await lettersOf(nats, sink.worker, stream)
  const fold = sink.createFold(parts)
  if (first > last || last === 0) return { rows, repeats }
  for await (const input of readStream(nats, stream, first, last)) {
    if (letters.has(deadLetterSubject(sink.worker, stream, input.sequence))) continue
    const taken = fold.take(input, {
      add: (_key, _partition, values) => {
        const cells = values.map((value, at) => textOf(value, columns[at]))
        rows.set(keyOf(sink, columns, cells), cells.join(separator))
        return true
      },
    })
    if (taken === 'duplicate') repeats.add(input.sequence)
  }
  return { rows, repeats }
}

async function lettersOf(nats: Nats, worker: string, stream: StreamName): Promise<ReadonlySet<string>> {
  const filter = { subjects_filter: `dlq.${worker}.${stream}.*` }
  return new Set(Object.keys((await nats.jsm.streams.info('DLQ', filter)).state.subjects ?? {}))
}

function keyOf({ key }: SinkOfTable, columns: readonly Column[], cells: readonly (Cell | string)[]): string {
  return key.map((name) => cellText(cells[columns.findIndex((column) => column.name === name)])).join('/')
}

/** Exact in text: decimals with all their digits, times in microseconds. */
function expressionOf({ name, type }: Column): string {
  if (typeof type === 'object') return name
  if (type === 'timestamp') return `epoch_us(${name})`
  return decimalDigits(type) ? `${name}::varchar` : name
}

function textOf(value: SinkValue, column: Column | undefined): string {
  if (value === null) return ''
  if (typeof value === 'object') return JSON.stringify(value)
  const digits = column && typeof column.type === 'string' ? decimalDigits(column.type) : undefined
  if (!digits) return String(value)
  const text = decimalTextOf(BigInt(value), digits.scale)
  const [whole = '', fraction = ''] = text.split('.')
  return `${whole}.${fraction.padEnd(digits.scale, '0')}`
}

function cellText(cell: Cell | undefined): string {
  if (cell === null || cell === undefined) return ''
  return typeof cell === 'object' ? JSON.stringify(cell) : String(cell)
}

function differenceOf(
  name: string,
  key: string,
  columns: readonly Column[],
  row: Row,
  wanted: string | undefined,
  isRepeat: boolean,
): string | undefined {
  // Of equal messages the table keeps the first; which that is depends on what came before the stream begins.
  if (wanted === undefined)
    return isRepeat ? undefined : `${name} has a row ${key} that no message gives, or has it twice`
  const cells = wanted.split(separator)
  const at = columns.findIndex((_, index) => cellText(row[index]) !== cells[index])
  if (at < 0) return undefined
  return `${name} ${key}: ${columns[at]?.name} is ${cellText(row[at])}, the message says ${cells[at]}`
}
