import { nuid } from '@nats-io/transport-node'
import { assert } from '../base/assert.ts'
import { crashPoint } from '../base/crash-points.ts'
import { PipelineError } from '../base/errors.ts'
import { streamSpec, type WorkerSpec } from '../subjects/contract.ts'
import type { AckedPublisher } from './acks.ts'
import { fenceLines, FencedWriter, lastSequenceOf } from './fenced-writer.ts'
import type { Log } from './log.ts'
import { logicVersionLine } from './logic-version.ts'
import type { Nats } from './nats.ts'
import { type Position, positionLines, positionOf, positionZero, storedMessage } from './position.ts'
import { assertNotRewound } from './rewound.ts'

const retryMs = 200

/**
 * Reads the position in the last own output and stores the epoch record after it; from then on no earlier process can
 * write to the worker's stream.
 * @returns `positionSequence`: of the message that the position was read in; 0 without any
 * @throws PipelineError STREAM_REWOUND, STREAM_GAP when the last message is gone; what `signal` says when it is aborted
 */
export async function takeOver(
  nats: Nats,
  publisher: AckedPublisher,
  spec: WorkerSpec,
  logicVersion: number,
  log: Log,
  signal: AbortSignal,
  onFatal: (error: Error) => void,
): Promise<{ position: Position; positionSequence: number; writer: FencedWriter }> {
  const { name, output, positionSubject } = spec
  assert(output, `${name} has no stream of its own`)
  const { epoch, ingestPrefix = '' } = streamSpec(output)
  assert(epoch, `${output} has many writers`)
  const writerId = nuid.next()
  for (;;) {
    await assertNotRewound(nats, spec)
    const lastSequence = await lastSequenceOf(nats.jsm, output)
    const query = positionSubject === undefined ? { seq: lastSequence } : { last_by_subj: positionSubject }
    const last = lastSequence === 0 ? null : await storedMessage(nats.jsm, output, query)
    if (lastSequence > 0 && !last && positionSubject === undefined)
      throw new PipelineError('STREAM_GAP', `${output}: its last message (${lastSequence}) is gone`)
    const position = last ? positionOf(last.header) : positionZero
    const lines = fenceLines(writerId, lastSequence, true) + positionLines(position) + logicVersionLine(logicVersion)
    const body = JSON.stringify({ epoch: lastSequence + 1, ...epoch.rest })
    const ack = await publisher.request(ingestPrefix + epoch.subject, body, lines)
    if (ack.outcome === 'stored') {
      crashPoint('taken-over')
      const stream = { nats, publisher, stream: output, lastSequence: ack.sequence }
      const writer = new FencedWriter({ ...stream, writerId, logicVersion, log, onFatal })
      return { position, positionSequence: last?.seq ?? 0, writer }
    }
    // Unknown: if it was stored after all, the next one follows it. Refused: somebody wrote in between, or no room.
    log.warn({ output, ack }, 'epoch record not stored yet, trying again')
    await new Promise((resolve) => setTimeout(resolve, retryMs))
    signal.throwIfAborted()
  }
}

/**
 * The position of a worker without a stream of its own: in its last output among those of others. Anybody may publish
 * there, so a position that cannot be counts as none, and the worker starts over.
 */
export async function readPosition(
  nats: Nats,
  { writes, positionSubject }: WorkerSpec,
  inputLastSequence: number,
): Promise<Position> {
  let position = positionZero
  for (const stream of positionSubject === undefined ? [] : writes) {
    const last = await storedMessage(nats.jsm, stream, { last_by_subj: positionSubject ?? '' })
    const found = last ? positionOf(last.header) : positionZero
    if (Number.isSafeInteger(found.inSeq) && found.inSeq <= inputLastSequence) position = found
  }
  return position
}
