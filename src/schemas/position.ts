import type { JSONSchema } from 'json-schema-to-ts'
import { decimalTextOf, divideHalfEven, pow10, textFromUnits, type Exact, type Unit } from '../base/decimal.ts'
import { parseOwnJson, quote, textFromUtf8 } from '../base/json.ts'
import { accountPattern, symbolPattern } from './command.ts'
import { averagePriceText } from './execution.ts'
import type { Instrument } from './instrument.ts'
import type { TypeOf } from './type-of.ts'

/** A number token on the wire; one of more than 15 digits is decoded as its text (`parseOwnJson`). */
const decimalAs = (description: string) => ({ anyOf: [{ type: 'number' }, { type: 'string' }], description }) as const
const decimal = decimalAs('in quote currency')
const count = { type: 'integer', minimum: 0 } as const
const asOf = { ...count, description: 'EXECUTIONS sequence up to which the record is folded' } as const

/** One account's position in one symbol: `positions.<account>.<symbol>`, Redis and GET carry the same JSON. */
export const positionSchema = {
  type: 'object',
  properties: {
    account: { type: 'string', pattern: accountPattern },
    symbol: { type: 'string', pattern: symbolPattern },
    quantity: decimalAs('signed, short below zero'),
    avgPx: decimalAs('absent when flat'),
    realizedPnl: decimalAs('before fees'),
    unrealizedPnl: decimalAs('absent without a mark'),
    fees: decimal,
    traceparent: { type: 'string', description: 'of the last fill; absent when its command had none' },
    asOf,
  },
  required: ['account', 'symbol', 'quantity', 'realizedPnl', 'fees', 'asOf'],
} as const satisfies JSONSchema

/** Sums over one account: `positions.<account>`. All quote currencies count as one. */
export const accountPositionSchema = {
  type: 'object',
  properties: {
    account: { type: 'string', pattern: `${accountPattern}|^_venue$` },
    realizedPnl: decimal,
    unrealizedPnl: decimal,
    fees: decimal,
    cash: decimalAs('Σ of what fills paid and cost, without startingCash'),
    equity: decimalAs('startingCash + realised − fees + unrealised'),
    highWaterMark: decimal,
    drawdown: decimalAs('highWaterMark − equity'),
    drawdownPercent: decimalAs('of highWaterMark; only with startingCash > 0'),
    openPositions: count,
    asOf,
  },
  required: [
    'account',
    'realizedPnl',
    'unrealizedPnl',
    'fees',
    'cash',
    'equity',
    'highWaterMark',
    'drawdown',
    'openPositions',
    'asOf',
  ],
} as const satisfies JSONSchema

/** `positions._watermark`: everything up to this EXECUTIONS sequence is in POSITIONS. */
export const watermarkSchema = {
  type: 'object',
  properties: { executionsSeq: count },
  required: ['executionsSeq'],
} as const satisfies JSONSchema

/** `positions._epoch`: with this a writer takes over. */
export const positionEpochSchema = {
  type: 'object',
  properties: { epoch: count },
  required: ['epoch'],
} as const satisfies JSONSchema

export type PositionRecord = TypeOf<typeof positionSchema>
export type AccountPositionRecord = TypeOf<typeof accountPositionSchema>
export type WatermarkRecord = TypeOf<typeof watermarkSchema>
export type PositionEpochRecord = TypeOf<typeof positionEpochSchema>

/** A position as the fold computes it. */
export interface PositionState {
  readonly account: string
  readonly symbol: string
  readonly instrument: Instrument
  /** Signed. */
  readonly quantityLots: Exact
  /** What the open lots cost, in tick × lot; has the sign of the quantity. */
  readonly cost: Exact
  /** In tick × lot, before fees. */
  readonly realizedPnl: Exact
  /** In tick × lot, at the mark last evaluated. */
  readonly unrealizedPnl: Exact
  /** In 10^-quoteScale. */
  readonly fees: Exact
  /** Of the last fill. */
  readonly traceparent: string | undefined
}

/** Scale of the exact sums over an account; no tick × lot and no quoteScale is finer. */
export const accountScale = 18

/** Sums over an account as the fold computes them, in 10^-`accountScale` of the quote currency. */
export interface AccountState {
  readonly account: string
  readonly startingCash: bigint
  readonly realizedPnl: bigint
  readonly unrealizedPnl: bigint
  readonly fees: bigint
  readonly cash: bigint
  readonly equity: bigint
  readonly highWaterMark: bigint
  readonly drawdown: bigint
  readonly openPositions: number
}

