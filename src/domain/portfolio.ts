import { createHash } from 'node:crypto'
import { assert } from '../base/assert.ts'
import { pow10, unitsMax, type Decimal, type Exact } from '../base/decimal.ts'
import type { Instrument } from '../schemas/instrument.ts'
import type { PerformanceState } from '../schemas/performance.ts'
import { accountScale, type AccountState, type PositionState } from '../schemas/position.ts'
import type { Fill } from './fill.ts'
import { add, multiply } from './money.ts'
import { Performance } from './performance.ts'
import { accountState, loadAccount, marketOf, marketStates, type PortfolioState } from './portfolio-state.ts'
import { Account, Market, Position } from './position.ts'

/** The account that fees are booked against; it has cash and fees only. */
export const venueAccount = '_venue'

/** What must be zero (contract, section 6.5), summed over all accounts, `_venue` included. */
export interface Conservation {
  readonly quantityBySymbol: ReadonlyMap<string, Exact>
  /** In 10^-`accountScale`. */
  readonly cash: bigint
  readonly fees: bigint
}

/** Sums over all accounts but `_venue`. */
export interface Totals extends Omit<AccountState, 'account'> {
  readonly accounts: number
  /** That have traded. */
  readonly symbols: number
  readonly record: PerformanceState
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
  /** Of all accounts but `_venue`; made with the first of them. */
  #total: Performance | undefined
  #totalPeak = 0n
  #openPositions = 0
  /** Stream time in minutes since 1970. */
  #minute = 0
  /** Their marks moved since holders were revalued. */
  readonly #movedMarkets = new Set<Market>()
  readonly #stalePositions = this.#holdersOfMoved()
  /** A mark alone has changed them. */
  readonly #markedPositions = new Set<Position>()
  #changedPositions: Position[] = []
  #changedAccounts: Account[] = []

