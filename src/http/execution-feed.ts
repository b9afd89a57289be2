import { messageOf } from '../base/errors.ts'
import { errorMessageOf, OrderViews, statusOf, type OrderView, type OrderViewStatus } from '../domain/order-views.ts'
import { decodeExecution, type ExecutionReport } from '../schemas/execution.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Log } from '../runtime/log.ts'
import type { Nats } from '../runtime/nats.ts'
import { followStream, type InputMessage } from '../runtime/reader.ts'

/** How far back a door reads EXECUTIONS when it starts. */
const historyMessagesDefault = 200_000
/** Orders that have ended and are still known. */
const endedMax = 100_000
/** Answers that may have arrived before the ack of their command. */
const recentMax = 20_000

/** What the stored report of a command says. */
export interface Answer {
  /** The order it is about: its own, of a cancel or replace the target. */
  readonly orderId: string
  /** The order right after it; undefined when this door does not know it. */
  readonly view: OrderView | undefined
  /** Status of the order as the report has it. */
  readonly status: OrderViewStatus
  /** Set when the command was refused. */
  readonly reason: RejectReason | undefined
  readonly errorMessage: string | undefined
  /** The first order of this clOrdId, of a duplicate. */
  readonly refOrderId: string | undefined
}

interface Waiting {
  readonly resolve: (answer: Answer | undefined) => void
  readonly timer: NodeJS.Timeout
}

/** Follows EXECUTIONS: knows the orders, and wakes whoever waits for the answer to a command. */
export class ExecutionFeed {
  readonly views = new OrderViews(endedMax)
  readonly #nats: Nats
  readonly #historyMessages: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #recent = new Map<number, Answer>()
  #behind: { sequence: number; resolve: () => void }[] = []
  #reading: Promise<number> | undefined
  #nextReading: Promise<number> | undefined
  #follower: { stop(): Promise<void> } | undefined
  #sequence = 0
  #lastSrcSeq = 0
  #isComplete = false
  /** First report of the message, or of the first of its parts. */
  #head: ExecutionReport | undefined

  /** @param historyMessages how far back it reads when it starts */
  constructor(nats: Nats, historyMessages = historyMessagesDefault) {
    this.#nats = nats
    this.#historyMessages = historyMessages
  }

  async start(onFatal: (error: Error) => void): Promise<void> {
    const { first_seq: first, last_seq: last } = (await this.#nats.jsm.streams.info('EXECUTIONS')).state
    const from = Math.max(1, first, last - this.#historyMessages + 1)
    this.#isComplete = from === 1
    this.#sequence = from - 1
    this.#follower = await followStream(this.#nats, 'EXECUTIONS', from, (message) => this.#take(message), onFatal)
  }

  /** EXECUTIONS sequence up to which `views` is folded. */
  get sequence(): number {
    return this.#sequence
  }

  /** Largest ORDERS sequence that has its answer here. Commands are answered in the order of ORDERS. */
  get lastSrcSeq(): number {
    return this.#lastSrcSeq
  }

  /** True when `views` was folded from the first message of all, so that no open order is missing. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** @returns undefined when it is not there after `timeoutMs` */
  answerOf(srcSeq: number, timeoutMs: number): Promise<Answer | undefined> {
    const known = this.#recent.get(srcSeq)
    if (known) return Promise.resolve(known)
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake(srcSeq, undefined), Math.max(0, timeoutMs))
      this.#waiting.set(srcSeq, { resolve, timer })
    })
  }

  /** Waits until everything is folded in that EXECUTIONS holds now. @returns false when that takes too long */
  async caughtUp(timeoutMs: number): Promise<boolean> {
    const sequence = await this.#lastStored()
    if (this.#sequence >= sequence) return true
    let timer: NodeJS.Timeout | undefined
    const reached = new Promise<boolean>((resolve) => {
      const entry = { sequence, resolve: () => resolve(true) }
      this.#behind.push(entry)
      timer = setTimeout(() => {
        this.#behind = this.#behind.filter((other) => other !== entry)
        resolve(false)
      }, timeoutMs)
    })
    const isReached = await reached
    clearTimeout(timer)
    return isReached
  }

  /** Nobody waits any longer. */
  giveUp(): void {
    for (const srcSeq of [...this.#waiting.keys()]) this.#wake(srcSeq, undefined)
  }

  async stop(log: Log): Promise<void> {
    this.giveUp()
    await this.#follower?.stop().catch((error: unknown) => log.debug({ problem: messageOf(error) }, 'follower'))
  }

  /** Last sequence of EXECUTIONS, read after this call: who asks while a reading is under way shares the next one. */
  #lastStored(): Promise<number> {
    if (this.#reading)
      return (this.#nextReading ??= this.#reading.catch(messageOf).then(() => {
        this.#nextReading = undefined
        return this.#lastStored()
      }))
    this.#reading = this.#nats.jsm.streams
      .info('EXECUTIONS')
      .then(({ state }) => state.last_seq)
      .finally(() => (this.#reading = undefined))
    return this.#reading
  }

  #take(message: InputMessage): void {
    const { sequence, srcSeq } = message
    const execution = decodeMessage('EXECUTIONS', message, decodeExecution)
    this.views.apply(sequence, execution)
    this.#sequence = sequence
    if (srcSeq !== undefined && srcSeq > 0) {
      const [part, parts] = execution.part?.split('/') ?? ['1', '1']
      if (part === '1') this.#head = execution.reports[0]
      if (part === parts) {
        this.#lastSrcSeq = srcSeq
        if (this.#head) this.#answer(srcSeq, this.#head)
      }
    }
    if (this.#behind.length > 0) {
      for (const waiting of this.#behind) if (waiting.sequence <= sequence) waiting.resolve()
      this.#behind = this.#behind.filter((waiting) => waiting.sequence > sequence)
    }
  }

  #answer(srcSeq: number, report: ExecutionReport): void {
    const { orderId, ordRejReason: reason } = report
    const answer = {
      orderId,
      view: this.views.get(orderId),
      status: statusOf(report),
      reason,
      errorMessage: reason === undefined ? undefined : errorMessageOf(report),
      refOrderId: report.refOrderId,
    }
    this.#recent.set(srcSeq, answer)
    if (this.#recent.size > recentMax) {
      const oldest = this.#recent.keys().next()
      if (!oldest.done) this.#recent.delete(oldest.value)
    }
    this.#wake(srcSeq, answer)
  }

  #wake(srcSeq: number, answer: Answer | undefined): void {
    const waiting = this.#waiting.get(srcSeq)
    if (!waiting) return
    clearTimeout(waiting.timer)
    this.#waiting.delete(srcSeq)
    waiting.resolve(answer)
  }
}
