import { assert } from '../base/assert.ts'
import { crashPoint } from '../base/crash-points.ts'
import { isPipelineError, PipelineError, messageOf } from '../base/errors.ts'
import type { Settings } from '../schemas/settings.ts'
import type { StreamName, WorkerSpec } from '../subjects/contract.ts'
import type { AckedPublisher } from './acks.ts'
import type { FencedWriter, Output } from './fenced-writer.ts'
import { Attempts } from './attempts.ts'
import { Fifo } from './fifo.ts'
import type { Effects, Fold, LoopPhase, LoopState } from './fold.ts'
import { type Delivery, Intake } from './intake.ts'
import { acquireLease, type Lease } from './lease.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import { type Position, positionZero } from './position.ts'
import type { InputMessage } from './reader.ts'
import { SideWriter } from './side-writer.ts'
import { Replay } from './replay.ts'
import { readPosition, takeOver } from './take-over.ts'

interface Batch {
  readonly last: Delivery
  readonly firstTimeUs: number
  waitingFor: number
}

/** Outputs on their way at most; beyond it the loop stops taking batches. */
const pendingOutputsMax = 2_000
/**
 * A worker without a stream of its own has one batch on its way at a time; within it outputs may be stored in any
 * order, so after a crash it reads again from this far before its last one. No batch is larger.
 */
const rereadMessages = 1_000
/** A janitor of the version before takes the snapshot to go on from within this; else a stand-by of it may go on. */
const handOverMs = 30_000
const handOverLookMs = 200
const drainLookMs = 5

/**
 * The one loop all workers share: take over, recover, then pull, close a batch, fold, publish, and acknowledge in
 * order once every output is stored. Batches overlap: the next is folded while the last one's outputs are on their way.
 *
 * The position is what the headers of the last own output say, never what the consumer says; acknowledgements only
 * move the consumer's floor and may be lost.
 */
export class WorkerLoop {
  readonly #nats: Nats
  readonly #spec: WorkerSpec
  readonly #fold: Fold
  readonly #settings: Settings
  readonly #log: Log
  readonly #onFatal: (error: Error) => void
  readonly #publisher: AckedPublisher
  readonly #abort = new AbortController()
  readonly #instance: string
  readonly #tickMs: number
  readonly #lastSequenceOf: (stream: StreamName) => number | undefined
  readonly #onBatch: ((size: number) => void) | undefined
  readonly #onSettled: ((latencyMs: number) => void) | undefined
  readonly #onActive: (() => void) | undefined

  #phase: LoopPhase = 'waiting'
  #holder: string | undefined
  #lease: Lease | undefined
  #writer: FencedWriter | undefined
  #intake: Intake | undefined
  /** Until it is active; of a stand-by it goes on while it waits. */
  #replay: Replay | undefined
  readonly #side: SideWriter
  readonly #attempts: Attempts
  #stored: Position = positionZero
  #handOverProblem: string | undefined
  /** Arrived and not folded yet, in order. */
  readonly #waiting = new Fifo<Delivery>()
  #isPumping = false
  #folded = 0
  readonly #inFlight: Batch[] = []
  /** Folded, and covered by the outputs that are taken next. */
  #uncovered: Batch[] = []
  #isTaking = false
  #hasFailed = false
  #batchTimer: NodeJS.Timeout | undefined
  #tickTimer: NodeJS.Timeout | undefined
  #settled = 0
  #batches = 0
  #lastStoredMs = -Infinity

  constructor(options: {
    nats: Nats
    spec: WorkerSpec
    fold: Fold
    settings: Settings
    log: Log
    publisher: AckedPublisher
    instance: string
    tickMs?: number
    /** Last sequence of a stream as of a recent reading. */
    lastSequenceOf: (stream: StreamName) => number | undefined
    onFatal: (error: Error) => void
    onBatch?: (size: number) => void
    /** A batch is settled: how long its first message took, from the stream to the stored outputs. */
    onSettled?: (latencyMs: number) => void
    /** Recovery is over. */
    onActive?: () => void
  }) {
    this.#nats = options.nats
    this.#spec = options.spec
    this.#fold = options.fold
    this.#settings = options.settings
    this.#log = options.log
    this.#publisher = options.publisher
    this.#side = new SideWriter(options.publisher, options.log)
    this.#attempts = new Attempts(options.nats, options.spec, options.log)
    this.#instance = options.instance
    this.#tickMs = options.tickMs ?? 100
    this.#lastSequenceOf = options.lastSequenceOf
    this.#onBatch = options.onBatch
    this.#onSettled = options.onSettled
    this.#onActive = options.onActive
    this.#onFatal = (error) => {
      if (this.#phase === 'stopped') return
      this.#phase = 'stopped'
      options.onFatal(error)
    }
  }

