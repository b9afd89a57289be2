import { rfc3339FromUs, usPerDay } from '../base/clock.ts'
import { textFromUnits, unitsFromText, unitsMax, type Unit } from '../base/decimal.ts'
import { assert } from '../base/assert.ts'
import { canonicalDecimal } from '../schemas/command.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { RuleCheck } from '../schemas/risk.ts'
import { multiply } from './money.ts'

/** Why a command is refused. */
export interface Refusal {
  readonly reason: RejectReason
  readonly text: string
  readonly check?: RuleCheck
  /** The order that has the clOrdId already. */
  readonly refOrderNumber?: number
}

export function isRefusal(value: number | object): value is Refusal {
  return typeof value === 'object' && 'reason' in value
}

export function expiryPast(expireUs: number, timeUs: number): Refusal {
  const text = `expireAt ${rfc3339FromUs(expireUs)} is not after the command's time, ${rfc3339FromUs(timeUs)}`
  return { reason: 'ORDER_EXPIRY_PAST', text }
}

const textMax = 40

function countOf(
  field: string,
  text: string,
  unit: Unit,
  unitName: string,
  subject: 'PRICE' | 'QUANTITY',
): number | Refusal {
  const count = unitsFromText(text, unit)
  if (typeof count === 'number') return count
  assert(count !== undefined, `${field} was decoded as a decimal: ${text}`)
  const value = canonicalDecimal(text) ?? text.slice(0, textMax)
  if (count === 'range') {
    const bound = textFromUnits(unitsMax, unit)
    return { reason: `${subject}_OUT_OF_RANGE`, text: `${field} ${value} is above the largest, ${bound}` }
  }
  const step = textFromUnits(1, unit)
  return {
    reason: subject === 'PRICE' ? 'PRICE_OFF_TICK' : 'QUANTITY_OFF_LOT',
    text: `${field} ${value} is not a multiple of the ${unitName} ${step}`,
  }
}

/** Counts a price in ticks. */
export function ticksOf(field: string, text: string, tick: Unit): number | Refusal {
  return countOf(field, text, tick, 'tick', 'PRICE')
}

/** Counts a quantity in lots. */
export function lotsOf(field: string, text: string, lot: Unit): number | Refusal {
  return countOf(field, text, lot, 'lot', 'QUANTITY')
}

/**
 * The price that a market order (CME market order with protection) or a triggered stop never trades through: the mark,
 * or the stop price, ± the collar, rounded inward to whole ticks, at least 1.
 */
export function protectionTicksOf(buy: boolean, markTicks: number, collarBps: number): number {
  const scaled = BigInt(multiply(markTicks, 10_000 + (buy ? collarBps : -collarBps)))
  return buy
    ? Math.min(unitsMax, Math.max(1, Number(scaled / 10_000n)))
    : Math.max(1, Number((scaled + 9_999n) / 10_000n))
}

/** Where a trailing stop stands when the last trade was at `markTicks`. */
export function trailingStopTicksOf(buy: boolean, markTicks: number, trailingTicks: number): number {
  return Math.min(unitsMax, Math.max(1, buy ? markTicks + trailingTicks : markTicks - trailingTicks))
}

/** When a DAY order entered at `timeUs` expires: the next end of a day, `dayEndUs` after midnight UTC. */
export function dayEndAfter(timeUs: number, dayEndUs: number): number {
  const endUs = timeUs - (timeUs % usPerDay) + dayEndUs
  return endUs > timeUs ? endUs : endUs + usPerDay
}
