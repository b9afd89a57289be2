import { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import type { Log } from './log.ts'

/**
 * Sets hash fields unless the stored record is newer: KEYS[1] hash; ARGV field, asOf, json, … The same asOf may come again
 * with another mark.
 */
const setPositionsIfNewer = `
for i = 1, #ARGV, 3 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  if not old or tonumber(string.match(old, '"asOf":(%d+)') or -1) <= tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end`

/**
 * KEYS[1] order:{id}, KEYS[2] account:{account}:orders; ARGV[1] order id, ARGV[2] asOf, ARGV[3] '1' while the order is
 * open, ARGV[4] seconds an ended order is kept, then field, value, …
 */
const setOrderIfNewer = `
local old = tonumber(redis.call('HGET', KEYS[1], 'asOf') or -1)
if old >= tonumber(ARGV[2]) then return end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
if ARGV[3] == '1' then
  redis.call('SADD', KEYS[2], ARGV[1])
else
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end`

const endedOrderSeconds = 86_400

interface Scripts {
  setPositionsIfNewer(key: string, ...args: (string | number)[]): Promise<unknown>
  setOrderIfNewer(orderKey: string, accountKey: string, ...args: (string | number)[]): Promise<unknown>
}

export type OrderHash = Readonly<Record<string, string>> & { readonly orderId: string; readonly account: string }

interface DirtyOrder {
  readonly hash: OrderHash
  readonly asOf: number
  readonly isOpen: boolean
}

/**
 * Projects the latest positions and orders into Redis or Valkey: what changed while a write was on its way is coalesced
 * and written next, newer records only. Redis away or full holds nothing up; `onReturn` is told when it is back, so that
 * everything can be projected again.
 */
export class RedisProjection {
  readonly #client: Redis & Scripts
  readonly #log: Log
  readonly #onReturn: () => void
  readonly #positions = new Map<string, { account: string; symbol: string; json: string; asOf: number }>()
  readonly #orders = new Map<string, DirtyOrder>()
  #writing = false
  #isUp = false
  #wasUp = false
  #closed = false

  constructor(url: string, log: Log, onReturn: () => void) {
    this.#log = log
    this.#onReturn = onReturn
    const client = new Redis(url, {
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      connectTimeout: 2_000,
      retryStrategy: (times) => Math.min(1_000, 100 * times),
    })
    client.defineCommand('setPositionsIfNewer', { numberOfKeys: 1, lua: setPositionsIfNewer })
    client.defineCommand('setOrderIfNewer', { numberOfKeys: 2, lua: setOrderIfNewer })
    this.#client = client as Redis & Scripts
    client.on('ready', () => {
      this.#isUp = true
      this.#log.info({}, 'Redis is connected')
      if (this.#wasUp) this.#onReturn()
      this.#wasUp = true
      this.#flush()
    })
    client.on('close', () => {
      if (this.#isUp) this.#log.warn({}, 'Redis is away; the pipeline goes on without it')
      this.#isUp = false
    })
    // Each failed attempt to connect is an error event; `close` has said it already.
    client.on('error', () => undefined)
    void client.connect().catch(() => undefined)
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Records that are not written yet. */
  get pending(): number {
    return this.#positions.size + this.#orders.size
  }

  setPosition(account: string, symbol: string, json: string, asOf: number): void {
    this.#positions.set(`${account} ${symbol}`, { account, symbol, json, asOf })
    this.#flush()
  }

  setOrder(hash: OrderHash, asOf: number, isOpen: boolean): void {
    this.#orders.set(hash.orderId, { hash, asOf, isOpen })
    // While Redis is away only open orders are worth keeping; ended ones would pile up.
    if (!this.#isUp && !isOpen) this.#orders.delete(hash.orderId)
    this.#flush()
  }

  /** A write that proves Redis takes writes. @throws when it does not */
  async probe(worker: string): Promise<void> {
    await this.#client.set(`health:${worker}`, String(Date.now()), 'EX', 60)
  }

  close(): void {
    this.#closed = true
    this.#client.disconnect()
  }

  #flush(): void {
    if (this.#writing || !this.#isUp || this.#closed || this.pending === 0) return
    this.#writing = true
    setImmediate(() => void this.#write())
  }

  async #write(): Promise<void> {
    const positions = [...this.#positions.values()].slice(0, 2_000)
    const orders = [...this.#orders.values()].slice(0, 2_000)
    for (const { account, symbol } of positions) this.#positions.delete(`${account} ${symbol}`)
    for (const { hash } of orders) this.#orders.delete(hash.orderId)
    try {
      const byAccount = new Map<string, (string | number)[]>()
      for (const { account, symbol, json, asOf } of positions) {
        const args = byAccount.get(account)
        if (args) args.push(symbol, asOf, json)
        else byAccount.set(account, [symbol, asOf, json])
      }
      await Promise.all([
        ...Array.from(byAccount, ([account, args]) => this.#client.setPositionsIfNewer(`position:${account}`, ...args)),
        ...orders.map(({ hash, asOf, isOpen }) =>
          this.#client.setOrderIfNewer(
            `order:${hash.orderId}`,
            `account:${hash.account}:orders`,
            hash.orderId,
            asOf,
            isOpen ? 1 : 0,
            endedOrderSeconds,
            ...Object.entries(hash).flat(),
          ),
        ),
      ])
    } catch (error) {
      // Newer records may have come meanwhile; those win.
      for (const entry of positions) {
        const key = `${entry.account} ${entry.symbol}`
        if (!this.#positions.has(key)) this.#positions.set(key, entry)
      }
      for (const entry of orders) if (!this.#orders.has(entry.hash.orderId)) this.#orders.set(entry.hash.orderId, entry)
      if (this.#isUp) this.#log.warn({ problem: messageOf(error) }, 'Redis write failed, trying again')
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    this.#writing = false
    this.#flush()
  }
}
