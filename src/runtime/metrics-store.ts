import { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import type { Log } from './log.ts'

export const riskMetricsKey = 'risk:metrics:current'
const expirySeconds = 60
const silenceMaxMs = 1_000

/** Keeps the latest risk metrics in Redis or Valkey; away or hung, it holds nothing up. */
export class RiskMetricsStore {
  readonly #client: Redis
  readonly #log: Log

  constructor(url: string, log: Log) {
    this.#log = log
    this.#client = new Redis(url, {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      connectTimeout: 2_000,
      socketTimeout: silenceMaxMs,
      commandTimeout: 2 * silenceMaxMs,
      retryStrategy: (times) => Math.min(1_000, 100 * times),
    })
    // Each failed attempt to connect is one; the next write says it.
    this.#client.on('error', () => undefined)
  }

  async put(json: string): Promise<void> {
    try {
      await this.#client.set(riskMetricsKey, json, 'EX', expirySeconds)
    } catch (error) {
      this.#log.warn({ problem: messageOf(error) }, 'Redis did not take the risk metrics; the next ones come in 30 s')
    }
  }

  close(): void {
    this.#client.disconnect()
  }
}
