import { assert } from '../base/assert.ts'
import { crashPoint } from '../base/crash-points.ts'
import { messageOf } from '../base/errors.ts'
import type { StreamName, WorkerName } from '../subjects/contract.ts'
import { Fifo } from './fifo.ts'
import type { FlushLimits } from './flush-limits.ts'
import { type Delivery, Intake } from './intake.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import type { SideWriter } from './side-writer.ts'
import { SinkBatch } from './sink-batch.ts'
import type { SinkFold } from './sink-fold.ts'
import { type SinkPosition, streamGap } from './sink-position.ts'
import type { SinkAppended, SinkCounts, SinkTable } from './sink-table.ts'
import type { StoreRetry } from './store-retry.ts'

/** What is committed. */
export interface SinkCommitted extends SinkCounts {
  /** Of the table, with it. */
  readonly version: number
  readonly bytes: number
  readonly durationMs: number
  /** From the stream to the table, of the first message. */
  readonly latencyMs: number
}

export interface SinkFlowOptions {
  readonly nats: Nats
  readonly worker: WorkerName
  readonly stream: StreamName
  readonly fold: SinkFold
  readonly table: SinkTable
  readonly limits: FlushLimits
  readonly log: Log
  /** Stores dead letters. */
  readonly side: SideWriter
  readonly retry: StoreRetry
  readonly position: SinkPosition
  /** Whether this process is still the active one of its worker. */
  readonly isActive: () => Promise<boolean>
  readonly onCommitted: (committed: SinkCommitted) => void
  /** `settled` has moved on. */
  readonly onSettled: () => void
  /** Somebody else has written to the table: the position is not what it was. */
  readonly onSuperseded: (why: string) => void
  readonly onFatal: (error: Error) => void
}

/** Rows of one commit at most, as they may be while a backlog is pending. */
const rowsMax = 50_000
/** Messages asked for at once: beyond what is full this many may come. */
const pullMessages = 4_000
const pullBytes = 8 * 2 ** 20
/** A batch that is committed, one that is filled, and what was asked for; the batches end earlier. */
const unackedMax = 2 * rowsMax + 3 * pullMessages
/** Dead letters on their way to the DLQ. */
const lettersMax = 500
const letterBytesMax = 8 * 2 ** 20

/**
 * The messages of a stream from one position on, into commits: pulls, collects rows, commits, and acknowledges what is
 * committed. One commit is on its way at a time and the next batch is filled meanwhile; when that is full nothing more
 * is pulled.
 *
 * It holds for as long as the position it began with does. When that is in doubt it is ended, and what it has buffered
 * with it; the next one begins with what the table says.
 */
export class SinkFlow {
  readonly #options: SinkFlowOptions
  readonly #intake: Intake
  #phase: 'open' | 'draining' | 'ended' = 'open'
  /** Last sequence that the table has recorded; undefined when none. */
  #watermark: number | undefined
  #settled: number
  #filling: SinkBatch
  #committing: SinkBatch | undefined
  #commitEnd: Promise<void> = Promise.resolve()
  /** Arrived while the batch was full. */
  #waiting = new Fifo<Delivery>()
  /** Runs from the first row of the batch that is filled. */
  #ageTimer: NodeJS.Timeout | undefined
  #isOld = false
  /** Up to which sequence a flush was asked for. */
  #flushTarget = 0

