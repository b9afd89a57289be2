import { utf8FromText } from '../base/json.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import { CommandPublisher } from '../runtime/command-publisher.ts'
import type { Nats } from '../runtime/nats.ts'
import { followStream, type InputMessage } from '../runtime/reader.ts'
import type { Side } from '../schemas/enums.ts'
import { decodeExecution, type ExecutionReport } from '../schemas/execution.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { CommandKind } from '../schemas/risk.ts'
import { executionsSubject } from '../subjects/names.ts'
import { numberText } from './output.ts'
import { TapeComparison } from './replay-compare.ts'
import type { FlowRow } from './replay-file.ts'

/** Commands that may be on their way at once; at the bound the file waits. */
const inFlightMax = 1_000
/** Without any answer for so long, the pipeline is given up. */
const silenceMaxMs = 30_000
const retryMs = 60_000

/** Who sends what: buyers and sellers are two, so that no order meets one of its own account. */
export type ReplayAccounts = Readonly<Record<Side, string>>

/** Reasons that do not end by themselves: the instrument is another than the file needs. */
const misfits: ReadonlySet<RejectReason> = new Set<RejectReason>([
  'PRICE_OFF_TICK',
  'QUANTITY_OFF_LOT',
  'PRICE_OUT_OF_RANGE',
  'QUANTITY_OUT_OF_RANGE',
  'SYMBOL_UNKNOWN',
])

export interface Refusal {
  readonly line: number
  readonly reason: RejectReason
  readonly text: string
}

export interface ReplayProgress {
  readonly sent: number
  readonly answered: number
  readonly trades: number
  readonly elapsedMs: number
  /** How far the file has been played, by its own clock. */
  readonly fileMs: number
}

/**
 * Plays an order-flow file through the pipeline: its commands reach ORDERS one after the other in the order of the
 * file, without waiting for each other's answers, and what EXECUTIONS says is compared with the file's tape.
 */
export class Replay {
  readonly #nats: Nats
  readonly #symbol: string
  readonly #accounts: ReplayAccounts
  readonly #acks: AckedPublisher
  readonly #publisher: CommandPublisher
  readonly #signal: AbortSignal
  readonly #comparison = new TapeComparison()
  /** Commands that are stored and not answered completely, by sequence in ORDERS. */
  readonly #waiting = new Map<number, FlowRow>()
  /** Answers that came before the publish ack, and those of others among them. */
  readonly #early = new Map<number, InputMessage[]>()
  /** Sides of the file's orders, for cancels that do not say theirs. */
  readonly #sides = new Map<string, Side>()
  readonly #refused = new Map<RejectReason, number>()
  #newRefused = 0
  #misfit: Refusal | undefined
  #follower: { stop(): Promise<void> } | undefined
  #fault: Error | undefined
  #sent = 0
  #acked = 0
  #answered = 0
  #trades = 0
  #lastSeq = 0
  #othersFills = 0
  #isInOrder = true
  #startMs = 0
  #fileStartMs: number | undefined
  #fileMs = 0
  #lastSignMs = 0

  /** @param signal ends the replay early */
  constructor(nats: Nats, symbol: string, accounts: ReplayAccounts, signal: AbortSignal) {
    this.#nats = nats
    this.#symbol = symbol
    this.#accounts = accounts
    this.#signal = signal
    this.#acks = new AckedPublisher(nats.connection)
    this.#publisher = new CommandPublisher(nats, this.#acks)
  }

  /**
   * Sends all rows and waits for their answers; gives up when there are none for half a minute.
   * @param speed how much faster than the file's clock; `max`: as fast as the pipeline answers
   */
  async play(rows: AsyncIterable<FlowRow>, speed: number | 'max'): Promise<void> {
    const { last_seq: last } = (await this.#nats.jsm.streams.info('EXECUTIONS')).state
    this.#follower = await followStream(
      this.#nats,
      'EXECUTIONS',
      last + 1,
      (message) => this.#hear(message),
      (error) => (this.#fault = error),
    )
    this.#startMs = this.#lastSignMs = performance.now()
    for await (const row of rows) {
      const fileMs = row.timeMs - (this.#fileStartMs ??= row.timeMs)
      const isDue = () => speed === 'max' || performance.now() - this.#startMs >= fileMs / speed
      await this.#until(() => isDue() && this.#inFlight < inFlightMax)
      if (this.#isOver()) break
      this.#fileMs = Math.max(this.#fileMs, fileMs)
      this.#comparison.row(row)
      if (row.event !== 'trade') void this.#send(row)
    }
    await this.#until(() => this.#inFlight === 0)
    if (this.#fault) throw this.#fault
  }

  progress(): ReplayProgress {
    return {
      sent: this.#sent,
      answered: this.#answered,
      trades: this.#trades,
      elapsedMs: performance.now() - this.#startMs,
      fileMs: this.#fileMs,
    }
  }

  get comparison() {
    return this.#comparison.result()
  }

  get unanswered(): number {
    return this.#sent - this.#answered
  }

  /** False when the commands did not reach ORDERS in the order of the file, as after a restart of the server. */
  get isInOrder(): boolean {
    return this.#isInOrder
  }

  /** Fills that orders of others had in the symbol meanwhile: then the book was not the file's alone. */
  get othersFills(): number {
    return this.#othersFills
  }

  /** Commands that were refused, by reason. A cancel of an order that has traded by then is `ORDER_CLOSED`. */
  get refused(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refused)
  }

  /** New orders among them. */
  get newRefused(): number {
    return this.#newRefused
  }

  /** Ended the replay: an order that the instrument does not take. */
  get misfit(): Refusal | undefined {
    return this.#misfit
  }

  async close(): Promise<void> {
    await this.#follower?.stop()
    this.#acks.close()
  }

  get #inFlight(): number {
    return this.#sent - this.#answered
  }

  #isOver(): boolean {
    return this.#signal.aborted || this.#fault !== undefined || this.#isSilent() || this.#misfit !== undefined
  }

  #isSilent(): boolean {
    return this.#inFlight > 0 && performance.now() - this.#lastSignMs > silenceMaxMs
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition() && !this.#signal.aborted && !this.#fault && !this.#isSilent())
      await new Promise((resolve) => setTimeout(resolve, 1))
  }

