import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isPipelineError } from '../base/errors.ts'
import { readFiles } from './active-files.ts'
import { dataPathOf } from './data-paths.ts'
import { DuckDb } from './duckdb.ts'
import { requireSupport } from './features.ts'
import { isLocal, localFiles } from './local-files.ts'
import { accountOf, sequenceProblems, type SequenceAccount, type SequenceRange } from './sequence-account.ts'
import type { Snapshot } from './snapshot.ts'
import { scanOf, sqlList, sqlName, sqlPath } from './sql.ts'
import type { ObjectStore } from './store.ts'
import { type Field, fieldsOf } from './table-schema.ts'
import { fileStats } from './file-stats.ts'
import { readHistory } from './table-history.ts'

/** One thing that was looked at: how much of it, how much of that is wrong, and the first of that in words. */
export interface Check {
  readonly name: 'files' | 'rows' | 'unique' | 'sequences'
  readonly ok: boolean
  readonly compared: number
  readonly differences: number
  readonly first: string | null
}

export interface TableCheck {
  readonly version: number
  readonly files: number
  readonly rows: number
  readonly checks: readonly Check[]
}

export interface TableCheckOptions {
  /** Columns that together are different in every row, longs or integers; the first numbers what the rows were made of. */
  readonly key: readonly string[]
  /** Room for copies of files that are on S3, and again for what does not fit DuckDB's memory. */
  readonly temporaryBytesMax: number
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((step: string, part?: number) => void) | undefined
}

const memoryBytes = 100 * 2 ** 20
/** At a time, of which copies are made, and of which DuckDB keeps some 6 KB each. */
const batchFiles = 1_000
const batchBytes = 512 * 2 ** 20

/**
 * Compares a version of a table with what is in the store: that every file is there with its size, has the rows that its
 * statistics say, that no key comes twice, and that the commits account for every sequence without rows.
 *
 * Reads the key of every row; of files on S3 everything, in copies of some at a time. Keeps a record of every file.
 *
 * @throws PipelineError LAKE_FEATURE_UNSUPPORTED, LAKE_LOG_UNREADABLE, LAKE_STORE_UNAVAILABLE, LAKE_DUCKDB
 */
