import { readCheckpoint } from './checkpoint-read.ts'
import { isPipelineError } from '../base/errors.ts'
import { logPrefix, versionKey } from './log-files.ts'
import { type Checkpoint, checkpointHint, gapOf, listLog, newestOf } from './log-segment.ts'
import type { ObjectStore } from './store.ts'
import type { TableProperties } from './table-properties.ts'

/** Commits, checkpoints of every kind and checksums, by their version; versions of any other kind of file stay. */
const expiring = /^_delta_log\/(\d{20})\.(?:json|crc|checkpoint\..*)$/
/** Several commits in one, as other writers make them: of no use once the first of them is gone, or in the checkpoint. */
const compacted = /^_delta_log\/\d{20}\.\d{20}\.compact(?:ed)?\.json$/
const keysAtOnce = 1_000

/**
 * Deletes what is older than the table's retention from the log, up to the checkpoint that the versions within it need: the
 * newest one before all of them, and before the one that `_last_checkpoint` names. That checkpoint and the commit of its
 * version stay; the oldest files go first, a thousand at a time, so that however it ends there is a gap before it at most.
 *
 * @returns how many files it deleted
 * @see Delta protocol, "Metadata Cleanup"
 */
export async function cleanUpLog(
  store: ObjectStore,
  { enableExpiredLogCleanup, logRetentionMs }: TableProperties,
  nowMs: number,
): Promise<number> {
  if (!enableExpiredLogCleanup) return 0
  const expiredMs = nowMs - logRetentionMs
  const [listing, hint = Infinity] = [await listLog(store), await checkpointHint(store)]
  const newest = newestOf(listing)
  const young = listing.commits.find((commit) => commit.modifiedMs >= expiredMs)?.version ?? newest
  const kept = listing.checkpoints.find(({ version }) => version <= Math.min(young, hint))
  if (!kept || gapOf(listing, { checkpoint: kept, version: newest }) !== undefined) return 0
  const expired: string[] = []
  for await (const { key, modifiedMs } of store.list(logPrefix)) {
    if (key >= versionKey(kept.version + 1)) break
    const version = Number(expiring.exec(key)?.[1] ?? Infinity)
    if (compacted.test(key) || (version < kept.version && modifiedMs < expiredMs)) expired.push(key)
  }
  if (expired.length === 0 || !(await isReadable(store, kept))) return 0
  for (let at = 0; at < expired.length; at += keysAtOnce) await store.delete(expired.slice(at, at + keysAtOnce))
  return expired.length
}

/** Whether a checkpoint can stand in for what was before it. */
async function isReadable(store: ObjectStore, { keys }: Checkpoint): Promise<boolean> {
  const found = new Set<string>()
  try {
    for await (const action of readCheckpoint(store, keys, ['protocol', 'metaData']))
      for (const kind of Object.keys(action)) found.add(kind)
  } catch (error) {
    if (isPipelineError(error, 'LAKE_LOG_UNREADABLE')) return false
    throw error
  }
  return found.size === 2
}
