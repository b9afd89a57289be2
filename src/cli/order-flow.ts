import type { CommandKind } from '../schemas/risk.ts'

/** A command as a client would send it. */
export interface FlowCommand {
  readonly kind: CommandKind
  readonly account: string
  readonly body: string
}

interface Market {
  readonly symbol: string
  readonly decimals: number
  readonly tick: number
  readonly quantity: number
  mid: number
}

/** How many accounts and symbols an order flow spreads over, evenly. */
export interface FlowShape {
  readonly accounts: number
  /** The first five are the ones with instruments of their own. */
  readonly symbols: number
}

const usualShape: FlowShape = { accounts: 12, symbols: 5 }

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * A realistic stream of commands, the same for the same seed: orders around a moving mid on several symbols and
 * accounts, market and IOC orders, stops, icebergs, orders that only reduce or avoid their own, cancels, replaces, some
 * that risk must refuse and some that nobody can read.
 * Orders are named by clOrdId, so that cancels need not know the answers.
 *
 * @param run makes the clOrdIds of this run different from those of others on the same streams
 */
export function* orderFlow(seed: number, run: string, shape = usualShape): Generator<FlowCommand> {
  const random = seededRandom(seed)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const known: Market[] = [
    { symbol: 'BTCUSDT', decimals: 2, tick: 0.5, quantity: 0.4, mid: 45_000 },
    { symbol: 'ETHUSDT', decimals: 2, tick: 0.05, quantity: 4, mid: 2_500 },
    { symbol: 'SOLUSDT', decimals: 2, tick: 0.01, quantity: 50, mid: 100 },
    { symbol: 'AAPL', decimals: 2, tick: 0.01, quantity: 20, mid: 230 },
    { symbol: 'EURUSD', decimals: 5, tick: 0.00001, quantity: 5_000, mid: 1.1 },
  ]
  const markets = Array.from(
    { length: shape.symbols },
    (_, index): Market => known[index] ?? { symbol: `X${index}`, decimals: 2, tick: 0.01, quantity: 10, mid: 100 },
  )
  const accounts = Array.from({ length: shape.accounts }, (_, index) => `trader-${String(index + 1).padStart(2, '0')}`)
  const open: { account: string; clOrdId: string; market: Market; isStop: boolean }[] = []
  let next = 0

  const priceNear = (market: Market, spread: number) =>
    Math.max(market.tick, market.mid + Math.round(spread) * market.tick).toFixed(market.decimals)
  const quantityOf = (market: Market) => (market.quantity * (0.05 + random())).toFixed(2)

  for (;;) {
    const market = pick(markets)
    market.mid += Math.round((random() - 0.5) * 6) * market.tick
    const account = pick(accounts)
    const side = random() < 0.5 ? 'BUY' : 'SELL'
    const what = random()
    if (what < 0.3 && open.length > 20) {
      const [target] = open.splice(Math.floor(random() * open.length), 1)
      if (target)
        yield {
          kind: 'cancel',
          account: target.account,
          body: JSON.stringify({ account: target.account, origClOrdId: target.clOrdId }),
        }
      continue
    }
    if (what < 0.36 && open.length > 20) {
      const target = pick(open)
      if (target.isStop) continue
      const clOrdId = `${run}-${++next}`
      const body = JSON.stringify({
        account: target.account,
        origClOrdId: target.clOrdId,
        clOrdId,
        price: priceNear(target.market, (random() - 0.5) * 30),
      })
      yield { kind: 'replace', account: target.account, body }
      continue
    }
    if (what < 0.375) {
      yield { kind: 'new', account, body: malformed(random()) }
      continue
    }
    const clOrdId = `${run}-${++next}`
    const base = { account, clOrdId, symbol: market.symbol, side }
    if (what < 0.39) {
      // Far beyond maxOrderValue.
      const body = JSON.stringify({
        ...base,
        ordType: 'LIMIT',
        quantity: market.quantity * 1e6,
        price: priceNear(market, 0),
      })
      yield { kind: 'new', account, body }
    } else if (what < 0.47) {
      yield { kind: 'new', account, body: JSON.stringify({ ...base, ordType: 'MARKET', quantity: quantityOf(market) }) }
    } else if (what < 0.5) {
      const away = (side === 'BUY' ? 1 : -1) * (1 + random() * 20)
      const terms = pick(specialTypes)
      const isStop = terms.ordType !== 'LIMIT'
      const body = JSON.stringify({
        ...base,
        ordType: terms.ordType,
        reduceOnly: terms.reduceOnly,
        stpMode: terms.stpMode,
        quantity: quantityOf(market),
        ...(terms.ordType === 'TRAILING_STOP' ? { trailingOffset: (market.tick * 20).toFixed(market.decimals) } : {}),
        ...(terms.ordType === 'STOP' || terms.ordType === 'STOP_LIMIT' ? { stopPrice: priceNear(market, away) } : {}),
        ...(terms.ordType === 'STOP_LIMIT' ? { price: priceNear(market, away * 1.5) } : {}),
        ...(terms.ordType === 'LIMIT' ? { price: priceNear(market, random() < 0.5 ? away : -away) } : {}),
        ...(terms.isIceberg === true ? { displayQuantity: (market.quantity * 0.05).toFixed(2) } : {}),
      })
      yield { kind: 'new', account, body }
      open.push({ account, clOrdId, market, isStop })
    } else {
      const marketable = random() < 0.3
      const spread = (marketable ? 1 : -1) * (side === 'BUY' ? 1 : -1) * (1 + random() * 20)
      const timeInForce = random() < 0.12 ? 'IOC' : random() < 0.1 ? 'DAY' : 'GTC'
      const body = JSON.stringify({
        ...base,
        ordType: 'LIMIT',
        timeInForce,
        quantity: quantityOf(market),
        price: priceNear(market, spread),
      })
      yield { kind: 'new', account, body }
      if (timeInForce !== 'IOC') open.push({ account, clOrdId, market, isStop: false })
      if (open.length > 5_000) open.shift()
    }
  }
}

const specialTypes: readonly {
  readonly ordType: string
  readonly isIceberg?: true
  readonly reduceOnly?: true
  readonly stpMode?: string
}[] = [
  { ordType: 'STOP' },
  { ordType: 'STOP_LIMIT' },
  { ordType: 'TRAILING_STOP' },
  { ordType: 'LIMIT', isIceberg: true },
  { ordType: 'LIMIT', reduceOnly: true },
  { ordType: 'LIMIT', stpMode: 'EXPIRE_TAKER' },
  { ordType: 'LIMIT', stpMode: 'EXPIRE_MAKER' },
  { ordType: 'LIMIT', stpMode: 'EXPIRE_BOTH' },
]

const malformedBodies = [
  '{"symbol":"BTCUSDT","side":"BUY"',
  '{"symbol":"BTCUSDT","side":"HOLD","ordType":"LIMIT","quantity":1,"price":1}',
  '{"symbol":"BTCUSDT","side":"BUY","ordType":"LIMIT","quantity":-1,"price":100}',
  '{"symbol":"BTCUSDT","side":"BUY","ordType":"LIMIT","quantity":1,"price":100.001}',
  'buy one bitcoin',
]

function malformed(random: number): string {
  return malformedBodies[Math.floor(random * malformedBodies.length)] ?? ''
}
