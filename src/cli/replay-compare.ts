import type { Side } from '../schemas/enums.ts'
import type { FlowRow } from './replay-file.ts'

/** How far apart in file time an own trade and the exchange's may be. */
export const toleranceMs = 5_000

/** Why a trade of the tape was not reproduced; each is counted once, by the first that fits. */
export const causes = {
  restedBeforeFile: 'no order of the file could be its maker: that one rested before the file begins',
  otherSize: 'ours traded at that price, in another size',
  otherPrice: 'ours traded that size, at another price',
  notTraded: 'ours did not trade then: the books differ since an earlier cause',
} as const
export type Cause = keyof typeof causes

/** A trade by the file's clock; decimals are plain text without trailing zeros. */
export interface ComparedTrade {
  readonly timeMs: number
  readonly price: string
  readonly size: string
}

export interface Comparison {
  /** Own trades. */
  readonly trades: number
  /** The exchange's. */
  readonly tape: number
  /** Pairs of the same price and size, at most `toleranceMs` apart, each trade in one pair at most. */
  readonly reproduced: number
  readonly unreproduced: Readonly<Record<Cause, number>>
  /** Own trades that are in no pair. */
  readonly notOnTape: number
}

interface Printed extends ComparedTrade {
  readonly hasMaker: boolean
}

/** Orders of the file at one price and side, by what the file itself says. */
interface Level {
  open: number
  lastGoneMs: number
}

/** Compares own trades with the tape of an order-flow file. Keeps trades, open orders and prices, not rows. */
export class TapeComparison {
  readonly #own: ComparedTrade[] = []
  readonly #tape: Printed[] = []
  readonly #levels = new Map<string, Level>()
  readonly #openOrders = new Map<string, Level>()
  /** Orders that came in the last `toleranceMs`. */
  readonly #recent: FlowRow[] = []

  /** Takes the rows in the order of the file. */
  row(row: FlowRow): void {
    while ((this.#recent[0]?.timeMs ?? Infinity) < row.timeMs - toleranceMs) this.#recent.shift()
    switch (row.event) {
      case 'new': {
        const level = this.#levelAt(row.side, row.price)
        level.open += 1
        this.#openOrders.set(row.id, level)
        this.#recent.push(row)
        break
      }
      case 'cancel': {
        const level = this.#openOrders.get(row.id)
        if (!level) break
        this.#openOrders.delete(row.id)
        level.open -= 1
        level.lastGoneMs = row.timeMs
        break
      }
      case 'trade':
        this.#tape.push({ timeMs: row.timeMs, price: row.price, size: row.size, hasMaker: this.#hasMaker(row) })
    }
  }

  /** Takes a trade of ours, at the file time of the command that caused it. */
  traded(trade: ComparedTrade): void {
    this.#own.push(trade)
  }

  result(): Comparison {
    const { unpairedOwn, unpairedTape } = pair(this.#own, this.#tape)
    const unreproduced: Record<Cause, number> = { restedBeforeFile: 0, otherSize: 0, otherPrice: 0, notTraded: 0 }
    const own = inTime(unpairedOwn)
    for (const trade of unpairedTape) unreproduced[causeOf(trade, own)] += 1
    return {
      trades: this.#own.length,
      tape: this.#tape.length,
      reproduced: this.#tape.length - unpairedTape.length,
      unreproduced,
      notOnTape: unpairedOwn.length,
    }
  }

  #levelAt(side: Side | undefined, price: string): Level {
    const key = `${side} ${price}`
    let level = this.#levels.get(key)
    if (!level) this.#levels.set(key, (level = { open: 0, lastGoneMs: -Infinity }))
    return level
  }

  /** Whether an order of the file can have rested at the price of a trade while another, just in, crossed it. */
  #hasMaker({ timeMs, price }: FlowRow): boolean {
    const isPossible = (maker: Side) => {
      const level = this.#levels.get(`${maker} ${price}`)
      if (!level || (level.open === 0 && level.lastGoneMs < timeMs - toleranceMs)) return false
      return this.#recent.some(
        (taker) => taker.side !== maker && (maker === 'BUY' ? +taker.price <= +price : +taker.price >= +price),
      )
    }
    return isPossible('BUY') || isPossible('SELL')
  }
}

function inTime<T extends ComparedTrade>(trades: readonly T[]): T[] {
  return trades.toSorted((a, b) => a.timeMs - b.timeMs)
}

/**
 * The largest possible number of pairs: among trades of one price and size all windows are of one length, so that
 * giving each, in the order of time, the earliest that is left and in reach leaves the fewest over.
 */
function pair(
  own: readonly ComparedTrade[],
  tape: readonly Printed[],
): { unpairedOwn: ComparedTrade[]; unpairedTape: Printed[] } {
  const keyOf = ({ price, size }: ComparedTrade) => `${size}@${price}`
  const ownByKey = Map.groupBy(inTime(own), keyOf)
  const unpairedOwn: ComparedTrade[] = []
  const unpairedTape: Printed[] = []
  for (const [key, printed] of Map.groupBy(inTime(tape), keyOf)) {
    const mine = ownByKey.get(key) ?? []
    ownByKey.delete(key)
    let next = 0
    for (const trade of printed) {
      for (; (mine[next]?.timeMs ?? Infinity) < trade.timeMs - toleranceMs; next += 1)
        unpairedOwn.push(...mine.slice(next, next + 1))
      if ((mine[next]?.timeMs ?? Infinity) <= trade.timeMs + toleranceMs) next += 1
      else unpairedTape.push(trade)
    }
    unpairedOwn.push(...mine.slice(next))
  }
  for (const mine of ownByKey.values()) unpairedOwn.push(...mine)
  return { unpairedOwn, unpairedTape }
}

/** @param own trades in no pair, in the order of time */
function causeOf(trade: Printed, own: readonly ComparedTrade[]): Cause {
  if (!trade.hasMaker) return 'restedBeforeFile'
  const near = within(own, trade.timeMs)
  if (near.some(({ price }) => price === trade.price)) return 'otherSize'
  return near.some(({ size }) => size === trade.size) ? 'otherPrice' : 'notTraded'
}

function within(own: readonly ComparedTrade[], timeMs: number): readonly ComparedTrade[] {
  let from = 0
  for (let to = own.length; from < to;) {
    const middle = (from + to) >> 1
    if ((own[middle]?.timeMs ?? 0) < timeMs - toleranceMs) from = middle + 1
    else to = middle
  }
  let end = from
  while ((own[end]?.timeMs ?? Infinity) <= timeMs + toleranceMs) end += 1
  return own.slice(from, end)
}
