import { messageOf } from '../base/errors.ts'

/** What health asks of the lake that a sink writes to. */
export interface DatabaseHealth {
  /** Why nothing can be written; undefined while the last write succeeded, and that just now. */
  problem(): string | undefined
  /** When a write last succeeded, by `performance.now()`. */
  readonly lastSuccessMs: number
  /**
   * To be called about every half second: writes something of no consequence, unless a write succeeded just now. What
   * comes of it, `problem` says.
   */
  probe(key: string): void
}

/** A write that succeeded longer ago than this says nothing about now. */
const successAgeMaxMs = 3_000
/** With the half second between two looks, this leaves a probe a second before the last success is too old. */
const recentMs = 1_500

/** Health of the lake: what became of the last commit and, while there are none, of the probe object. */
export class LakeHealth implements DatabaseHealth {
  readonly #put: (key: string) => Promise<void>
  readonly #commitProblem: () => string | undefined
  #lastSuccessMs = -Infinity
  #problem: string | undefined
  #isProbing = false
  readonly #startedMs = performance.now()

  /**
   * @param put writes the probe object
   * @param commitProblem why the last commit failed, while it is tried again
   */
  constructor(put: (key: string) => Promise<void>, commitProblem: () => string | undefined) {
    this.#put = put
    this.#commitProblem = commitProblem
  }

  get lastSuccessMs(): number {
    return this.#lastSuccessMs
  }

  problem(): string | undefined {
    const why = this.#commitProblem() ?? this.#problem
    if (why !== undefined) return `Delta Lake unavailable: ${why}`
    const silentMs = performance.now() - Math.max(this.#lastSuccessMs, this.#startedMs)
    return silentMs > successAgeMaxMs
      ? `Delta Lake unavailable: no answer for ${(silentMs / 1_000).toFixed(1)} s`
      : undefined
  }

  succeeded(): void {
    this.#lastSuccessMs = performance.now()
    this.#problem = undefined
  }

  probe(key: string): void {
    // One that hangs is not helped by another.
    if (this.#isProbing || performance.now() - this.#lastSuccessMs < recentMs) return
    this.#isProbing = true
    this.#put(key)
      .then(
        () => this.succeeded(),
        (error: unknown) => (this.#problem = messageOf(error)),
      )
      .finally(() => (this.#isProbing = false))
  }
}
