import type { Redis } from 'ioredis'
import { messageOf } from '../base/errors.ts'
import type { Log } from './log.ts'
import { connectRedis, probeRedis } from './redis-client.ts'

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
 * Keeps orders unless the stored record is newer; the same record again puts right what was evicted beside it.
 * KEYS order:{id}, account:{account}:orders, … of each; ARGV[1] seconds an ended order is kept, then for each: order id,
 * asOf, '1' while the order is open, a JSON array of its fields and values, all text.
 * Returns order id and problem, … of those that could not be kept; one that cannot holds no other up.
 */
const setOrdersIfNewer = `
local at, failed = 2, {}
for i = 1, #KEYS, 2 do
  local id, new, open = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2] == '1'
  local old = redis.pcall('HGET', KEYS[i], 'asOf')
  local problem = type(old) == 'table' and old.err
  old = not problem and tonumber(old or -1) or -1
  if not problem and old <= new then
    local done = redis.pcall(open and 'SADD' or 'SREM', KEYS[i + 1], id)
    problem = type(done) == 'table' and done.err
    if not problem and old ~= new then
      done = redis.pcall('HSET', KEYS[i], unpack(cjson.decode(ARGV[at + 3])))
      problem = type(done) == 'table' and done.err
      if not problem and not open then redis.call('EXPIRE', KEYS[i], ARGV[1]) end
    end
  end
  if problem then
    failed[#failed + 1] = id
    failed[#failed + 1] = problem
  end
  at = at + 4
end
return failed`

/**
 * Removes orders that are not open any more and whose end was never kept, unless the stored record is newer: missing is
 * right, open would be wrong. KEYS account:{account}:orders, order:{id}, …; ARGV[1] asOf, then the order ids.
 */
const forgetOrders = `
for i = 2, #KEYS do
  local old = redis.pcall('HGET', KEYS[i], 'asOf')
  if type(old) ~= 'table' and (tonumber(old or -1) or -1) <= tonumber(ARGV[1]) then
    redis.call('SREM', KEYS[1], ARGV[i])
    redis.call('DEL', KEYS[i])
  end
end`

const endedOrderSeconds = 86_400
const retryMs = 200
/** What changes within this time is written together; most orders change more than once in it. */
const gatherMs = 5
const batchMax = 500
/** Orders that ended and wait to be written, at most; there is no bound by the state to them. */
const endedPendingMax = 10_000

interface Scripts {
  setPositionsIfNewer(key: string, ...args: (string | number)[]): Promise<unknown>
  setOrdersIfNewer(keyCount: number, ...keysAndArgs: (string | number)[]): Promise<string[]>
  forgetOrders(keyCount: number, ...keysAndArgs: (string | number)[]): Promise<unknown>
}

/** An order with its fields as they are named in Redis. */
export interface OrderHash {
  readonly orderId: string
  readonly account?: string
  readonly asOf: number
}

interface DirtyPosition {
  readonly account: string
  readonly symbol: string
  readonly json: string
  readonly asOf: number
}

interface DirtyOrder {
  readonly hash: OrderHash
  readonly isOpen: boolean
}

/** What is projected. */
export interface ProjectionSource {
  /** Redis is there (again): everything is to be set. */
  projectAll(): void
  /** As of `asOf`, a sequence of EXECUTIONS. */
  isOpen(orderId: string): boolean
  readonly asOf: number
  /** False in a stand-by, which projects nothing. */
  readonly isActive: boolean
}

/**
 * Projects the latest positions and orders into Redis or Valkey: what changed while a write was on its way is coalesced
 * and written next, newer records only. Redis away, hung or full holds nothing up. While it is away nothing is kept, and
 * of more than it takes the oldest ends of orders are dropped: what is open there and nowhere else is then removed.
 */
export class RedisProjection {
  readonly #client: Redis & Scripts
  readonly #log: Log
  readonly #source: () => ProjectionSource
  readonly #positions = new Map<string, DirtyPosition>()
  readonly #openOrders = new Map<string, DirtyOrder>()
  readonly #endedOrders = new Map<string, DirtyOrder>()
  #writing = false
  /** Orders may be open in Redis whose end was not kept. */
  #mayBeStale = false
  #isUp = false
  /** A probe has been seen to last. */
  #isProbed = false
  #refusal: string | undefined
  #closed = false

