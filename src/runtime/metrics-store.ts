import type { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import type { Log } from './log.ts'
import { connectRedis } from './redis-client.ts'

const riskMetricsKey = 'risk:metrics:current'
const expirySeconds = 60

/** Keeps the latest risk metrics in Redis or Valkey; away or hung, it holds nothing up. */
export class RiskMetricsStore {
  readonly #client: Redis
  readonly #log: Log

  constructor(url: string, log: Log) {
    this.#log = log
    this.#client = connectRedis(url)
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
