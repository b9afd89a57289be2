import { rmSync } from 'node:fs'
import {
  type DuckDBConnection,
  DuckDBInstance,
  DuckDBListValue,
  type DuckDBResult,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBValue,
  StatementType,
} from '@duckdb/node-api'
import { rfc3339FromUs } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Answer, Cell, DuckDbConfig, Request } from './duckdb.ts'

/**
 * The process that `DuckDb` starts: DuckDB, and nothing else, behind an IPC channel that takes one request at a time.
 * It ends with its parent, however that ends, and removes its folder then.
 */
const config = JSON.parse(process.argv[2] ?? '') as DuckDbConfig
let connection: DuckDBConnection | undefined
let result: DuckDBResult | undefined

// Ctrl-C reaches the whole group; the parent decides what becomes of us.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => {
  rmSync(config.folder, { recursive: true, force: true })
  process.kill(process.pid, 'SIGKILL')
})
process.on('message', (request: Request) => {
  void answer(request).then(
    (value) => reply({ value }),
    (error: unknown) => reply({ error: messageOf(error), isRefused: error instanceof Refused }),
  )
})

function reply(message: Answer): void {
  if (process.connected) process.send?.(message)
}

/** The statement is not what it must be: one, and only reading. */
class Refused extends Error {}

async function answer(request: Request): Promise<unknown> {
  connection ??= await open()
  switch (request.do) {
    case 'run':
      return rowsOf(await connection.runAndReadAll(request.sql).then((reader) => reader.getRows()))
    case 'query':
      return startQuery(connection, request.sql)
    case 'fetch':
      return fetchRows()
  }
}

async function open(): Promise<DuckDBConnection> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: `${Math.floor(config.memoryBytes / 2 ** 20)}MiB`,
    temp_directory: `${config.folder}/spill`,
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    // It would give bytes of an earlier file of the same name; the system's own cache does as well.
    enable_external_file_cache: 'false',
  })
  const opened = await instance.connect()
  // Among the options above this one would have no effect.
  await opened.run(`set max_temp_directory_size = '${Math.floor(config.spillBytesMax / 2 ** 20)}MiB'`)
  await opened.run("set TimeZone = 'UTC'")
  return opened
}

interface ParsedStatement {
  readonly error: boolean
  readonly error_message?: string
}

async function startQuery(on: DuckDBConnection, sql: string): Promise<{ name: string; type: string }[]> {
  // Only parses; to prepare an EXPORT makes its folder.
  const parsed = await on.runAndReadAll('select json_serialize_sql($1::varchar)', [sql])
  const { error, error_message: problem } = JSON.parse(String(parsed.getRows()[0]?.[0])) as ParsedStatement
  if (error) throw new Refused(`DuckDB: ${problem ?? 'no statement that reads'}`)
  const statements = await on.extractStatements(sql)
  if (statements.count !== 1) throw new Refused(`one statement at a time; these are ${statements.count}`)
  const prepared = await statements.prepare(0)
  if (prepared.statementType !== StatementType.SELECT)
    throw new Refused(`only reading is possible here; this is ${StatementType[prepared.statementType]}`)
  result = await prepared.stream()
  const types = result.columnTypes()
  return result.deduplicatedColumnNames().map((name, index) => ({ name, type: String(types[index]) }))
}

/** @returns undefined after the last rows */
async function fetchRows(): Promise<Cell[][] | undefined> {
  const chunk = await result?.fetchChunk()
  return chunk && chunk.rowCount > 0 ? rowsOf(chunk.getRows()) : undefined
}

function rowsOf(rows: readonly (readonly DuckDBValue[])[]): Cell[][] {
  return rows.map((row) => row.map(cellOf))
}

function cellOf(value: DuckDBValue): Cell {
  if (value === null || typeof value !== 'object') return value
  if (value instanceof DuckDBListValue) return value.items.map(cellOf)
  if (value instanceof DuckDBStructValue)
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, cellOf(entry)]))
  if (value instanceof DuckDBTimestampTZValue && value.isFinite) return rfc3339FromUs(Number(value.micros))
  if (value instanceof DuckDBTimestampValue && value.isFinite) return rfc3339FromUs(Number(value.micros)).slice(0, -1)
  return value.toString()
}
