import { assert } from '../base/assert.ts'
import { crashPoint } from '../base/crash-points.ts'
import { isPipelineError, PipelineError } from '../base/errors.ts'
import { type StreamName, streamSpec, type WorkerSpec } from '../subjects/contract.ts'
import type { Faults } from './attempts.ts'
import type { Output } from './fenced-writer.ts'
import { Fifo } from './fifo.ts'
import type { Log } from './log.ts'
import { assertOwnLogic, assertOwnWriter, logicSinceOf, snapshotsOfLogic } from './logic-version.ts'
import type { Nats } from './nats.ts'
import { type InputMessage, readOn } from './reader.ts'
import { readSnapshot, type SnapshotMeta } from './snapshots.ts'
import type { Fold } from './fold.ts'

/** Messages that a fold of the latest state takes at once. */
const batchMax = 500

/**
 * Brings a fold to where its own stream is: from the newest good snapshot on, by folding again what has been answered
 * since. Nothing is published. Each output that comes out again is compared with the one that is stored, byte for byte;
 * another one means that what is stored does not follow from the input, and nobody goes on from there.
 *
 * It goes by the own stream, never ahead of it, so that a stand-by is as far as the active process has stored.
 */
export class Replay {
  readonly #nats: Nats
  readonly #spec: WorkerSpec & { readonly input: StreamName; readonly output: StreamName }
  readonly #fold: Fold
  readonly #log: Log
  readonly #faults: Faults | undefined
  readonly #from: 'newest' | 'oldest' | 'beginning'
  readonly #onMet: ((own: InputMessage, again: Output | undefined) => void) | undefined
  readonly #reading = new AbortController()
  /** Made again, and not met in the own stream yet. */
  readonly #ahead = new Fifo<Output>()
  #input: AsyncGenerator<InputMessage> | undefined
  #running: Promise<void> | undefined
  #target = Infinity
  #isWhole = false
  #inSeq = 0
  #ownSequence = 0
  #compared = 0
  #snapshot: SnapshotMeta | undefined

  /**
   * @param options.from the newest snapshot, unless said otherwise. `oldest` and `beginning` go back as far as the rules
   * are the same: to the snapshot with which this `logicVersion` took over.
   */
  constructor(options: {
    nats: Nats
    spec: WorkerSpec
    fold: Fold
    log: Log
    faults?: Faults
    from?: 'newest' | 'oldest' | 'beginning'
    onMet?: (own: InputMessage, again: Output | undefined) => void
  }) {
    const { input, output } = options.spec
    assert(input && output, `${options.spec.name} has no stream of its own`)
    this.#nats = options.nats
    this.#spec = { ...options.spec, input, output }
    this.#fold = options.fold
    this.#log = options.log
    this.#faults = options.faults
    this.#from = options.from ?? 'newest'
    this.#onMet = options.onMet
  }

  /** Last message of the input that has been folded. */
  get inSeq(): number {
    return this.#inSeq
  }

  /** Last message of the own stream that has been met. */
  get ownSequence(): number {
    return this.#ownSequence
  }

  /** Outputs that were found to be as they are stored. */
  get compared(): number {
    return this.#compared
  }

  /** Where it began; undefined: at the beginning. */
  get snapshot(): SnapshotMeta | undefined {
    return this.#snapshot
  }

  /** Whether something of the fold has been set: another try needs another fold. */
  get hasBegun(): boolean {
    return this.#snapshot !== undefined || this.#inSeq > 0
  }

