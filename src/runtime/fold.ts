import type { Faults } from './attempts.ts'
import type { Output } from './fenced-writer.ts'
import type { Position } from './position.ts'
import type { InputMessage } from './reader.ts'
import type { DeadLetter, RepeatableOutput } from './side-writer.ts'
import type { Snapshotable } from './snapshots.ts'

/** What a batch leads to. */
export interface Effects {
  /** For the worker's own stream, in order. */
  readonly outputs: readonly Output[]
  readonly deadLetters?: readonly DeadLetter[]
  /** For streams with many writers; the batch is settled after they are stored. */
  readonly atLeastOnce?: readonly RepeatableOutput[]
}

/** The part of a worker that is its own: a fold from input messages to outputs, without a clock and without I/O. */
export interface Fold {
  /**
   * Folds a batch in order. Called with an empty batch about every `tickMs` while nothing is waiting.
   * A throw is a bug: the process exits and recovers.
   *
   * @param isReplay everything that follows from the batch is stored already; its effects are dropped
   * @param faults records that are not handled, but answered `SYSTEM_COMMAND_FAULT`
   */
  handle(batch: readonly InputMessage[], isReplay: boolean, faults?: Faults): Effects
  /** Where answers can be `SYSTEM_COMMAND_FAULT`: the record that `handle` was at when it threw, if at any. */
  current?(): Position | undefined
  /**
   * Set where the outputs are the latest state and not one for each input: what has changed since the last call. They
   * are taken when none of the last ones is on its way any more, so that under load many batches share one; `handle`
   * returns none then. A batch is settled with the outputs that cover it.
   */
  takeOutputs?(): readonly Output[]
  /** Outputs of these have been stored, in order. */
  onStored?(outputs: readonly Output[]): void
  /** Where the state can be gone on from another time than the beginning (src/runtime/snapshots.ts). */
  readonly state?: Snapshotable
  /**
   * Set where the state follows from the worker's own outputs and not from its input: folds one that is stored. Without
   * it the input is folded again, and what comes out is compared with what is stored.
   */
  redo?(own: InputMessage): Promise<void>
  /** Called once, when everything that is stored has been folded again, up to `position`. */
  onRecovered?(position: Position): Promise<void>
}

export type LoopPhase = 'waiting' | 'recovering' | 'active' | 'stopped'

/** What a loop can say about itself, for health and metrics. */
export interface LoopState {
  readonly phase: LoopPhase
  /** Which other process is active, while this one waits as its stand-by. */
  readonly holder: string | undefined
  /** Last input sequence all of whose outputs are stored. */
  readonly settledSequence: number
  /** When the stream stored the oldest message that is not settled, µs; undefined when none is known. */
  readonly oldestPendingUs: number | undefined
  readonly pendingOutputs: number
  /** Why nothing can be stored or nothing comes in; undefined when all is well. */
  readonly blockedReason: string | undefined
  readonly redelivered: number
  readonly deadLetters: number
  readonly batches: number
  /** When outputs were last stored, by `performance.now()`. */
  readonly lastStoredMs: number
}
