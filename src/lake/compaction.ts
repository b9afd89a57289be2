import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, type Clock } from '../base/clock.ts'
import { readFiles } from './active-files.ts'
import type { Action, Add, MetaData } from './actions.ts'
import { type CompactionPolicy, type FileGroup, planCompaction } from './compaction-plan.ts'
import { type DeltaTable, fileAgeMsMax } from './delta-table.ts'
import { DuckDb } from './duckdb.ts'
import { requireSupport } from './features.ts'
import { isLocal, localFiles } from './local-files.ts'
import { readCommits } from './log-files.ts'
import { decodedPath, encodedPath, newDataKey } from './partition-path.ts'
import { rewriteFiles } from './rewrite.ts'
import type { Snapshot } from './snapshot.ts'
import type { ObjectStore } from './store.ts'
import { fieldsOf } from './table-schema.ts'
import type { Transaction } from './transaction.ts'

export interface CompactionOptions {
  readonly clock?: Clock
  readonly signal?: AbortSignal | undefined
  /** Is told after each commit, and of what was given up. */
  readonly onProgress?: ((done: CompactionResult) => void) | undefined
}

export interface CompactionResult {
  readonly commits: number
  /** Of the last of these commits. */
  readonly version: number | undefined
  readonly filesRemoved: number
  readonly filesAdded: number
  readonly bytesRemoved: number
  readonly bytesAdded: number
  readonly rows: number
  /** Why files were left as they are: the result did not agree with them, or they were gone. */
  readonly abandoned: readonly string[]
}

/** What a group has become: in the store, and not yet in the table. */
interface Replacement {
  readonly sources: FileGroup
  readonly key: string
  readonly add: Add
  readonly rows: number
}

const memoryBytes = 64 * 2 ** 20
const spillBytesMax = 20 * 2 ** 30

/** A commit comes once so much was rewritten, so that a conflict undoes little. */
const commitBytes = 512 * 2 ** 20
const commitGroups = 50
const commitFiles = 2_000

const conflictsMax = 5

/**
 * Writes the rows of small files into few large ones, in DuckDB's process, while others append. Rows stay what they are:
 * a result that has not the rows of its sources is given up, and what was planned on files that are gone is planned anew.
 *
 * @throws PipelineError LAKE_FEATURE_UNSUPPORTED, LAKE_LOG_UNREADABLE, LAKE_STORE_UNAVAILABLE, LAKE_FILE_MISSING,
 * LAKE_DUCKDB; what was committed until then stays
 */
