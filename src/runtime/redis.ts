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
 * Keeps an order unless the stored record is newer; the same record again puts right what was evicted beside it.
 * KEYS[1] order:{id}, KEYS[2] account:{account}:orders; ARGV[1] order id, ARGV[2] asOf, ARGV[3] '1' while the order is
 * open, ARGV[4] seconds an ended order is kept, then field, value, …
 */
const setOrderIfNewer = `
local old = tonumber(redis.call('HGET', KEYS[1], 'asOf') or -1)
local new = tonumber(ARGV[2])
if old and old > new then return end
if ARGV[3] == '1' then
  redis.call('SADD', KEYS[2], ARGV[1])
else
  redis.call('SREM', KEYS[2], ARGV[1])
end
if old == new then return end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
if ARGV[3] ~= '1' then redis.call('EXPIRE', KEYS[1], ARGV[4]) end`

const endedOrderSeconds = 86_400
/** Silence of a server that owes an answer, after which it counts as away. */
const silenceMaxMs = 1_000
const retryMs = 200
const batchMax = 2_000
/** Orders that ended and wait to be written, at most; there is no bound by the state to them. */
const endedPendingMax = 10_000

interface Scripts {
  setPositionsIfNewer(key: string, ...args: (string | number)[]): Promise<unknown>
  setOrderIfNewer(orderKey: string, accountKey: string, ...args: (string | number)[]): Promise<unknown>
}

export type OrderHash = Readonly<Record<string, string>> & { readonly orderId: string; readonly account: string }

interface DirtyPosition {
  readonly account: string
  readonly symbol: string
  readonly json: string
  readonly asOf: number
}

interface DirtyOrder {
  readonly hash: OrderHash
  readonly asOf: number
  readonly isOpen: boolean
}

/**
 * Projects the latest positions and orders into Redis or Valkey: what changed while a write was on its way is coalesced
 * and written next, newer records only. Redis away, hung or full holds nothing up. While it is away nothing is kept;
 * `onReturn` is told when it is there (again), so that everything can be projected.
 */
export class RedisProjection {
  readonly #client: Redis & Scripts
  readonly #log: Log
  readonly #positions = new Map<string, DirtyPosition>()
  readonly #openOrders = new Map<string, DirtyOrder>()
  readonly #endedOrders = new Map<string, DirtyOrder>()
  #writing = false
  #isUp = false
  #refusal: string | undefined
  #closed = false

