import type { ConsumerMessages } from '@nats-io/jetstream'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { StreamName, WorkerName } from '../subjects/contract.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { Pull, type PullOptions } from './pull.ts'
import {
  createDurable,
  type DeliveredMessage,
  deliveryNumberOf,
  type InputMessage,
  inputMessageOf,
  sequencePresent,
} from './reader.ts'

/** A message that has arrived. */
export interface Delivery {
  readonly input: InputMessage
  /** Where it is acknowledged. */
  readonly reply: string
  /** Which making of the consumer delivered it: a new one counts from 1 and must not see older acknowledgements. */
  readonly generation: number
}

/** The stream has messages for us and none has come for this long: the consumer is made again. */
const stallMs = 1_000
/** The same of a worker that pulls for itself, and is held up by its commits. */
const pullStallMs = 3_000
const gapRetriesMax = 3
/**
 * An acknowledgement covers all before it and only moves the consumer's floor, so it can wait for others: at 1,000
 * messages a second each one would be a write of its own.
 */
const ackEveryMs = 20
const retryMs = 200
/** Of a worker that does not pull for itself: asked for ahead, and on their way or unacknowledged. */
const prefetchMessages = 500
const unackedMax = 2_000

/**
 * The input of a worker: every message of the stream once and in order, whatever the durable consumer does. Its name
 * is shared by all processes of the worker, so one that wakes up late may take messages from it, acknowledge what
 * nobody has done, or remove it. What came before is dropped, and a gap, a removal or silence makes it again.
 */
export class Intake {
  readonly #options: IntakeOptions
  #source: Pull | ConsumerMessages | undefined
  #generation = 0
  #lastArrived = 0
  /** Of the last delivery of the consumer as it is made now, come again or not. */
  #lastReply: string | undefined
  #lastArrivalMs = -Infinity
  #isRemaking = false
  #isStopped = false
  #gapRetries = 0
  #redelivered = 0
  #blockedReason: string | undefined
  #settled: Delivery | undefined
  #ackTimer: NodeJS.Timeout | undefined

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Messages that came again. */
  get redelivered(): number {
    return this.#redelivered
  }

  get blockedReason(): string | undefined {
    return this.#blockedReason
  }

  async start(fromSequence: number): Promise<void> {
    this.#lastArrived = fromSequence - 1
    await this.#consume()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#close()
  }

  /** Acknowledges this message and all before it, soon. May be lost without harm. */
  acknowledge(delivery: Delivery): void {
    this.#settled = delivery
    this.#ackTimer ??= setTimeout(() => this.acknowledgeNow(), ackEveryMs)
  }

