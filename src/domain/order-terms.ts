import { usPerDay } from '../base/clock.ts'
import { textFromUnits, unitsFromText, unitsMax, type Unit } from '../base/decimal.ts'
import { assert } from '../base/assert.ts'
import { canonicalDecimal, type NewOrder, type Replace } from '../schemas/command.ts'
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

/** What a well-formed command asks for that this version does not do. */
export function unsupported(command: NewOrder | Replace): Refusal | undefined {
  const what =
    command.kind === 'replace'
      ? command.stopPrice !== undefined && 'stopPrice'
      : (command.ordType !== 'LIMIT' && command.ordType !== 'MARKET' && `ordType ${command.ordType}`) ||
        (command.reduceOnly && 'reduceOnly') ||
        (command.displayQuantity !== undefined && 'displayQuantity') ||
        (command.stpMode !== undefined && command.stpMode !== 'NONE' && `stpMode ${command.stpMode}`)
  return what ? { reason: 'INVALID_FIELD', text: `${what} is not supported yet` } : undefined
}

/**
 * The price that a market order never trades through (CME market order with protection): the mark ± the collar,
 * rounded inward to whole ticks, at least 1.
 */
export function protectionTicksOf(buy: boolean, markTicks: number, collarBps: number): number {
  const scaled = BigInt(multiply(markTicks, 10_000 + (buy ? collarBps : -collarBps)))
  return buy
    ? Math.min(unitsMax, Math.max(1, Number(scaled / 10_000n)))
    : Math.max(1, Number((scaled + 9_999n) / 10_000n))
}

/** When a DAY order entered at `timeUs` expires: the next end of a day, `dayEndUs` after midnight UTC. */
export function dayEndAfter(timeUs: number, dayEndUs: number): number {
  const endUs = timeUs - (timeUs % usPerDay) + dayEndUs
  return endUs > timeUs ? endUs : endUs + usPerDay
}
