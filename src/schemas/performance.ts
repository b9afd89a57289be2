import type { JSONSchema } from 'json-schema-to-ts'
import { decimalTextOf, divideHalfEven, pow10 } from '../base/decimal.ts'
import { accountMoneyText, drawdownPercentText, type AccountState } from './position.ts'
import type { TypeOf } from './type-of.ts'

/** What the closing fills and the equity of an account, or of all, have come to; amounts in 10^-`accountScale`. */
export interface PerformanceState {
  /** Fills. */
  readonly trades: number
  /** Fills that reduced a position, with a gain, a loss or neither. */
  readonly closingTrades: number
  readonly wins: number
  readonly losses: number
  /** Σ of what wins realised before fees, and of what losses cost, both ≥ 0. */
  readonly grossProfit: bigint
  readonly grossLoss: bigint
  /** Mean over sample standard deviation of the equity changes of each minute, × √525,600; null while that is 0 / 0. */
  readonly sharpe: number | null
}

const amount = { anyOf: [{ type: 'number' }, { type: 'string' }], description: 'in quote currency' } as const
const count = { type: 'integer', minimum: 0 } as const
const ratio = (description: string) => ({ type: ['number', 'null'], description }) as const

const figures = {
  equity: amount,
  realized_pnl: amount,
  unrealized_pnl: amount,
  fees: amount,
  cash: amount,
  high_water_mark: amount,
  drawdown: amount,
  drawdown_percent: { ...amount, description: 'of high_water_mark; only with STARTING_CASH above 0' },
  open_positions: count,
  trades: { ...count, description: 'fills' },
  closing_trades: { ...count, description: 'fills that reduced a position' },
  wins: { ...count, description: 'closing fills with realised > 0 before fees' },
  losses: { ...count, description: 'closing fills with realised < 0 before fees' },
  win_rate: ratio('wins / closing_trades; null without one'),
  profit_factor: ratio('gross profit / gross loss; null without a loss'),
  sharpe: ratio('of the equity changes of each minute, a year’s; null while they do not differ'),
} as const
const required = (Object.keys(figures) as (keyof typeof figures)[]).filter((name) => name !== 'drawdown_percent')

/** One account in the answer of `GET /snapshot`; `totals` there is the same without `account`. */
export const accountSnapshotSchema = {
  type: 'object',
  properties: { account: { type: 'string' }, ...figures },
  required: ['account', ...required],
} as const satisfies JSONSchema

export type AccountSnapshot = TypeOf<typeof accountSnapshotSchema>

/** The members of a snapshot, without braces. */
export function encodeFigures(state: Omit<AccountState, 'account'>, performance: PerformanceState): string {
  const { trades, closingTrades, wins, losses, grossProfit, grossLoss, sharpe } = performance
  const winRate = closingTrades === 0 ? null : Number((wins / closingTrades).toFixed(6))
  const profitFactor =
    grossLoss === 0n ? null : decimalTextOf(divideHalfEven(grossProfit * pow10(ratioScale), grossLoss), ratioScale)
  const money: readonly (readonly [string, bigint])[] = [
    ['equity', state.equity],
    ['realized_pnl', state.realizedPnl],
    ['unrealized_pnl', state.unrealizedPnl],
    ['fees', state.fees],
    ['cash', state.cash],
    ['high_water_mark', state.highWaterMark],
    ['drawdown', state.drawdown],
  ]
  const percent = drawdownPercentText(state)
  return [
    ...money.map(([name, value]) => `"${name}":${accountMoneyText(value)}`),
    ...(percent === undefined ? [] : [`"drawdown_percent":${percent}`]),
    `"open_positions":${state.openPositions},"trades":${trades},"closing_trades":${closingTrades}`,
    `"wins":${wins},"losses":${losses},"win_rate":${winRate},"profit_factor":${profitFactor}`,
    `"sharpe":${sharpe === null ? null : Number(sharpe.toFixed(ratioScale))}`,
  ].join(',')
}

const ratioScale = 8
