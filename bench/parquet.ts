import { createHash } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parquetMetadata } from 'hyparquet'
import { assert } from '../src/base/assert.ts'
import type { Column, PartitionRows } from '../src/lake/schema.ts'
import { type ParquetWriter, parquetWriters } from './parquet-writers.ts'
import { ratioByRound, ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const unit = 'rowsPerSecond'

/** What is in the files of market_ticks. */
export const tickColumns: readonly Column[] = [
  { name: 'stream_seq', type: 'long', nullable: true },
  { name: 'event_ts', type: 'timestamp', nullable: true },
  { name: 'ingest_ts', type: 'timestamp', nullable: true },
  { name: 'venue', type: 'string', nullable: true },
  { name: 'price', type: 'double', nullable: true },
  { name: 'size', type: 'double', nullable: true },
  { name: 'side', type: 'string', nullable: true },
  { name: 'trade_id', type: 'string', nullable: true },
  { name: 'source_seq', type: 'long', nullable: true },
  { name: 'hash_id', type: 'string', nullable: true },
]

/** Ticks of one symbol as a busy venue would send them, the same in every run. */
export function ticks(count: number): PartitionRows {
  let state = 1
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  let [sequence, eventUs, cents, trade] = [3_000_000_000, 1_795_392_000_000_000, 6_000_000, 812_345_678]
  const rows = Array.from({ length: count }, () => {
    sequence += 1 + random(40)
    eventUs += random(2_000)
    cents += random(21) - 10
    trade += 1 + random(3)
    const size = random(1_000_000) / 10_000
    const hash = createHash('sha256').update(`${sequence}`).digest('hex').slice(0, 16)
    const side = random(2) === 0 ? 'buy' : 'sell'
    return [sequence, eventUs, eventUs + 300 + random(900), 'BINANCE', cents / 100, size, side, `${trade}`, trade, hash]
  })
  const columns = tickColumns.map((_, at) => rows.map((row) => row[at] ?? null))
  return { partitionValues: {}, columns, rows: count }
}

/**
 * Writing ticks as files of Parquet on a local disk, from lists of values a column as a sink has them: ours, and in turn
 * with it the writers that we could have taken. Large files, and small ones as sinks make them.
 */
export async function parquetBench(
  session: Session,
  options: { readonly rows: number; readonly fileRows: readonly number[]; readonly rounds: number },
): Promise<Row[]> {
  const rows: Row[] = []
  for (const fileRows of options.fileRows) {
    const files = Math.ceil(options.rows / fileRows)
    const input = ticks(fileRows)
    const load = `${fileRows} rows a file`
    const measured: { writer: ParquetWriter; rounds: Round[] }[] = []
    for (const writer of await parquetWriters(session, tickColumns)) measured.push({ writer, rounds: [] })
    // The first round is for the compiler.
    for (let round = 0; round <= options.rounds; round += 1)
      for (const { writer, rounds } of measured) {
        session.onProgress(`${writer.name}, ${load}, round ${round} of ${options.rounds}`)
        const figures = await writeFiles(session, writer, input, round === 0 ? Math.ceil(files / 5) : files)
        if (round > 0) rounds.push(figures)
      }
    const ours = measured[0]?.rounds ?? []
    for (const { writer, rounds } of measured) {
      const isOurs = writer.name === 'ours'
      const what = { scenario: isOurs ? 'parquet' : `parquet-${writer.name}`, load, note: writer.about }
      if (isOurs) rows.push(rowOf(what, unit, rounds))
      else
        rows.push(rowOf({ ...what, ratioToPeer: ratioOf(rounds, ours, unit) }, unit, ratioByRound(rounds, ours, unit)))
    }
  }
  return rows
}

async function writeFiles(
  session: Session,
  { write }: ParquetWriter,
  input: PartitionRows,
  files: number,
): Promise<Round> {
  const folder = session.folder()
  const path = (file: number) => join(folder, `${file}.parquet`)
  const startedMs = performance.now()
  for (let file = 0; file < files; file += 1) {
    session.signal.throwIfAborted()
    await write(path(file), input)
  }
  const seconds = (performance.now() - startedMs) / 1_000
  const { buffer, byteLength, byteOffset } = readFileSync(path(files - 1))
  const data = buffer.slice(byteOffset, byteOffset + byteLength)
  assert(parquetMetadata(data).num_rows === BigInt(input.rows), 'every row is in the file')
  rmSync(folder, { recursive: true })
  return {
    [unit]: (files * input.rows) / seconds,
    bytesPerRow: byteLength / input.rows,
    fileUs: (seconds * 1e6) / files,
  }
}
