import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { pythonPath } from './python.ts'

const script = fileURLToPath(new URL('lake-readers.py', import.meta.url))

/** Who reads: delta-rs with DataFusion, and its log with PyArrow; Polars; DuckDB. */
export const engines = ['deltalake', 'pyarrow', 'polars', 'duckdb'] as const
export type Engine = (typeof engines)[number]

/** What is asked of a table. Each engine opens it anew. */
export interface ReaderRequest {
  /** A folder, or `s3://bucket/prefix` with `storageOptions`. */
  readonly uri: string
  /** AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ALLOW_HTTP. */
  readonly storageOptions?: Readonly<Record<string, string>>
  /** At this version, or as of this time; unset: the newest. */
  readonly version?: number
  readonly timestampMs?: number
  /** `value` in the form of a row, null for `is null`. */
  readonly where?: { readonly column: string; readonly op: '=' | '>='; readonly value: string | null }
  /** SQL on the table `t`, after `where`. Not for PyArrow, which is left out. */
  readonly sql?: string
  /** Whose `transaction_version` is asked for. */
  readonly appIds?: readonly string[]
  readonly engines?: readonly Engine[]
}

/** Longs, decimals and times (µs since 1970) are text; dates YYYY-MM-DD; doubles numbers, but for `nan` and `inf`. */
export type Cell = string | number | boolean | null | readonly Cell[] | { readonly [name: string]: Cell }
export type Row = Readonly<Record<string, Cell>>

export interface EngineAnswer {
  /** The engine's own names of the types. */
  readonly columns: Readonly<Record<string, string>>
  /** In no order, but for what the SQL says. */
  readonly rows: readonly Row[]
  /** Files that the predicate left to be read: PyArrow's, and DuckDB's where it says so. */
  readonly filesRead?: number
}

/** What delta-rs reads from the log alone. */
export interface LogAnswer {
  readonly version: number
  /** `{name, type, nullable, metadata}` as in `schemaString`. */
  readonly schema: readonly { readonly name: string; readonly type: unknown; readonly nullable: boolean }[]
  readonly partitionColumns: readonly string[]
  readonly configuration: Readonly<Record<string, string>>
  /** Least reader and writer version. */
  readonly protocol: readonly [number, number]
  readonly transactions: Readonly<Record<string, string | null>>
  readonly files: readonly string[]
  /** `commitInfo` and `version`, the newest first. */
  readonly history: readonly Readonly<Record<string, unknown>>[]
}

/** What could not be read: the engine's own words. */
export interface ReaderError {
  readonly error: string
}

export type ReaderAnswer = { readonly log: LogAnswer | ReaderError } & {
  readonly [engine in Engine]?: EngineAnswer | ReaderError
}

/** Puts requests to the engines, in one Python process. What an engine throws is its answer. */
export async function askReaders(requests: readonly ReaderRequest[]): Promise<ReaderAnswer[]> {
  const child = spawn('python3', [script], {
    env: { ...process.env, PYTHONPATH: await pythonPath(), PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.end(JSON.stringify(requests))
  await once(child, 'close')
  if (child.exitCode === 0) return JSON.parse(stdout) as ReaderAnswer[]
  throw new Error(`lake-readers.py ended with ${String(child.exitCode ?? child.signalCode)}: ${stderr}`)
}

export interface Reading {
  readonly log: LogAnswer
  /** Of each engine that was asked. */
  readonly engines: readonly (EngineAnswer & { readonly engine: Engine })[]
}

/** The same, where every engine must be able to read. @throws Error naming the engine that could not */
export async function readTables(requests: readonly ReaderRequest[]): Promise<Reading[]> {
  const answers = await askReaders(requests)
  return answers.map(({ log, ...answer }, index) => {
    const good = <T extends object>(name: string, value: T | ReaderError): T => {
      if ('error' in value) throw new Error(`${name}: ${value.error} (${JSON.stringify(requests[index])})`)
      return value
    }
    return {
      log: good('log', log),
      engines: engines.flatMap((engine) => {
        const value = answer[engine]
        return value ? [{ engine, ...good(engine, value) }] : []
      }),
    }
  })
}