  constructor(url: string, log: Log, onReturn: () => void) {
    this.#log = log
    const client = new Redis(url, {
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      connectTimeout: 2_000,
      socketTimeout: silenceMaxMs,
      // Where a connection is no help: a command is not answered, while others are.
      commandTimeout: 2 * silenceMaxMs,
      retryStrategy: (times) => Math.min(1_000, 100 * times),
    })
    client.defineCommand('setPositionsIfNewer', { numberOfKeys: 1, lua: setPositionsIfNewer })
    client.defineCommand('setOrderIfNewer', { numberOfKeys: 2, lua: setOrderIfNewer })
    this.#client = client as Redis & Scripts
    client.on('ready', () => {
      this.#isUp = true
      this.#refusal = undefined
      this.#log.info({}, 'Redis is connected')
      onReturn()
    })
    client.on('close', () => {
      if (this.#isUp && !this.#closed) this.#log.warn({}, 'Redis is away; the pipeline goes on without it')
      this.#isUp = false
      for (const pending of [this.#positions, this.#openOrders, this.#endedOrders]) pending.clear()
    })
    // Each failed attempt to connect is an error event; `close` has said it already.
    client.on('error', () => undefined)
    void client.connect().catch(() => undefined)
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Why it does not take writes; undefined when all is well. */
  get problem(): string | undefined {
    return this.#isUp ? this.#refusal : 'Redis disconnected'
  }

  /** Records that are not written yet. */
  get pending(): number {
    return this.#positions.size + this.#openOrders.size + this.#endedOrders.size
  }

  setPosition(account: string, symbol: string, json: string, asOf: number): void {
    this.#addPosition({ account, symbol, json, asOf })
    this.#flush()
  }

  setOrder(hash: OrderHash, asOf: number, isOpen: boolean): void {
    this.#addOrder({ hash, asOf, isOpen })
    this.#flush()
  }

  /** @throws when Redis does not take a write */
  async probe(worker: string): Promise<void> {
    try {
      await this.#client.set(`health:${worker}`, String(Date.now()), 'EX', 60)
      if (this.pending === 0 && !this.#writing) this.#refusal = undefined
    } catch (error) {
      this.#refuse(error)
      throw error
    }
  }

  close(): void {
    this.#closed = true
    this.#client.disconnect()
  }

  #addPosition(position: DirtyPosition): void {
    if (!this.#isUp) return
    const key = `${position.account} ${position.symbol}`
    if ((this.#positions.get(key)?.asOf ?? -1) <= position.asOf) this.#positions.set(key, position)
  }

  #addOrder(order: DirtyOrder): void {
    if (!this.#isUp) return
    const { orderId } = order.hash
    const pending = this.#openOrders.get(orderId) ?? this.#endedOrders.get(orderId)
    if (pending && pending.asOf > order.asOf) return
    if (order.isOpen) {
      this.#openOrders.set(orderId, order)
      return
    }
    this.#openOrders.delete(orderId)
    this.#endedOrders.set(orderId, order)
    if (this.#endedOrders.size > endedPendingMax) takeFirst(this.#endedOrders, 1)
  }

  #refuse(error: unknown): void {
    if (!this.#isUp) return
    const refusal = `Redis refuses writes: ${messageOf(error)}`
    if (refusal !== this.#refusal) this.#log.warn({ problem: messageOf(error) }, 'Redis refuses writes, trying again')
    this.#refusal = refusal
  }

  #flush(): void {
    if (this.#writing || !this.#isUp || this.#closed || this.pending === 0) return
    this.#writing = true
    setImmediate(() => void this.#write())
  }

  async #write(): Promise<void> {
    const positions = takeFirst(this.#positions, batchMax)
    const orders = [...takeFirst(this.#openOrders, batchMax), ...takeFirst(this.#endedOrders, batchMax)]
    const byAccount = Map.groupBy(positions, ({ account }) => account)
    const writes = [
      ...Array.from(byAccount, ([account, group]) => ({
        sent: this.#client.setPositionsIfNewer(
          `position:${account}`,
          ...group.flatMap(({ symbol, asOf, json }) => [symbol, asOf, json]),
        ),
        again: () => group.forEach((position) => this.#addPosition(position)),
      })),
      ...orders.map((order) => ({ sent: this.#sendOrder(order), again: () => this.#addOrder(order) })),
    ]
    const results = await Promise.allSettled(writes.map(({ sent }) => sent))
    const failed = results.findLast((result) => result.status === 'rejected')
    if (failed) {
      this.#refuse(failed.reason)
      await new Promise((resolve) => setTimeout(resolve, retryMs))
      results.forEach(({ status }, index) => {
        if (status === 'rejected') writes[index]?.again()
      })
    } else this.#refusal = undefined
    this.#writing = false
    this.#flush()
  }

  #sendOrder({ hash, asOf, isOpen }: DirtyOrder): Promise<unknown> {
    return this.#client.setOrderIfNewer(
      `order:${hash.orderId}`,
      `account:${hash.account}:orders`,
      hash.orderId,
      asOf,
      isOpen ? 1 : 0,
      endedOrderSeconds,
      ...Object.entries(hash).flat(),
    )
  }
}

/** Removes the first entries of a map. @returns their values, `count` at most */
function takeFirst<T>(map: Map<string, T>, count: number): T[] {
  const taken: T[] = []
  for (const [key, value] of map) {
    if (taken.length === count) break
    taken.push(value)
    map.delete(key)
  }
  return taken
}
