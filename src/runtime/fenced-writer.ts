import type { JetStreamManager, StoredMsg } from '@nats-io/jetstream'
import { assert } from '../base/assert.ts'
import { crashPoint } from '../base/crash-points.ts'
import { PipelineError, messageOf } from '../base/errors.ts'
import { headerNames } from '../subjects/names.ts'
import { type AckedPublisher, messageTooLarge, type PubAck, wrongLastMsgId, wrongLastSequence } from './acks.ts'
import { Fifo } from './fifo.ts'
import type { Log } from './log.ts'
import { logicVersionLine } from './logic-version.ts'
import type { Nats } from './nats.ts'
import { type Position, positionLines, storedMessage } from './position.ts'

/** One message of a single-writer stream. */
export interface Output {
  /** Where it is published: the stream's ingest subject. */
  readonly subject: string
  readonly body: string
  /** What it was made from. */
  readonly position: Position
  /** Sequence in ORDERS of the command it answers. */
  readonly srcSeq?: number
}

interface Entry {
  readonly output: Output
  readonly onStored: (sequence: number) => void
}

const retryMs = 200

/**
 * Header lines that let the server store a message only as the successor of the one before it.
 *
 * The sequence alone does not fence a pipeline: of the messages that an outdated writer has on their way, one may
 * expect just the sequence that its successor has reached, and from there on its pipeline fits. The chain of message
 * ids cannot be met by chance: each names its predecessor, and the epoch record is nobody's predecessor but the new
 * writer's (docs/adr/0003).
 */
export function fenceLines(writerId: string, lastSequence: number, isEpoch: boolean): string {
  const lines = `Nats-Expected-Last-Sequence: ${lastSequence}\r\nNats-Msg-Id: ${writerId}-${lastSequence + 1}\r\n`
  return isEpoch ? lines : `${lines}Nats-Expected-Last-Msg-Id: ${writerId}-${lastSequence}\r\n`
}

/**
 * Writes a single-writer stream in order, pipelined, every message fenced by the one that must precede it. The last
 * message of the stream must be this writer's epoch record.
 *
 * A refused or unanswered publish never loses or doubles a message: the writer stops, reads back what the stream holds
 * after the last message it knows of, and goes on with the first that is missing. If it finds a message there that is
 * not its own, another process has taken over: `onFatal` gets WRITER_FENCED.
 */
export class FencedWriter {
  readonly #nats: Nats
  readonly #publisher: AckedPublisher
  readonly #stream: string
  readonly #writerId: string
  readonly #logicLine: string
  readonly #log: Log
  readonly #onFatal: (error: Error) => void
  /** Not known to be stored, in order; the first `#sent` of them are on their way. */
  readonly #queue = new Fifo<Entry>()
  #sent = 0
  #storedSequence: number
  /** Bursts without an answer yet, those of earlier attempts included. */
  #unanswered = 0
  #holds = 0
  #recovering = false
  /** Something went wrong, and nothing has been stored since. */
  #isDoubtful = false
  #isSending = false
  #closed = false
  #blockedReason: string | undefined

  constructor(options: {
    nats: Nats
    publisher: AckedPublisher
    stream: string
    /** Unlike that of any other writer, earlier lives of this process included. */
    writerId: string
    /** Which rules make what is written. */
    logicVersion: number
    /** Sequence of the epoch record. */
    lastSequence: number
    log: Log
    onFatal: (error: Error) => void
  }) {
    this.#nats = options.nats
    this.#publisher = options.publisher
    this.#stream = options.stream
    this.#writerId = options.writerId
    this.#logicLine = logicVersionLine(options.logicVersion)
    this.#storedSequence = options.lastSequence
    this.#log = options.log
    this.#onFatal = options.onFatal
  }

  /** Messages that are not known to be stored. */
  get pending(): number {
    return this.#queue.length
  }

  /** Last sequence of the stream as this writer knows it. */
  get storedSequence(): number {
    return this.#storedSequence
  }

  /** Why nothing is being stored at the moment; undefined when all is well. */
  get blockedReason(): string | undefined {
    return this.#blockedReason
  }

