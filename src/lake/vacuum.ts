import { systemClock, type Clock } from '../base/clock.ts'
import { PipelineError } from '../base/errors.ts'
import { readFileActions } from './active-files.ts'
import { dataPathOf } from './data-paths.ts'
import type { DeltaTable } from './delta-table.ts'
import { requireSupport } from './features.ts'
import { KeyDigests } from './key-digests.ts'
import { readCommits } from './log-files.ts'
import { listLog } from './log-segment.ts'
import type { Snapshot } from './snapshot.ts'
import type { ObjectInfo, ObjectStore } from './store.ts'

export interface VacuumOptions {
  /** Files that left the table, or never came in, this long ago are deleted; unset: what the table says. */
  readonly retentionMs?: number | undefined
  /** Takes a retention that is too short, at the risk of whoever reads or writes meanwhile. */
  readonly force?: boolean
  /** Names what would be deleted. */
  readonly dryRun?: boolean
  readonly clock?: Clock
  readonly signal?: AbortSignal | undefined
  /** Is told of every file that is, or would be, deleted. */
  readonly onFile?: ((file: ObjectInfo) => void) | undefined
}

export interface VacuumResult {
  readonly files: number
  readonly bytes: number
  readonly retentionMs: number
  /** Of the last commit that tells of it; undefined when nothing was deleted. */
  readonly version: number | undefined
}

const retentionMsMin = 3_600_000
const deletesAtOnce = 1_000

/**
 * Deletes the files below a table that are in no version which is younger than the retention: those that were removed
 * longer ago, and leftovers of writers that failed, when they are older. What is hidden (names that begin with `_` or `.`)
 * is not looked at, files elsewhere that the table names by absolute paths neither.
 *
 * Keeps 8 bytes for each file that stays.
 *
 * @throws PipelineError USAGE for a retention that is too short, LAKE_FEATURE_UNSUPPORTED, LAKE_LOG_UNREADABLE,
 * LAKE_STORE_UNAVAILABLE
 * @see Delta protocol, "Remove Tombstones" of "Add File and Remove File"
 */
export async function vacuumTable(table: DeltaTable, options: VacuumOptions = {}): Promise<VacuumResult> {
  const { clock = systemClock, dryRun = false, signal } = options
  const { store } = table
  const snapshot = await table.refresh()
  requireSupport('vacuum', snapshot, store.uri)
  const retentionMs = retentionOf(snapshot, options)
  const untilMs = clock.nowMs() - retentionMs
  const kept = await keptKeys(store, snapshot, untilMs, retentionMs > snapshot.properties.deletedFileRetentionMs)
  let [files, bytes] = [0, 0]
  let version: number | undefined
  let batch: ObjectInfo[] = []
  const deleteBatch = async () => {
    if (!dryRun) {
      if (files === 0) await note(table, 'VACUUM START', { retentionMs }, {})
      await store.delete(batch.map(({ key }) => key))
    }
    for (const file of batch) {
      files += 1
      bytes += file.bytes
      options.onFile?.(file)
    }
    batch = []
  }
  for await (const file of store.list('')) {
    signal?.throwIfAborted()
    if (file.modifiedMs >= untilMs || isHidden(file.key, snapshot)) continue
    if (kept.has(file.key) || kept.has(fileName(file.key))) continue
    batch.push(file)
    if (batch.length === deletesAtOnce) await deleteBatch()
  }
  if (batch.length > 0) await deleteBatch()
  if (!dryRun && files > 0)
    version = await note(
      table,
      'VACUUM END',
      { status: 'COMPLETED' },
      { numDeletedFiles: files, numDeletedBytes: bytes },
    )
  return { files, bytes, retentionMs, version }
}

function retentionOf({ properties }: Snapshot, { retentionMs, force = false }: VacuumOptions): number {
  const own = properties.deletedFileRetentionMs
  const asked = retentionMs ?? own
  if (!force && asked < retentionMsMin)
    throw new PipelineError(
      'USAGE',
      'a retention below one hour takes files that somebody reads or is about to commit; with --force it is done',
    )
  // Writers trust that what is younger than half of it is safe.
  if (!force && asked < own)
    throw new PipelineError(
      'USAGE',
      `the retention is shorter than the table’s delta.deletedFileRetentionDuration, ${own / 3_600_000} h, which its writers and readers rely on; with --force it is done`,
    )
  return asked
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/**
 * That a digest may stand for another key too only keeps what could go.
 * @param isLonger whether the table's own retention is shorter
 */
async function keptKeys(
  store: ObjectStore,
  snapshot: Snapshot,
  untilMs: number,
  isLonger: boolean,
): Promise<KeyDigests> {
  const kept = new KeyDigests()
  const keep = (path: string) => {
    const place = dataPathOf(store.uri, path)
    // What seems to be elsewhere may be here, by another name of the folder or the bucket; names of files are unique.
    kept.add('key' in place ? place.key : fileName(place.elsewhere))
  }
  for await (const action of readFileActions(store, snapshot, ['add', 'remove'])) {
    if ('remove' in action && (action.remove.deletionTimestamp ?? 0) < untilMs) continue
    keep('add' in action ? action.add.path : action.remove.path)
  }
  // Checkpoints leave out what was removed longer ago than the table's own retention.
  if (isLonger) for await (const path of removedSince(store, snapshot, untilMs)) keep(path)
  return kept
}

/** Paths that the commits since then have removed; what commits did that are gone is in no version that can be read. */
async function* removedSince(store: ObjectStore, snapshot: Snapshot, sinceMs: number): AsyncIterable<string> {
  const { commits } = await listLog(store)
  const from = commits.find(({ modifiedMs }) => modifiedMs >= sinceMs)?.version ?? Infinity
  for await (const { actions = [] } of readCommits(store, from, snapshot.version))
    for (const action of actions) if ('remove' in action) yield action.remove.path
}

/** @see Delta protocol, "Data Files"; a folder of a partition may begin with `_`, when its column does */
function isHidden(key: string, { metaData }: Snapshot): boolean {
  return key.split('/').some((part) => {
    const column = part.slice(0, Math.max(0, part.indexOf('=')))
    return /^[._]/.test(part) && !metaData.partitionColumns.includes(column)
  })
}

function note(
  table: DeltaTable,
  operation: 'VACUUM START' | 'VACUUM END',
  operationParameters: Readonly<Record<string, unknown>>,
  operationMetrics: Readonly<Record<string, number>>,
): Promise<number | undefined> {
  return table.commit('vacuum', () => ({
    info: { operation, operationParameters, operationMetrics, isBlindAppend: true },
    actions: [],
  }))
}
