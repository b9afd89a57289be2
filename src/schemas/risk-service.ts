import type { JSONSchema } from 'json-schema-to-ts'
import { accountPattern, symbolPattern } from './command.ts'
import { rejectReasons } from './reject-reasons.ts'

const count = { type: 'integer', minimum: 0 } as const
const text = { type: 'string' } as const
const texts = { type: 'array', items: text } as const
const money = { type: 'number', description: 'in quote currency' } as const
const moneyOrNull = (description: string) => ({ type: ['number', 'null'], description }) as const
const account = { type: 'string', pattern: accountPattern } as const
const symbol = { type: 'string', pattern: symbolPattern } as const
const time = { type: 'string', format: 'date-time' } as const

export const riskLevels = ['LOW', 'MEDIUM', 'HIGH'] as const
export type RiskLevel = (typeof riskLevels)[number]

/**
 * Why `/check` says no: what the gate would refuse the order with, or, from a stateless replica, that positions or
 * limits could not be had in time.
 */
export const checkReasons = [...rejectReasons, 'RISK_STATE_UNKNOWN'] as const
export type CheckReason = (typeof checkReasons)[number]

/** Answer of `POST /check`. */
export const checkAnswerSchema = {
  type: 'object',
  properties: {
    approved: { type: 'boolean' },
    risk_level: {
      enum: riskLevels,
      description: 'how much of the tightest limit the order would use: LOW < 50 %, MEDIUM < 80 %; HIGH when refused',
    },
    reason: { enum: [...checkReasons, null], description: 'null when approved' },
    warnings: texts,
    fast_path: { type: 'boolean', description: 'answered without looking at the portfolio of the account' },
  },
  required: ['approved', 'risk_level', 'reason', 'warnings', 'fast_path'],
} as const satisfies JSONSchema

const figures = {
  gross_exposure: { ...money, description: 'Σ |position × mark|' },
  net_exposure: { ...money, description: 'Σ position × mark' },
  worst_case_exposure: { ...money, description: 'what maxGrossExposure limits: open orders counted at their worst' },
  concentration: { type: ['number', 'null'], description: 'largest share of one symbol in gross_exposure, 0 to 1' },
  drawdown: moneyOrNull('high-water mark − equity, as POSITIONS has it; of all accounts the sum'),
  var_95: moneyOrNull(
    'loss over 30 s not exceeded in 95 % of the last 500; null below 30 returns; of all the sum, null while one has none',
  ),
  var_99: moneyOrNull('the same, 99 %'),
  open_orders: count,
} as const
const figureNames = [
  'gross_exposure',
  'net_exposure',
  'worst_case_exposure',
  'concentration',
  'drawdown',
  'var_95',
  'var_99',
  'open_orders',
] as const

const limitUse = {
  limit: { enum: ['maxPosition', 'maxOpenOrders', 'maxGrossExposure'] },
  symbol: { anyOf: [symbol, { type: 'null' }], description: 'null: the whole account' },
  source: { type: 'string', description: 'whose limit it is: `account a` or `symbol S`' },
  used: { type: 'number', description: 'in the unit of the limit' },
  limit_value: { type: 'number' },
  used_percent: { type: 'number' },
} as const
const limitUseNames = ['limit', 'symbol', 'source', 'used', 'limit_value', 'used_percent'] as const

/** Redis `risk:metrics:current` and answer of `GET /risk/portfolio`: all accounts. */
export const riskMetricsSchema = {
  type: 'object',
  properties: {
    computed_at: time,
    executions_seq: { ...count, description: 'EXECUTIONS sequence that the gate had seen' },
    returns: { ...count, description: '30-s returns of the symbol with the longest history, 500 at most' },
    total: { type: 'object', properties: figures, required: figureNames },
    accounts_count: { ...count, description: 'accounts that ever had an order' },
    accounts: {
      type: 'array',
      description: 'the 1,000 with the largest worst_case_exposure, largest first',
      items: { type: 'object', properties: { account, ...figures }, required: ['account', ...figureNames] },
    },
  },
  required: ['computed_at', 'executions_seq', 'returns', 'total', 'accounts_count', 'accounts'],
} as const satisfies JSONSchema

