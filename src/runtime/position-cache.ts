import type { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import { parseOwnJson } from '../base/json.ts'
import type { PositionRecord } from '../schemas/position.ts'
import type { Log } from './log.ts'
import { LookupCache } from './lookup-cache.ts'
import { connectRedis, probeRedis } from './redis-client.ts'

const accountsMax = 10_000

/** What Redis holds of an account, by symbol; a symbol that is missing is unknown, not flat. */
export type AccountPositions = ReadonlyMap<string, PositionRecord>

/** Reads `position:{account}` of Redis or Valkey, and keeps it for a moment. */
export class PositionCache {
  readonly #client: Redis
  readonly #cache: LookupCache<AccountPositions>
  #problem: string | undefined

  constructor(url: string, options: { readonly ttlMs: number; readonly timeoutMs: number; readonly log: Log }) {
    const { log } = options
    const client = connectRedis(url)
    client.on('ready', () => log.info({}, 'Redis is connected'))
    this.#client = client
    this.#cache = new LookupCache<AccountPositions>({
      max: accountsMax,
      ttlMs: options.ttlMs,
      timeoutMs: options.timeoutMs,
      load: async (account) => {
        const bySymbol = await client.hgetall(`position:${account}`)
        return new Map(Object.entries(bySymbol).map(([symbol, json]) => [symbol, parseOwnJson(json) as PositionRecord]))
      },
    })
  }

  /** @throws when Redis is away, does not answer in time or holds something else */
  async get(account: string): Promise<AccountPositions> {
    try {
      return this.#cache.peek(account) ?? (await this.#cache.get(account))
    } catch (error) {
      this.#problem = `Redis: ${messageOf(error)}`
      throw error
    }
  }

  get isUp(): boolean {
    return this.#client.status === 'ready'
  }

  /** Why look-ups fail; undefined when all is well. */
  get problem(): string | undefined {
    return this.isUp ? this.#problem : 'Redis disconnected'
  }

  get size(): number {
    return this.#cache.size
  }

  /** @throws when Redis does not take a write */
  async probe(worker: string): Promise<void> {
    try {
      await probeRedis(this.#client, worker)
      this.#problem = undefined
    } catch (error) {
      this.#problem = `Redis: ${messageOf(error)}`
      throw error
    }
  }

  close(): void {
    this.#client.disconnect()
  }
}
