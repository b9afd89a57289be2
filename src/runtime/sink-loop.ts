import { assert } from '../base/assert.ts'
import { isPipelineError, messageOf, PipelineError } from '../base/errors.ts'
import type { Settings } from '../schemas/settings.ts'
import type { StreamName, WorkerSpec } from '../subjects/contract.ts'
import type { AckedPublisher } from './acks.ts'
import { Fifo } from './fifo.ts'
import type { FlushLimits } from './flush-limits.ts'
import { type Delivery, Intake } from './intake.ts'
import { acquireLease, type Lease } from './lease.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { orUnreachable } from './query.ts'
import type { InputMessage } from './reader.ts'
import { SideWriter } from './side-writer.ts'
import { type RowSink, SinkBatch, type Taken } from './sink-batch.ts'
import { appIdOf, startOf, streamGap } from './sink-position.ts'
import type { SinkAppended, SinkCounts, SinkTable } from './sink-table.ts'
import type { LoopPhase, LoopState } from './worker-loop.ts'

/** The part of a sink that is its own: what rows a message gives. */
export interface SinkFold {
  readonly table: string
  /**
   * Adds the rows of a message, all to one partition, or none. A throw is a bug: the process exits and recovers.
   * The same message may come again after others that came behind it: what it had added is gone then.
   */
  take(message: InputMessage, rows: RowSink): Taken
  /** Called before the first message, and whenever what was not committed is dropped. Throws as `SinkTable.read`. */
  recover?(): Promise<void>
  /** Called before each commit; throws as `SinkTable.append`. */
  beforeCommit?(): Promise<void>
}

/** A flush that was asked for. */
export interface Flushed {
  /** Of the table, afterwards. */
  readonly version: number
  readonly rows: number
}

/** What is committed. */
export interface SinkCommitted extends SinkCounts {
  readonly bytes: number
  readonly durationMs: number
  /** From the stream to the table, of the first message. */
  readonly latencyMs: number
}

/** Rows of one commit at most, as they may be while a backlog is pending. */
const rowsMax = 50_000
const partitionsMax = 1_000
/** Messages asked for at once: beyond what is full this many may come. */
const pullMessages = 4_000
const pullBytes = 8 * 2 ** 20
/** A batch that is committed, one that is filled, and what was asked for; the batches end earlier. */
const unackedMax = 2 * rowsMax + 3 * pullMessages
/** Dead letters on their way to the DLQ. */
const lettersMax = 500
const letterBytesMax = 8 * 2 ** 20
const retryMinMs = 100
const retryMaxMs = 1_000
const tickMs = 200

/**
 * The loop that all sinks share: pulls a stream in order, collects rows, and commits them together with the sequence of
 * the last message, so that the table itself says how far the stream has been read. One commit is on its way at a time,
 * and the next batch is filled meanwhile; when that is full nothing more is pulled.
 *
 * Whatever goes wrong, the position is read again from the table, what is buffered is dropped and read again from the
 * stream. Acknowledgements only move the consumer's floor and may be lost. Only where the store is away the batch is
 * kept, and tried again for as long as that takes.
 */
export class SinkLoop {
  readonly #nats: Nats
  readonly #spec: WorkerSpec
  readonly #input: StreamName
  readonly #fold: SinkFold
  readonly #table: SinkTable
  readonly #limits: FlushLimits
  readonly #settings: Settings
  readonly #log: Log
  readonly #onFatal: (error: Error) => void
  readonly #onCommitted: ((committed: SinkCommitted) => void) | undefined
  readonly #side: SideWriter
  readonly #instance: string
  readonly #lastSequenceOf: (stream: StreamName) => number | undefined
  readonly #abort = new AbortController()

  #phase: LoopPhase = 'waiting'
  #holder: string | undefined
  #lease: Lease | undefined
  #intake: Intake | undefined
  #redelivered = 0
  #appId = ''
  /** Last sequence that the table has recorded; undefined when none. */
  #watermark: number | undefined
  #version = -1
  /** First sequence that no version of the table has counted. */
  #next = 0
  /** Everything up to here is in the table, or in the DLQ, or was there before. */
  #settled = 0
  #filling = new SinkBatch()
  #committing: SinkBatch | undefined
  #commitEnd: Promise<void> = Promise.resolve()
  /** Arrived while the batch was full. */
  #waiting = new Fifo<Delivery>()
  #isPumping = false
  #recovery: Promise<void> | undefined
  #mustRecover = false
  /** Up to which sequence a flush was asked for. */
  #flushTarget = 0
  #settledWaiters: (() => void)[] = []
  #isStopping = false
  #batches = 0
  #rows = 0
  #duplicates = 0
  #lastStoredMs = -Infinity
  #storeProblem: string | undefined
  #ageTimer: NodeJS.Timeout | undefined
  #tickTimer: NodeJS.Timeout | undefined
  #stopListening: (() => void) | undefined

