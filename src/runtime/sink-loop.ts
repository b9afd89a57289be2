import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { Settings } from '../schemas/settings.ts'
import type { StreamName, WorkerName, WorkerSpec } from '../subjects/contract.ts'
import type { AckedPublisher } from './acks.ts'
import type { FlushLimits } from './flush-limits.ts'
import { acquireLease, type Lease } from './lease.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { orUnreachable } from './query.ts'
import { SideWriter } from './side-writer.ts'
import { type SinkCommitted, SinkFlow } from './sink-flow.ts'
import type { SinkFold } from './sink-fold.ts'
import { positionIn, type SinkPosition } from './sink-position.ts'
import type { SinkTable } from './sink-table.ts'
import { StoreRetry } from './store-retry.ts'
import type { LoopPhase, LoopState } from './fold.ts'

export interface SinkLoopOptions {
  readonly nats: Nats
  readonly spec: WorkerSpec
  readonly fold: SinkFold
  readonly table: SinkTable
  readonly limits: FlushLimits
  readonly settings: Settings
  readonly log: Log
  readonly publisher: AckedPublisher
  readonly instance: string
  /** Last sequence of a stream as of a recent reading. */
  readonly lastSequenceOf: (stream: StreamName) => number | undefined
  readonly onFatal: (error: Error) => void
  readonly onCommitted?: (committed: SinkCommitted) => void
}

/** A flush that was asked for. */
export interface Flushed {
  /** Of the table, afterwards. */
  readonly version: number
  /** Committed since it was asked for. */
  readonly rows: number
}

const tickMs = 200

/**
 * The loop that all sinks share: reads from the table how far the stream has come into it, and lets the stream flow on
 * from there. Rows are committed together with the sequence of the last message, so that the table itself says it.
 *
 * Whatever goes wrong, the position is read again from the table, what is buffered is dropped and read again from the
 * stream. Acknowledgements only move the consumer's floor and may be lost. Only where the store is away the batch is
 * kept, and tried again for as long as that takes.
 */
export class SinkLoop {
  readonly #options: SinkLoopOptions
  readonly #worker: WorkerName
  readonly #input: StreamName
  readonly #side: SideWriter
  readonly #retry: StoreRetry
  readonly #abort = new AbortController()

  #phase: LoopPhase = 'waiting'
  #holder: string | undefined
  #lease: Lease | undefined
  /** Of the last position that was read; it may have ended. */
  #flow: SinkFlow | undefined
  #redelivered = 0
  #version = -1
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
  #tickTimer: NodeJS.Timeout | undefined
  #stopListening: (() => void) | undefined

  constructor(options: SinkLoopOptions) {
    const { spec, publisher, log } = options
    assert(spec.input, `${spec.name} has no input`)
    this.#options = options
    this.#worker = spec.name
    this.#input = spec.input
    this.#side = new SideWriter(publisher, log)
    this.#retry = new StoreRetry(spec.name, log)
  }

  state(): LoopState {
    return {
      phase: this.#phase,
      holder: this.#holder,
      settledSequence: this.#settled,
      oldestPendingUs: this.#flow?.oldestPendingUs,
      pendingOutputs: this.#flow?.rows ?? 0,
      blockedReason: this.#side.blockedReason ?? this.#flow?.blockedReason,
      redelivered: this.#redelivered + (this.#flow?.redelivered ?? 0),
      deadLetters: this.#side.deadLetters,
      batches: this.#batches,
      lastStoredMs: this.#lastStoredMs,
    }
  }

