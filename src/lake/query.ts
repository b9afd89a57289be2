import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { isPipelineError, PipelineError } from '../base/errors.ts'
import type { Add } from './actions.ts'
import { DuckDb, type ResultColumn, type Row } from './duckdb.ts'
import { requireSupport } from './features.ts'
import { mayMatch, type Scan } from './file-pruning.ts'
import { tableNames } from './lake-tables.ts'
import { fileMissing, isLocal, localFiles } from './local-files.ts'
import { namesInQuery, planScans } from './query-plan.ts'
import { readFiles } from './active-files.ts'
import { loadSnapshot, type Snapshot } from './snapshot.ts'
import { scanOf, sqlList, sqlName, sqlPath, sqlText, sqlTypeOf } from './sql.ts'
import { type ObjectStore, storeBelow } from './store.ts'
import { type Field, fieldsOf } from './table-schema.ts'
import { versionAt } from './time-travel.ts'

export interface QueryOptions {
  /** Of the one table that the query names; unset: the newest. */
  readonly version?: number | undefined
  /** All tables as they were then. */
  readonly timestampMs?: number | undefined
  /** Room in the folder for temporary files, for what is copied from S3 and again for what does not fit DuckDB's memory. */
  readonly temporaryBytesMax: number
  readonly signal?: AbortSignal | undefined
  /** @param part how much of the step is done, 0 … 1 */
  readonly onProgress?: ((step: string, part?: number) => void) | undefined
}

export interface QueriedTable {
  readonly name: string
  readonly version: number
  /** Files of the table, and those of them that can hold rows that the query asks for. */
  readonly filesInTable: number
  readonly filesRead: number
  readonly bytesRead: number
}

export interface QueryResult {
  readonly columns: readonly ResultColumn[]
  readonly rows: AsyncIterable<Row[]>
  readonly tables: readonly QueriedTable[]
  /** Ends it and removes its files. */
  close(): Promise<void>
}

/** DuckDB takes some 6 KB for a file while it reads. */
const queryFilesMax = 100_000

interface TableInQuery {
  readonly name: string
  readonly store: ObjectStore
  readonly snapshot: Snapshot
  readonly fields: readonly Field[]
}

/**
 * Runs one SQL statement that only reads over the tables of a lake, each of them a view by its name, at one version from
 * beginning to end. Files that cannot hold rows that the query asks for are not read, by their partition and statistics.
 *
 * The statement can reach the files of these tables and nothing else of this machine.
 *
 * @throws PipelineError USAGE for what is no such statement, LAKE_VERSION_MISSING, LAKE_FEATURE_UNSUPPORTED,
 * LAKE_LOG_UNREADABLE, LAKE_STORE_UNAVAILABLE, LAKE_FILE_MISSING, LAKE_QUERY_LIMIT, LAKE_DUCKDB
 */
export async function queryLake(lake: ObjectStore, sql: string, options: QueryOptions): Promise<QueryResult> {
  const folder = await mkdtemp(join(tmpdir(), 'trade2026-lake-'))
  const { temporaryBytesMax: spillBytesMax, signal } = options
  const duckDb = await DuckDb.start({ folder, memoryBytes: duckDbMemoryBytes, spillBytesMax }, signal)
  const close = async () => {
    await duckDb.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    return { ...(await new Query(lake, sql, options, folder, duckDb).open()), close }
  } catch (error) {
    await close()
    throw missingOr(error)
  }
}

const duckDbMemoryBytes = 100 * 2 ** 20

class Query {
  readonly #lake: ObjectStore
  readonly #sql: string
  readonly #options: QueryOptions
  readonly #folder: string
  readonly #duckDb: DuckDb
  #copiedBytes = 0

  constructor(lake: ObjectStore, sql: string, options: QueryOptions, folder: string, duckDb: DuckDb) {
    this.#lake = lake
    this.#sql = sql
    this.#options = options
    this.#folder = folder
    this.#duckDb = duckDb
  }