export async function compactTable(
  table: DeltaTable,
  policy: CompactionPolicy,
  options: CompactionOptions = {},
): Promise<CompactionResult> {
  const folder = await mkdtemp(join(tmpdir(), 'trade2026-lake-'))
  const duckDb = await DuckDb.start({ folder, memoryBytes, spillBytesMax }, options.signal)
  try {
    return await new Compaction(table, policy, options, folder, duckDb).run()
  } finally {
    await duckDb.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

class Compaction {
  readonly #table: DeltaTable
  readonly #policy: CompactionPolicy
  readonly #clock: Clock
  readonly #options: CompactionOptions
  readonly #folder: string
  readonly #duckDb: DuckDb
  /** First files of groups that were given up, which are not tried again. */
  readonly #givenUp = new Set<string>()
  /** Files of rows that came since the beginning. They are left to the next run: while rows come, this one would not end. */
  readonly #later = new Set<string>()
  #result: CompactionResult = {
    ...{ commits: 0, version: undefined, filesRemoved: 0, filesAdded: 0 },
    ...{ bytesRemoved: 0, bytesAdded: 0, rows: 0, abandoned: [] },
  }

  constructor(table: DeltaTable, policy: CompactionPolicy, options: CompactionOptions, folder: string, duckDb: DuckDb) {
    this.#table = table
    this.#policy = policy
    this.#clock = options.clock ?? systemClock
    this.#options = options
    this.#folder = folder
    this.#duckDb = duckDb
  }

  async run(): Promise<CompactionResult> {
    const { store } = this.#table
    let snapshot = await this.#table.refresh()
    for (let conflicts = 0; conflicts < conflictsMax;) {
      requireSupport('compact', snapshot, store.uri)
      const at = snapshot
      const planned = await planCompaction(() => this.#files(at), this.#policy, this.#clock.nowMs())
      const groups = planned.filter(({ files: [first] }) => first && !this.#givenUp.has(first.path))
      if (groups.length === 0) return this.#result
      conflicts = (await this.#compact(groups, snapshot)) ? 0 : conflicts + 1
      const { version } = snapshot
      snapshot = await this.#table.refresh()
      for await (const { actions = [] } of readCommits(store, version + 1, snapshot.version))
        for (const action of actions) if ('add' in action && action.add.dataChange) this.#later.add(action.add.path)
    }
    this.#abandon(`others replaced the files ${conflictsMax} times while they were rewritten`)
    return this.#result
  }

  async *#files(snapshot: Snapshot): AsyncIterable<Add> {
    for await (const file of readFiles(this.#table.store, snapshot)) if (!this.#later.has(file.path)) yield file
  }

  /** @returns false when it met a conflict and must be planned anew */
  async #compact(groups: readonly FileGroup[], snapshot: Snapshot): Promise<boolean> {
    let ready: Replacement[] = []
    try {
      for (const [index, group] of groups.entries()) {
        this.#options.signal?.throwIfAborted()
        const replacement = await this.#rewrite(group, snapshot)
        if (replacement) ready.push(replacement)
        if (ready.length === 0 || (index < groups.length - 1 && !isEnough(ready))) continue
        const batch = ready
        // When the store does not say what became of a commit, these are no longer ours to delete.
        ready = []
        if (!(await this.#commit(batch, snapshot))) return false
      }
      return true
    } finally {
      await discard(this.#table.store, ready)
    }
  }

  /** @returns undefined when it is given up */
  async #rewrite(group: FileGroup, { metaData }: Snapshot): Promise<Replacement | undefined> {
    const { store } = this.#table
    const { partitionValues, files } = group
    const { partitionColumns } = metaData
    const copies = join(this.#folder, 'sources')
    const out = join(this.#folder, 'out.parquet')
    try {
      await mkdir(copies, { recursive: true })
      const paths = await localFiles(store, files, { folder: copies, label: 'source', signal: this.#options.signal })
      const rowsKnown = files.every(({ rows }) => rows !== undefined)
      const rewritten = await rewriteFiles(
        this.#duckDb,
        paths,
        out,
        fieldsOf(metaData).filter(({ name }) => !partitionColumns.includes(name)),
        this.#policy.orderBy,
        rowsKnown ? files.reduce((sum, { rows = 0 }) => sum + rows, 0) : undefined,
      )
      if ('problem' in rewritten) {
        this.#giveUp(group, rewritten.problem)
        return undefined
      }
      const { rows, bytes: size, stats } = rewritten
      const key = newDataKey(partitionColumns, partitionValues, 0)
      await store.put(key, await readFile(out))
      const modificationTime = this.#clock.nowMs()
      const add = { path: encodedPath(key), partitionValues, size, modificationTime, dataChange: false, stats }
      return { sources: group, key, add, rows }
    } finally {
      await rm(out, { force: true })
      if (!isLocal(store)) await rm(copies, { recursive: true, force: true })
    }
  }

  #giveUp({ partitionValues, files }: FileGroup, problem: string): void {
    this.#givenUp.add(files[0]?.path ?? '')
    const partition = Object.entries(partitionValues).map(([name, value]) => `${name}=${value ?? 'null'}`)
    this.#abandon(`${partition.join('/') || 'the table'}, ${files.length} files: ${problem}`)
  }

  #abandon(what: string): void {
    this.#result = { ...this.#result, abandoned: [...this.#result.abandoned, what] }
    this.#options.onProgress?.(this.#result)
  }

  /** Replaces the files. @returns false when they are not all in the table any more, or it has become another */
  async #commit(batch: readonly Replacement[], planned: Snapshot): Promise<boolean> {
    const { store } = this.#table
    let seen = planned.version
    const paths = new Set(batch.flatMap(({ sources }) => sources.files.map(({ path }) => decodedPath(path))))
    const oldestMs = Math.min(...batch.map(({ add }) => add.modificationTime))
    const version = await this.#table.commit('compact', async (snapshot) => {
      for await (const { actions } of readCommits(store, seen + 1, snapshot.version))
        // One that was cleaned up may have been against it.
        if (!actions || actions.some((action) => isAgainst(action, paths, planned))) return undefined
      seen = snapshot.version
      // A vacuum may take the results for leftovers.
      const nowMs = this.#clock.nowMs()
      return nowMs - oldestMs > fileAgeMsMax(snapshot) ? undefined : transactionOf(batch, nowMs)
    })
    if (version === undefined) {
      await discard(store, batch)
      return false
    }
    const { commits, filesRemoved, filesAdded, bytesRemoved, bytesAdded, rows } = this.#result
    const sum = (of: (each: Replacement) => number) => batch.reduce((total, each) => total + of(each), 0)
    this.#result = {
      ...this.#result,
      version,
      commits: commits + 1,
      filesRemoved: filesRemoved + paths.size,
      filesAdded: filesAdded + batch.length,
      bytesRemoved: bytesRemoved + sum(({ sources }) => sources.bytes),
      bytesAdded: bytesAdded + sum(({ add }) => add.size),
      rows: rows + sum((each) => each.rows),
    }
    this.#options.onProgress?.(this.#result)
    return true
  }
}

function isEnough(ready: readonly Replacement[]): boolean {
  const bytes = ready.reduce((sum, { sources }) => sum + sources.bytes, 0)
  const files = ready.reduce((sum, { sources }) => sum + sources.files.length, 0)
  return ready.length >= commitGroups || bytes >= commitBytes || files >= commitFiles
}

function isAgainst(action: Action, paths: ReadonlySet<string>, planned: Snapshot): boolean {
  if ('protocol' in action) return true
  if ('metaData' in action) return !isSameTable(action.metaData, planned.metaData)
  return 'remove' in action && paths.has(decodedPath(action.remove.path))
}

/** Whether what was written of the one fits the other. */
function isSameTable(a: MetaData, b: MetaData): boolean {
  return a.id === b.id && a.schemaString === b.schemaString && a.partitionColumns.join() === b.partitionColumns.join()
}

function transactionOf(batch: readonly Replacement[], nowMs: number): Transaction {
  const removes = batch.flatMap(({ sources }) =>
    sources.files.map(({ path, size, partitionValues }) => ({
      remove: { path, deletionTimestamp: nowMs, dataChange: false, extendedFileMetadata: true, partitionValues, size },
    })),
  )
  const adds = batch.map(({ add }) => ({ add }))
  return {
    info: {
      operation: 'OPTIMIZE',
      operationParameters: { predicate: [], zOrderBy: [] },
      operationMetrics: {
        numRemovedFiles: removes.length,
        numRemovedBytes: removes.reduce((sum, { remove }) => sum + remove.size, 0),
        numAddedFiles: adds.length,
        numAddedBytes: adds.reduce((sum, { add }) => sum + add.size, 0),
        numOutputRows: batch.reduce((sum, { rows }) => sum + rows, 0),
      },
      isBlindAppend: false,
    },
    actions: [...removes, ...adds],
  }
}

/** What cannot be deleted is left to the next vacuum. */
async function discard(store: ObjectStore, replacements: readonly Replacement[]): Promise<void> {
  await store.delete(replacements.map(({ key }) => key)).catch(() => undefined)
}