  /** What of its records health should tell. */
  warnings(): string[] {
    return this.#attempts.warnings()
  }

  state(): LoopState {
    const first = this.#inFlight[0]?.firstTimeUs ?? this.#waiting.at(0)?.input.timeUs
    return {
      phase: this.#phase,
      holder: this.#holder,
      settledSequence: this.#settled,
      oldestPendingUs: first,
      pendingOutputs: this.#writer?.pending ?? 0,
      blockedReason:
        this.#handOverProblem ?? this.#writer?.blockedReason ?? this.#side.blockedReason ?? this.#intake?.blockedReason,
      redelivered: this.#intake?.redelivered ?? 0,
      deadLetters: this.#side.deadLetters,
      batches: this.#batches,
      lastStoredMs: this.#lastStoredMs,
    }
  }

  /** Waits to become active, recovers, and starts to work. Resolves when the first message may be handled. */
  async start(): Promise<void> {
    const { input, output, name } = this.#spec
    assert(input, `${name} has no input`)
    if (this.#fold.current) await this.#attempts.load()
    this.#lease = await acquireLease(this.#nats, name, {
      instance: this.#instance,
      leaseMs: this.#settings.LEASE_MS,
      log: this.#log,
      signal: this.#abort.signal,
      onWaiting: (holder) => {
        this.#holder = holder
        this.#warmUp()
      },
      onLost: this.#onFatal,
    })
    this.#holder = undefined
    this.#phase = 'recovering'
    const { signal } = this.#abort
    signal.throwIfAborted()
    if (this.#fold.current) await this.#attempts.load()
    const ownSequence = output ? await this.#takeOver() : 0
    const { state: inputInfo, config } = await this.#nats.jsm.streams.info(input)
    // The server leaves out a 0, which the client's type does not know.
    const firstEver = (config as { readonly first_seq?: number }).first_seq ?? 1
    if (!output) this.#stored = await readPosition(this.#nats, this.#spec, inputInfo.last_seq)
    signal.throwIfAborted()
    if (inputInfo.last_seq < this.#stored.inSeq)
      throw new PipelineError(
        'STREAM_REWOUND',
        `${input} ends at ${inputInfo.last_seq}, but ${name} has already answered ${this.#stored.inSeq}: the stream was made anew behind its back. Restore it, or make it again with first_seq ${this.#stored.inSeq + 1}`,
      )
    const fromSequence = output
      ? // What came before its first sequence never was.
        Math.max(await this.#recover(ownSequence), firstEver)
      : Math.max(1, inputInfo.first_seq, this.#stored.inSeq + 1 - rereadMessages)
    signal.throwIfAborted()
    this.#folded = fromSequence - 1
    if (this.#folded >= this.#stored.inSeq) this.#activate()
    this.#intake = new Intake({
      nats: this.#nats,
      stream: input,
      worker: name,
      log: this.#log,
      isActive: async () => (await this.#lease?.isHeld()) ?? false,
      onDelivery: (delivery) => this.#arrived(delivery),
      onFatal: this.#onFatal,
    })
    await this.#intake.start(fromSequence)
    signal.throwIfAborted()
    this.#tickTimer = setInterval(() => this.#tick(), this.#tickMs)
    this.#log.info({ worker: name, position: this.#stored.inSeq, from: fromSequence }, 'active')
  }

  /** A stand-by keeps as far as the active process has stored, so that it has little left to do when it takes over. */
  #warmUp(): void {
    if (this.#replay || !this.#spec.output) return
    const replay = this.#createReplay()
    this.#replay = replay
    replay.start().catch((error: unknown) => {
      if (this.#abort.signal.aborted) return
      if (mayWait(error, replay)) {
        if (this.#replay === replay) this.#replay = undefined
        this.#log.info(
          { worker: this.#spec.name, reason: messageOf(error) },
          'stand-by of another logicVersion: it cannot fold ahead',
        )
      } else this.#onFatal(error instanceof Error ? error : new Error(messageOf(error)))
    })
  }

  #createReplay(): Replay {
    const [nats, spec, fold] = [this.#nats, this.#spec, this.#fold]
    return new Replay({ nats, spec, fold, log: this.#log, faults: this.#attempts })
  }

  /**
   * Folds again what is stored, and sends what was cut short.
   * @returns the first message of the input that is new
   */
  async #recover(ownSequence: number): Promise<number> {
    const { signal } = this.#abort
    const startedMs = performance.now()
    const replay = await this.#replayTo(ownSequence, startedMs + handOverMs)
    this.#handOverProblem = undefined
    signal.throwIfAborted()
    await this.#fold.onRecovered?.(this.#stored)
    crashPoint('recovered')
    const { unstored, compared, inSeq, snapshot } = replay
    const recoveredMs = Math.round(performance.now() - startedMs)
    this.#log.info({ worker: this.#spec.name, snapshot: snapshot?.id, compared, recoveredMs }, 'recovered')
    this.#settled = unstored.length > 0 ? inSeq - 1 : inSeq
    let left = unstored.length
    this.#write(unstored, () => {
      left -= 1
      this.#lastStoredMs = performance.now()
      if (left === 0) this.#settled = Math.max(this.#settled, inSeq)
    })
    return inSeq + 1
  }

  /** @param deadlineMs until when it waits for what the version of the logic before this one has to leave behind */
  async #replayTo(ownSequence: number, deadlineMs: number): Promise<Replay> {
    const { signal } = this.#abort
    for (;;) {
      const replay = (this.#replay ??= this.#createReplay())
      const stop = () => replay.stop()
      signal.addEventListener('abort', stop)
      try {
        await replay.finish(ownSequence)
        return replay
      } catch (error) {
        if (performance.now() > deadlineMs || !mayWait(error, replay)) throw error
        if (this.#handOverProblem === undefined)
          this.#log.warn({ worker: this.#spec.name, problem: messageOf(error) }, 'waiting for a snapshot to go on from')
        this.#handOverProblem = messageOf(error)
      } finally {
        signal.removeEventListener('abort', stop)
        this.#replay = undefined
      }
      await pause(handOverLookMs)
      signal.throwIfAborted()
    }
  }

  /** Takes nothing new, waits until what was taken is stored and acknowledged, and gives the lease back. */
  async stop(graceMs = 3_000): Promise<void> {
    this.#abort.abort()
    clearInterval(this.#tickTimer)
    clearTimeout(this.#batchTimer)
    this.#replay?.stop()
    await this.#intake?.stop()
    const deadlineMs = performance.now() + graceMs
    const isBusy = () => this.#inFlight.length > 0 || (this.#writer?.pending ?? 0) > 0
    while (isBusy() && this.#phase !== 'stopped' && performance.now() < deadlineMs) await pause(drainLookMs)
    this.#phase = 'stopped'
    this.#writer?.close()
    this.#side.close()
    this.#intake?.acknowledgeNow()
    await this.#nats.connection.flush().catch(() => undefined)
    await this.#lease?.release()
  }

  /** @returns the message of the own stream that the position was read in */
  async #takeOver(): Promise<number> {
    const [nats, publisher, spec, log] = [this.#nats, this.#publisher, this.#spec, this.#log]
    const { logicVersion = 1 } = this.#fold.state ?? {}
    const taken = await takeOver(nats, publisher, spec, logicVersion, log, this.#abort.signal, this.#onFatal)
    this.#stored = taken.position
    this.#writer = taken.writer
    return taken.positionSequence
  }

  #arrived(delivery: Delivery): void {
    if (this.#phase === 'stopped') return
    this.#waiting.push(delivery)
    // The client would take a throw for the end of the consumer, and nobody would hear of it.
    try {
      this.#pump()
    } catch (error) {
      this.#onFatal(error instanceof Error ? error : new Error(messageOf(error)))
    }
  }

  /** Takes batches while there are messages and room for their outputs. A batch that settles at once comes back here. */
  #pump(): void {
    if (this.#isPumping) return
    this.#isPumping = true
    this.#takeBatches()
    this.#isPumping = false
  }

  #takeBatches(): void {
    const { BATCH_MAX: batchMax, BATCH_WAIT_MS: waitMs } = this.#settings
    for (;;) {
      const available = this.#waiting.length
      if (available === 0 || !this.#hasRoom() || this.#phase === 'stopped') return
      const last = this.#waiting.at(-1)
      if (available < batchMax && last && last.input.pending > 0 && waitMs > 0) {
        this.#batchTimer ??= setTimeout(() => {
          this.#batchTimer = undefined
          if (this.#hasRoom()) this.#take(batchMax)
          this.#pump()
        }, waitMs)
        return
      }
      this.#take(batchMax)
    }
  }

  #activate(): void {
    this.#phase = 'active'
    this.#onActive?.()
  }

  #hasRoom(): boolean {
    if (this.#hasFailed) return false
    if (!this.#spec.output) return this.#inFlight.length === 0
    return (this.#writer?.pending ?? 0) < pendingOutputsMax
  }

  /** Takes up to `sizeMax` messages. */
  #take(sizeMax: number): void {
    if (this.#waiting.length === 0 || this.#phase === 'stopped' || this.#hasFailed) return
    clearTimeout(this.#batchTimer)
    this.#batchTimer = undefined
    const entries = this.#waiting.take(sizeMax)
    const first = entries[0]
    const last = entries[entries.length - 1]
    assert(first && last, 'an empty batch')
    this.#batches += 1
    this.#onBatch?.(entries.length)
    const batch: Batch = {
      last,
      firstTimeUs: first.input.timeUs,
      waitingFor: 1,
    }
    this.#inFlight.push(batch)
    this.#run(
      entries.map(({ input }) => input),
      batch,
    )
    this.#folded = last.input.sequence
    if (this.#phase === 'recovering' && this.#folded >= this.#stored.inSeq) this.#activate()
    batch.waitingFor -= 1
    this.#settle()
  }

  #tick(): void {
    const { input } = this.#spec
    if (input && this.#waiting.length === 0 && this.#inFlight.length === 0)
      this.#intake?.checkStall(this.#lastSequenceOf(input) ?? 0)
    if (this.#phase === 'active' && this.#waiting.length === 0 && this.#hasRoom()) this.#run([], undefined)
    this.#pump()
  }

  /** Folds and sends. `batch` counts what it must wait for. */
  #run(messages: readonly InputMessage[], batch: Batch | undefined): void {
    let effects: Effects
    try {
      effects = this.#fold.handle(messages, false, this.#attempts)
    } catch (error) {
      // The batch stays unsettled: nothing of it is acknowledged.
      if (batch) batch.waitingFor += 1
      this.#failed(error)
      return
    }
    if (batch) crashPoint('folded')
    const { outputs, deadLetters = [], atLeastOnce = [] } = effects
    const done = () => this.#done(batch)
    if (batch) batch.waitingFor += outputs.length + deadLetters.length + atLeastOnce.length
    const { name, input } = this.#spec
    const letters = deadLetters.map((letter) => {
      assert(input, `${name} has no input`)
      return this.#side.storeDeadLetter(name, input, letter)
    })
    // The output is the position: what it covers is not looked at again after a crash.
    if (letters.length > 0) this.#writer?.holdUntil(Promise.all(letters))
    for (const letter of letters) void letter.then(done, this.#onFatal)
    this.#write(outputs, done)
    for (const output of atLeastOnce) void this.#side.store(output).then(done, this.#onFatal)
    if (!this.#fold.takeOutputs) return
    if (batch) {
      batch.waitingFor += 1
      this.#uncovered.push(batch)
    }
    this.#takeOutputs()
  }

  /** A handler threw: the record counts one attempt more, and the process exits. */
  #failed(thrown: unknown): void {
    const error = thrown instanceof Error ? thrown : new Error(messageOf(thrown))
    const at = isPipelineError(error) ? undefined : this.#fold.current?.()
    if (!at) {
      this.#onFatal(error)
      return
    }
    // Nothing is folded meanwhile: nobody knows what state the throw has left.
    this.#hasFailed = true
    void this.#attempts.count(at, error).finally(() => this.#onFatal(error))
  }

  #write(outputs: readonly Output[], onEach: () => void): void {
    let left = outputs.length
    for (const output of outputs) {
      assert(this.#writer, `${this.#spec.name} has no stream of its own`)
      this.#writer.write(output, () => {
        left -= 1
        if (left === 0) this.#fold.onStored?.(outputs)
        onEach()
      })
    }
  }

  #takeOutputs(): void {
    if (this.#isTaking) return
    const covered = this.#uncovered
    this.#uncovered = []
    const outputs = this.#fold.takeOutputs?.() ?? []
    // Of the latest state the last output alone has a place in the input; the others came with it.
    const last = outputs[outputs.length - 1]
    if (!last) {
      for (const batch of covered) batch.waitingFor -= 1
      this.#settle()
      return
    }
    this.#isTaking = true
    let left = outputs.length
    this.#write(outputs, () => {
      left -= 1
      if (left > 0) return
      this.#isTaking = false
      this.#lastStoredMs = performance.now()
      for (const batch of covered) batch.waitingFor -= 1
      this.#settle()
      if (this.#uncovered.length > 0 && this.#phase !== 'stopped') this.#takeOutputs()
    })
  }

  #done(batch: Batch | undefined): void {
    this.#lastStoredMs = performance.now()
    if (!batch) return
    batch.waitingFor -= 1
    this.#settle()
  }

  #settle(): void {
    let last: Batch | undefined
    while (this.#inFlight[0]?.waitingFor === 0) {
      last = this.#inFlight.shift()
      if (last && this.#phase === 'active') this.#onSettled?.(Math.max(0, Date.now() - last.firstTimeUs / 1_000))
    }
    if (!last) return
    crashPoint('settled')
    this.#settled = Math.max(this.#settled, last.last.input.sequence)
    this.#intake?.acknowledge(last.last)
    if (this.#waiting.length > 0 && !this.#abort.signal.aborted) this.#pump()
  }
}

/** Another version of the logic has written last, and this one has not begun with anything yet. */
function mayWait(error: unknown, replay: Replay): boolean {
  return isPipelineError(error, 'LOGIC_CHANGED') && !replay.hasBegun
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