  async open(): Promise<Omit<QueryResult, 'close'>> {
    const names = await tableNames(this.#lake)
    const tables = await this.#tables(names)
    // Within one transaction now() and current_date are the same for the plan and for the query.
    await this.#duckDb.run('begin')
    const scans = await planScans(this.#duckDb, this.#sql, tables)
    const queried: QueriedTable[] = []
    const allowed = new Set([this.#folder])
    for (const [index, table] of tables.entries()) {
      const files = await this.#files(table, scans)
      queried.push(files.queried)
      const paths = await this.#local(table, files.adds, index)
      for (const path of paths) if (!path.startsWith(table.store.uri)) allowed.add(dirname(path))
      if (isLocal(table.store)) allowed.add(table.store.uri)
      await this.#view(table, files.adds, paths, index)
    }
    await this.#duckDb.run(
      `set allowed_directories = ${sqlList([...allowed].flatMap((path) => [`${path}/`, `${sqlPath(path)}/`]))};
       set enable_external_access = false;
       set lock_configuration = true`,
    )
    return { ...(await this.#start(names)), tables: queried }
  }

  /** Those that the query names, at the version that is asked for. */
  async #tables(names: readonly string[]): Promise<TableInQuery[]> {
    const named = await namesInQuery(this.#duckDb, this.#sql)
    const found = names.filter((name) => named.has(name.toLowerCase()))
    const { version, timestampMs } = this.#options
    if (version !== undefined && found.length !== 1)
      throw new PipelineError(
        'USAGE',
        `a version is that of one table, and the query names ${found.length}; say a time`,
      )
    return Promise.all(
      found.map(async (name) => {
        const store = storeBelow(this.#lake, `${name}/`)
        const at = timestampMs === undefined ? version : await versionAt(store, timestampMs)
        const snapshot = await loadSnapshot(store, { version: at })
        if (!snapshot) throw new PipelineError('LAKE_LOG_UNREADABLE', `there is no table in ${store.uri} any more`)
        requireSupport('read', snapshot, store.uri)
        return { name, store, snapshot, fields: fieldsOf(snapshot.metaData) }
      }),
    )
  }

  async #files(
    { name, store, snapshot, fields }: TableInQuery,
    scans: readonly Scan[] | undefined,
  ): Promise<{ adds: Add[]; queried: QueriedTable }> {
    const own = scans?.filter((scan) => scan.table === name)
    const { onProgress, signal } = this.#options
    const adds: Add[] = []
    let [filesInTable, bytesRead] = [0, 0]
    onProgress?.(`reading the log of ${name}`)
    for await (const add of readFiles(store, snapshot)) {
      signal?.throwIfAborted()
      filesInTable += 1
      if (own && !mayMatch(add, own, fields)) continue
      adds.push(add)
      bytesRead += add.size
      if (adds.length > queryFilesMax)
        throw new PipelineError(
          'LAKE_QUERY_LIMIT',
          `the query reads more than ${queryFilesMax} files of ${name}: say which ${snapshot.metaData.partitionColumns.join(', ')}, or run lake optimize first`,
        )
    }
    return { adds, queried: { name, version: snapshot.version, filesInTable, filesRead: adds.length, bytesRead } }
  }

  async #local({ name, store, snapshot }: TableInQuery, adds: readonly Add[], index: number): Promise<string[]> {
    const { temporaryBytesMax, signal, onProgress } = this.#options
    const bytes = adds.reduce((sum, add) => sum + add.size, 0)
    if (!isLocal(store)) {
      this.#copiedBytes += bytes
      if (this.#copiedBytes > temporaryBytesMax)
        throw new PipelineError(
          'LAKE_QUERY_LIMIT',
          `the query reads ${this.#copiedBytes} bytes from ${store.uri}, and the folder for temporary files may hold ${temporaryBytesMax}: say which ${snapshot.metaData.partitionColumns.join(', ')}, or allow more`,
        )
    }
    let copied = 0
    const onCopied = (more: number) => onProgress?.(`fetching files of ${name}`, (copied += more) / bytes)
    return localFiles(store, adds, { folder: this.#folder, label: String(index), signal, onCopied })
  }

  async #view(
    { name, snapshot, fields }: TableInQuery,
    adds: readonly Add[],
    paths: readonly string[],
    index: number,
  ): Promise<void> {
    const { partitionColumns } = snapshot.metaData
    const inPath = (field: Field) => partitionColumns.includes(field.name)
    const inFiles = fields.filter((field) => !inPath(field))
    if (adds.length === 0) {
      const nulls = fields.map(({ name: column, type }) => `null::${sqlTypeOf(type)} as ${sqlName(column)}`)
      await this.#duckDb.run(`create view ${sqlName(name)} as select ${nulls.join(', ')} where false`)
      return
    }
    const list = join(this.#folder, `files-${index}.json`)
    await writeLines(
      list,
      adds.map((add, n) => ({
        n,
        path: sqlPath(paths[n] ?? ''),
        // The protocol writes null as nothing at all too.
        values: partitionColumns.map((column) => add.partitionValues[column] || null),
      })),
    )
    const partitions = partitionColumns.map((column, at) => {
      const type = fields.find((field) => field.name === column)?.type
      return `values[${at + 1}]::${sqlTypeOf(type)} as ${sqlName(column)}`
    })
    const files = sqlName(`_files_${index}`)
    const columns = fields.map((field) => `${inPath(field) ? 'f' : 'p'}.${sqlName(field.name)}`)
    await this.#duckDb.run(
      `create table ${files} as select ${['n as _n', ...partitions].join(', ')}, path as _path
       from read_json(${sqlText(list)}, format = 'newline_delimited', columns = {n: 'BIGINT', path: 'VARCHAR', values: 'VARCHAR[]'});
       set variable ${sqlName(`_paths_${index}`)} = (select list(_path order by _n) from ${files});
       create view ${sqlName(name)} as select ${columns.join(', ')}
       from ${scanOf(`getvariable('_paths_${index}')`, inFiles)} p join ${files} f on f._n = p.file_index`,
    )
  }

  async #start(names: readonly string[]): Promise<Omit<QueryResult, 'close' | 'tables'>> {
    this.#options.onProgress?.('running the query')
    try {
      const { columns, rows } = await this.#duckDb.query(this.#sql)
      return { columns, rows: withMissing(rows) }
    } catch (error) {
      const isUnknown = isPipelineError(error, 'USAGE') && /Table with name .* does not exist/.test(error.message)
      if (!isUnknown) throw error
      const there = names.length === 0 ? 'no tables' : `the tables ${names.join(', ')}`
      throw new PipelineError('USAGE', `${error.message}\n(${this.#lake.uri} has ${there})`, { cause: error })
    }
  }
}

async function writeLines(path: string, lines: readonly unknown[]): Promise<void> {
  const file = await open(path, 'wx')
  try {
    const linesAtOnce = 1_000
    for (let at = 0; at < lines.length; at += linesAtOnce)
      await file.write(
        lines
          .slice(at, at + linesAtOnce)
          .map((line) => `${JSON.stringify(line)}\n`)
          .join(''),
      )
  } finally {
    await file.close()
  }
}

async function* withMissing(rows: AsyncIterable<Row[]>): AsyncIterable<Row[]> {
  try {
    yield* rows
  } catch (error) {
    throw missingOr(error)
  }
}

function missingOr(error: unknown): unknown {
  const path = /(?:No files found that match the pattern|Cannot open file) "([^"]*)"/.exec(String(error))?.[1]
  return path === undefined ? error : fileMissing(path, error)
}
