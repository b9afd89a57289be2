import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { JetStreamApiError } from '@nats-io/jetstream'
import { nuid } from '@nats-io/transport-node'
import { crashPoint } from '../base/crash-points.ts'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { WorkerName } from '../subjects/contract.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const level1 = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** The stream behind the bucket; a snapshot's subjects are this prefix, its worker, its id, and part number or `meta`. */
export const snapshotsStream = 'KV_SNAPSHOTS'
const prefix = '$KV.SNAPSHOTS'
/** Well below the smallest `max_payload` anybody sets. */
const partBytes = 256 * 1024
/** Parts on their way at once. */
const partsAtOnce = 4
/** Snapshots kept of each worker: the older ones are for when the newest is damaged. */
export const snapshotsKept = 3
/** Parts without `meta` are of a snapshot under way, or, after this long, of one whose writer was killed. */
const orphanMs = 600_000
/** JetStream: "maximum bytes exceeded". */
const streamFull = 10077

/** State that a fold can be stopped at and gone on from. */
export interface Snapshotable {
  /** Grows when the same input from the same state makes other outputs than before. */
  readonly logicVersion: number
  /** Everything that follows from the input so far, as values that `v8.serialize` takes; equal states are deeply equal. */
  save(): unknown
  /** Last message in it of a stream that is read beside the input. */
  followedSequence?(): number
  /**
   * Goes on from what `save` gave; only of a fold that has folded nothing.
   * @param logicVersion of the fold that saved it: this one's, or an earlier
   */
  load(state: unknown, logicVersion: number): void
}

/** What a snapshot says of itself. */
export interface SnapshotMeta {
  readonly worker: WorkerName
  readonly id: string
  readonly logicVersion: number
  /** Everything up to this message of the worker's input is in it. */
  readonly inSeq: number
  /** Of the worker's own stream: the last output that follows from it. */
  readonly ownSequence: number
  /** The output after which all are of this `logicVersion`; absent: all from the first on. */
  readonly logicSince?: number
  /** Of the other stream that the worker reads (the gate: EXECUTIONS): the last message in it. */
  readonly followedSequence?: number
  readonly takenMs: number
  /** SHA-256 of the uncompressed state. */
  readonly sha256: string
  /** As stored, compressed. */
  readonly bytes: number
  readonly parts: number
}

export type SnapshotPosition = Pick<
  SnapshotMeta,
  'logicVersion' | 'inSeq' | 'ownSequence' | 'logicSince' | 'followedSequence'
>

/** All snapshots of a worker that are complete, the newest first. */
export async function listSnapshots(nats: Nats, worker: WorkerName): Promise<SnapshotMeta[]> {
  const metas = await Promise.all(
    [...(await subjectsOf(nats, worker))]
      .filter((subject) => subject.endsWith('.meta'))
      .map((subject) => storedMessage(nats.jsm, snapshotsStream, { last_by_subj: subject })),
  )
  return metas
    .flatMap((meta) => (meta ? [meta.json<SnapshotMeta>()] : []))
    .sort((a, b) => b.ownSequence - a.ownSequence || b.takenMs - a.takenMs)
}

/** @throws PipelineError SNAPSHOT_DAMAGED */
export async function readSnapshot(nats: Nats, meta: SnapshotMeta): Promise<unknown> {
  const damaged = (why: string, cause?: unknown) =>
    new PipelineError('SNAPSHOT_DAMAGED', `the snapshot ${meta.id} of ${meta.worker} ${why}`, { cause })
  const parts: Uint8Array[] = []
  await forEachPart(meta.parts, async (part) => {
    const stored = await storedMessage(nats.jsm, snapshotsStream, { last_by_subj: subjectOf(meta, part) })
    if (!stored) throw damaged(`lacks its part ${part + 1} of ${meta.parts}`)
    parts[part] = stored.data
  })
  const compressed = Buffer.concat(parts)
  let state: Buffer
  try {
    state = await decompress(compressed)
  } catch (error) {
    throw damaged(`cannot be unpacked: ${messageOf(error)}`, error)
  }
  if (sha256Of(state) !== meta.sha256) throw damaged('is not what was written: its SHA-256 is another')
  try {
    return deserialize(state)
  } catch (error) {
    throw damaged(`was written by another version of Node: ${messageOf(error)}`, error)
  }
}

