import { PipelineError } from '../base/errors.ts'
import type { StreamName, WorkerName } from '../subjects/contract.ts'
import { deadLetterSubject, headerNames } from '../subjects/names.ts'
import { type AckedPublisher, type PubAck, wrongLastSequence } from './acks.ts'
import type { Log } from './log.ts'
import { positionLines } from './position.ts'
import type { InputMessage } from './reader.ts'
import { headerLine } from './wire-headers.ts'

/** A message that cannot be read: stored once in the DLQ before it is acknowledged. */
export interface DeadLetter {
  readonly message: InputMessage
  readonly reason: string
}

/** A message of a stream with many writers: it may be stored again after a crash. */
export interface RepeatableOutput {
  readonly subject: string
  readonly body: string
  readonly inSeq: number
  /** Nats-Msg-Id: spares readers most repeats; nothing relies on it. */
  readonly msgId: string
}

const retryMs = 200

/** Writes to streams that have many writers, in place until each message is stored. */
export class SideWriter {
  readonly #publisher: AckedPublisher
  readonly #log: Log
  #isClosed = false
  #deadLetters = 0
  #blockedReason: string | undefined

  constructor(publisher: AckedPublisher, log: Log) {
    this.#publisher = publisher
    this.#log = log
  }

  get deadLetters(): number {
    return this.#deadLetters
  }

  get blockedReason(): string | undefined {
    return this.#blockedReason
  }

  /** Stores a dead letter, once for ever: its subject must be empty. */
  async storeDeadLetter(worker: WorkerName, input: StreamName, { message, reason }: DeadLetter): Promise<void> {
    const lines = [
      headerLine('Nats-Expected-Last-Subject-Sequence', '0'),
      headerLine('Reason', reason.replace(/[^\x20-\x7e]/g, '?')),
      headerLine('Subject', message.subject),
      headerLine(headerNames.inSeq, String(message.sequence)),
    ]
    const subject = deadLetterSubject(worker, input, message.sequence)
    // Refused for its sequence: it is there since an earlier life of this worker.
    const isThere = (ack: PubAck) => ack.outcome === 'refused' && ack.errCode === wrongLastSequence
    await this.#storeUntilDone(subject, message.data, lines.join(''), isThere)
    this.#deadLetters += 1
  }

  async store({ subject, body, inSeq, msgId }: RepeatableOutput): Promise<void> {
    const lines = headerLine('Nats-Msg-Id', msgId) + positionLines({ inSeq, inIndex: 0 })
    await this.#storeUntilDone(subject, body, lines, () => false)
  }

  /** What is not stored by now fails with PUBLISH_UNRESOLVED. */
  close(): void {
    this.#isClosed = true
  }

  async #storeUntilDone(
    subject: string,
    body: Uint8Array | string,
    headerLines: string,
    isThere: (ack: PubAck) => boolean,
  ): Promise<void> {
    for (;;) {
      const ack = await this.#publisher.request(subject, body, headerLines)
      if (ack.outcome === 'stored' || isThere(ack)) {
        this.#blockedReason = undefined
        return
      }
      this.#blockedReason = `${subject}: ${ack.outcome === 'refused' ? ack.description : 'no answer'}`
      this.#log.warn({ subject, ack }, 'not stored yet, trying again')
      await new Promise((resolve) => setTimeout(resolve, retryMs))
      if (this.#isClosed) throw new PipelineError('PUBLISH_UNRESOLVED', `${subject} is not stored`)
    }
  }
}
