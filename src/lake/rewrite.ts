import { stat } from 'node:fs/promises'
import { assert } from '../base/assert.ts'
import type { Cell, DuckDb } from './duckdb.ts'
import { type Column, decimalDigits, type PrimitiveType, type Value } from './schema.ts'
import { scanOf, sqlList, sqlName, sqlPath, sqlText } from './sql.ts'
import { statsOfContents } from './stats.ts'
import type { Field } from './table-schema.ts'

export interface RewrittenFile {
  readonly rows: number
  readonly bytes: number
  /** Of an `add`. */
  readonly stats: string
}

/** What must be the same before and after: rows, sum of the first column of the order, and the rows themselves. */
interface Content {
  readonly rows: bigint
  readonly sum: bigint | null
  readonly hash: bigint | null
  /** Rows that precede the one before them in the order. */
  readonly disordered: bigint
}

/** Decoded, and what is written of it; DuckDB holds a group of rows in memory. */
const rowGroupBytes = 32 * 2 ** 20
const vectorRows = 2_048
const rowGroupRowsMax = 60 * vectorRows

/**
 * Writes the rows of several Parquet files into one, in order. What was written is read again: the result counts only
 * when it has the same rows as the sources, by count, sum and hash.
 *
 * @param paths of files in whose order rows are expected to be in order; where they are not, they are sorted
 * @param columns of the files, without those of partitions
 * @param orderBy names of some of these
 * @param rowsExpected by what the log says, undefined where it says nothing
 * @returns the problem when sources and result do not agree
 * @throws PipelineError LAKE_DUCKDB
 */
export async function rewriteFiles(
  duckDb: DuckDb,
  paths: readonly string[],
  into: string,
  columns: readonly Field[],
  orderBy: readonly string[],
  rowsExpected: number | undefined,
): Promise<RewrittenFile | { readonly problem: string }> {
  await duckDb.run(`set variable sources = ${sqlList(paths.map(sqlPath))}`)
  const sources = scanOf("getvariable('sources')", columns)
  const before = await contentOf(duckDb, sources, columns, orderBy)
  if (rowsExpected !== undefined && before.rows !== BigInt(rowsExpected))
    return { problem: `the sources have ${before.rows} rows, and ${rowsExpected} by their statistics` }
  const order = before.disordered === 0n ? '' : `order by ${orderBy.map(sqlName).join(', ')}`
  const rowGroupRows = await rowGroupRowsOf(duckDb)
  await duckDb.run(
    `copy (select * from ${sources} ${order}) to ${sqlText(into)}
     (format parquet, compression zstd, compression_level 1, row_group_size ${rowGroupRows}, write_bloom_filter false)`,
  )
  const result = scanOf(sqlList([sqlPath(into)]), columns)
  const after = await contentOf(duckDb, result, columns, orderBy)
  if (after.rows !== before.rows || after.sum !== before.sum || after.hash !== before.hash || after.disordered !== 0n)
    return { problem: `the sources have ${textOf(before)}, and the result ${textOf(after)}` }
  const rows = Number(after.rows)
  return { rows, bytes: (await stat(into)).size, stats: await statsOfFile(duckDb, result, columns, rows) }
}

function textOf({ rows, sum, disordered }: Content): string {
  return `${rows} rows, sum ${sum ?? 'none'}, ${disordered} out of order`
}

async function contentOf(
  duckDb: DuckDb,
  scan: string,
  columns: readonly Field[],
  orderBy: readonly string[],
): Promise<Content> {
  const names = orderBy.map(sqlName)
  const all = columns.map(({ name }) => sqlName(name)).join(', ')
  const [sum, disordered] =
    names.length === 0 ? ['0', '0'] : [`sum(${names[0] ?? ''})`, `count(*) filter (row(${names.join(', ')}) < _before)`]
  const before = names.length === 0 ? 'null' : `lag(row(${names.join(', ')})) over ()`
  const [row] = await duckDb.run(
    `select count(*), ${sum}::hugeint, ${disordered}::bigint, sum(_hash)::hugeint
     from (select ${[...names, `hash(row(${all})) as _hash`, `${before} as _before`].join(', ')} from ${scan})`,
  )
  assert(row, 'an aggregate is one row')
  const [rows, total, out, hash] = row as readonly [bigint, bigint | null, bigint, bigint | null]
  return { rows, sum: total, disordered: out, hash }
}

/** So many that what they take in memory is bounded, by what they take in the sources. */
async function rowGroupRowsOf(duckDb: DuckDb): Promise<number> {
  const [[bytes, rows] = []] = await duckDb.run(
    `select sum(total_uncompressed_size)::double, max(rows)::double
     from (select *, sum(case when column_id = 0 then row_group_num_rows end) over () as rows
           from parquet_metadata(getvariable('sources')))`,
  )
  const bytesARow = Math.max(1, Number(bytes) / Math.max(1, Number(rows)))
  const vectors = Math.floor(rowGroupBytes / bytesARow / vectorRows)
  return Math.min(rowGroupRowsMax, Math.max(1, vectors) * vectorRows)
}

/** Exact, as those of the files that we write ourselves; `numRecords` alone where a column is of a type we do not write. */
async function statsOfFile(duckDb: DuckDb, scan: string, fields: readonly Field[], rows: number): Promise<string> {
  const columns = fields.flatMap((field) => columnOf(field) ?? [])
  if (columns.length < fields.length) return JSON.stringify({ numRecords: rows })
  const expressions = columns.flatMap(({ name, type }) => {
    const of = sqlName(name)
    const bounds =
      typeof type === 'string' ? [boundOf(`min(${of})`, type), boundOf(`max(${of})`, type)] : ['null', 'null']
    return [`count(*) - count(${of})`, ...bounds]
  })
  const [found = []] = await duckDb.run(`select ${expressions.join(', ')} from ${scan}`)
  const contents = columns.map(({ type }, at) => ({
    nulls: Number(found[at * 3]),
    values: found.slice(at * 3 + 1, at * 3 + 3).map((cell) => valueOf(cell, type)),
  }))
  return statsOfContents(columns, contents, rows)
}

const primitives: ReadonlySet<unknown> = new Set([
  'string',
  'long',
  'integer',
  'double',
  'boolean',
  'date',
  'timestamp',
])

/** @returns undefined for a type that we do not write */
function columnOf({ name, type, nullable }: Field): Column | undefined {
  if (primitives.has(type) || decimalDigits(type as PrimitiveType))
    return { name, type: type as PrimitiveType, nullable }
  const { type: kind, elementType } = type as { readonly type?: unknown; readonly elementType?: unknown }
  const isTexts = kind === 'array' && elementType === 'string'
  return isTexts ? { name, type: { type: 'array', elementType: 'string' }, nullable } : undefined
}

/** A bound in DuckDB's form that is nearest to a `Value`. */
function boundOf(bound: string, type: PrimitiveType): string {
  if (type === 'date') return `epoch(${bound})::bigint // 86400`
  return type === 'timestamp' ? `epoch_us(${bound})` : bound
}

function valueOf(cell: Cell | undefined, type: Column['type']): Value {
  if (cell === null || cell === undefined) return null
  if (typeof type === 'string' && decimalDigits(type)) return BigInt((cell as string).replace('.', ''))
  if (typeof cell === 'bigint' && type !== 'long') return Number(cell)
  // Of a zero with the sign that the file may have, the one that is a bound in all orders.
  if (type === 'double' && cell === 0) return -0
  return cell as Value
}