export async function checkTable(
  store: ObjectStore,
  snapshot: Snapshot,
  options: TableCheckOptions,
): Promise<TableCheck> {
  requireSupport('read', snapshot, store.uri)
  const folder = await mkdtemp(join(tmpdir(), 'trade2026-lake-'))
  const { temporaryBytesMax: spillBytesMax, signal } = options
  const duckDb = await DuckDb.start({ folder, memoryBytes, spillBytesMax }, signal)
  try {
    return await new TableChecker(store, snapshot, options, folder, duckDb).run()
  } finally {
    await duckDb.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** A file of the log, of which there may be millions. */
interface ListedFile {
  readonly path: string
  readonly size: number
  /** By its statistics. */
  readonly rows: number | undefined
}

class TableChecker {
  readonly #store: ObjectStore
  readonly #snapshot: Snapshot
  readonly #options: TableCheckOptions
  readonly #folder: string
  readonly #duckDb: DuckDb
  readonly #key: readonly Field[]
  #rows = 0

  constructor(store: ObjectStore, snapshot: Snapshot, options: TableCheckOptions, folder: string, duckDb: DuckDb) {
    this.#store = store
    this.#snapshot = snapshot
    this.#options = options
    this.#folder = folder
    this.#duckDb = duckDb
    const fields = fieldsOf(snapshot.metaData)
    this.#key = options.key.flatMap((name) => fields.find((field) => field.name === name) ?? [])
  }

  async run(): Promise<TableCheck> {
    const { onProgress } = this.#options
    onProgress?.('reading the log')
    const listed: ListedFile[] = []
    for await (const add of readFiles(this.#store, this.#snapshot))
      listed.push({ path: add.path, size: add.size, rows: fileStats(add).numRecords })
    onProgress?.('looking for the files')
    const missing = await this.#missing(listed)
    const there = listed.filter(({ path }) => !missing.has(path))
    const files = checkOf(
      'files',
      listed.length,
      [...missing].map(([path, problem]) => `${path}: ${problem}`),
    )
    const checks = [files, await this.#checkRows(there)]
    if (this.#key.length > 0) checks.push(await this.#checkUnique(), await this.#checkSequences())
    return { version: this.#snapshot.version, files: listed.length, rows: this.#rows, checks }
  }

  /** Files that are not there as the log says, by path. */
  async #missing(listed: readonly ListedFile[]): Promise<ReadonlyMap<string, string>> {
    const problems = new Map<string, string>()
    const expected = new Map<string, ListedFile>()
    for (const file of listed) {
      const place = dataPathOf(this.#store.uri, file.path)
      if ('key' in place) expected.set(place.key, file)
      else if (!isLocal(this.#store)) problems.set(file.path, 'it is outside the table')
    }
    for await (const { key, bytes } of this.#store.list('')) {
      this.#options.signal?.throwIfAborted()
      const file = expected.get(key)
      expected.delete(key)
      if (file && file.size !== bytes) problems.set(file.path, `it has ${bytes} bytes, and ${file.size} by the log`)
    }
    for (const { path } of expected.values()) problems.set(path, 'it is not in the store')
    return problems
  }

  /** Counts the rows of files against their statistics, and collects the keys. */
  async #checkRows(files: readonly ListedFile[]): Promise<Check> {
    const columns = this.#key.length > 0 ? this.#key.map(({ name }) => sqlName(name)) : ['0']
    await this.#duckDb.run(
      `create table keys as select ${columns.map((_, at) => `0::bigint as k${at}`).join(', ')} limit 0`,
    )
    const problems: string[] = []
    for (let at = 0; at < files.length;) {
      const batch: ListedFile[] = []
      for (let bytes = 0; at < files.length && batch.length < batchFiles && bytes < batchBytes; at += 1) {
        const file = files[at]
        if (file) batch.push(file)
        bytes += file?.size ?? 0
      }
      problems.push(...(await this.#countRows(batch, columns)))
      this.#options.onProgress?.('reading the rows', at / files.length)
    }
    return checkOf('rows', files.length, problems)
  }

  async #countRows(batch: readonly ListedFile[], columns: readonly string[]): Promise<string[]> {
    const copies = join(this.#folder, 'copies')
    await mkdir(copies, { recursive: true })
    try {
      const paths = await localFiles(this.#store, batch, {
        folder: copies,
        label: 'copy',
        signal: this.#options.signal,
      })
      return await this.#countLocal(batch, paths, columns)
    } finally {
      await rm(copies, { recursive: true, force: true })
    }
  }

  async #countLocal(
    batch: readonly ListedFile[],
    paths: readonly string[],
    columns: readonly string[],
  ): Promise<string[]> {
    const scan = scanOf(sqlList(paths.map(sqlPath)), this.#scanned())
    let counts: ReadonlyMap<number, number>
    try {
      const rows = await this.#duckDb.run(`select file_index::double, count(*)::double from ${scan} group by all`)
      counts = new Map(rows as unknown as [number, number][])
      await this.#duckDb.run(`insert into keys select ${columns.join(', ')} from ${scan}`)
    } catch (error) {
      if (!isPipelineError(error, 'LAKE_DUCKDB') || error.retriable) throw error
      if (batch.length === 1) return [`${batch[0]?.path ?? ''}: ${error.message}`]
      const half = Math.ceil(batch.length / 2)
      return [
        ...(await this.#countLocal(batch.slice(0, half), paths.slice(0, half), columns)),
        ...(await this.#countLocal(batch.slice(half), paths.slice(half), columns)),
      ]
    }
    return batch.flatMap(({ path, rows: said }, index) => {
      const found = counts.get(index) ?? 0
      this.#rows += found
      return said === undefined || said === found
        ? []
        : [`${path}: it has ${found} rows, and ${said} by its statistics`]
    })
  }

  /** The key, or any column of the files. */
  #scanned(): readonly Field[] {
    if (this.#key.length > 0) return this.#key
    const { metaData } = this.#snapshot
    return fieldsOf(metaData)
      .filter(({ name }) => !metaData.partitionColumns.includes(name))
      .slice(0, 1)
  }

  async #checkUnique(): Promise<Check> {
    this.#options.onProgress?.('looking for rows that come twice')
    const names = this.#key.map((_, at) => `k${at}`)
    // Rows of other writers may have no key.
    const twice = `(select ${names.join(', ')}, count(*) as n from keys where k0 is not null group by all having count(*) > 1)`
    const [[count] = []] = await this.#duckDb.run(`select count(*)::double from ${twice}`)
    const [first] = (await this.#duckDb.run(`from ${twice} order by all limit 1`)) as bigint[][]
    const text = this.#key.map(({ name }, at) => `${name} ${first?.[at]}`).join(', ')
    const differences = Number(count)
    return {
      ...{ name: 'unique', ok: differences === 0, compared: this.#rows, differences },
      first: first ? `${text}: ${first.at(-1)} rows` : null,
    }
  }

  async #checkSequences(): Promise<Check> {
    this.#options.onProgress?.('counting the sequences')
    const accounts: SequenceAccount[] = []
    for await (const commit of readHistory(this.#store, this.#snapshot)) {
      const account = accountOf(commit)
      if (account) accounts.push(account)
    }
    accounts.sort((a, b) => (a.from < b.from ? -1 : Number(a.from > b.from)))
    const { rows } = await this.#duckDb.query(
      `select min(s), max(s) from (select s, s - row_number() over (order by s) as island from (select distinct k0 as s from keys where k0 is not null))
       group by island order by 1`,
    )
    const present: SequenceRange[] = []
    for await (const some of rows) for (const [from, to] of some as [bigint, bigint][]) present.push({ from, to })
    const [first, last] = [accounts[0], accounts.at(-1)]
    const problems = sequenceProblems(accounts, present).map(
      ({ range: { from, to }, problem }) =>
        `${this.#key[0]?.name ?? ''} ${from === to ? from : `${from} to ${to}`}: ${problem}`,
    )
    return checkOf('sequences', first && last ? Number(last.to - first.from) + 1 : 0, problems)
  }
}

function checkOf(name: Check['name'], compared: number, problems: readonly string[]): Check {
  return { name, ok: problems.length === 0, compared, differences: problems.length, first: problems[0] ?? null }
}