/** Answer of `GET /risk/portfolio?account=`: as of now. */
export const riskPortfolioSchema = {
  type: 'object',
  properties: {
    account,
    ...figures,
    positions: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          symbol,
          quantity: { type: 'number' },
          mark_price: moneyOrNull('last own trade, else the reference price'),
          value: money,
        },
        required: ['symbol', 'quantity', 'mark_price', 'value'],
      },
    },
    limits: { type: 'array', items: { type: 'object', properties: limitUse, required: limitUseNames } },
  },
  required: ['account', ...figureNames, 'positions', 'limits'],
} as const satisfies JSONSchema

export const alertLevels = ['warn', 'critical'] as const
export type AlertLevel = (typeof alertLevels)[number]

const alert = {
  account,
  level: { enum: alertLevels, description: 'warn from 80 % of a limit on, critical from 90 %' },
  ...limitUse,
  since: time,
} as const
const alertNames = ['account', 'level', ...limitUseNames, 'since'] as const

/** Answer of `GET /risk/alerts`. */
export const riskAlertsSchema = {
  type: 'object',
  properties: {
    alerts: { type: 'array', items: { type: 'object', properties: alert, required: alertNames } },
    truncated: { type: 'boolean', description: 'there are 10,000, and no room for more' },
  },
  required: ['alerts', 'truncated'],
} as const satisfies JSONSchema

/** Message on `risk.alert.<account>`; of an alert that is over, its last figures. */
export const riskAlertEventSchema = {
  type: 'object',
  properties: { event: { enum: ['raised', 'changed', 'cleared'] }, ...alert },
  required: ['event', ...alertNames],
} as const satisfies JSONSchema

const checkCounts = {
  type: 'object',
  properties: {
    approved: count,
    refused: { type: 'object', description: 'by reason', additionalProperties: count },
    fast_path: count,
  },
  required: ['approved', 'refused', 'fast_path'],
} as const

/** Answer of `GET /stats` at the gate. */
export const riskStatsSchema = {
  type: 'object',
  properties: {
    uptime_seconds: count,
    phase: { enum: ['waiting', 'recovering', 'active', 'stopped'] },
    checks: checkCounts,
    accounts: count,
    open_orders: count,
    cmd_seq: count,
    executions_seq: count,
    limits_revision: count,
    alerts: {
      type: 'object',
      properties: { warn: count, critical: count },
      required: ['warn', 'critical'],
    },
    metrics: {
      type: ['object', 'null'],
      description: 'null before the first computation',
      properties: { computed_at: time, duration_ms: { type: 'number' } },
      required: ['computed_at', 'duration_ms'],
    },
  },
  required: [
    'uptime_seconds',
    'phase',
    'checks',
    'accounts',
    'open_orders',
    'cmd_seq',
    'executions_seq',
    'limits_revision',
    'alerts',
    'metrics',
  ],
} as const satisfies JSONSchema

/** Answer of `GET /stats` at a stateless check. */
export const checkStatsSchema = {
  type: 'object',
  properties: {
    uptime_seconds: count,
    checks: checkCounts,
    cached: {
      type: 'object',
      description: 'entries that are kept',
      properties: { limits: count, positions: count, marks: count },
      required: ['limits', 'positions', 'marks'],
    },
  },
  required: ['uptime_seconds', 'checks', 'cached'],
} as const satisfies JSONSchema

/** Figures of an account, or of all, as numbers in quote currency; undefined where there is none. */
export interface RiskFigures {
  readonly gross: number
  readonly net: number
  readonly worstCase: number
  readonly concentration: number | undefined
  readonly drawdown: number | undefined
  readonly var95: number | undefined
  readonly var99: number | undefined
}
