import { pow10, type Exact } from '../base/decimal.ts'
import type { Instrument } from '../schemas/instrument.ts'
import { accountScale, type AccountState, type PositionState } from '../schemas/position.ts'
import { add, magnitude, multiply, share, subtract } from './money.ts'
import { Performance } from './performance.ts'

/** What the positions of one account add up to, in 10^-`accountScale`; the portfolio books it. */
export class Account implements AccountState {
  readonly account: string
  readonly startingCash: bigint
  readonly positions = new Map<string, Position>()
  record: Performance
  realizedPnl = 0n
  unrealizedPnl = 0n
  fees = 0n
  cash = 0n
  equity: bigint
  highWaterMark: bigint
  openPositions = 0
  /** The portfolio has it among those that it hands out next. */
  changed = false

  constructor(account: string, startingCash: bigint, minute: number) {
    this.account = account
    this.startingCash = startingCash
    this.record = new Performance(minute, startingCash)
    this.equity = startingCash
    this.highWaterMark = startingCash
  }

  get drawdown(): bigint {
    return this.highWaterMark - this.equity
  }

  evaluate(minute: number): void {
    this.record.snapshot(minute, this.equity)
    this.equity = this.startingCash + this.realizedPnl - this.fees + this.unrealizedPnl
    if (this.equity > this.highWaterMark) this.highWaterMark = this.equity
  }
}

/** What all positions in one symbol share. */
export class Market {
  readonly instrument: Instrument
  /** From tick × lot and from 10^-quoteScale to 10^-`accountScale`. */
  readonly valueFactor: bigint
  readonly feeFactor: bigint
  markTicks = 0
  readonly holders = new Set<Position>()

  constructor(instrument: Instrument) {
    this.instrument = instrument
    this.valueFactor = BigInt(instrument.value.mantissa) * pow10(accountScale - instrument.value.scale)
    this.feeFactor = pow10(accountScale - instrument.quoteScale)
  }
}

/** What an account holds of a symbol: quantity in lots, cost and PnL in tick × lot (contract, section 3a). */
export class Position implements PositionState {
  readonly owner: Account
  readonly market: Market
  quantityLots: Exact = 0
  cost: Exact = 0
  realizedPnl: Exact = 0
  unrealizedPnl: Exact = 0
  fees: Exact = 0
  traceparent: string | undefined
  /** The portfolio has it among those that it hands out next. */
  changed = false

  constructor(owner: Account, market: Market) {
    this.owner = owner
    this.market = market
  }

  get account(): string {
    return this.owner.account
  }

  get symbol(): string {
    return this.market.instrument.symbol
  }

  get instrument(): Instrument {
    return this.market.instrument
  }

  /** Books signed lots at a price. @returns what they realised, in tick × lot */
  book(lots: number, ticks: number): Exact {
    const before = this.quantityLots
    if (before === 0 || before > 0 === lots > 0) {
      this.quantityLots = add(before, lots)
      this.cost = add(this.cost, multiply(lots, ticks))
      return 0
    }
    const held = magnitude(before)
    if (Math.abs(lots) < held) {
      const taken = share(this.cost, Math.abs(lots), held)
      this.quantityLots = add(before, lots)
      this.cost = subtract(this.cost, taken)
      return this.#realize(multiply(-lots, ticks), taken)
    }
    const taken = this.cost
    this.quantityLots = add(before, lots)
    this.cost = multiply(this.quantityLots, ticks)
    return this.#realize(multiply(before, ticks), taken)
  }

  #realize(proceeds: Exact, taken: Exact): Exact {
    const gain = subtract(proceeds, taken)
    this.realizedPnl = add(this.realizedPnl, gain)
    return gain
  }

  /** Revalues at the mark, here and in the account's sum. @returns whether it changed */
  revalue(): boolean {
    const before = this.unrealizedPnl
    const now = this.quantityLots === 0 ? 0 : subtract(multiply(this.quantityLots, this.market.markTicks), this.cost)
    if (now === before) return false
    this.unrealizedPnl = now
    this.owner.unrealizedPnl += BigInt(subtract(now, before)) * this.market.valueFactor
    return true
  }
}