  /** The output after which all are of this `logicVersion`. */
  get logicSince(): number {
    return logicSinceOf(this.#snapshot, this.#logicVersion)
  }

  /** Outputs that follow from what has been folded and are not stored: of a message whose answers were cut short. */
  get unstored(): readonly Output[] {
    return Array.from({ length: this.#ahead.length }, (_, index) => this.#ahead.at(index) as Output)
  }

  /** Follows the own stream from now on. @returns a promise that is rejected when that cannot be gone on with */
  start(): Promise<void> {
    this.#running ??= this.#run().finally(() => this.stop())
    return this.#running
  }

  /**
   * Resolves when everything up to this message of the own stream has been met.
   * @param whole goes on until the last message folded has all its outputs stored
   */
  async finish(ownSequence: number, whole = false): Promise<void> {
    this.#target = ownSequence
    this.#isWhole = whole
    const running = this.start()
    if (this.#isDone()) this.#reading.abort()
    await running
  }

  stop(): void {
    this.#reading.abort()
    void this.#input?.return(undefined)
  }

  #isDone(): boolean {
    return this.#ownSequence >= this.#target && (!this.#isWhole || this.#ahead.length === 0)
  }

  async #run(): Promise<void> {
    await this.#load()
    if (this.#isDone()) return
    const { output, positionSubject } = this.#spec
    const { signal } = this.#reading
    const subject = positionSubject === undefined ? {} : { subject: positionSubject }
    for await (const own of readOn(this.#nats, output, this.#ownSequence + 1, { signal, ...subject })) {
      await this.#meet(own)
      crashPoint('replaying')
      this.#ownSequence = own.sequence
      if (this.#isDone()) return
    }
  }

  /** Loads the newest snapshot that is good for something. */
  async #load(): Promise<void> {
    const { state } = this.#fold
    const { name, input, output, positionSubject } = this.#spec
    if (state) {
      if (this.#target === Infinity) await assertOwnWriter(this.#nats, output, state.logicVersion)
      const [inputState, ownState] = await Promise.all([this.#stateOf(input), this.#stateOf(output)])
      const { since, newestFirst } = await snapshotsOfLogic(this.#nats, this.#spec, state.logicVersion)
      const oldestFirst = this.#from === 'beginning' && since === 0 ? [] : newestFirst.toReversed()
      for (const meta of this.#from === 'newest' ? newestFirst : oldestFirst) {
        const problem =
          meta.inSeq > inputState.last_seq || meta.ownSequence > ownState.last_seq
            ? 'is of a later time than the streams'
            : await this.#tryLoad(meta, (saved) => state.load(saved, meta.logicVersion))
        if (problem === undefined) break
        this.#log.warn({ worker: name, snapshot: meta.id }, `the snapshot ${problem}; trying another`)
      }
    }
    if (positionSubject === undefined) await this.#assertReaches(output, this.#ownSequence)
  }

  /** @returns what is wrong with it */
  async #tryLoad(meta: SnapshotMeta, load: (state: unknown) => void): Promise<string | undefined> {
    let state: unknown
    try {
      state = await readSnapshot(this.#nats, meta)
    } catch (error) {
      // A server that does not answer is no reason to go on from less.
      if (!isPipelineError(error, 'SNAPSHOT_DAMAGED')) throw error
      return `cannot be used: ${error.message}`
    }
    load(state)
    this.#snapshot = meta
    this.#inSeq = meta.inSeq
    this.#ownSequence = meta.ownSequence
    return undefined
  }

  /** @throws PipelineError SNAPSHOT_MISSING when messages are gone that would have to be folded again */
  async #assertReaches(stream: StreamName, after: number): Promise<void> {
    const { first_seq: first, last_seq: last } = await this.#stateOf(stream)
    if (first <= after + 1 || last <= after || this.#target <= after) return
    throw new PipelineError(
      'SNAPSHOT_MISSING',
      `${stream} begins at ${first}, and ${this.#spec.name} has no good snapshot that reaches there (${after === 0 ? 'none at all' : `the newest ends at ${after}`}): restore the bucket SNAPSHOTS or the stream from a back-up`,
    )
  }

  get #logicVersion(): number {
    return this.#fold.state?.logicVersion ?? 1
  }

  async #stateOf(stream: StreamName) {
    return (await this.#nats.jsm.streams.info(stream)).state
  }

  async #meet(own: InputMessage): Promise<void> {
    const fold = this.#fold
    const { output } = this.#spec
    assertOwnLogic(output, own, this.#logicVersion)
    if (fold.redo) {
      await fold.redo(own)
      this.#onMet?.(own, undefined)
      this.#inSeq = own.position.inSeq
      return
    }
    if (own.subject === streamSpec(output).epoch?.subject) return
    if (fold.takeOutputs) {
      const { inSeq } = own.position
      while (this.#inSeq < inSeq) await this.#foldNext(Math.min(batchMax, inSeq - this.#inSeq))
      return
    }
    while (this.#ahead.length === 0) await this.#foldNext(1)
    const again = this.#ahead.shift()
    if (!Buffer.from(again.body).equals(own.data)) throw this.#differs(own, again)
    this.#onMet?.(own, again)
    this.#compared += 1
  }

  async #foldNext(count: number): Promise<void> {
    const { input } = this.#spec
    if (!this.#input) {
      await this.#assertReaches(input, this.#inSeq)
      this.#input = readOn(this.#nats, input, this.#inSeq + 1, { signal: this.#reading.signal })
    }
    const batch: InputMessage[] = []
    while (batch.length < count) {
      const next = await this.#input.next()
      if (next.done) throw new PipelineError('WRITER_FENCED', `${this.#spec.name}: stopped while recovering`)
      const { sequence } = next.value
      if (this.#inSeq > 0 && sequence !== this.#inSeq + 1)
        throw new PipelineError('STREAM_GAP', `${input}: ${this.#inSeq + 1} to ${sequence - 1} are gone; restore them`)
      this.#inSeq = sequence
      batch.push(next.value)
    }
    for (const output of this.#fold.handle(batch, true, this.#faults).outputs) this.#ahead.push(output)
    this.#fold.takeOutputs?.()
  }

  #differs(own: InputMessage, { body }: Output): PipelineError {
    const { name, input, output } = this.#spec
    return new PipelineError(
      'REPLAY_DIFFERS',
      `${output} ${own.sequence} is not what ${name} makes of ${input} ${this.#inSeq}: the stream was changed, or a rule without its logicVersion. Stored: ${shortened(Buffer.from(own.data).toString())}; made again: ${shortened(body)}`,
    )
  }
}

function shortened(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}
