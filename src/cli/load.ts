import { utf8FromText } from '../base/json.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import { CommandPublisher } from '../runtime/command-publisher.ts'
import type { Nats } from '../runtime/nats.ts'
import { followStream } from '../runtime/reader.ts'
import { decodeWatermark } from '../schemas/position.ts'
import { positionsWatermarkSubject } from '../subjects/names.ts'
import { Latencies, type Percentiles } from './latencies.ts'
import type { FlowCommand } from './order-flow.ts'

/** How a run is going. */
export interface LoadProgress {
  readonly sent: number
  readonly answered: number
  readonly inPositions: number
  readonly refused: number
  readonly elapsedMs: number
}

export interface LoadResult extends LoadProgress {
  /** From the moment a command was due to its stored report, and to the watermark that covers it. */
  readonly latencyMs: { readonly report: Percentiles; readonly position: Percentiles }
  /** From the first command to the last report. */
  readonly ordersPerSecond: number
}

/** Commands without a publish ack at most; at the bound the sender waits. */
const unackedMax = 1_000
const drainTimeoutMs = 60_000
const retryMs = 60_000

/**
 * Sends commands and times their reports and positions.
 *
 * At a fixed rate the load is open: a command's clock starts when it was due, not when it could be sent, so that a
 * stall counts against all that it held up (no coordinated omission). At `max` it starts when it is sent.
 */
export class Load {
  readonly #nats: Nats
  readonly #publisher: AckedPublisher
  readonly #reports = new Latencies()
  readonly #positions = new Latencies()
  /** Start of commands that are acknowledged and not answered, by sequence in ORDERS. */
  readonly #startedMs = new Map<number, number>()
  /** Answers that came before the publish ack: arrival and sequence in EXECUTIONS. */
  readonly #early = new Map<number, { arrivedMs: number; executionsSeq: number }>()
  /** Answered and not in POSITIONS yet, in the order of EXECUTIONS as far as it is known. */
  #awaitingPosition: { executionsSeq: number; startedMs: number }[] = []
  #watermark = 0
  #sent = 0
  #acked = 0
  #answered = 0
  #inPositions = 0
  #refused = 0
  #firstMs = 0
  #lastAnswerMs = 0
  #stopped = false
  #followers: { stop(): Promise<void> }[] = []

  constructor(nats: Nats) {
    this.#nats = nats
    this.#publisher = new AckedPublisher(nats.connection)
  }

  /** Starts to listen for answers; call before `run`. */
  async open(onFatal: (error: Error) => void): Promise<void> {
    const last = async (stream: string) => (await this.#nats.jsm.streams.info(stream)).state.last_seq
    this.#followers = [
      await followStream(
        this.#nats,
        'EXECUTIONS',
        (await last('EXECUTIONS')) + 1,
        ({ srcSeq, sequence }) => {
          if (srcSeq !== undefined && srcSeq > 0) this.#answer(srcSeq, sequence, performance.now())
        },
        onFatal,
      ),
      await followStream(
        this.#nats,
        'POSITIONS',
        (await last('POSITIONS')) + 1,
        ({ subject, data }) => {
          if (subject === positionsWatermarkSubject) this.#advance(decodeWatermark(data).executionsSeq)
        },
        onFatal,
      ),
    ]
  }

  /**
   * Sends `count` commands and waits until all are answered and in POSITIONS.
   * @param ratePerSecond commands a second, or `max`
   */
  async run(
    commands: Iterator<FlowCommand>,
    count: number,
    ratePerSecond: number | 'max',
    onProgress: (progress: LoadProgress) => void = () => undefined,
  ): Promise<LoadResult> {
    const publisher = new CommandPublisher(this.#nats, this.#publisher)
    this.#firstMs = performance.now()
    const reporting = setInterval(() => onProgress(this.progress()), 200)
    try {
      while (this.#sent < count && !this.#stopped) {
        const nowMs = performance.now()
        const due = ratePerSecond === 'max' ? count : Math.floor(((nowMs - this.#firstMs) * ratePerSecond) / 1_000) + 1
        while (this.#sent < Math.min(due, count) && this.#sent - this.#acked < unackedMax) {
          const next = commands.next()
          if (next.done) {
            count = this.#sent
            break
          }
          const dueMs =
            ratePerSecond === 'max' ? performance.now() : this.#firstMs + (this.#sent * 1_000) / ratePerSecond
          this.#sent += 1
          void this.#send(publisher, next.value, dueMs)
        }
        await (ratePerSecond === 'max' ? nextTurn() : nextMs())
      }
      const deadlineMs = performance.now() + drainTimeoutMs
      while (!this.#stopped && this.#inPositions + this.#refused < this.#sent && performance.now() < deadlineMs)
        await new Promise((resolve) => setTimeout(resolve, 5))
      onProgress(this.progress())
      return this.#result()
    } finally {
      clearInterval(reporting)
    }
  }

  progress(): LoadProgress {
    return {
      sent: this.#sent,
      answered: this.#answered,
      inPositions: this.#inPositions,
      refused: this.#refused,
      elapsedMs: performance.now() - this.#firstMs,
    }
  }

  /** Latencies so far. */
  latencyMs(): LoadResult['latencyMs'] {
    return { report: this.#reports.percentilesMs(), position: this.#positions.percentilesMs() }
  }

  async close(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#followers.map((follower) => follower.stop()))
    this.#publisher.close()
  }

  #result(): LoadResult {
    const seconds = Math.max(1e-3, (this.#lastAnswerMs - this.#firstMs) / 1_000)
    return { ...this.progress(), latencyMs: this.latencyMs(), ordersPerSecond: Math.round(this.#answered / seconds) }
  }

  async #send(publisher: CommandPublisher, { kind, body }: FlowCommand, startedMs: number): Promise<void> {
    const ack = await publisher.publish({ kind, body: utf8FromText(body), isPatient: true }, Date.now() + retryMs)
    this.#acked += 1
    if (ack.outcome !== 'stored') {
      this.#refused += 1
      return
    }
    const early = this.#early.get(ack.sequence)
    if (early) {
      this.#early.delete(ack.sequence)
      this.#record(startedMs, early.executionsSeq, early.arrivedMs)
    } else this.#startedMs.set(ack.sequence, startedMs)
  }

  #answer(srcSeq: number, executionsSeq: number, arrivedMs: number): void {
    const startedMs = this.#startedMs.get(srcSeq)
    if (startedMs === undefined) {
      this.#early.set(srcSeq, { arrivedMs, executionsSeq })
      return
    }
    this.#startedMs.delete(srcSeq)
    this.#record(startedMs, executionsSeq, arrivedMs)
  }

  #record(startedMs: number, executionsSeq: number, arrivedMs: number): void {
    this.#answered += 1
    this.#lastAnswerMs = Math.max(this.#lastAnswerMs, arrivedMs)
    this.#reports.add(arrivedMs - startedMs)
    if (executionsSeq <= this.#watermark) this.#inPosition(startedMs, arrivedMs)
    else this.#awaitingPosition.push({ executionsSeq, startedMs })
  }

  #advance(watermark: number): void {
    this.#watermark = watermark
    const nowMs = performance.now()
    const waiting = this.#awaitingPosition
    this.#awaitingPosition = waiting.filter(({ executionsSeq }) => executionsSeq > watermark)
    for (const { executionsSeq, startedMs } of waiting)
      if (executionsSeq <= watermark) this.#inPosition(startedMs, nowMs)
  }

  #inPosition(startedMs: number, nowMs: number): void {
    this.#inPositions += 1
    this.#positions.add(nowMs - startedMs)
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function nextMs(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1))
}