  constructor(options: {
    nats: Nats
    spec: WorkerSpec
    fold: SinkFold
    table: SinkTable
    limits: FlushLimits
    settings: Settings
    log: Log
    publisher: AckedPublisher
    instance: string
    /** Last sequence of a stream as of a recent reading. */
    lastSequenceOf: (stream: StreamName) => number | undefined
    onFatal: (error: Error) => void
    onCommitted?: (committed: SinkCommitted) => void
  }) {
    assert(options.spec.input, `${options.spec.name} has no input`)
    this.#nats = options.nats
    this.#spec = options.spec
    this.#input = options.spec.input
    this.#fold = options.fold
    this.#table = options.table
    this.#limits = options.limits
    this.#settings = options.settings
    this.#log = options.log
    this.#side = new SideWriter(options.publisher, options.log)
    this.#instance = options.instance
    this.#lastSequenceOf = options.lastSequenceOf
    this.#onCommitted = options.onCommitted
    this.#onFatal = (error) => {
      if (this.#phase === 'stopped') return
      this.#phase = 'stopped'
      options.onFatal(error)
    }
  }

  state(): LoopState {
    return {
      phase: this.#phase,
      holder: this.#holder,
      settledSequence: this.#settled,
      oldestPendingUs: this.#committing?.firstTimeUs ?? this.#filling.firstTimeUs,
      pendingOutputs: (this.#committing?.rows ?? 0) + this.#filling.rows,
      blockedReason: this.#side.blockedReason ?? this.#intake?.blockedReason,
      redelivered: this.#redelivered + (this.#intake?.redelivered ?? 0),
      deadLetters: this.#side.deadLetters,
      batches: this.#batches,
      lastStoredMs: this.#lastStoredMs,
    }
  }

  /** Why the table could not be read or written when that was last tried; undefined when it could. */
  get storeProblem(): string | undefined {
    return this.#storeProblem
  }

  /** Of the table, as of the last commit of ours; -1 before it was read. */
  get version(): number {
    return this.#version
  }

  /** In commits, since the start. */
  get totals(): { readonly rows: number; readonly duplicates: number } {
    return { rows: this.#rows, duplicates: this.#duplicates }
  }

  /** Waits to become active, reads the position and starts to pull. */
  async start(): Promise<void> {
    const { name } = this.#spec
    this.#lease = await acquireLease(this.#nats, name, {
      instance: this.#instance,
      leaseMs: this.#settings.LEASE_MS,
      log: this.#log,
      signal: this.#abort.signal,
      onWaiting: (holder) => {
        this.#holder = holder
        this.#log.info({ worker: name, holder }, 'stand-by: another process is active')
      },
      onLost: this.#onFatal,
    })
    this.#abort.signal.throwIfAborted()
    this.#stopListening = this.#nats.onReconnect(() => this.#recover('NATS was away'))
    this.#tickTimer = setInterval(() => this.#tick(), tickMs)
    this.#recover('start')
    await this.#recovery
  }

