import { PipelineError } from '../base/errors.ts'
import type { Add, Remove } from './actions.ts'
import { readCheckpoint } from './checkpoint-read.ts'
import { requireSupport } from './features.ts'
import { readCommits } from './log-files.ts'
import { checkpointHint, type LogSegment } from './log-segment.ts'
import { decodedPath } from './partition-path.ts'
import { loadSnapshot, type Snapshot } from './snapshot.ts'
import type { ObjectStore } from './store.ts'

export type FileAction = { readonly add: Add } | { readonly remove: Remove }

/**
 * The file actions in the commits since the checkpoint that hold in a version, newest first: what a later one says of the
 * same file counts.
 *
 * @param seen gets the files of those commits: of them, nothing holds that the checkpoint says
 * @throws PipelineError LAKE_LOG_UNREADABLE, LAKE_VERSION_MISSING when the log is cleaned up meanwhile
 * @see Delta protocol, "Action Reconciliation"
 */
export async function* committedFiles(
  store: ObjectStore,
  { checkpoint, version: newest }: LogSegment,
  seen: Set<string>,
): AsyncIterable<FileAction> {
  for await (const { version, actions } of readCommits(store, newest, (checkpoint?.version ?? -1) + 1, -1)) {
    if (!actions)
      throw new PipelineError(
        'LAKE_VERSION_MISSING',
        `version ${version} of the log of ${store.uri} is no longer there`,
      )
    const files = actions.filter((action) => 'add' in action || 'remove' in action)
    // A commit that removes a file and adds it again, with other statistics, leaves it in the table.
    const added = new Set(files.flatMap((action) => ('add' in action ? [pathOf(action)] : [])))
    for (const action of files) {
      const path = pathOf(action)
      if (!seen.has(path) && ('add' in action || !added.has(path))) yield action
    }
    for (const action of files) seen.add(pathOf(action))
  }
}

/**
 * The file actions of these kinds that hold in a version: a `remove` of what may still be there, but for those that a
 * checkpoint leaves out, older than the retention. Keeps the paths in the commits since the newest checkpoint, and nothing
 * of it.
 *
 * @throws PipelineError as `committedFiles`, and LAKE_FEATURE_UNSUPPORTED
 */
export async function* readFileActions(
  store: ObjectStore,
  snapshot: Snapshot,
  kinds: readonly ('add' | 'remove')[],
): AsyncIterable<FileAction> {
  requireSupport('read', snapshot, store.uri)
  const segment = await onNewestCheckpoint(store, snapshot)
  const seen = new Set<string>()
  for await (const action of committedFiles(store, segment, seen))
    if (kinds.some((kind) => kind in action)) yield action
  if (!segment.checkpoint) return
  for await (const action of readCheckpoint(store, segment.checkpoint.keys, kinds)) {
    if (('add' in action || 'remove' in action) && !seen.has(pathOf(action))) yield action
  }
}

/** The same version, on a checkpoint that came after the snapshot was first read: a table is kept open for weeks. */
async function onNewestCheckpoint(store: ObjectStore, snapshot: Snapshot): Promise<Snapshot> {
  const { checkpoint, version } = snapshot
  const hint = await checkpointHint(store)
  if (hint === undefined || hint > version || hint <= (checkpoint?.version ?? -1)) return snapshot
  return (await loadSnapshot(store, { version })) ?? snapshot
}

/** One file may be written differently in actions of different writers. */
export function pathOf(action: FileAction): string {
  return decodedPath('add' in action ? action.add.path : action.remove.path)
}

/** The files of a version, newest first. */
export async function* readFiles(store: ObjectStore, snapshot: Snapshot): AsyncIterable<Add> {
  for await (const action of readFileActions(store, snapshot, ['add'])) if ('add' in action) yield action.add
}
