import { returnsMax, type PriceHistory } from './price-history.ts'

/** Fewer say nothing about one in twenty. */
export const returnsMin = 30

/** Loss over 30 s, in quote currency, ≥ 0, that is exceeded in one of twenty, and in one of a hundred, cases. */
export interface ValueAtRisk {
  readonly var95: number
  readonly var99: number
}

/** A position's value in quote currency, signed. */
export interface ValuedPosition {
  readonly symbol: string
  readonly value: number
}

/** 0-based rank of the lower empirical quantile 1 / `nth` among `count` values in ascending order. */
function lowerRank(count: number, nth: number): number {
  return Math.floor((count - 1) / nth)
}

/**
 * Value at risk by historical simulation (contract, section 3a): what the positions would have gained and lost over
 * each of the last 500 intervals of 30 s. Symbols count from their first trade on: the shortest history decides.
 *
 * The returns of a symbol are looked up once; make a new one when the history has moved on.
 */
export class HistoricalSimulation {
  readonly #history: PriceHistory
  /** In ascending order, of symbols that were somebody's only position. */
  readonly #sorted = new Map<string, Tails>()
  readonly #returns = new Map<string, Float64Array>()
  readonly #scenarios = new Float64Array(returnsMax)
  readonly #worst = new Float64Array(returnsMax)

  constructor(history: PriceHistory) {
    this.#history = history
  }

  /** @param positions none of them flat @returns null when a symbol has fewer than 30 returns */
  valueAtRisk(positions: readonly ValuedPosition[]): ValueAtRisk | null {
    const [first, second] = positions
    if (!first) return { var95: 0, var99: 0 }
    if (!second) return this.#ofOne(first)
    let count = returnsMax
    for (const { symbol } of positions) count = Math.min(count, this.#history.countOf(symbol))
    if (count < returnsMin) return null
    const scenarios = this.#scenarios.subarray(0, count).fill(0)
    for (const { symbol, value } of positions) {
      const returns = this.#returnsOf(symbol)
      const skipped = returns.length - count
      for (let at = 0; at < count; at += 1) scenarios[at] = (scenarios[at] ?? 0) + value * (returns[skipped + at] ?? 0)
    }
    const worst = this.#worst.subarray(0, lowerRank(count, 20) + 1)
    keepSmallest(scenarios, worst)
    const loss = (nth: number) => Math.max(0, -(worst[lowerRank(count, nth)] ?? 0))
    return { var95: loss(20), var99: loss(100) }
  }

  /** Of one position the quantiles follow from those of the returns. */
  #ofOne({ symbol, value }: ValuedPosition): ValueAtRisk | null {
    let tails = this.#sorted.get(symbol)
    if (!tails) this.#sorted.set(symbol, (tails = tailsOf(this.#history.returnsOf(symbol))))
    if (tails.count < returnsMin) return null
    const loss = ([low, high]: Tail) => Math.max(0, -value * (value > 0 ? low : high))
    return { var95: loss(tails.in20), var99: loss(tails.in100) }
  }

  #returnsOf(symbol: string): Float64Array {
    let returns = this.#returns.get(symbol)
    if (!returns) this.#returns.set(symbol, (returns = this.#history.returnsOf(symbol)))
    return returns
  }
}

/** Fills `smallest` with the smallest of the values, in ascending order; sorting them all takes longer. */
function keepSmallest(values: Float64Array, smallest: Float64Array): void {
  const last = smallest.length - 1
  smallest.fill(Infinity)
  for (const value of values) {
    if (value >= (smallest[last] ?? 0)) continue
    let at = last
    for (; at > 0 && (smallest[at - 1] ?? 0) > value; at -= 1) smallest[at] = smallest[at - 1] ?? 0
    smallest[at] = value
  }
}

/** Returns of a rank from below and from above. */
type Tail = readonly [low: number, high: number]

interface Tails {
  readonly count: number
  readonly in20: Tail
  readonly in100: Tail
}

function tailsOf(returns: Float64Array): Tails {
  const count = returns.length
  returns.sort()
  const tail = (nth: number): Tail => {
    const rank = lowerRank(count, nth)
    return [returns[rank] ?? 0, returns[count - 1 - rank] ?? 0]
  }
  return { count, in20: tail(20), in100: tail(100) }
}
