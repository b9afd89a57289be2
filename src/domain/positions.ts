import { createHash } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { parseDecimal, pow10, unitsFromOwn, unitsMax, type Decimal, type Exact } from '../base/decimal.ts'
import type { Side } from '../schemas/enums.ts'
import type { ExecutionReport } from '../schemas/execution.ts'
import type { Instrument } from '../schemas/instrument.ts'
import { accountScale, type AccountState, type PositionState } from '../schemas/position.ts'
import { add, magnitude, multiply, normal, share, subtract } from './money.ts'

/** One side of one trade. */
export interface Fill {
  readonly account: string
  readonly symbol: string
  readonly side: Side
  readonly lots: number
  readonly ticks: number
  /** In 10^-quoteScale of the quote currency. */
  readonly fee: Exact
}

/** The account that fees are booked against; it has cash and fees only. */
export const venueAccount = '_venue'

/** What must be zero (contract, section 6.5), summed over all accounts, `_venue` included. */
export interface Conservation {
  readonly quantityBySymbol: ReadonlyMap<string, Exact>
  /** In 10^-`accountScale`. */
  readonly cash: bigint
  readonly fees: bigint
}

class Account implements AccountState {
  readonly account: string
  readonly startingCash: bigint
  readonly positions = new Map<string, Position>()
  realizedPnl = 0n
  unrealizedPnl = 0n
  fees = 0n
  cash = 0n
  equity: bigint
  highWaterMark: bigint
  openPositions = 0
  changed = false

  constructor(account: string, startingCash: bigint) {
    this.account = account
    this.startingCash = startingCash
    this.equity = startingCash
    this.highWaterMark = startingCash
  }

  get drawdown(): bigint {
    return this.highWaterMark - this.equity
  }

  evaluate(): void {
    this.equity = this.startingCash + this.realizedPnl - this.fees + this.unrealizedPnl
    if (this.equity > this.highWaterMark) this.highWaterMark = this.equity
  }
}

/** What all positions in one symbol share. */
class Market {
  readonly instrument: Instrument
  /** From tick × lot and from 10^-quoteScale to 10^-`accountScale`. */
  readonly valueFactor: bigint
  readonly feeFactor: bigint
  markTicks = 0
  /** The mark moved since holders were evaluated. */
  dirty = false
  readonly holders = new Set<Position>()

  constructor(instrument: Instrument) {
    this.instrument = instrument
    this.valueFactor = BigInt(instrument.value.mantissa) * pow10(accountScale - instrument.value.scale)
    this.feeFactor = pow10(accountScale - instrument.quoteScale)
  }
}

class Position implements PositionState {
  readonly owner: Account
  readonly market: Market
  quantityLots: Exact = 0
  cost: Exact = 0
  realizedPnl: Exact = 0
  unrealizedPnl: Exact = 0
  fees: Exact = 0
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

/**
 * Positions, profit and loss of all accounts: the fold over the trades of EXECUTIONS (contract, section 3a).
 *
 * Quantity, cost, realised and fees follow from the fills alone. Unrealised, equity and high-water mark also depend on
 * marks and on when they are evaluated: a fill evaluates its own position and account, `refreshMarks` the rest.
 *
 * The states handed out are live views: encode them before the next fill.
 */
export class Portfolio {
  readonly #startingCash: bigint
  readonly #accounts = new Map<string, Account>()
  readonly #markets = new Map<string, Market>()
  readonly #venue: Account
  #dirtyMarkets: Market[] = []
  #changedPositions: Position[] = []
  #changedAccounts: Account[] = []

  /** @param options.startingCash what each account starts with, ≥ 0; default 0 */
  constructor(options: { startingCash?: Decimal } = {}) {
    const { mantissa, scale } = options.startingCash ?? { mantissa: 0n, scale: 0 }
    assert(mantissa >= 0n && scale <= accountScale, 'startingCash must be ≥ 0 with at most 18 decimals')
    this.#startingCash = mantissa * pow10(accountScale - scale)
    this.#venue = new Account(venueAccount, 0n)
    this.#accounts.set(venueAccount, this.#venue)
  }

  /** Books one side of a trade, its fee against `_venue`, and marks the symbol at its price. */
  fill(fill: Fill, instrument: Instrument): void {
    const { symbol, lots, ticks, fee } = fill
    assert(symbol === instrument.symbol && fill.account !== venueAccount, `a fill of ${fill.account} in ${symbol}`)
    assert(Number.isInteger(lots) && lots > 0 && lots <= unitsMax, `${symbol}: a fill of ${lots} lots`)
    assert(Number.isInteger(ticks) && ticks > 0 && ticks <= unitsMax, `${symbol}: a fill at ${ticks} ticks`)
    const market = this.#marketOf(instrument)
    const account = this.#accountOf(fill.account)
    let position = account.positions.get(symbol)
    if (!position) {
      position = new Position(account, market)
      account.positions.set(symbol, position)
    }

    const signed = fill.side === 'BUY' ? lots : -lots
    const wasFlat = position.quantityLots === 0
    const gain = position.book(signed, ticks)
    if (wasFlat) {
      market.holders.add(position)
      account.openPositions += 1
    } else if (position.quantityLots === 0) {
      market.holders.delete(position)
      account.openPositions -= 1
    }
    account.cash -= BigInt(multiply(signed, ticks)) * market.valueFactor
    if (gain !== 0) account.realizedPnl += BigInt(gain) * market.valueFactor
    if (fee !== 0 && fee !== 0n) {
      position.fees = add(position.fees, fee)
      const amount = BigInt(fee) * market.feeFactor
      account.fees += amount
      account.cash -= amount
      this.#venue.fees -= amount
      this.#venue.cash += amount
      this.#venue.evaluate()
      this.#noteAccount(this.#venue)
    }
    this.#setMark(market, ticks)
    position.revalue()
    account.evaluate()
    this.#notePosition(position)
    this.#noteAccount(account)
  }