  /** Queues a message; `onStored` is called in order, when the stream has it. */
  write(output: Output, onStored: (sequence: number) => void): void {
    this.#queue.push({ output, onStored })
    if (this.#isSending) return
    this.#isSending = true
    // What is written in one turn is a burst; the client sends it with one write as well.
    queueMicrotask(() => {
      this.#isSending = false
      this.#send()
    })
  }

  /** Sends what is written from now on only when `first` has been fulfilled. */
  holdUntil(first: Promise<unknown>): void {
    this.#holds += 1
    const release = () => {
      this.#holds -= 1
      this.#send()
    }
    first.then(release, () => undefined)
  }

  /** Sends nothing more. What is queued stays unsent. */
  close(): void {
    this.#closed = true
  }

  /**
   * Sends a burst and asks for the answer to its last message: stored, it proves that all before it are, since each was
   * stored only as the successor of the one it names (docs/adr/0003). After trouble one message goes first, so that the
   * answer says what is wrong with it and not with its predecessor.
   */
  #send(): void {
    if (this.#recovering || this.#closed || this.#holds > 0) return
    const count = this.#isDoubtful ? Math.min(1, this.pending) : this.pending
    while (this.#sent < count) {
      const entry = this.#queue.at(this.#sent)
      assert(entry, 'the queue is shorter than its length')
      const { subject, body } = entry.output
      const expected = this.#storedSequence + this.#sent
      const lines = this.#linesOf(entry.output, expected)
      this.#sent += 1
      try {
        if (this.#sent < count) this.#publisher.send(subject, body, lines)
        else this.#ask(subject, body, lines, expected + 1)
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(messageOf(error)))
        return
      }
    }
  }

  #ask(subject: string, body: string, lines: string, sequence: number): void {
    this.#unanswered += 1
    this.#publisher.publish(subject, body, lines, (ack) => {
      // A throw would end the client's reader, and with it everything else on the connection.
      try {
        this.#answered(sequence, ack)
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(messageOf(error)))
      }
    })
  }

  #answered(sequence: number, ack: PubAck): void {
    this.#unanswered -= 1
    // What has been read back already needs no answer.
    if (this.#closed || sequence <= this.#storedSequence) return
    if (ack.outcome === 'stored') {
      crashPoint('stored')
      assert(ack.sequence === sequence, `${this.#stream}: stored at ${ack.sequence} instead of ${sequence}`)
      this.#storedUpTo(sequence)
      if (!this.#isDoubtful) return
      this.#isDoubtful = false
      this.#send()
      return
    }
    this.#isDoubtful = true
    if (ack.outcome === 'refused') {
      if (ack.errCode === messageTooLarge) {
        this.#fail(new PipelineError('STREAM_ROOM', `${this.#stream} refuses a message: ${ack.description}`))
        return
      }
      if (ack.errCode !== wrongLastSequence && ack.errCode !== wrongLastMsgId)
        this.#blockedReason = `${this.#stream}: ${ack.description}`
    } else this.#blockedReason ??= `${this.#stream}: no answer`
    if (!this.#recovering) void this.#recover()
  }

  #storedUpTo(sequence: number): void {
    while (this.#storedSequence < sequence) {
      const [entry] = this.#queue.take(1)
      assert(entry, 'the queue is shorter than its length')
      this.#sent = Math.max(0, this.#sent - 1)
      this.#storedSequence += 1
      this.#blockedReason = undefined
      entry.onStored(this.#storedSequence)
    }
  }

  async #recover(): Promise<void> {
    this.#recovering = true
    try {
      while (!this.#closed) {
        // Later bursts of the pipeline are refused in a row; their answers are awaited so that none crosses the retry.
        while (this.#unanswered > 0) await pause(10)
        this.#sent = 0
        await this.#nats.whenConnected()
        if (await this.#readBack()) break
        await pause(retryMs)
      }
      if (this.#blockedReason !== undefined) await pause(retryMs)
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(messageOf(error)))
      return
    }
    this.#recovering = false
    this.#send()
  }

  /**
   * Confirms what is stored, by the stream's last message alone: if it is ours, so is everything before it, because each
   * message was stored only as the successor of the one it names. (Those before it may be gone already: POSITIONS keeps
   * the latest of each subject.)
   * @returns false when the server could not say
   */
  async #readBack(): Promise<boolean> {
    const { jsm } = this.#nats
    let lastSequence: number
    let last: StoredMsg | null
    try {
      lastSequence = await lastSequenceOf(jsm, this.#stream)
      if (lastSequence <= this.#storedSequence) return true
      last = await storedMessage(jsm, this.#stream, { seq: lastSequence })
    } catch (error) {
      this.#log.warn({ stream: this.#stream, problem: messageOf(error) }, 'cannot read back, trying again')
      return false
    }
    const isOurs =
      last?.header.get('Nats-Msg-Id') === `${this.#writerId}-${lastSequence}` &&
      lastSequence - this.#storedSequence <= this.pending
    if (!isOurs)
      throw new PipelineError(
        'WRITER_FENCED',
        `${this.#stream} holds a message at ${lastSequence} that another process wrote: it has taken over`,
      )
    this.#storedUpTo(lastSequence)
    return true
  }

  #linesOf({ position, srcSeq }: Output, lastSequence: number): string {
    const lines = fenceLines(this.#writerId, lastSequence, false) + positionLines(position) + this.#logicLine
    return srcSeq === undefined ? lines : `${lines}${headerNames.srcSeq}: ${srcSeq}\r\n`
  }

  #fail(error: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#onFatal(error)
  }
}

/** Last sequence of a stream, as its leader knows it. */
export async function lastSequenceOf(jsm: JetStreamManager, stream: string): Promise<number> {
  return (await jsm.streams.info(stream)).state.last_seq
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
