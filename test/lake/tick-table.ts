import { DeltaTable, type DeltaTableOptions } from '../../src/lake/delta-table.ts'
import type { PartitionRows, TableDefinition, Value } from '../../src/lake/schema.ts'
import type { ObjectStore } from '../../src/lake/store.ts'

/** A table with a column of every type that we write, partitioned as those of the sinks. */
export const tickDefinition: TableDefinition = {
  description: 'ticks of a test',
  columns: [
    { name: 'stream_seq', type: 'long', nullable: false, comment: 'place in the stream' },
    { name: 'event_ts', type: 'timestamp', nullable: false },
    { name: 'symbol', type: 'string', nullable: true },
    { name: 'price', type: 'double', nullable: true },
    { name: 'amount', type: 'decimal(18,8)', nullable: true },
    { name: 'fee', type: 'decimal(38,18)', nullable: true },
    { name: 'note', type: 'string', nullable: true },
    { name: 'tags', type: { type: 'array', elementType: 'string' }, nullable: true },
    { name: 'is_own', type: 'boolean', nullable: true },
    { name: 'level', type: 'integer', nullable: true },
    { name: 'settles', type: 'date', nullable: true },
    { name: 'dt', type: 'date', nullable: true },
  ],
  partitionColumns: ['symbol', 'dt'],
  configuration: {},
}

export const firstDay = '2026-11-20'
const firstDayUs = Date.parse(`${firstDay}T00:00:00Z`) * 1_000
export const symbols = ['BTCUSDT', 'EUR/USD', '100% é', null] as const

export interface TickBatch {
  /** Sequences from, and up to but not including. */
  readonly from: number
  readonly to: number
  readonly dt?: string
  readonly symbols?: readonly (string | null)[]
}

/** Rows of one commit: sequence n goes to symbol n mod their number. */
export function tickRows({ from, to, dt = firstDay, symbols: names = symbols }: TickBatch): PartitionRows[] {
  const sequences = Array.from({ length: to - from }, (_, index) => from + index)
  return names.flatMap((symbol, at) => {
    const own = sequences.filter((sequence) => sequence % names.length === at)
    const values = (of: (sequence: number) => Value) => own.map(of)
    const columns = [
      own,
      values((n) => firstDayUs + n * 1_001),
      values((n) => (n % 7 === 0 ? null : 45_000 + n / 8)),
      values((n) => (n % 5 === 0 ? null : BigInt(n) * 12_345_678n)),
      values((n) => 10n ** 37n - BigInt(n)),
      values((n) => (n % 3 === 0 ? null : `${'\u{1f600}'.repeat(n % 40)}${n}`)),
      values((n) => (n % 4 === 0 ? null : n % 4 === 1 ? [] : [`t${n}`, 'x'])),
      values((n) => (n % 2 === 0 ? null : n % 3 === 0)),
      values((n) => (n % 11) - 5),
      values((n) => 20_777 - (n % 100)),
    ]
    return own.length === 0 ? [] : [{ partitionValues: { symbol, dt }, columns, rows: own.length }]
  })
}

export const tickAppId = 'TICKS@2026-11-20T00:00:00Z/ticks'

/** Opens the table and appends commits, with what the sinks say of them. */
export async function appendTicks(
  store: ObjectStore,
  batches: readonly TickBatch[],
  options: DeltaTableOptions = {},
): Promise<DeltaTable> {
  const table = await DeltaTable.open(store, tickDefinition, options)
  for (const batch of batches) {
    const { from, to } = batch
    const rows = to - from
    const expected = table.transactionVersion(tickAppId)
    const extras = { firstStreamSeq: from, lastStreamSeq: to - 1, messages: rows, rows, duplicates: 0, deadLetters: 0 }
    const outcome = await table.append(tickRows(batch), { appId: tickAppId, version: to - 1, expected, extras })
    if (outcome.outcome !== 'committed') throw new Error(`not committed: ${JSON.stringify(outcome)}`)
  }
  return table
}

/** So many commits with so many rows each, from sequence 1. */
export function tickBatches(commits: number, rows: number, more: Partial<TickBatch> = {}): TickBatch[] {
  return Array.from({ length: commits }, (_, at) => ({ from: at * rows + 1, to: (at + 1) * rows + 1, ...more }))
}
