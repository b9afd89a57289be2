import { gapOf, listLog, newestOf } from './log-segment.ts'
import type { ObjectStore } from './store.ts'

/**
 * The version that a table had at a time: the last one committed by then, the oldest that is still there when all were
 * committed later. A version was committed when its file was written, to the millisecond, and after the one before it.
 *
 * @returns undefined when there is no table
 */
export async function versionAt(store: ObjectStore, timeMs: number): Promise<number | undefined> {
  const listing = await listLog(store)
  const newest = newestOf(listing)
  if (newest === -1) return undefined
  // Commits before the oldest checkpoint are no versions any more when some before them are gone.
  const oldest = listing.checkpoints.at(-1)?.version ?? 0
  const first = gapOf(listing, { checkpoint: undefined, version: newest }) === undefined ? 0 : oldest
  let found = first
  let committedMs = -Infinity
  for (const { version, modifiedMs } of listing.commits) {
    committedMs = Math.max(Math.floor(modifiedMs), committedMs + 1)
    if (version >= first && committedMs <= timeMs) found = version
  }
  return found
}
