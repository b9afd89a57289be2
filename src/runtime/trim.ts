import type { StreamName, WorkerName } from '../subjects/contract.ts'
import { tapeVenue, tickSubject } from '../subjects/names.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'
import { listSnapshots, type SnapshotMeta } from './snapshots.ts'

export const trimmedStreams = ['ORDERS', 'RISK', 'EXECUTIONS', 'TICKS', 'ALT'] as const satisfies readonly StreamName[]
export type TrimmedStream = (typeof trimmedStreams)[number]

/** Up to where a reader no longer needs a stream. */
export interface Need {
  /** Who, and what of it. */
  readonly reader: string
  /** It has this message and all before it in a safe place; undefined: it has not said. */
  readonly doneSequence: number | undefined
}

/** What of a stream nobody needs any more. */
export interface TrimPlan {
  readonly stream: TrimmedStream
  readonly firstSequence: number
  readonly lastSequence: number
  readonly bytes: number
  readonly bytesMax: number
  /** Everything up to this message may go; below `firstSequence`: nothing. */
  readonly upTo: number
  /** Who needs what comes after it; unset: it is the last message, which stays. */
  readonly neededBy?: string
}

/** What the active process of a worker without snapshots has settled; undefined while that is not known for sure. */
export type SettledOf = (worker: WorkerName) => Promise<number | undefined>

/**
 * What each stream may lose: what all its readers have made durable, and no snapshot that is kept has to be gone on
 * from. The last message stays, because a writer's position is read in it.
 */
export async function planTrim(nats: Nats, settledOf: SettledOf): Promise<TrimPlan[]> {
  const oldest = async (worker: WorkerName) => (await listSnapshots(nats, worker)).at(-1)
  const [gate, matcher, pnl] = await Promise.all([oldest('risk-gate'), oldest('oms-matcher'), oldest('pnl-updater')])
  const snapshot = (worker: WorkerName, valueOf: (meta: SnapshotMeta) => number | undefined, meta?: SnapshotMeta) => ({
    reader: `the oldest snapshot of ${worker}`,
    doneSequence: meta && valueOf(meta),
  })
  const settled = async (worker: WorkerName) => ({ reader: worker, doneSequence: await settledOf(worker) })
  const needs: Readonly<Record<TrimmedStream, readonly Need[]>> = {
    ORDERS: [snapshot('risk-gate', (meta) => meta.inSeq, gate)],
    RISK: [
      snapshot('risk-gate', (meta) => meta.ownSequence, gate),
      snapshot('oms-matcher', (meta) => meta.inSeq, matcher),
    ],
    EXECUTIONS: [
      snapshot('risk-gate', (meta) => meta.followedSequence, gate),
      snapshot('oms-matcher', (meta) => meta.ownSequence, matcher),
      snapshot('pnl-updater', (meta) => meta.inSeq, pnl),
      await settled('tape'),
      await settled('execution-sink'),
    ],
    TICKS: [await settled('tick-sink')],
    ALT: [await settled('alt-sink')],
  }
  return Promise.all(trimmedStreams.map((stream) => planOf(nats, stream, needs[stream])))
}

async function planOf(nats: Nats, stream: TrimmedStream, needs: readonly Need[]): Promise<TrimPlan> {
  const { state, config } = await nats.jsm.streams.info(stream)
  const { first_seq: firstSequence, last_seq: lastSequence, bytes } = state
  const sizes = { stream, firstSequence, lastSequence, bytes, bytesMax: config.max_bytes }
  let plan: TrimPlan = { ...sizes, upTo: Math.max(0, lastSequence - 1) }
  for (const { reader, doneSequence = 0 } of needs)
    // One that claims to be ahead of the stream speaks of another one.
    if (doneSequence > lastSequence) plan = { ...sizes, upTo: 0, neededBy: reader }
    else if (doneSequence < plan.upTo) plan = { ...sizes, upTo: doneSequence, neededBy: reader }
  return plan
}

/** @returns how many messages are gone */
export async function trim(nats: Nats, { stream, upTo, firstSequence }: TrimPlan): Promise<number> {
  if (upTo < firstSequence) return 0
  if (stream !== 'TICKS') return (await nats.jsm.streams.purge(stream, { seq: upTo + 1 })).purged
  // The tape reads its position in its last tick, which may be much older than those of others.
  const own = tickSubject(tapeVenue, '*')
  const last = await storedMessage(nats.jsm, stream, { last_by_subj: own })
  if (!last || last.seq > upTo) return (await nats.jsm.streams.purge(stream, { seq: upTo + 1 })).purged
  let purged = (await nats.jsm.streams.purge(stream, { seq: last.seq })).purged
  const { subjects = {} } = (await nats.jsm.streams.info(stream, { subjects_filter: '>' })).state
  const venues = new Set(Object.keys(subjects).map((subject) => subject.split('.')[2] ?? ''))
  for (const venue of venues)
    if (venue !== tapeVenue)
      purged += (await nats.jsm.streams.purge(stream, { filter: tickSubject(venue, '*'), seq: upTo + 1 })).purged
  return purged
}