/**
 * Writes a snapshot, then removes the oldest beyond those kept; where there is no room for it, also those it can spare.
 * @throws PipelineError SNAPSHOT_ROOM
 */
export async function writeSnapshot(
  nats: Nats,
  worker: WorkerName,
  position: SnapshotPosition,
  state: unknown,
): Promise<SnapshotMeta> {
  const serialized = serialize(state)
  const compressed = await compress(serialized, level1)
  const takenMs = Date.now()
  const meta: SnapshotMeta = {
    worker,
    id: `${position.ownSequence}-${takenMs}-${nuid.next().slice(-6)}`,
    ...position,
    takenMs,
    sha256: sha256Of(serialized),
    bytes: compressed.length,
    parts: Math.ceil(compressed.length / partBytes),
  }
  await removeOrphans(nats, worker)
  await removeBeyond(nats, worker, snapshotsKept - 1)
  for (let kept = snapshotsKept - 1; ; kept -= 1) {
    try {
      await forEachPart(meta.parts, async (part) => {
        const data = compressed.subarray(part * partBytes, (part + 1) * partBytes)
        await nats.js.publish(subjectOf(meta, part), data)
      })
      crashPoint('parts-written')
      await nats.js.publish(subjectOf(meta, 'meta'), JSON.stringify(meta))
      return meta
    } catch (error) {
      await removeSnapshot(nats, meta).catch(() => undefined)
      if (!(error instanceof JetStreamApiError) || error.code !== streamFull) throw error
      if (kept === 0)
        throw new PipelineError(
          'SNAPSHOT_ROOM',
          `KV SNAPSHOTS has no room for the ${compressed.length} bytes of a snapshot of ${worker}: give the streams more room (STREAMS_MAX_BYTES), or the bucket (nats stream edit ${snapshotsStream} --max-bytes)`,
        )
      await removeBeyond(nats, worker, Math.max(1, kept - 1))
    }
  }
}

async function removeBeyond(nats: Nats, worker: WorkerName, kept: number): Promise<void> {
  for (const meta of (await listSnapshots(nats, worker)).slice(kept)) await removeSnapshot(nats, meta)
}

/** Its `meta` goes first: without it there is no snapshot. */
export async function removeSnapshot(nats: Nats, { worker, id }: Pick<SnapshotMeta, 'worker' | 'id'>): Promise<void> {
  for (const last of ['meta', '*'])
    await nats.jsm.streams.purge(snapshotsStream, { filter: `${prefix}.${worker}.${id}.${last}` })
}

async function removeOrphans(nats: Nats, worker: WorkerName): Promise<void> {
  const subjects = await subjectsOf(nats, worker)
  const ids = new Set([...subjects].map((subject) => subject.split('.').at(-2) ?? ''))
  for (const id of ids) {
    const [, takenMs = '0'] = id.split('-')
    if (subjects.has(subjectOf({ worker, id }, 'meta')) || Date.now() - Number(takenMs) < orphanMs) continue
    await removeSnapshot(nats, { worker, id })
  }
}

async function subjectsOf(nats: Nats, worker: WorkerName): Promise<Set<string>> {
  const { state } = await nats.jsm.streams.info(snapshotsStream, { subjects_filter: `${prefix}.${worker}.>` })
  return new Set(Object.keys(state.subjects ?? {}))
}

function subjectOf({ worker, id }: Pick<SnapshotMeta, 'worker' | 'id'>, last: number | 'meta'): string {
  return `${prefix}.${worker}.${id}.${last}`
}

function sha256Of(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

/** Does something for each of 0 … count − 1, a few at a time; ends when all that has begun has ended. */
async function forEachPart(count: number, action: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) {
      const index = next
      next += 1
      await action(index)
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: partsAtOnce }, lane))
  const failed = lanes.find((lane) => lane.status === 'rejected')
  if (failed) throw failed.reason
}