  constructor(options: SinkFlowOptions) {
    const { nats, worker, stream, fold, log, position, isActive, onFatal } = options
    this.#options = options
    this.#watermark = position.watermark
    this.#settled = position.from - 1
    this.#filling = new SinkBatch(position.from)
    this.#intake = new Intake({
      nats,
      stream,
      worker,
      log,
      isActive,
      onFatal,
      onDelivery: (delivery) => this.#arrived(delivery),
      pull: { messages: pullMessages, bytes: pullBytes, unackedMax, hasRoom: () => this.#hasRoom() },
      gapsTo: position.gapsTo,
      gapError: (range) => streamGap(stream, range, fold.table),
    })
  }

  /** Everything up to here is in the table, or in the DLQ, or was there before. */
  get settled(): number {
    return this.#settled
  }

  /** Rows that are not committed. */
  get rows(): number {
    return (this.#committing?.rows ?? 0) + this.#filling.rows
  }

  /** When the stream stored the oldest message that is not settled, µs; undefined when all are. */
  get oldestPendingUs(): number | undefined {
    return this.#committing?.firstTimeUs ?? this.#filling.firstTimeUs
  }

  get redelivered(): number {
    return this.#intake.redelivered
  }

  get blockedReason(): string | undefined {
    return this.#intake.blockedReason
  }

  start(): Promise<void> {
    return this.#intake.start(this.#options.position.from)
  }

  /** Commits what is buffered as soon as all up to this sequence is. */
  flush(target: number): void {
    this.#flushTarget = target
    this.#pump()
  }

  /** Called now and then. @param streamLastSequence as of a recent reading */
  checkStall(streamLastSequence: number): void {
    if (this.#hasRoom()) this.#intake.checkStall(streamLastSequence)
  }

  /** Takes nothing new, and ends when what was taken is committed. */
  async drain(): Promise<void> {
    this.#phase = 'draining'
    await this.#intake.stop()
    this.#pump()
    while (this.#committing) await this.#commitEnd
    await this.#filling.lettersStored()
    this.#pump()
  }

  /** Takes and commits nothing any more, and drops what is buffered. Ends when no commit is on its way. */
  async end(): Promise<void> {
    this.#phase = 'ended'
    clearTimeout(this.#ageTimer)
    this.#filling = new SinkBatch(0)
    this.#waiting = new Fifo()
    this.#intake.acknowledgeNow()
    await this.#intake.stop()
    await this.#commitEnd
  }

  #arrived(delivery: Delivery): void {
    this.#waiting.push(delivery)
    this.#pump()
  }

  /** Takes messages while there is room, and begins a commit when one is due. */
  #pump(): void {
    if (this.#phase === 'ended') return
    // Whoever calls, a timer or the client, would not know what to do with it.
    try {
      this.#fill()
      if (this.#isDue()) {
        this.#commit()
        this.#fill()
      }
      this.#settleWithoutRows()
    } catch (error) {
      this.#options.onFatal(error instanceof Error ? error : new Error(messageOf(error)))
      return
    }
    this.#intake.more()
  }

  #fill(): void {
    for (let next = this.#waiting.at(0); next && !this.#isFull() && this.#take(next); next = this.#waiting.at(0))
      this.#waiting.shift()
  }

  /** @returns whether the batch had room for it */
  #take(delivery: Delivery): boolean {
    const { fold, side, worker, stream, limits, onFatal } = this.#options
    const batch = this.#filling
    const { input } = delivery
    const taken = fold.take(input, batch)
    if (taken === 'full') return false
    batch.note(delivery, taken)
    if (typeof taken === 'object') {
      const letter = side.storeDeadLetter(worker, stream, { message: input, reason: taken.problem })
      batch.awaits(letter, input.data.length)
      letter.then(() => this.#pump(), onFatal)
    }
    if (batch.rows > 0)
      this.#ageTimer ??= setTimeout(() => {
        this.#isOld = true
        this.#pump()
      }, limits.ms)
    return true
  }

  #hasRoom(): boolean {
    const { letters } = this.#filling
    return (
      this.#phase === 'open' &&
      this.#waiting.length === 0 &&
      !this.#isFull() &&
      letters.count < lettersMax &&
      letters.bytes < letterBytesMax
    )
  }

  /** No message may be added to the batch that is filled. */
  #isFull(): boolean {
    const { rows, bytes, hasRefused } = this.#filling
    return rows >= rowsMax || bytes >= this.#options.limits.bytes || hasRefused
  }

  #isDue(): boolean {
    const { rows, last } = this.#filling
    if (this.#committing || rows === 0 || !last) return false
    const { limits } = this.#options
    const isBacklog = last.input.pending >= limits.rows
    return (
      this.#isFull() ||
      this.#isOld ||
      this.#phase === 'draining' ||
      (rows >= limits.rows && !isBacklog) ||
      (last.input.sequence >= this.#flushTarget && this.#flushTarget > this.#settled)
    )
  }

  #commit(): void {
    const batch = this.#filling
    this.#filling = new SinkBatch(batch.counts().lastSequence + 1)
    this.#committing = batch
    clearTimeout(this.#ageTimer)
    this.#ageTimer = undefined
    this.#isOld = false
    this.#commitEnd = this.#append(batch)
      .catch(this.#options.onFatal)
      .finally(() => {
        this.#committing = undefined
        this.#pump()
      })
  }

  /** Appends until it is done, however long the store is away; ends without having done it when the flow is ended. */
  async #append(batch: SinkBatch): Promise<void> {
    const startedMs = performance.now()
    const { fold, table, retry, position, onSuperseded } = this.#options
    await batch.lettersStored()
    const counts = batch.counts()
    const next = this.#watermark === undefined ? position.from : this.#watermark + 1
    assert(counts.firstSequence === next, `${counts.firstSequence} would follow ${next - 1}`)
    const partitions = batch.rowsByPartition()
    const commit = { appId: position.appId, expected: this.#watermark, partitions, ...counts }
    const isWanted = () => this.#phase !== 'ended'
    const appended = await retry.untilDone('commit', isWanted, async () => {
      await fold.beforeCommit?.()
      return table.append(commit)
    })
    if (appended?.outcome === 'committed') this.#committed(batch, appended, performance.now() - startedMs)
    if (appended?.outcome === 'superseded')
      onSuperseded(`the table has the rows up to ${appended.watermark} already, this one wrote ${next} and on`)
  }

  #committed(batch: SinkBatch, appended: SinkAppended & { outcome: 'committed' }, durationMs: number): void {
    crashPoint('committed')
    const { version, bytes } = appended
    const counts = batch.counts()
    this.#watermark = counts.lastSequence
    const latencyMs = Math.max(0, Date.now() - (batch.firstTimeUs ?? 0) / 1_000)
    this.#options.onCommitted({ ...counts, version, bytes, durationMs, latencyMs })
    this.#settle(batch)
  }

  /** What has no rows needs no commit; its counts wait for the next. */
  #settleWithoutRows(): void {
    const { rows, letters, firstTimeUs } = this.#filling
    if (rows > 0 || letters.count > 0 || firstTimeUs === undefined || this.#committing) return
    this.#settle(this.#filling)
    this.#filling.settle()
  }

  #settle({ last }: SinkBatch): void {
    assert(last, 'an empty batch')
    this.#settled = last.input.sequence
    // To the consumer of the next flow it would say something else.
    if (this.#phase !== 'ended') this.#intake.acknowledge(last)
    this.#options.onSettled()
  }
}
