import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { OrderBook, Side as PeerSide } from 'nodejs-order-book'
import { assert } from '../src/base/assert.ts'
import { Matcher } from '../src/domain/matcher.ts'
import type { CancelRecord, NewRecord } from '../src/schemas/risk.ts'

const symbol = 'BTCUSD'
export const definition = {
  symbol,
  tick: '0.01',
  lot: '0.00000001',
  quoteScale: 8,
  makerFeeRate: '0.0008',
  takerFeeRate: '0.0012',
  collarBps: 500,
}

export interface MatcherBenchRow {
  readonly scenario: string
  readonly restingOrders: number
  readonly rounds: number
  readonly median: number
  readonly min: number
  readonly max: number
  readonly unit: 'commandsPerSecond'
  /** Median of ours over that of nodejs-order-book; absent where it was not run. */
  readonly ratioToPeer?: number
}

export type Command = NewRecord | CancelRecord
type LimitOptions = Parameters<OrderBook['limit']>[0]
type MarketOptions = Parameters<OrderBook['market']>[0]
export type PeerCall =
  | { readonly call: 'cancel'; readonly orderId: string }
  | { readonly call: 'limit'; readonly options: LimitOptions }
  | { readonly call: 'market'; readonly options: MarketOptions }

interface Workload {
  /** Applied before the clock starts. */
  readonly opening: readonly Command[]
  readonly commands: readonly Command[]
}

/** Each name is one string, as names of up to ten characters are that JSON.parse makes. */
const accounts = Array.from({ length: 100 }, (_, index) => `account-${index}`)

/** mulberry32: uniform in [0, 1). */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * 45 % cancels of resting orders picked at random, 10 % market, 45 % limit orders around a wandering middle; when less
 * than half of `movingOrders` are there to cancel, limit orders instead of cancels. The rest of the book stands behind.
 */
function workloadOf(commandCount: number, restingOrders: number, movingOrders: number): Workload {
  const random = randomFrom(restingOrders)
  const below = (bound: number) => Math.floor(random() * bound)
  const matcher = new Matcher()
  matcher.define(definition)
  const moving: number[] = []
  const widthTicks = 10 + Math.ceil(movingOrders / 10)
  const standingOrders = restingOrders - movingOrders
  let middleTicks = 2_500_000
  let cmdSeq = 0

  const applied = <T extends Command>(record: T): T => {
    matcher.apply(record)
    if (record.type === 'new' && matcher.order(record.srcSeq)) moving.push(record.srcSeq)
    return record
  }
  const takeMoving = (): number | undefined => {
    while (moving.length > 0) {
      const index = below(moving.length)
      const orderNumber = moving[index] as number
      moving[index] = moving[moving.length - 1] as number
      moving.pop()
      if (matcher.order(orderNumber)) return orderNumber
    }
    return undefined
  }
  const base = () => ({ cmdSeq: (cmdSeq += 1), srcSeq: cmdSeq, timeUs: 1_790_000_000_000_000 + cmdSeq })
  const order = () =>
    ({
      ...base(),
      type: 'new',
      account: accounts[below(accounts.length)] as string,
      symbol,
      side: random() < 0.5 ? 'BUY' : 'SELL',
    }) as const
  const limit = (away: number): NewRecord => {
    const terms = order()
    const priceTicks = middleTicks + (terms.side === 'BUY' ? -1 - away : 1 + away)
    return { ...terms, ordType: 'LIMIT', timeInForce: 'GTC', quantityLots: 1_000_000 * (1 + below(100)), priceTicks }
  }
  const market = (): NewRecord => {
    const terms = order()
    const protectionTicks = terms.side === 'BUY' ? 4_000_000 : 1_000_000
    const quantityLots = 1_000_000 * (1 + below(40))
    return { ...terms, ordType: 'MARKET', timeInForce: 'IOC', quantityLots, protectionTicks }
  }
  const opening: Command[] = []
  for (let count = 0; count < standingOrders; count += 1)
    opening.push(applied(limit(widthTicks + below(Math.ceil(standingOrders / 10)))))
  moving.length = 0
  for (let count = 0; count < movingOrders; count += 1) opening.push(applied(limit(below(widthTicks))))
  const commands: Command[] = []
  for (let count = 0; count < commandCount; count += 1) {
    if (random() < 0.05) middleTicks += random() < 0.5 ? -1 : 1
    const kind = random()
    const target = kind < 0.45 && moving.length >= movingOrders / 2 ? takeMoving() : undefined
    if (target !== undefined) commands.push(applied({ ...base(), type: 'cancel', target }))
    else commands.push(applied(kind >= 0.9 ? market() : limit(below(widthTicks) - 2)))
  }
  return { opening, commands }
}

