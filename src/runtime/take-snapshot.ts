import { isDeepStrictEqual } from 'node:util'
import { assert } from '../base/assert.ts'
import { PipelineError } from '../base/errors.ts'
import { workerSpec, type WorkerName, type WorkerSpec } from '../subjects/contract.ts'
import { Attempts } from './attempts.ts'
import { lastSequenceOf } from './fenced-writer.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'
import { Replay } from './replay.ts'
import { listSnapshots, readSnapshot, removeSnapshot, type SnapshotMeta, writeSnapshot } from './snapshots.ts'
import type { Fold } from './fold.ts'

/** A fold of a worker that is only folded again: what it would tell others goes nowhere. */
export interface SilentFold {
  readonly fold: Fold
  stop(): void
}

/**
 * Takes a snapshot of a worker from its streams, while the worker itself goes on: folds again from its last snapshot to
 * what is stored now, writes that state, reads it back and compares.
 * @returns undefined when nothing has been stored since the last one
 * @throws PipelineError LOGIC_CHANGED, LOGIC_NEWER, REPLAY_DIFFERS, SNAPSHOT_MISSING, SNAPSHOT_ROOM, SNAPSHOT_DAMAGED
 */
export async function takeSnapshot(
  nats: Nats,
  worker: WorkerName,
  createFold: () => SilentFold,
  log: Log,
): Promise<SnapshotMeta | undefined> {
  const spec = workerSpec(worker)
  const target = await lastOutputOf(nats, spec)
  const [newest] = await listSnapshots(nats, worker)
  const silent = createFold()
  const { fold } = silent
  const faults = new Attempts(nats, spec, log)
  await faults.load()
  const replay = new Replay({ nats, spec, fold, log, faults })
  const { state } = fold
  assert(state, `${worker} has no state`)
  if (target === 0 || (newest && newest.ownSequence >= target && newest.logicVersion === state.logicVersion))
    return undefined
  try {
    await replay.finish(target, true)
  } finally {
    replay.stop()
    silent.stop()
  }
  const { inSeq, ownSequence } = replay
  const followedSequence = state.followedSequence?.()
  const { logicVersion } = state
  const position = { logicVersion, inSeq, ownSequence, logicSince: replay.logicSince }
  const saved = state.save()
  const meta = await writeSnapshot(
    nats,
    worker,
    followedSequence === undefined ? position : { ...position, followedSequence },
    saved,
  )
  const again = createFold()
  again.fold.state?.load(await readSnapshot(nats, meta), logicVersion)
  again.stop()
  if (isDeepStrictEqual(again.fold.state?.save(), saved)) return meta
  await removeSnapshot(nats, meta)
  throw new PipelineError('SNAPSHOT_DAMAGED', `the snapshot ${meta.id} of ${worker} was read back as another state`)
}

/** The sequence of the last output in which a worker's position can be read; 0 when there is none. */
export async function lastOutputOf(nats: Nats, { output, positionSubject }: WorkerSpec): Promise<number> {
  assert(output, 'a worker with a stream of its own')
  if (positionSubject === undefined) return lastSequenceOf(nats.jsm, output)
  return (await storedMessage(nats.jsm, output, { last_by_subj: positionSubject }))?.seq ?? 0
}
