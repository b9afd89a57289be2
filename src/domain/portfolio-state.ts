import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import { instrumentFrom, type InstrumentDefinition } from '../schemas/instrument.ts'
import { Performance, type PerformanceSnapshot } from './performance.ts'
import type { Account } from './position.ts'
import { Market, Position } from './position.ts'

/** Positions, profit and loss of all accounts as plain values: a snapshot of the portfolio. */
export interface PortfolioState {
  /** What each account started with. */
  readonly startingCash: bigint
  readonly minute: number
  readonly totalPeak: bigint
  readonly total: PerformanceSnapshot | undefined
  readonly markets: readonly (readonly [definition: InstrumentDefinition, markTicks: number])[]
  /** In the order of their first fills, `_venue` first. */
  readonly accounts: readonly PortfolioAccountState[]
}

type AccountFigures = Pick<
  Account,
  'account' | 'realizedPnl' | 'unrealizedPnl' | 'fees' | 'cash' | 'equity' | 'highWaterMark'
>

interface PortfolioAccountState extends AccountFigures {
  readonly record: PerformanceSnapshot
  readonly positions: readonly PositionRow[]
}

type PositionRow = readonly [
  symbol: string,
  quantityLots: Exact,
  cost: Exact,
  realizedPnl: Exact,
  unrealizedPnl: Exact,
  fees: Exact,
  traceparent: string | undefined,
]

export function marketStates(markets: ReadonlyMap<string, Market>): PortfolioState['markets'] {
  return Array.from(markets.values(), ({ instrument, markTicks }) => [instrument.definition, markTicks])
}

export function accountState(of: Account): PortfolioAccountState {
  const { account, realizedPnl, unrealizedPnl, fees, cash, equity, highWaterMark } = of
  const positions = Array.from(of.positions.values(), (position): PositionRow => [
    position.symbol,
    position.quantityLots,
    position.cost,
    position.realizedPnl,
    position.unrealizedPnl,
    position.fees,
    position.traceparent,
  ])
  const figures = { account, realizedPnl, unrealizedPnl, fees, cash, equity, highWaterMark }
  return { ...figures, record: of.record.save(), positions }
}

export function marketOf([definition, markTicks]: PortfolioState['markets'][number]): Market {
  const market = new Market(instrumentFrom(definition))
  market.markTicks = markTicks
  return market
}

/** @param cash by how much more each account starts now than when it was saved */
export function loadAccount(
  into: Account,
  { record, positions, ...figures }: PortfolioAccountState,
  markets: ReadonlyMap<string, Market>,
  cash: bigint,
): void {
  Object.assign(into, figures)
  into.equity += cash
  into.highWaterMark += cash
  into.record = Performance.load(record, cash)
  for (const [symbol, quantityLots, cost, realizedPnl, unrealizedPnl, fees, traceparent] of positions) {
    const market = markets.get(symbol)
    assert(market, `${symbol} has no definition`)
    const position = new Position(into, market)
    Object.assign(position, { quantityLots, cost, realizedPnl, unrealizedPnl, fees, traceparent })
    into.positions.set(symbol, position)
    if (quantityLots === 0) continue
    market.holders.add(position)
    into.openPositions += 1
  }
}
