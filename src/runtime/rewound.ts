import { assert } from '../base/assert.ts'
import { usFromRfc3339 } from '../base/clock.ts'
import { PipelineError } from '../base/errors.ts'
import { decodeRisk, type RiskMessage } from '../schemas/risk.ts'
import { type StreamName, type WorkerSpec, workerSpecs } from '../subjects/contract.ts'
import { lastSequenceOf } from './fenced-writer.ts'
import type { Nats } from './nats.ts'
import { positionOf, storedMessage } from './position.ts'
import { listSnapshots } from './snapshots.ts'

/** Something that was made when a stream was at least that long. */
interface Witness {
  readonly what: string
  readonly sequence: number
  readonly remedy?: string
}

/**
 * Streams that name each other's messages are of one time. When one was restored from before, its writer would fill the
 * place with other messages, and whoever goes on from there would take some of them for what it has seen: so its writer
 * refuses, before it writes anything.
 * @throws PipelineError STREAM_REWOUND
 */
export async function assertNotRewound(nats: Nats, spec: WorkerSpec): Promise<void> {
  const { name, output } = spec
  assert(output, `${name} has no stream of its own`)
  // First the witnesses: the stream may only be longer afterwards.
  const witnesses = [...(await readersOf(nats, output)), ...(await snapshotsOf(nats, output))]
  const last = await lastSequenceOf(nats.jsm, output)
  for (const { what, sequence, remedy = '' } of witnesses)
    if (sequence > last)
      throw new PipelineError(
        'STREAM_REWOUND',
        `${output} ends at ${last}, but ${what} has seen ${sequence}: it was restored from before, or made anew. Restore all streams from one back-up${remedy}`,
      )
}

async function readersOf(nats: Nats, stream: StreamName): Promise<Witness[]> {
  const witnesses: Witness[] = []
  for (const { input, output, positionSubject } of workerSpecs) {
    if (input !== stream || !output) continue
    const last =
      positionSubject === undefined
        ? await lastMessage(nats, output)
        : await storedMessage(nats.jsm, output, { last_by_subj: positionSubject })
    if (last) witnesses.push({ what: `${output} ${last.seq}`, sequence: positionOf(last.header).inSeq })
  }
  if (stream === 'EXECUTIONS') {
    const last = await lastDecisions(nats, () => true)
    if (last) witnesses.push({ what: `RISK ${last.sequence}`, sequence: last.message.executionsSeq })
  }
  return witnesses
}

/** Those that would be gone on from when the stream is as long again. */
async function snapshotsOf(nats: Nats, stream: StreamName): Promise<Witness[]> {
  const witnesses: Witness[] = []
  for (const { name, input, output } of workerSpecs) {
    if (!output) continue
    for (const { id, inSeq, ownSequence, followedSequence = 0 } of await listSnapshots(nats, name)) {
      const follows = stream === 'EXECUTIONS' ? followedSequence : 0
      const sequence = output === stream ? ownSequence : input === stream ? inSeq : follows
      const remedy = `, or without that snapshot: nats stream purge KV_SNAPSHOTS --subject '$KV.SNAPSHOTS.${name}.${id}.>'`
      witnesses.push({ what: `the snapshot ${id} of ${name}`, sequence, remedy })
    }
  }
  return witnesses
}

async function lastMessage(nats: Nats, stream: StreamName) {
  const last = await lastSequenceOf(nats.jsm, stream)
  return last === 0 ? null : storedMessage(nats.jsm, stream, { seq: last })
}

/** The last message of RISK with decisions that fit; undefined when there is none, or it has been trimmed. */
async function lastDecisions(
  nats: Nats,
  fits: (message: RiskMessage) => boolean,
): Promise<{ sequence: number; message: RiskMessage } | undefined> {
  for (let sequence = await lastSequenceOf(nats.jsm, 'RISK'); sequence > 0; sequence -= 1) {
    const stored = await storedMessage(nats.jsm, 'RISK', { seq: sequence })
    if (!stored) return undefined
    const message = decodeRisk(stored.data)
    if (message.epoch === undefined && fits(message)) return { sequence, message }
  }
  return undefined
}

/**
 * ORDERS has many writers, and may be as long again before anybody looks. The last command that was decided must still
 * be the one of that time.
 * @throws PipelineError STREAM_REWOUND
 */
export async function assertSameOrders(nats: Nats): Promise<void> {
  const last = await lastDecisions(nats, ({ records }) => records.some(({ srcSeq }) => srcSeq > 0))
  const record = last?.message.records.findLast(({ srcSeq }) => srcSeq > 0)
  if (!last || !record) return
  const order = await storedMessage(nats.jsm, 'ORDERS', { seq: record.srcSeq })
  // A record is never of an earlier time than its command, of a later one when the server's clock was set back.
  if (order && (usFromRfc3339(order.timestamp) ?? 0) > record.timeUs)
    throw new PipelineError(
      'STREAM_REWOUND',
      `ORDERS ${record.srcSeq} is of ${order.timestamp}, and RISK ${last.sequence} had decided it before: ORDERS was restored from before, or made anew. Restore it, or make it again with first_seq ${record.srcSeq + 1}`,
    )
}