  /** Why the table could not be read or written when that was last tried; undefined when it could. */
  get storeProblem(): string | undefined {
    return this.#retry.problem
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
    const { nats, settings, instance, log, lastSequenceOf } = this.#options
    this.#lease = await acquireLease(nats, this.#worker, {
      instance,
      leaseMs: settings.LEASE_MS,
      log,
      signal: this.#abort.signal,
      onWaiting: (holder) => (this.#holder = holder),
      onLost: (error) => this.#fatal(error),
    })
    this.#holder = undefined
    this.#abort.signal.throwIfAborted()
    this.#stopListening = nats.onReconnect(() => this.#recover('NATS was away'))
    this.#tickTimer = setInterval(() => this.#flow?.checkStall(lastSequenceOf(this.#input) ?? 0), tickMs)
    this.#recover('start')
    await this.#recovery
  }

  /**
   * Commits everything that the stream holds now.
   * @throws PipelineError LAKE_STORE_UNAVAILABLE when that is not done in time
   */
  async flush(timeoutMs: number): Promise<Flushed> {
    const { nats, fold } = this.#options
    const rowsBefore = this.#rows
    const target = (await nats.jsm.streams.info(this.#input)).state.last_seq
    this.#flushTarget = Math.max(this.#flushTarget, target)
    const deadlineMs = performance.now() + timeoutMs
    this.#flow?.flush(this.#flushTarget)
    while (this.#settled < target) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0)
        throw new PipelineError(
          'LAKE_STORE_UNAVAILABLE',
          `${fold.table} is at ${this.#settled} of ${target} after ${timeoutMs} ms${this.storeProblem === undefined ? '' : `: ${this.storeProblem}`}`,
          { retriable: true },
        )
      const settled = new Promise<void>((resolve) => this.#settledWaiters.push(resolve))
      await Promise.race([settled, sleep(leftMs, undefined, { ref: false })])
    }
    return { version: this.#version, rows: this.#rows - rowsBefore }
  }

  /** Takes nothing new, commits what was taken, and gives the lease back. */
  async stop(graceMs = 3_000): Promise<void> {
    this.#isStopping = true
    this.#stopListening?.()
    clearInterval(this.#tickTimer)
    if (this.#phase === 'active')
      await Promise.race([this.#flow?.drain(), sleep(graceMs, undefined, { ref: false })]).catch(() => undefined)
    this.#phase = 'stopped'
    this.#abort.abort()
    this.#side.close()
    // A commit that is still on its way is waited for by nobody.
    void this.#flow?.end()
    await this.#options.nats.connection.flush().catch(() => undefined)
    await this.#lease?.release()
  }

  /** Everything up to here is in the table, or in the DLQ, or was there before. */
  get #settled(): number {
    return this.#flow?.settled ?? 0
  }

  #fatal(error: Error): void {
    if (this.#phase === 'stopped') return
    this.#phase = 'stopped'
    void this.#flow?.end()
    this.#options.onFatal(error)
  }

  /** Drops what is not committed, reads the position from the table, and goes on from there. */
  #recover(why: string): void {
    void this.#flow?.end()
    if (this.#phase === 'stopped' || this.#isStopping) return
    this.#mustRecover = true
    this.#recovery ??= this.#recoverNow(why)
      .catch((error: unknown) => {
        if (!this.#abort.signal.aborted) this.#fatal(error instanceof Error ? error : new Error(messageOf(error)))
      })
      .finally(() => {
        this.#recovery = undefined
        if (this.#mustRecover) this.#recover(why)
      })
  }

  async #recoverNow(why: string): Promise<void> {
    this.#options.log.info({ worker: this.#worker, why, version: this.#version }, 'reading the position')
    this.#phase = 'recovering'
    await this.#flow?.end()
    this.#mustRecover = false
    const isRecovering = () => this.#phase === 'recovering'
    await this.#retry.untilDone('read', isRecovering, () => this.#goOn())
  }

  async #goOn(): Promise<void> {
    const { nats, fold, table, log } = this.#options
    let flow: SinkFlow | undefined
    try {
      await nats.whenConnected()
      if (!(await this.#isActive()))
        throw new PipelineError('WRITER_FENCED', `${this.#worker}: another process has taken over`)
      const info = await nats.jsm.streams.info(this.#input)
      const found = await table.read()
      const position = await positionIn(this.#input, info, fold.table, found)
      await fold.recover?.()
      this.#abort.signal.throwIfAborted()
      flow = this.#newFlow(position)
      this.#redelivered += this.#flow?.redelivered ?? 0
      this.#flow = flow
      this.#version = found.version
      this.#phase = 'active'
      flow.flush(this.#flushTarget)
      this.#wakeFlushes()
      await flow.start()
      const { watermark, from } = position
      log.info({ worker: this.#worker, version: found.version, watermark, from }, 'active')
    } catch (error) {
      await flow?.end()
      if (this.#phase === 'active') this.#phase = 'recovering'
      throw orUnreachable(error)
    }
  }

  #newFlow(position: SinkPosition): SinkFlow {
    return new SinkFlow({
      ...this.#options,
      worker: this.#worker,
      stream: this.#input,
      side: this.#side,
      retry: this.#retry,
      position,
      isActive: () => this.#isActive(),
      onCommitted: (committed) => this.#committed(committed),
      onSettled: () => this.#wakeFlushes(),
      onSuperseded: (why) => this.#recover(why),
      onFatal: (error) => this.#fatal(error),
    })
  }

  async #isActive(): Promise<boolean> {
    return (await this.#lease?.isHeld()) ?? false
  }

  #committed(committed: SinkCommitted): void {
    this.#version = committed.version
    this.#batches += 1
    this.#rows += committed.rows
    this.#duplicates += committed.duplicates
    this.#lastStoredMs = performance.now()
    this.#options.onCommitted?.(committed)
  }

  #wakeFlushes(): void {
    for (const wake of this.#settledWaiters) wake()
    this.#settledWaiters = []
  }
}