  /** Takes a price from outside; holders see it at the next `refreshMarks`. Symbols nobody ever traded are ignored. */
  mark(symbol: string, ticks: number): void {
    const market = this.#markets.get(symbol)
    if (market) this.#setMark(market, ticks)
  }

  /** Revalues every holder of a symbol whose mark moved, then their accounts, each once. */
  refreshMarks(): void {
    const accounts = new Set<Account>()
    for (const market of this.#dirtyMarkets) {
      market.dirty = false
      for (const position of market.holders)
        if (position.revalue()) {
          this.#notePosition(position)
          accounts.add(position.owner)
        }
    }
    this.#dirtyMarkets = []
    for (const account of accounts) {
      account.evaluate()
      this.#noteAccount(account)
    }
  }

  position(account: string, symbol: string): PositionState | undefined {
    return this.#accounts.get(account)?.positions.get(symbol)
  }

  /** Every position an account ever had, flat ones too. */
  positionsOf(account: string): Iterable<PositionState> {
    return this.#accounts.get(account)?.positions.values() ?? []
  }

  /** Names of all accounts, `_venue` included. */
  accounts(): Iterable<string> {
    return this.#accounts.keys()
  }

  account(account: string): AccountState | undefined {
    return this.#accounts.get(account)
  }

  /** What changed since the last call, each once, in the order of its first change. */
  takeChanged(): { positions: PositionState[]; accounts: AccountState[] } {
    const taken = { positions: this.#changedPositions, accounts: this.#changedAccounts }
    for (const position of this.#changedPositions) position.changed = false
    for (const account of this.#changedAccounts) account.changed = false
    this.#changedPositions = []
    this.#changedAccounts = []
    return taken
  }

  conservation(): Conservation {
    const quantityBySymbol = new Map<string, Exact>()
    let cash = 0n
    let fees = 0n
    for (const account of this.#accounts.values()) {
      cash += account.cash
      fees += account.fees
      for (const { symbol, quantityLots } of account.positions.values())
        quantityBySymbol.set(symbol, add(quantityBySymbol.get(symbol) ?? 0, quantityLots))
    }
    return { quantityBySymbol, cash, fees }
  }

  /** SHA-256 of everything that follows from the fills alone: two folds of the same trades agree, whatever the marks. */
  stateHash(): string {
    const hash = createHash('sha256')
    for (const [name, account] of sorted(this.#accounts))
      for (const [symbol, { quantityLots, cost, realizedPnl, fees }] of sorted(account.positions))
        hash.update(`${name} ${symbol} ${quantityLots} ${cost} ${realizedPnl} ${fees}\n`)
    return hash.digest('hex')
  }

  #setMark(market: Market, ticks: number): void {
    if (market.markTicks === ticks) return
    market.markTicks = ticks
    if (market.dirty) return
    market.dirty = true
    this.#dirtyMarkets.push(market)
  }

  #marketOf(instrument: Instrument): Market {
    const market = this.#markets.get(instrument.symbol)
    if (!market) {
      const created = new Market(instrument)
      this.#markets.set(instrument.symbol, created)
      return created
    }
    const known = market.instrument
    if (known !== instrument)
      assert(
        known.tick.mantissa === instrument.tick.mantissa &&
          known.tick.scale === instrument.tick.scale &&
          known.lot.mantissa === instrument.lot.mantissa &&
          known.lot.scale === instrument.lot.scale &&
          known.quoteScale === instrument.quoteScale,
        `${instrument.symbol}: tick, lot and quoteScale cannot change`,
      )
    return market
  }

  #accountOf(name: string): Account {
    let account = this.#accounts.get(name)
    if (!account) {
      account = new Account(name, this.#startingCash)
      this.#accounts.set(name, account)
    }
    return account
  }

  #notePosition(position: Position): void {
    if (position.changed) return
    position.changed = true
    this.#changedPositions.push(position)
  }

  #noteAccount(account: Account): void {
    if (account.changed) return
    account.changed = true
    this.#changedAccounts.push(account)
  }
}

function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** The fill that a report of EXECUTIONS tells of. @throws BugError when it is no complete Trade in the instrument */
export function fillOf(report: ExecutionReport, instrument: Instrument): Fill {
  const { execId, execType, account, symbol, side, lastQty, lastPx, fee } = report
  assert(execType === 'Trade' && symbol === instrument.symbol, `${execId}: no Trade in ${instrument.symbol}`)
  assert(
    account !== undefined && side !== undefined && lastQty !== undefined && lastPx !== undefined && fee !== undefined,
    `${execId}: a Trade without account, side, lastQty, lastPx or fee`,
  )
  const lots = unitsFromOwn(lastQty, instrument.lot)
  return { account, symbol, side, lots, ticks: unitsFromOwn(lastPx, instrument.tick), fee: feeOf(fee, instrument) }
}

/** A fee has no upper bound such as prices and quantities have. */
function feeOf(fee: number | string, { symbol, quoteScale }: Instrument): Exact {
  if (typeof fee === 'number' && Math.abs(fee) * 10 ** quoteScale < 2 ** 49)
    return unitsFromOwn(fee, { mantissa: 1, scale: quoteScale })
  const decimal = parseDecimal(String(fee))
  assert(decimal && decimal.scale <= quoteScale, `${symbol}: a fee of ${fee} has more than ${quoteScale} decimals`)
  return normal(decimal.mantissa * pow10(quoteScale - decimal.scale))
}
