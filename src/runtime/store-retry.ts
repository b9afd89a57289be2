import { setTimeout as sleep } from 'node:timers/promises'
import { isPipelineError } from '../base/errors.ts'
import type { Log } from './log.ts'

const pauseMinMs = 100
const pauseMaxMs = 1_000

/** Tries again for as long as a store, or NATS, does not answer. */
export class StoreRetry {
  readonly #worker: string
  readonly #log: Log
  #problem: string | undefined

  constructor(worker: string, log: Log) {
    this.#worker = worker
    this.#log = log
  }

  /** Why the store did not answer when it was last asked; undefined when it did. */
  get problem(): string | undefined {
    return this.#problem
  }

  /**
   * @param what is done, as in `cannot … yet`
   * @returns undefined when it is not wanted any more
   * @throws what is not a retriable PipelineError
   */
  async untilDone<T>(what: string, isWanted: () => boolean, run: () => Promise<T>): Promise<T | undefined> {
    for (let pauseMs = pauseMinMs; isWanted(); pauseMs = Math.min(2 * pauseMs, pauseMaxMs)) {
      try {
        const result = await run()
        this.#problem = undefined
        return result
      } catch (error) {
        if (!isPipelineError(error) || !error.retriable) throw error
        if (error.code !== 'NATS_UNREACHABLE') this.#problem = error.message
        this.#log.warn({ worker: this.#worker, problem: error.message }, `cannot ${what} yet, trying again`)
        await sleep(pauseMs)
      }
    }
    return undefined
  }
}