  async #send(row: FlowRow): Promise<void> {
    if (this.#inFlight === 0) this.#lastSignMs = performance.now()
    this.#sent += 1
    const { kind, account, body } = this.#commandOf(row)
    const ack = await this.#publisher.publish(
      { kind, account, body: utf8FromText(JSON.stringify(body)), isPatient: true },
      Date.now() + retryMs,
    )
    this.#acked += 1
    if (ack.outcome !== 'stored') {
      this.#isInOrder = false
      return
    }
    const { sequence: seq } = ack
    this.#isInOrder &&= seq > this.#lastSeq
    this.#lastSeq = Math.max(seq, this.#lastSeq)
    this.#waiting.set(seq, row)
    const early = this.#early.get(seq) ?? []
    // What follows gets higher sequences, so that older answers are not ours.
    for (const [other, messages] of this.#early) {
      if (other > seq && this.#acked < this.#sent) break
      this.#early.delete(other)
      if (other !== seq) for (const message of messages) this.#overhear(message)
    }
    for (const message of early) this.#hear(message)
  }

  #commandOf({ event, id, side, price, size }: FlowRow): { kind: CommandKind; account: string; body: object } {
    if (event === 'new' && side !== undefined) {
      this.#sides.set(id, side)
      const terms = { symbol: this.#symbol, side, ordType: 'LIMIT', timeInForce: 'GTC', quantity: size, price }
      return { kind: 'new', account: this.#accounts[side], body: { clOrdId: id, ...terms } }
    }
    const account = this.#accounts[this.#sides.get(id) ?? side ?? 'BUY']
    this.#sides.delete(id)
    return { kind: 'cancel', account, body: { origClOrdId: id } }
  }

  /** An answer to a command of somebody else. */
  #overhear({ subject, data }: InputMessage): void {
    if (subject === executionsSubject(this.#symbol, false))
      for (const report of decodeExecution(data).reports) this.#countOthers(report)
  }

  #countOthers({ execType, account }: ExecutionReport): void {
    if (execType === 'Trade' && account !== this.#accounts.BUY && account !== this.#accounts.SELL)
      this.#othersFills += 1
  }

  #hear(message: InputMessage): void {
    const { srcSeq } = message
    if (srcSeq === undefined || srcSeq === 0) return
    const row = this.#waiting.get(srcSeq)
    if (!row) {
      if (this.#acked < this.#sent) this.#early.set(srcSeq, [...(this.#early.get(srcSeq) ?? []), message])
      else this.#overhear(message)
      return
    }
    this.#lastSignMs = performance.now()
    const { reports, part } = decodeExecution(message.data)
    for (const report of reports) {
      this.#countOthers(report)
      this.#take(report, row)
    }
    const [number, count] = part?.split('/') ?? []
    if (number !== count) return
    this.#waiting.delete(srcSeq)
    this.#answered += 1
  }

  #take(report: ExecutionReport, { timeMs, event, line }: FlowRow): void {
    const { execType, liquidity, lastPx, lastQty, ordRejReason: reason, text = '' } = report
    if (execType === 'Trade' && liquidity === 'TAKER') {
      this.#trades += 1
      this.#comparison.traded({ timeMs, price: numberText(lastPx), size: numberText(lastQty) })
    }
    if (reason === undefined) return
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1)
    if (event !== 'new') return
    this.#newRefused += 1
    if (misfits.has(reason)) this.#misfit ??= { line, reason, text }
  }
}
