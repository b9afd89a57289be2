import type { PerformanceState } from '../schemas/performance.ts'

const minutesPerYear = 525_600

export interface PerformanceSnapshot extends Omit<PerformanceState, 'sharpe'> {
  readonly sums: readonly [changes: number, sum: bigint, sumOfSquares: bigint, minute: number, equity: bigint]
}

/**
 * How trading went: wins and losses of its closing fills, and the changes of its equity from minute to minute, of which
 * only sums are kept (contract, section 3a). Amounts are exact, in 10^-`accountScale` of the quote currency.
 */
export class Performance implements PerformanceState {
  trades = 0
  closingTrades = 0
  wins = 0
  losses = 0
  grossProfit = 0n
  grossLoss = 0n
  #changes = 0
  #sum = 0n
  #sumOfSquares = 0n
  /** Of the last snapshot. */
  #minute: number
  #equity: bigint

  /** @param minute in which it begins, with an equity of `equity` */
  constructor(minute: number, equity: bigint) {
    this.#minute = minute
    this.#equity = equity
  }

  /** Counts a closing fill. @param gain what it realised before fees */
  close(gain: bigint): void {
    this.closingTrades += 1
    if (gain > 0n) {
      this.wins += 1
      this.grossProfit += gain
    } else if (gain < 0n) {
      this.losses += 1
      this.grossLoss -= gain
    }
  }

  /** Takes the snapshots that are due when a minute begins. @param equity at the end of each minute before it */
  snapshot(minute: number, equity: bigint): void {
    if (minute <= this.#minute) return
    this.#changes += minute - this.#minute
    this.#minute = minute
    const change = equity - this.#equity
    if (change === 0n) return
    this.#sum += change
    this.#sumOfSquares += change * change
    this.#equity = equity
  }

  save(): PerformanceSnapshot {
    const { trades, closingTrades, wins, losses, grossProfit, grossLoss } = this
    const sums = [this.#changes, this.#sum, this.#sumOfSquares, this.#minute, this.#equity] as const
    return { trades, closingTrades, wins, losses, grossProfit, grossLoss, sums }
  }

  /** @param cash added to the equity it was at */
  static load({ sums, ...counts }: PerformanceSnapshot, cash: bigint): Performance {
    const [changes, sum, sumOfSquares, minute, equity] = sums
    const loaded = Object.assign(new Performance(minute, equity + cash), counts)
    loaded.#changes = changes
    loaded.#sum = sum
    loaded.#sumOfSquares = sumOfSquares
    return loaded
  }

  get sharpe(): number | null {
    const count = BigInt(this.#changes)
    // count × (count − 1) × the variance, exact: the figures that are subtracted may differ in their last digits only.
    const spread = count * this.#sumOfSquares - this.#sum * this.#sum
    if (spread === 0n) return null
    const perMinute = Number(this.#sum) * Math.sqrt((this.#changes - 1) / (this.#changes * Number(spread)))
    return perMinute * Math.sqrt(minutesPerYear)
  }
}