  /**
   * Commits everything that the stream holds now.
   * @throws PipelineError LAKE_STORE_UNAVAILABLE when that is not done in time
   */
  async flush(timeoutMs: number): Promise<Flushed> {
    const target = (await this.#nats.jsm.streams.info(this.#input)).state.last_seq
    this.#flushTarget = Math.max(this.#flushTarget, target)
    const rowsBefore = this.#rows
    const deadlineMs = performance.now() + timeoutMs
    this.#pump()
    while (this.#settled < target) {
      const settled = new Promise<void>((resolve) => this.#settledWaiters.push(resolve))
      const leftMs = deadlineMs - performance.now()
      if (leftMs > 0) await atMost(leftMs, settled)
      if (performance.now() >= deadlineMs && this.#settled < target)
        throw new PipelineError(
          'LAKE_STORE_UNAVAILABLE',
          `${this.#fold.table} is at ${this.#settled} of ${target} after ${timeoutMs} ms${this.#storeProblem === undefined ? '' : `: ${this.#storeProblem}`}`,
          { retriable: true },
        )
    }
    return { version: this.#version, rows: this.#rows - rowsBefore }
  }

  /** Takes nothing new, commits what was taken, and gives the lease back. */
  async stop(graceMs = 3_000): Promise<void> {
    this.#isStopping = true
    this.#stopListening?.()
    await this.#intake?.stop()
    if (this.#phase === 'active') {
      this.#pump()
      const drained = (async () => {
        while (this.#phase === 'active' && (this.#committing || this.#filling.rows > 0)) {
          await this.#commitEnd
          this.#pump()
        }
        await this.#filling.lettersStored()
        this.#settleWithoutRows()
      })()
      await atMost(graceMs, drained).catch(() => undefined)
    }
    this.#phase = 'stopped'
    this.#abort.abort()
    clearInterval(this.#tickTimer)
    clearTimeout(this.#ageTimer)
    this.#side.close()
    this.#intake?.acknowledgeNow()
    await this.#nats.connection.flush().catch(() => undefined)
    await this.#lease?.release()
  }

  #arrived(delivery: Delivery): void {
    if (this.#phase !== 'active') return
    // The client would take a throw for the end of the subscription, and nobody would hear of it.
    try {
      if (this.#waiting.length > 0 || this.#isFull()) this.#waiting.push(delivery)
      else this.#take(delivery)
      this.#pump()
    } catch (error) {
      this.#onFatal(error instanceof Error ? error : new Error(messageOf(error)))
    }
  }

  /** Takes messages while there is room, and begins a commit when one is due. */
  #pump(): void {
    if (this.#isPumping || this.#phase !== 'active') return
    this.#isPumping = true
    do {
      while (this.#waiting.length > 0 && !this.#isFull())
        for (const delivery of this.#waiting.take(1)) this.#take(delivery)
      if (!this.#isDue()) break
      this.#commit()
    } while (this.#waiting.length > 0)
    this.#isPumping = false
    this.#settleWithoutRows()
    if (!this.#isStopping) this.#intake?.more()
  }

  #take(delivery: Delivery): void {
    const batch = this.#filling
    const { input } = delivery
    const taken = this.#fold.take(input, batch)
    batch.note(delivery, taken)
    if (typeof taken === 'object') {
      const letter = this.#side.storeDeadLetter(this.#spec.name, this.#input, {
        message: input,
        reason: taken.problem,
      })
      batch.awaits(letter, input.data.length)
      letter.then(() => this.#pump(), this.#onFatal)
    }
    if (batch.rows > 0)
      this.#ageTimer ??= setTimeout(() => {
        this.#ageTimer = undefined
        this.#pump()
      }, this.#limits.ms)
  }

  #hasRoom(): boolean {
    const { letters } = this.#filling
    return (
      this.#phase === 'active' &&
      !this.#isStopping &&
      this.#waiting.length === 0 &&
      !this.#isFull() &&
      letters.count < lettersMax &&
      letters.bytes < letterBytesMax
    )
  }

  /** No message may be added to the batch that is filled. */
  #isFull(): boolean {
    const { rows, bytes, partitions } = this.#filling
    return rows >= rowsMax || bytes >= this.#limits.bytes || partitions >= partitionsMax
  }

  #isDue(): boolean {
    const { rows, firstRowMs, last } = this.#filling
    if (this.#committing || rows === 0 || !last) return false
    const isBacklog = last.input.pending >= this.#limits.rows
    return (
      this.#isFull() ||
      this.#isStopping ||
      (rows >= this.#limits.rows && !isBacklog) ||
      // A timer may come a little early by this clock.
      performance.now() - firstRowMs >= this.#limits.ms - 2 ||
      (last.input.sequence >= this.#flushTarget && this.#flushTarget > this.#settled)
    )
  }

  #commit(): void {
    const batch = this.#filling
    this.#filling = new SinkBatch()
    this.#committing = batch
    clearTimeout(this.#ageTimer)
    this.#ageTimer = undefined
    this.#commitEnd = this.#append(batch)
      .catch(this.#onFatal)
      .finally(() => {
        this.#committing = undefined
        this.#pump()
      })
  }

  /** Appends until it is done, however long the store is away; ends without having done it when the loop recovers. */
  async #append(batch: SinkBatch): Promise<void> {
    const startedMs = performance.now()
    await batch.lettersStored()
    const counts = batch.counts()
    assert(counts.firstSequence === this.#next, `${counts.firstSequence} would follow ${this.#next - 1}`)
    const commit = { appId: this.#appId, expected: this.#watermark, partitions: batch.rowsByPartition(), ...counts }
    const isWanted = () => !this.#mustRecover && this.#phase === 'active'
    const appended = await this.#untilStoreAnswers('commit', isWanted, async () => {
      await this.#fold.beforeCommit?.()
      return this.#table.append(commit)
    })
    if (appended?.outcome === 'committed') this.#committed(batch, appended, performance.now() - startedMs)
    if (appended?.outcome === 'superseded')
      this.#recover(`the table has the rows up to ${appended.watermark} already, this one wrote ${this.#next} and on`)
  }

  #committed(batch: SinkBatch, appended: SinkAppended & { outcome: 'committed' }, durationMs: number): void {
    const counts = batch.counts()
    this.#version = appended.version
    this.#watermark = counts.lastSequence
    this.#next = counts.lastSequence + 1
    this.#batches += 1
    this.#rows += counts.rows
    this.#duplicates += counts.duplicates
    this.#lastStoredMs = performance.now()
    const latencyMs = Math.max(0, Date.now() - (batch.firstTimeUs ?? 0) / 1_000)
    this.#settle(batch)
    this.#onCommitted?.({ ...counts, bytes: appended.bytes, durationMs, latencyMs })
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
    this.#intake?.acknowledge(last)
    for (const resolve of this.#settledWaiters) resolve()
    this.#settledWaiters = []
  }

  #tick(): void {
    if (this.#phase !== 'active') return
    if (this.#hasRoom()) this.#intake?.checkStall(this.#lastSequenceOf(this.#input) ?? 0)
    this.#pump()
  }

  /** Drops what is not committed, reads the position from the table, and goes on from there. */
  #recover(why: string): void {
    this.#mustRecover = true
    if (this.#phase === 'stopped' || this.#isStopping) return
    this.#recovery ??= this.#recoverNow(why)
      .catch((error: unknown) => {
        if (!this.#abort.signal.aborted) this.#onFatal(error instanceof Error ? error : new Error(messageOf(error)))
      })
      .finally(() => {
        this.#recovery = undefined
        if (this.#mustRecover) this.#recover(why)
      })
  }

  async #recoverNow(why: string): Promise<void> {
    this.#log.info({ worker: this.#spec.name, why, version: this.#version }, 'reading the position')
    while (this.#mustRecover && !this.#abort.signal.aborted) {
      this.#phase = 'recovering'
      await this.#intake?.stop()
      await this.#commitEnd
      this.#intake?.acknowledgeNow()
      this.#redelivered += this.#intake?.redelivered ?? 0
      this.#intake = undefined
      this.#mustRecover = false
      this.#filling = new SinkBatch()
      this.#waiting = new Fifo()
      clearTimeout(this.#ageTimer)
      this.#ageTimer = undefined
      await this.#untilStoreAnswers(
        'read',
        () => this.#phase === 'recovering',
        () => this.#goOn(),
      )
    }
    this.#pump()
  }

  async #goOn(): Promise<void> {
    const { name } = this.#spec
    try {
      await this.#nats.whenConnected()
      if (!(await this.#lease?.isHeld()))
        throw new PipelineError('WRITER_FENCED', `${name}: another process has taken over`)
      const info = await this.#nats.jsm.streams.info(this.#input)
      const table = await this.#table.read()
      this.#appId = appIdOf(this.#input, info.created, this.#fold.table)
      this.#watermark = table.transactions.get(this.#appId)
      this.#version = table.version
      const from = await startOf(this.#input, info, this.#fold.table, table)
      await this.#fold.recover?.()
      this.#next = from
      this.#settled = from - 1
      this.#abort.signal.throwIfAborted()
      const intake = this.#newIntake()
      this.#intake = intake
      this.#phase = 'active'
      await intake.start(from)
      this.#log.info({ worker: name, version: table.version, watermark: this.#watermark, from }, 'active')
    } catch (error) {
      await this.#intake?.stop()
      if (this.#phase === 'active') this.#phase = 'recovering'
      throw orUnreachable(error)
    }
  }

  #newIntake(): Intake {
    return new Intake({
      nats: this.#nats,
      stream: this.#input,
      worker: this.#spec.name,
      log: this.#log,
      isActive: async () => (await this.#lease?.isHeld()) ?? false,
      onDelivery: (delivery) => this.#arrived(delivery),
      onFatal: this.#onFatal,
      pull: { messages: pullMessages, bytes: pullBytes, unackedMax, hasRoom: () => this.#hasRoom() },
      gapError: (range) => streamGap(this.#input, range, this.#fold.table),
    })
  }

  /**
   * Tries again for as long as the store, or NATS, does not answer.
   * @returns undefined when it is not wanted any more
   */
  async #untilStoreAnswers<T>(what: string, isWanted: () => boolean, run: () => Promise<T>): Promise<T | undefined> {
    for (let pauseMs = retryMinMs; isWanted(); pauseMs = Math.min(2 * pauseMs, retryMaxMs)) {
      try {
        const result = await run()
        this.#storeProblem = undefined
        return result
      } catch (error) {
        if (!isPipelineError(error) || !error.retriable) throw error
        if (error.code !== 'NATS_UNREACHABLE') this.#storeProblem = error.message
        this.#log.warn({ worker: this.#spec.name, problem: error.message }, `cannot ${what} yet, trying again`)
        await sleep(pauseMs)
      }
    }
    return undefined
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Ends with the work or after a time, whichever is first. */
async function atMost(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  await Promise.race([work, timeout]).finally(() => clearTimeout(timer))
}