export function peerCallOf(record: Command): PeerCall {
  if (record.type === 'cancel') return { call: 'cancel', orderId: String(record.target) }
  const side = record.side === 'BUY' ? PeerSide.BUY : PeerSide.SELL
  const size = record.quantityLots
  if (record.priceTicks === undefined) return { call: 'market', options: { side, size } }
  return { call: 'limit', options: { id: String(record.srcSeq), side, size, price: record.priceTicks } }
}

setFlagsFromString('--expose-gc')
/** Run before the clock starts, so that nobody pays for the garbage of the opening or of the other's round. */
const collectGarbage = runInNewContext('gc') as () => void

/**
 * The last of each kind. V8 forgets compiled code with the last object of a class: without them every round would begin
 * cold, ours and the peer's, as no process that runs for longer does.
 */
const alive: { matcher?: Matcher; peer?: OrderBook } = {}

export interface Run {
  readonly commandsPerSecond: number
  readonly tradedLots: number
}

export function runMatcher({ opening, commands }: Workload): Run {
  const matcher = new Matcher()
  matcher.define(definition)
  for (const record of opening) matcher.apply(record)
  alive.matcher ??= matcher
  collectGarbage()
  let tradedLots = 0
  const started = process.hrtime.bigint()
  for (const record of commands)
    for (const report of matcher.apply(record)) if (report.liquidity === 'TAKER') tradedLots += report.lastLots
  return { commandsPerSecond: perSecond(commands.length, started), tradedLots }
}

export function runPeer(opening: readonly PeerCall[], calls: readonly PeerCall[]): Run {
  const book = new OrderBook()
  let tradedLots = 0
  const run = (call: PeerCall) => {
    if (call.call === 'cancel') book.cancel(call.orderId)
    else if (call.call === 'limit') tradedLots += call.options.size - book.limit(call.options).quantityLeft
    else tradedLots += call.options.size - book.market(call.options).quantityLeft
  }
  for (const call of opening) run(call)
  alive.peer ??= book
  collectGarbage()
  const started = process.hrtime.bigint()
  for (const call of calls) run(call)
  return { commandsPerSecond: perSecond(calls.length, started), tradedLots }
}

function perSecond(count: number, started: bigint): number {
  return Math.round((count * 1e9) / Number(process.hrtime.bigint() - started))
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number
}

function rowOf(scenario: string, restingOrders: number, runs: readonly Run[]): MatcherBenchRow {
  const speeds = runs.map(({ commandsPerSecond }) => commandsPerSecond)
  const [min, max] = [Math.min(...speeds), Math.max(...speeds)]
  return { scenario, restingOrders, rounds: runs.length, median: median(speeds), min, max, unit: 'commandsPerSecond' }
}

/**
 * Commands per second of our matcher, reports as values included, beside nodejs-order-book in interleaved rounds on
 * the same commands. @throws BugError when the two traded different quantities
 */
export function matcherBench({ commands, rounds }: { commands: number; rounds: number }): MatcherBenchRow[] {
  const restingOrders = 1_000
  const workload = workloadOf(commands, restingOrders, restingOrders)
  const peerOpening = workload.opening.map(peerCallOf)
  const peerCalls = workload.commands.map(peerCallOf)
  const ours: Run[] = []
  const peers: Run[] = []
  for (let round = 0; round < rounds; round += 1) {
    const own = runMatcher(workload)
    const peer = runPeer(peerOpening, peerCalls)
    assert(own.tradedLots > 0 && own.tradedLots === peer.tradedLots, 'both trade the same quantity')
    ours.push(own)
    peers.push(peer)
  }
  const row = rowOf('matcher', restingOrders, ours)
  const peer = median(peers.map(({ commandsPerSecond }) => commandsPerSecond))
  return [{ ...row, ratioToPeer: Math.round((row.median / peer) * 100) / 100 }]
}

/**
 * The same of our matcher alone over books of very different size: `matcher-depth` trades among the best 1,000 orders,
 * `matcher-scattered` cancels anywhere in the book, where nearly every access misses the processor's caches.
 */
export function matcherDepthBench({ commands, rounds }: { commands: number; rounds: number }): MatcherBenchRow[] {
  const scenarios = [
    ['matcher-depth', 1, 1],
    ['matcher-depth', 1_000, 1_000],
    ['matcher-depth', 1_000_000, 1_000],
    ['matcher-scattered', 1_000_000, 1_000_000],
  ] as const
  return scenarios.map(([scenario, restingOrders, movingOrders]) => {
    const workload = workloadOf(commands, restingOrders, movingOrders)
    const runs = Array.from({ length: rounds }, () => runMatcher(workload))
    return rowOf(scenario, restingOrders, runs)
  })
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } })
  const options = { commands: 500_000, rounds: 5 }
  const rows = [...matcherBench(options), ...matcherDepthBench(options)]
  if (values.json) console.log(JSON.stringify(rows))
  else console.table(rows)
}
