import { usFromRfc3339 } from '../base/clock.ts'
import type { ExecutionMessage } from '../schemas/execution.ts'

/** VaR looks back over this many returns at most, each over one interval of 30 s (contract, section 3a). */
export const returnsMax = 500
const intervalsPerMinute = 2
/** Closes of a symbol are thinned out when there are this many. */
const closesMax = 2 * (returnsMax + 1)

/** Last own trade of each interval in which a symbol traded, oldest first. */
interface Closes {
  readonly intervals: number[]
  readonly prices: number[]
}

/** By symbol: intervals, and the price at the end of each. */
export interface PriceHistoryState {
  readonly interval: number
  readonly closes: readonly (readonly [symbol: string, intervals: readonly number[], prices: readonly number[]])[]
}

/**
 * Own trades sampled every 30 s of stream time (`transactTime` of EXECUTIONS): a fold, so it comes back by reading
 * EXECUTIONS again, or from a snapshot. Prices are doubles: only their ratios matter.
 */
export class PriceHistory {
  readonly #closes = new Map<string, Closes>()
  #minuteText = ''
  #minute = 0
  #interval = 0

  /** Of the last message: 30 s intervals since the Unix epoch. It is not over yet. */
  get interval(): number {
    return this.#interval
  }

  /** Folds one message of EXECUTIONS, in stream order. */
  take({ epoch, transactTime, reports }: ExecutionMessage): void {
    if (epoch !== undefined) return
    const minuteText = transactTime.slice(0, 16)
    if (minuteText !== this.#minuteText) {
      this.#minuteText = minuteText
      this.#minute = (usFromRfc3339(`${minuteText}:00Z`) ?? 0) / 60_000_000
    }
    // Digit of the tens of seconds.
    this.#interval = this.#minute * intervalsPerMinute + (transactTime.charAt(17) < '3' ? 0 : 1)
    for (const { symbol, lastPx } of reports)
      if (symbol !== undefined && lastPx !== undefined) this.#trade(symbol, Number(lastPx))
  }

  save(): PriceHistoryState {
    const closes = Array.from(
      this.#closes,
      ([symbol, { intervals, prices }]) => [symbol, [...intervals], [...prices]] as const,
    )
    return { interval: this.#interval, closes }
  }

  /** Goes on from a saved state; only before anything else. */
  load({ interval, closes }: PriceHistoryState): void {
    this.#interval = interval
    for (const [symbol, intervals, prices] of closes)
      this.#closes.set(symbol, { intervals: [...intervals], prices: [...prices] })
  }

  /** Number of returns of a symbol, 500 at most; prices are carried forward over intervals without a trade. */
  countOf(symbol: string): number {
    const first = this.#closes.get(symbol)?.intervals[0]
    return first === undefined ? 0 : Math.max(0, Math.min(returnsMax, this.#interval - 1 - first))
  }

  /** Returns p / p' − 1 of a symbol over the last intervals that are over, oldest first, `countOf` of them. */
  returnsOf(symbol: string): Float64Array {
    const returns = new Float64Array(this.countOf(symbol))
    const closes = this.#closes.get(symbol)
    if (!closes) return returns
    const { intervals, prices } = closes
    // Intervals without a trade stay 0.
    const start = this.#interval - returns.length
    for (let at = intervals.length - 1; at > 0; at -= 1) {
      const index = (intervals[at] ?? 0) - start
      if (index < 0) break
      if (index < returns.length) returns[index] = (prices[at] ?? 0) / (prices[at - 1] ?? 1) - 1
    }
    return returns
  }

  /** Most returns of any symbol. */
  get longest(): number {
    let longest = 0
    for (const symbol of this.#closes.keys()) longest = Math.max(longest, this.countOf(symbol))
    return longest
  }

  #trade(symbol: string, price: number): void {
    let closes = this.#closes.get(symbol)
    if (!closes) this.#closes.set(symbol, (closes = { intervals: [], prices: [] }))
    const { intervals, prices } = closes
    const last = intervals.length - 1
    if (intervals[last] === this.#interval) {
      prices[last] = price
      return
    }
    intervals.push(this.#interval)
    prices.push(price)
    if (intervals.length < closesMax) return
    intervals.splice(0, intervals.length - returnsMax - 2)
    prices.splice(0, prices.length - returnsMax - 2)
  }
}
