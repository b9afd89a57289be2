import { messageOf, isPipelineError, PipelineError } from '../base/errors.ts'
import { utf8FromText } from '../base/json.ts'
import type { Action } from './actions.ts'
import { committedFiles, pathOf } from './active-files.ts'
import { CheckpointFileWriter, groupRowsMax, hasOwnLayout } from './checkpoint-file.ts'
import { actionOf, type CheckpointFile, openCheckpoint, readCheckpoint, readRows, scanOf } from './checkpoint-read.ts'
import { fieldNames } from './checkpoint-schema.ts'
import { requireSupport } from './features.ts'
import { checkpointKey, lastCheckpointKey } from './log-files.ts'
import { checkpointHint } from './log-segment.ts'
import { decodedPath } from './partition-path.ts'
import type { Snapshot } from './snapshot.ts'
import type { ObjectStore } from './store.ts'

/**
 * Writes the classic checkpoint of a version, and then that it is the last one. One that is there already stays as it is;
 * so does `_last_checkpoint` while it names a later one.
 *
 * Streams from the checkpoint before. Of our own ones it takes over, as they are, all parts that the commits since have left
 * alone; in memory are the new file, compressed, and the paths in those commits.
 *
 * @returns `exists` when the version had a checkpoint
 * @throws PipelineError LAKE_FEATURE_UNSUPPORTED, LAKE_LOG_UNREADABLE, LAKE_VERSION_MISSING, LAKE_STORE_UNAVAILABLE
 * @see Delta protocol, "Checkpoints"
 */
export async function writeCheckpoint(
  store: ObjectStore,
  snapshot: Snapshot,
  nowMs: number,
): Promise<'written' | 'exists'> {
  requireSupport('checkpoint', snapshot, store.uri)
  const key = checkpointKey(snapshot.version)
  const writer = new CheckpointFileWriter()
  const data = await encode(store, snapshot, writer, nowMs - snapshot.properties.deletedFileRetentionMs)
  const outcome = await store.putIfAbsent(key, data)
  if (outcome === 'exists') return 'exists'
  if (outcome === 'unknown' && !(await isThere(store, key, data.length)))
    throw new PipelineError('LAKE_STORE_UNAVAILABLE', `${store.uri} does not say whether it has ${key}`, {
      retriable: true,
    })
  if (((await checkpointHint(store)) ?? -1) < snapshot.version) {
    const { actions, files } = writer.counts
    const hint = { version: snapshot.version, size: actions, sizeInBytes: data.length, numOfAddFiles: files }
    await store.put(lastCheckpointKey, utf8FromText(JSON.stringify(hint)))
  }
  return 'written'
}

async function isThere(store: ObjectStore, key: string, bytes: number): Promise<boolean> {
  for await (const info of store.list(key)) if (info.key === key) return info.bytes === bytes
  return false
}

async function encode(
  store: ObjectStore,
  snapshot: Snapshot,
  writer: CheckpointFileWriter,
  expiredMs: number,
): Promise<Uint8Array> {
  const { protocol, metaData, txns, checkpoint } = snapshot
  for (const action of [{ protocol }, { metaData }, ...[...txns.values()].map((txn) => ({ txn }))]) writer.add(action)
  const seen = new Set<string>()
  for await (const action of committedFiles(store, snapshot, seen)) keep(writer, action, expiredMs)
  if (!checkpoint) return writer.finish(() => Promise.resolve(new Uint8Array()))
  const [key = ''] = checkpoint.keys
  try {
    const source = checkpoint.keys.length === 1 ? await openCheckpoint(store, key) : undefined
    if (source && hasOwnLayout(source.metadata)) {
      await takeOver(source, writer, seen, expiredMs)
      return await writer.finish(async (range) => (await store.get(key, range)) ?? new Uint8Array())
    }
  } catch (error) {
    if (isPipelineError(error)) throw error
    throw new PipelineError('LAKE_LOG_UNREADABLE', `${key} of ${store.uri}: ${messageOf(error)}`, { cause: error })
  }
  for await (const action of readCheckpoint(store, checkpoint.keys, ['add', 'remove']))
    if (('add' in action || 'remove' in action) && !seen.has(pathOf(action))) keep(writer, action, expiredMs)
  return writer.finish(() => Promise.resolve(new Uint8Array()))
}

/** A file in a checkpoint is there already, and its tombstone needed only while the file may be. */
function keep(writer: CheckpointFileWriter, action: Action, expiredMs: number): void {
  if ('add' in action) writer.add({ add: { ...action.add, dataChange: false } })
  if ('remove' in action && (action.remove.deletionTimestamp ?? 0) >= expiredMs)
    writer.add({ remove: { ...action.remove, dataChange: false } })
}

/** What holds on of the files and tombstones in a checkpoint of our own. */
async function takeOver(
  source: CheckpointFile,
  writer: CheckpointFileWriter,
  seen: ReadonlySet<string>,
  expiredMs: number,
): Promise<void> {
  const keys = await scanOf(
    source,
    (kind, field) => isFile(kind) && (field === 'path' || field === 'deletionTimestamp'),
  )
  const whole = await scanOf(source, (kind, field) => isFile(kind) && fieldNames(kind).includes(field))
  let rowStart = 0
  for (const group of source.metadata.row_groups) {
    const range = { rowStart, rowEnd: rowStart + Number(group.num_rows) }
    rowStart = range.rowEnd
    const kind = (['add', 'remove'] as const).find((kind) =>
      group.columns.some(
        ({ meta_data: data }) =>
          data?.path_in_schema.join('.') === `${kind}.path` && data.statistics?.null_count === 0n,
      ),
    )
    if (!kind) continue
    const holds = (await readRows(keys, kind, range)).map((body) => {
      const { path, deletionTimestamp } = body as { path: string; deletionTimestamp?: bigint | null }
      return !seen.has(decodedPath(path)) && (kind === 'add' || (deletionTimestamp ?? 0n) >= expiredMs)
    })
    const kept = holds.filter(Boolean).length
    if (kept === holds.length && kept > groupRowsMax / 2) writer.take(group, kind)
    else if (kept > 0)
      for (const [at, body] of (await readRows(whole, kind, range)).entries())
        if (holds[at]) writer.add(actionOf(kind, body))
  }
}

function isFile(kind: string): boolean {
  return kind === 'add' || kind === 'remove'
}