/** Decimals of an account's figures, which have no one instrument: the default quoteScale. */
const accountMoneyScale = 8

function moneyText(count: Exact, unit: Unit, scale: number): string {
  if (unit.scale <= scale) return textFromUnits(count, unit)
  return decimalTextOf(divideHalfEven(BigInt(count) * BigInt(unit.mantissa), pow10(unit.scale - scale)), scale)
}

/** Σ |cost| over |lots|, as text; lots beyond a number's whole numbers too. */
function avgPxText(cost: Exact, lots: Exact, instrument: Instrument): string {
  if (typeof lots === 'number') return averagePriceText(cost < 0 ? -cost : cost, Math.abs(lots), instrument)
  const { tick, quoteScale } = instrument
  const scaled = BigInt(cost) * BigInt(tick.mantissa) * pow10(quoteScale)
  const divisor = lots * pow10(tick.scale)
  return decimalTextOf(divisor < 0n ? divideHalfEven(-scaled, -divisor) : divideHalfEven(scaled, divisor), quoteScale)
}

/** @param asOf EXECUTIONS sequence up to which the position is folded */
export function encodePosition(position: PositionState, asOf: number): string {
  const { instrument, quantityLots } = position
  const { value, quoteScale } = instrument
  let json = `{"account":"${position.account}","symbol":"${position.symbol}","quantity":${textFromUnits(quantityLots, instrument.lot)}`
  if (quantityLots !== 0) json += `,"avgPx":${avgPxText(position.cost, quantityLots, instrument)}`
  json += `,"realizedPnl":${moneyText(position.realizedPnl, value, quoteScale)}`
  json += `,"unrealizedPnl":${moneyText(position.unrealizedPnl, value, quoteScale)}`
  json += `,"fees":${decimalTextOf(position.fees, quoteScale)}`
  if (position.traceparent !== undefined) json += `,"traceparent":${quote(position.traceparent)}`
  return `${json},"asOf":${asOf}}`
}

const accountUnit: Unit = { mantissa: 1, scale: accountScale }

/** An amount in 10^-`accountScale` as text, rounded half-even. */
export function accountMoneyText(amount: bigint): string {
  return moneyText(amount, accountUnit, accountMoneyScale)
}

/** @returns undefined without starting cash: there is nothing that 100 % would be of */
export function drawdownPercentText(
  account: Pick<AccountState, 'startingCash' | 'drawdown' | 'highWaterMark'>,
): string | undefined {
  const { startingCash, drawdown, highWaterMark } = account
  if (startingCash === 0n) return undefined
  const percent = divideHalfEven(drawdown * 100n * pow10(accountMoneyScale), highWaterMark)
  return decimalTextOf(percent, accountMoneyScale)
}

/** @param asOf EXECUTIONS sequence up to which the account is folded */
export function encodeAccountPosition(account: AccountState, asOf: number): string {
  let json = `{"account":"${account.account}","realizedPnl":${accountMoneyText(account.realizedPnl)},"unrealizedPnl":${accountMoneyText(account.unrealizedPnl)}`
  json += `,"fees":${accountMoneyText(account.fees)},"cash":${accountMoneyText(account.cash)},"equity":${accountMoneyText(account.equity)}`
  json += `,"highWaterMark":${accountMoneyText(account.highWaterMark)},"drawdown":${accountMoneyText(account.drawdown)}`
  const percent = drawdownPercentText(account)
  if (percent !== undefined) json += `,"drawdownPercent":${percent}`
  return `${json},"openPositions":${account.openPositions},"asOf":${asOf}}`
}

export function encodeWatermark(executionsSeq: number): string {
  return `{"executionsSeq":${executionsSeq}}`
}

export function encodePositionEpoch(epoch: number): string {
  return `{"epoch":${epoch}}`
}

/** Reads `positions.<account>.<symbol>` that our own pnl-updater wrote; so do the three below their subjects. */
export function decodePosition(data: Uint8Array): PositionRecord {
  return parseOwnJson(textFromUtf8(data)) as PositionRecord
}

export function decodeAccountPosition(data: Uint8Array): AccountPositionRecord {
  return parseOwnJson(textFromUtf8(data)) as AccountPositionRecord
}

export function decodeWatermark(data: Uint8Array): WatermarkRecord {
  return parseOwnJson(textFromUtf8(data)) as WatermarkRecord
}

export function decodePositionEpoch(data: Uint8Array): PositionEpochRecord {
  return parseOwnJson(textFromUtf8(data)) as PositionEpochRecord
}
