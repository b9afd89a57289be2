import type { Exact } from '../base/decimal.ts'
import { pow10 } from '../base/decimal.ts'
import type { Instrument } from '../schemas/instrument.ts'
import { add, magnitude, multiply, subtract } from './money.ts'

/** What the gate knows of one symbol. */
export class Market {
  /** Last own trade as reported. */
  lastTicks: number | undefined = undefined
  /** Whether `instrument` has been compared with the configuration of this process. */
  current = true
  instrument: Instrument
  /** 10^-18 of the quote currency in one tick × lot. */
  readonly attoPerValue: bigint

  constructor(instrument: Instrument) {
    this.instrument = instrument
    this.attoPerValue = BigInt(instrument.value.mantissa) * pow10(18 - instrument.value.scale)
  }

  /** Last own trade, else the configured reference price. */
  get markTicks(): number | undefined {
    return this.lastTicks ?? this.instrument.referenceTicks
  }
}

export function larger(a: Exact, b: Exact): Exact {
  return a > b ? a : b
}

/** max(|P·m + B|, |P·m − S|) in tick × lot: what an account may come to hold in a symbol (CME GC2). */
export function worstGross(positionLots: Exact, markTicks: number, buyValue: Exact, sellValue: Exact): Exact {
  const marked = multiply(positionLots, markTicks)
  return larger(magnitude(add(marked, buyValue)), magnitude(subtract(marked, sellValue)))
}

/** max(|position + Σ buy leaves|, |position − Σ sell leaves|) in lots (TT). */
export function worstPosition(positionLots: Exact, buyLots: Exact, sellLots: Exact): Exact {
  return larger(magnitude(add(positionLots, buyLots)), magnitude(subtract(positionLots, sellLots)))
}

/** Position and holds of one account in one symbol, as far as EXECUTIONS has been seen. */
export class Exposure {
  readonly account: AccountExposure
  readonly market: Market
  /** Signed. */
  positionLots: Exact = 0
  /** Σ of what the open orders of a side may still fill, pending replaces counted at their larger. */
  buyLots: Exact = 0
  sellLots: Exact = 0
  /** Σ lots × hold price of the same, in tick × lot. */
  buyValue: Exact = 0
  sellValue: Exact = 0
  openOrders = 0
  #grossAtto = 0n
  #grossMarkTicks: number | undefined = undefined
  #grossStale = false

  constructor(account: AccountExposure, market: Market) {
    this.account = account
    this.market = market
  }

  /** Adds to (or, negative, takes from) the holds of a side. */
  hold(buy: boolean, lots: number, value: Exact): void {
    if (buy) {
      this.buyLots = add(this.buyLots, lots)
      this.buyValue = add(this.buyValue, value)
    } else {
      this.sellLots = add(this.sellLots, lots)
      this.sellValue = add(this.sellValue, value)
    }
    this.#grossStale = true
  }

  /** Books a fill: signed lots at a price. */
  fill(lots: number, ticks: number): void {
    this.positionLots = add(this.positionLots, lots)
    this.market.lastTicks = ticks
    this.#grossStale = true
  }

  /** Gross exposure in this symbol as of the last `refreshGross`, in 10^-18 of the quote currency. */
  get grossAtto(): bigint {
    return this.#grossAtto
  }

  get grossStale(): boolean {
    return this.#grossStale || this.#grossMarkTicks !== this.market.markTicks
  }

  /** Brings the gross exposure up to date. @returns by how much it changed */
  refreshGross(): bigint {
    const before = this.#grossAtto
    this.#grossAtto = this.grossAttoWith(this.buyValue, this.sellValue)
    this.#grossMarkTicks = this.market.markTicks
    this.#grossStale = false
    return this.#grossAtto - before
  }

  /** Gross exposure in this symbol if its holds had these values. Without any price there is no position yet. */
  grossAttoWith(buyValue: Exact, sellValue: Exact): bigint {
    const worst = worstGross(this.positionLots, this.market.markTicks ?? 0, buyValue, sellValue)
    return BigInt(worst) * this.market.attoPerValue
  }
}

/** All exposures of one account. */
export class AccountExposure {
  readonly name: string
  readonly bySymbol = new Map<string, Exposure>()
  openOrders = 0
  #grossAtto = 0n

  constructor(name: string) {
    this.name = name
  }

  /** Σ of the gross exposures over all symbols, in 10^-18 of the quote currency. */
  grossAtto(): bigint {
    for (const exposure of this.bySymbol.values()) if (exposure.grossStale) this.#grossAtto += exposure.refreshGross()
    return this.#grossAtto
  }
}