  /** Acknowledges what is settled and has waited for others. */
  acknowledgeNow(): void {
    clearTimeout(this.#ackTimer)
    this.#ackTimer = undefined
    const { connection } = this.#options.nats
    if (this.#settled?.generation === this.#generation && !connection.isClosed())
      connection.publish(this.#settled.reply, '+ACK')
    this.#settled = undefined
  }

  /** Of a worker that pulls for itself: there is room again. */
  more(): void {
    if (this.#source instanceof Pull) this.#source.more()
  }

  /** Called now and then while everything that has arrived is done. */
  checkStall(streamLastSequence: number): void {
    const silentMs =
      this.#source instanceof Pull
        ? performance.now() - Math.max(this.#lastArrivalMs, this.#source.askedMs) - pullStallMs
        : performance.now() - this.#lastArrivalMs - stallMs
    const isStalled = this.#source !== undefined && streamLastSequence > this.#lastArrived && silentMs > 0
    if (!isStalled || !this.#options.nats.isConnected()) return
    this.#lastArrivalMs = performance.now()
    void this.#remake('nothing is delivered')
  }

  async #consume(): Promise<void> {
    const { nats, stream, worker, pull, gapsTo = 0 } = this.#options
    const generation = (this.#generation += 1)
    this.#lastReply = undefined
    if (this.#lastArrived < gapsTo) {
      const next = (await sequencePresent(nats, stream, this.#lastArrived + 1)) ?? Infinity
      this.#lastArrived = Math.min(next - 1, gapsTo)
    }
    const arrived = (message: DeliveredMessage) => this.#arrived(message, generation)
    await createDurable(nats, stream, worker, this.#lastArrived + 1, pull?.unackedMax ?? unackedMax)
    if (pull) {
      const gone = (reason: string) => {
        if (generation === this.#generation) void this.#remake(reason)
      }
      this.#source = new Pull(nats, { stream, consumer: worker }, pull, arrived, gone)
    } else {
      const consumer = await nats.js.consumers.get(stream, worker)
      const messages = await consumer.consume({ max_messages: prefetchMessages, callback: arrived })
      this.#source = messages
      void this.#watch(messages)
    }
    // What a stopped one asked for would go past its successor.
    if (this.#isStopped) await this.#close()
  }

  async #close(): Promise<void> {
    const source = this.#source
    this.#source = undefined
    await Promise.resolve(source?.close()).catch(() => undefined)
  }

  async #watch(messages: ConsumerMessages): Promise<void> {
    try {
      for await (const { type } of messages.status()) {
        if (this.#isStopped || messages !== this.#source) return
        if (type === 'consumer_deleted' || type === 'consumer_not_found') {
          await this.#remake(type)
          return
        }
      }
    } catch (error) {
      this.#options.onFatal(error instanceof Error ? error : new Error(messageOf(error)))
    }
  }

  /** Makes the consumer again, to deliver what follows the last message that has arrived. */
  async #remake(why: string): Promise<void> {
    if (this.#isRemaking) return
    this.#isRemaking = true
    const { nats, worker, log, isActive, onFatal } = this.#options
    await this.#close()
    while (!this.#isStopped) {
      try {
        await nats.whenConnected()
        if (!(await isActive())) {
          onFatal(new PipelineError('WRITER_FENCED', `${worker}: another process has taken over`))
          return
        }
        log.warn({ worker, why, after: this.#lastArrived }, 'making the consumer again')
        await this.#consume()
        this.#blockedReason = undefined
        break
      } catch (error) {
        this.#blockedReason = `cannot make the consumer: ${messageOf(error)}`
        log.warn({ worker, problem: messageOf(error) }, 'cannot make the consumer, trying again')
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
    this.#isRemaking = false
  }

  #arrived(message: DeliveredMessage, generation: number): void {
    if (this.#isStopped) return
    const input = inputMessageOf(message)
    this.#lastArrivalMs = performance.now()
    const { reply = '' } = message
    const lastReply = this.#lastReply
    this.#lastReply = reply
    if (input.sequence <= this.#lastArrived) {
      this.#redelivered += 1
      return
    }
    if (input.sequence !== this.#lastArrived + 1 && !this.#isAccepted(input.sequence, reply, lastReply)) {
      this.#gap(input.sequence)
      return
    }
    this.#gapRetries = 0
    this.#lastArrived = input.sequence
    this.#options.onDelivery({ input, reply, generation })
  }

  /** Whether what is missing in between may be, and is: the consumer has delivered nothing else to anybody. */
  #isAccepted(sequence: number, reply: string, lastReply: string | undefined): boolean {
    const { gapsTo = 0 } = this.#options
    return (
      sequence <= gapsTo + 1 && lastReply !== undefined && deliveryNumberOf(reply) === deliveryNumberOf(lastReply) + 1
    )
  }

  /** Messages are missing in between: they are read again, and if they are gone the loss is named. */
  #gap(sequence: number): void {
    if (this.#isRemaking) return
    this.#gapRetries += 1
    if (this.#gapRetries <= gapRetriesMax) {
      void this.#remake(`gap before ${sequence}`)
      return
    }
    const { stream, onFatal, gapError } = this.#options
    const range = `${this.#lastArrived + 1} to ${sequence - 1}`
    onFatal(
      gapError?.(range) ??
        new PipelineError('STREAM_GAP', `${stream}: ${range} are gone and were never answered; restore the stream`),
    )
  }
}

export interface IntakeOptions {
  readonly nats: Nats
  readonly stream: StreamName
  readonly worker: WorkerName
  readonly log: Log
  /** Whether this process is still the active one of its worker. */
  readonly isActive: () => Promise<boolean>
  readonly onDelivery: (delivery: Delivery) => void
  /** Set where messages are asked for only while there is room for them; unset: always some ahead. */
  readonly pull?: PullOptions & { readonly unackedMax: number }
  /** Messages up to here may be missing; unset: none may. */
  readonly gapsTo?: number
  /** @param range sequences that are gone for good, `k to n`; unset: STREAM_GAP */
  readonly gapError?: (range: string) => PipelineError
  readonly onFatal: (error: Error) => void
}