  /** @param options.startingCash what each account starts with, ≥ 0; default 0 */
  constructor(options: { startingCash?: Decimal } = {}) {
    const { mantissa, scale } = options.startingCash ?? { mantissa: 0n, scale: 0 }
    assert(mantissa >= 0n && scale <= accountScale, 'startingCash must be ≥ 0 with at most 18 decimals')
    this.#startingCash = mantissa * pow10(accountScale - scale)
    this.#venue = new Account(venueAccount, 0n, 0)
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
    const total = this.#total
    assert(total, 'the first account makes it')
    let position = account.positions.get(symbol)
    if (!position) {
      position = new Position(account, market)
      account.positions.set(symbol, position)
    }

    const signed = fill.side === 'BUY' ? lots : -lots
    const held = position.quantityLots
    const gain = position.book(signed, ticks)
    position.traceparent = fill.traceparent
    if (held === 0) {
      market.holders.add(position)
      account.openPositions += 1
      this.#openPositions += 1
    } else if (position.quantityLots === 0) {
      market.holders.delete(position)
      account.openPositions -= 1
      this.#openPositions -= 1
    }
    account.cash -= BigInt(multiply(signed, ticks)) * market.valueFactor
    account.record.trades += 1
    total.trades += 1
    if (held !== 0 && held > 0 !== signed > 0) {
      const amount = BigInt(gain) * market.valueFactor
      account.realizedPnl += amount
      account.record.close(amount)
      total.close(amount)
    }
    if (fee !== 0 && fee !== 0n) {
      position.fees = add(position.fees, fee)
      const amount = BigInt(fee) * market.feeFactor
      account.fees += amount
      account.cash -= amount
      this.#venue.fees -= amount
      this.#venue.cash += amount
      this.#venue.evaluate(this.#minute)
      this.#noteAccount(this.#venue)
    }
    this.#setMark(market, ticks)
    position.revalue()
    account.evaluate(this.#minute)
    this.#notePosition(position)
    this.#noteAccount(account)
  }

  /** Takes a price from outside; holders see it at the next `refreshMarks`. Symbols nobody ever traded are ignored. */
  mark(symbol: string, ticks: number): void {
    const market = this.#markets.get(symbol)
    if (market) this.#setMark(market, ticks)
  }

  /**
   * Revalues holders of symbols whose mark moved, then their accounts, each once.
   *
   * @param positionsMax how many at most; the next call goes on where this one ends
   */
  refreshMarks(positionsMax = Infinity): void {
    const accounts = new Set<Account>()
    for (let left = positionsMax; left > 0; left -= 1) {
      const position = this.#stalePositions.next().value
      if (!position) break
      if (!position.revalue()) continue
      if (!position.changed) this.#markedPositions.add(position)
      accounts.add(position.owner)
    }
    for (const account of accounts) account.evaluate(this.#minute)
  }

  /** Goes on for ever: undefined while there is none. */
  *#holdersOfMoved(): Generator<Position | undefined, never> {
    for (;;) {
      for (const market of this.#movedMarkets) {
        this.#movedMarkets.delete(market)
        yield* market.holders
      }
      yield undefined
    }
  }

  /**
   * A minute of stream time begins: takes the snapshots of equity that are due, all accounts at the marks known now.
   * Those of minutes that have passed already stay as they are.
   */
  advance(minute: number): void {
    if (!(minute > this.#minute)) return
    this.refreshMarks()
    this.#minute = minute
    this.#total?.snapshot(minute, this.#totalPnl)
    if (this.#totalPnl > this.#totalPeak) this.#totalPeak = this.#totalPnl
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

  /** Names of all accounts that have traded, in the order of their first fills. */
  *tradingAccounts(): Iterable<string> {
    for (const name of this.#accounts.keys()) if (name !== venueAccount) yield name
  }

  account(account: string): AccountState | undefined {
    return this.#accounts.get(account)
  }

  /** As of the last minute of stream time that began. */
  recordOf(name: string): PerformanceState | undefined {
    const account = this.#accounts.get(name)
    account?.record.snapshot(this.#minute, account.equity)
    return account?.record
  }

  /** Of all accounts but `_venue`; all at the same marks. */
  totals(): Totals {
    const accounts = this.#accounts.size - 1
    const startingCash = this.#startingCash * BigInt(accounts)
    const total = this.#total ?? new Performance(0, 0n)
    const realizedPnl = total.grossProfit - total.grossLoss
    const highWaterMark = startingCash + (this.#totalPnl > this.#totalPeak ? this.#totalPnl : this.#totalPeak)
    const equity = startingCash + this.#totalPnl
    return {
      accounts,
      symbols: this.#markets.size,
      startingCash,
      realizedPnl,
      unrealizedPnl: -realizedPnl,
      fees: -this.#venue.fees,
      cash: -this.#venue.cash,
      equity,
      highWaterMark,
      drawdown: highWaterMark - equity,
      openPositions: this.#openPositions,
      record: total,
    }
  }

  /**
   * What changed since it was last taken, each once: what fills changed, in that order, then what only marks did.
   *
   * @param markedMax how many positions of the latter, with their accounts, at most; the others wait for the next calls
   */
  takeChanged(markedMax = Infinity): { positions: PositionState[]; accounts: AccountState[] } {
    let left = markedMax
    for (const position of this.#markedPositions) {
      if (left === 0) break
      left -= 1
      this.#notePosition(position)
      this.#noteAccount(position.owner)
    }
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

  save(): PortfolioState {
    return {
      startingCash: this.#startingCash,
      minute: this.#minute,
      totalPeak: this.#totalPeak,
      total: this.#total?.save(),
      markets: marketStates(this.#markets),
      accounts: Array.from(this.#accounts.values(), accountState),
    }
  }

  /** Goes on from a saved state; only before anything else. Another starting cash than then counts from the start. */
  load({ startingCash, minute, totalPeak, total, markets, accounts }: PortfolioState): void {
    assert(this.#markets.size === 0 && this.#accounts.size === 1, 'a state is loaded once, at the start')
    this.#minute = minute
    this.#totalPeak = totalPeak
    this.#total = total && Performance.load(total, 0n)
    for (const saved of markets) {
      const market = marketOf(saved)
      this.#markets.set(market.instrument.symbol, market)
      this.#movedMarkets.add(market)
    }
    for (const state of accounts) {
      const isVenue = state.account === venueAccount
      const account = isVenue ? this.#venue : this.#accountOf(state.account)
      loadAccount(account, state, this.#markets, isVenue ? 0n : this.#startingCash - startingCash)
      this.#openPositions += account.openPositions
    }
  }

  /** Symbols that have traded. */
  symbols(): Iterable<string> {
    return this.#markets.keys()
  }

  /** SHA-256 of everything that follows from the fills alone: two folds of the same trades agree, whatever the marks. */
  stateHash(): string {
    const hash = createHash('sha256')
    for (const [name, account] of sorted(this.#accounts))
      for (const [symbol, { quantityLots, cost, realizedPnl, fees }] of sorted(account.positions))
        hash.update(`${name} ${symbol} ${quantityLots} ${cost} ${realizedPnl} ${fees}\n`)
    return hash.digest('hex')
  }

  /**
   * Realised − fees + unrealised. Every trade has two sides, so that all but the fees adds up to zero over all accounts
   * at any one mark of each symbol.
   */
  get #totalPnl(): bigint {
    return this.#venue.fees
  }

  #setMark(market: Market, ticks: number): void {
    if (market.markTicks === ticks) return
    market.markTicks = ticks
    this.#movedMarkets.add(market)
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
      account = new Account(name, this.#startingCash, this.#minute)
      this.#total ??= new Performance(this.#minute, 0n)
      this.#accounts.set(name, account)
    }
    return account
  }

  #notePosition(position: Position): void {
    if (position.changed) return
    this.#markedPositions.delete(position)
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
