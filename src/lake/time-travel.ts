import { PipelineError } from '../base/errors.ts'
import { listLog, newestOf } from './log-segment.ts'
import type { ObjectStore } from './store.ts'

/**
 * The version that a table had at a time, as delta-rs takes it: by when the files of the commits were written, bisecting;
 * the oldest commit there is for a time before all of them.
 *
 * @throws PipelineError LAKE_VERSION_MISSING when the log has no commit
 */
export async function versionAt(store: ObjectStore, timestampMs: number): Promise<number> {
  const listing = await listLog(store)
  const [oldest] = listing.commits
  if (!oldest) throw new PipelineError('LAKE_VERSION_MISSING', `the log of ${store.uri} has no commits`)
  const modifiedMs = new Map(listing.commits.map((commit) => [commit.version, commit.modifiedMs]))
  let [min, max] = [oldest.version, newestOf(listing)]
  while (min <= max) {
    const pivot = Math.floor((min + max) / 2)
    const at = Math.floor(modifiedMs.get(pivot) ?? Infinity)
    if (at === Math.floor(timestampMs)) return pivot
    if (at < timestampMs) min = pivot + 1
    else max = pivot - 1
  }
  return Math.max(max, oldest.version)
}