  constructor(url: string, log: Log, source: () => ProjectionSource) {
    this.#log = log
    this.#source = source
    const client = connectRedis(url)
    client.defineCommand('setPositionsIfNewer', { numberOfKeys: 1, lua: setPositionsIfNewer })
    client.defineCommand('setOrdersIfNewer', { lua: setOrdersIfNewer })
    client.defineCommand('forgetOrders', { lua: forgetOrders })
    this.#client = client as Redis & Scripts
    client.on('ready', () => {
      this.#isUp = true
      this.#isProbed = false
      this.#refusal = undefined
      this.#mayBeStale = true
      this.#log.info({}, 'Redis is connected')
      source().projectAll()
    })
    client.on('close', () => {
      if (this.#isUp && !this.#closed) this.#log.warn({}, 'Redis is away; the pipeline goes on without it')
      this.#isUp = false
      for (const pending of [this.#positions, this.#openOrders, this.#endedOrders]) pending.clear()
    })
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Why it does not take writes; undefined when all is well. */
  get problem(): string | undefined {
    return this.#isUp ? this.#refusal : 'Redis disconnected'
  }

  /** Some are on their way. */
  get isWriting(): boolean {
    return this.#writing
  }

  /** Records that are not written yet. */
  get pending(): number {
    return this.#positions.size + this.#openOrders.size + this.#endedOrders.size
  }

  setPosition(account: string, symbol: string, json: string, asOf: number): void {
    this.#addPosition({ account, symbol, json, asOf })
    this.#flush()
  }

  setOrder(hash: OrderHash, isOpen: boolean): void {
    if (hash.account === undefined) return
    this.#addOrder({ hash, isOpen })
    this.#flush()
  }

  /** @throws when Redis does not take a write */
  async probe(worker: string): Promise<void> {
    try {
      // One for all processes of the worker: a stand-by's would hide that the active one's is gone.
      if (!this.#source().isActive) await this.#client.ping()
      else if (await probeRedis(this.#client, worker)) this.#isProbed = true
      else if (this.#isProbed) this.#projectAgain()
      if (this.pending === 0 && !this.#writing) this.#refusal = undefined
    } catch (error) {
      this.#refuse(error)
      throw error
    }
  }

  /** The last probe is gone before its time: somebody has emptied the database. */
  #projectAgain(): void {
    this.#isProbed = false
    this.#log.warn({}, 'Redis has lost what was in it; everything is written again')
    this.#mayBeStale = true
    this.#source().projectAll()
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
    if (pending && pending.hash.asOf > order.hash.asOf) return
    if (order.isOpen) {
      this.#openOrders.set(orderId, order)
      return
    }
    this.#openOrders.delete(orderId)
    this.#endedOrders.set(orderId, order)
    if (this.#endedOrders.size <= endedPendingMax) return
    takeFirst(this.#endedOrders, 1)
    this.#mayBeStale = true
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
    setTimeout(() => void this.#write(), gatherMs)
  }

  async #write(): Promise<void> {
    const positions = takeFirst(this.#positions, batchMax)
    const orders = [...takeFirst(this.#openOrders, batchMax), ...takeFirst(this.#endedOrders, batchMax)]
    const byAccount = Map.groupBy(positions, ({ account }) => account)
    const problems = await Promise.all([
      ...Array.from(byAccount, ([account, group]) => this.#writePositions(account, group)),
      this.#writeOrders(orders),
    ])
    let problem = problems.findLast((found) => found !== undefined)
    if (this.#mayBeStale && this.pending === 0) problem ??= await this.#removeStale()
    if (problem === undefined) this.#refusal = undefined
    this.#writing = false
    this.#flush()
  }

  async #writePositions(account: string, positions: readonly DirtyPosition[]): Promise<unknown> {
    const args = positions.flatMap(({ symbol, asOf, json }) => [symbol, asOf, json])
    try {
      await this.#client.setPositionsIfNewer(`position:${account}`, ...args)
      return undefined
    } catch (error) {
      await this.#writeAgain(error, () => positions.forEach((position) => this.#addPosition(position)))
      return error
    }
  }

  async #writeOrders(orders: readonly DirtyOrder[]): Promise<unknown> {
    if (orders.length === 0) return undefined
    let failed = orders
    let problem: unknown
    try {
      const answer = await this.#sendOrders(orders)
      if (answer.length === 0) return undefined
      failed = orders.filter(({ hash }) => answer.includes(hash.orderId))
      problem = new Error(answer[1])
    } catch (error) {
      problem = error
    }
    await this.#writeAgain(problem, () => failed.forEach((order) => this.#addOrder(order)))
    return problem
  }

  /** Everything is written that is known of: other orders that are open in Redis have ended. */
  async #removeStale(): Promise<unknown> {
    this.#mayBeStale = false
    try {
      for await (const keys of this.#client.scanStream({ match: 'account:*:orders', type: 'set', count: batchMax }))
        for (const key of keys as string[]) await this.#removeStaleOf(key)
      return undefined
    } catch (error) {
      this.#mayBeStale = true
      this.#refuse(error)
      return error
    }
  }

  async #removeStaleOf(key: string): Promise<void> {
    const orderIds = await this.#client.smembers(key)
    const source = this.#source()
    const { asOf } = source
    const stale = orderIds.filter((orderId) => !source.isOpen(orderId))
    for (let from = 0; from < stale.length; from += batchMax) {
      const ids = stale.slice(from, from + batchMax)
      await this.#client.forgetOrders(ids.length + 1, key, ...ids.map((id) => `order:${id}`), asOf, ...ids)
    }
  }

  async #writeAgain(problem: unknown, again: () => void): Promise<void> {
    this.#refuse(problem)
    await new Promise((resolve) => setTimeout(resolve, retryMs))
    again()
  }

  #sendOrders(orders: readonly DirtyOrder[]): Promise<string[]> {
    const keys: string[] = []
    const args: (string | number)[] = [endedOrderSeconds]
    for (const { hash, isOpen } of orders) {
      const { orderId, account = '', asOf } = hash
      keys.push(`order:${orderId}`, `account:${account}:orders`)
      args.push(orderId, asOf, isOpen ? 1 : 0, packed(hash))
    }
    return this.#client.setOrdersIfNewer(keys.length, ...keys, ...args)
  }
}

/** Fields and values in one argument: the client spends on each argument as much as on this text. */
function packed(hash: OrderHash): string {
  const fields: string[] = []
  for (const [name, value] of Object.entries(hash) as [string, string | number][])
    fields.push(name, String(value).toWellFormed())
  return JSON.stringify(fields)
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
