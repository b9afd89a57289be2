import { once } from 'node:events'
import { PipelineError } from '../base/errors.ts'
import type { Cell, ResultColumn, Row } from '../lake/duckdb.ts'
import { queryLake } from '../lake/query.ts'
import type { ObjectStore } from '../lake/store.ts'
import { interrupted } from './interrupt.ts'
import { type LakeOptions, type VersionOptions, withLake } from './lake-place.ts'
import { printLine, say, visible } from './output.ts'
import { showSteps } from './progress.ts'
import { numeric, renderTable } from './table.ts'

interface QueryCommandOptions extends LakeOptions, VersionOptions {
  readonly csv: boolean
  readonly temporaryBytes: number
}

/** A table as wide as its widest cells has to be held until its end. */
const tableRowsMax = 10_000

export async function query(sql: string, options: QueryCommandOptions): Promise<void> {
  await withLake(options, (lake) => run(lake, sql, options))
}

async function run(lake: ObjectStore, sql: string, options: QueryCommandOptions): Promise<void> {
  const steps = process.stderr.isTTY ? showSteps() : undefined
  try {
    const result = await queryLake(lake, sql, {
      version: options.version,
      timestampMs: options.timestamp,
      temporaryBytesMax: options.temporaryBytes,
      signal: interrupted,
      onProgress: (step, part) => steps?.update(step, part),
    })
    steps?.stop()
    const { columns, rows, tables } = result
    try {
      if (options.json) await printDocument({ tables }, columns, rows)
      else if (options.csv) await printCsv(columns, rows)
      else await printTable(columns, rows)
    } finally {
      await result.close()
    }
  } catch (error) {
    steps?.stop()
    throw isTemporary(error) ? withRemedy(error) : error
  }
}

function isTemporary(error: unknown): error is PipelineError {
  return error instanceof PipelineError && error.code === 'LAKE_QUERY_LIMIT' && error.message.includes('allow more')
}

function withRemedy(error: PipelineError): PipelineError {
  return new PipelineError(error.code, `${error.message} with --temporary-bytes`, { cause: error })
}

async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
}

async function printTable(columns: readonly ResultColumn[], rows: AsyncIterable<Row[]>): Promise<void> {
  const shown: string[][] = []
  let isCut = false
  for await (const some of rows) {
    for (const row of some.slice(0, tableRowsMax - shown.length))
      shown.push(row.map((cell) => visible(plainText(cell))))
    isCut = shown.length === tableRowsMax
    if (isCut) break
  }
  printLine(
    renderTable(
      columns.map(({ name, type }) => (isNumber(type) ? numeric(visible(name)) : visible(name))),
      shown,
    ),
  )
  say(isCut ? `only the first ${tableRowsMax} rows are shown; --csv and --json give all` : rowsText(shown.length))
}

function rowsText(count: number): string {
  return count === 1 ? '1 row' : `${count} rows`
}

function isNumber(type: string): boolean {
  return /^(U?(BIG|SMALL|TINY|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/.test(type)
}

function plainText(cell: Cell): string {
  if (cell === null) return ''
  return typeof cell === 'object' ? jsonText(cell, '') : String(cell)
}

/** RFC 4180; null is nothing, an empty text is in quotes. */
async function printCsv(columns: readonly ResultColumn[], rows: AsyncIterable<Row[]>): Promise<void> {
  const line = (cells: readonly string[]) => `${cells.join(',')}\r\n`
  await write(line(columns.map(({ name }) => csvText(name))))
  for await (const some of rows)
    await write(some.map((row) => line(row.map((cell) => (cell === null ? '' : csvText(plainText(cell)))))).join(''))
}

function csvText(text: string): string {
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** One document, written as the rows come. Numbers are tokens with all their digits. */
async function printDocument(
  more: Readonly<Record<string, unknown>>,
  columns: readonly ResultColumn[],
  rows: AsyncIterable<Row[]>,
): Promise<void> {
  const names = columns.map(({ name }) => JSON.stringify(name))
  await write(`${JSON.stringify({ ...more, columns }).slice(0, -1)},"rows":[`)
  let separator = ''
  for await (const some of rows) {
    const texts = some.map((row) => {
      const fields = row.map((cell, at) => `${names[at] ?? ''}:${jsonText(cell, columns[at]?.type ?? '')}`)
      return `{${fields.join()}}`
    })
    await write(separator + texts.join())
    separator = ','
  }
  await write(']}\n')
}

/** @param type DuckDB's, by which decimals are told from other texts; empty within nested values */
function jsonText(cell: Cell, type: string): string {
  if (cell === null) return 'null'
  if (typeof cell === 'bigint' || (typeof cell === 'string' && type.startsWith('DECIMAL('))) return String(cell)
  // JSON has no NaN and no infinity.
  if (typeof cell === 'number' && !Number.isFinite(cell)) return `"${cell}"`
  if (isList(cell)) return `[${cell.map((item) => jsonText(item, '')).join()}]`
  if (typeof cell !== 'object') return JSON.stringify(cell)
  return `{${Object.entries(cell)
    .map(([name, value]) => `${JSON.stringify(name)}:${jsonText(value, '')}`)
    .join()}}`
}

function isList(cell: Cell): cell is readonly Cell[] {
  return Array.isArray(cell)
}
