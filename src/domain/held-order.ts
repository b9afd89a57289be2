import type { Exact } from '../base/decimal.ts'
import type { OrdType, TimeInForce } from '../schemas/enums.ts'
import { multiply } from './money.ts'
import { larger, type Exposure } from './exposure.ts'
import { protectionTicksOf } from './order-terms.ts'

/** A replace that has been passed on and not been answered; what is absent stays as it is. */
export interface PendingReplace {
  readonly cmdSeq: number
  readonly clOrdId: string | undefined
  readonly quantityLots: number | undefined
  readonly priceTicks: number | undefined
  readonly stopTicks: number | undefined
  readonly expireUs: number | undefined
}

/** An order that the gate let pass and whose end it has not seen. */
export interface HeldOrder {
  readonly orderNumber: number
  /** Of its New record. */
  readonly cmdSeq: number
  readonly exposure: Exposure
  readonly clOrdId: string | undefined
  readonly buy: boolean
  readonly ordType: OrdType
  readonly timeInForce: TimeInForce
  quantityLots: number
  cumLots: number
  /** Price, or protection price of an order without one. */
  holdTicks: number
  /** STOP and TRAILING_STOP: the stop price as last reported, from which the hold price follows. */
  stopTicks: number | undefined
  expireUs: number | undefined
  /** An expire record has been issued. */
  expiring: boolean
  pending: PendingReplace[]
  /** The terms it may have once all of `pending` are accepted or refused, those below others left out. */
  possible: readonly Terms[]
  /** What this order adds to the holds of its exposure. */
  heldLots: number
  heldValue: Exact
}

export interface Hold {
  readonly lots: number
  /** In tick × lot. */
  readonly value: Exact
}

/** Quantity and hold price. */
export interface Terms {
  readonly lots: number
  readonly ticks: number
}

interface PriceChange {
  readonly priceTicks?: number | undefined
  readonly stopTicks?: number | undefined
}

/** Beyond this many possible terms the largest quantity at the largest price stands for all. */
const termsMax = 8

/** The hold price that a replace asks for; undefined when it stays. */
export function replacedHoldTicks(order: HeldOrder, { priceTicks, stopTicks }: PriceChange): number | undefined {
  if (order.stopTicks === undefined || stopTicks === undefined) return priceTicks
  return protectionTicksOf(order.buy, stopTicks, order.exposure.market.instrument.collarBps)
}

/** The terms that an order may have once all its pending replaces are answered. */
export function possibleTerms(order: HeldOrder): readonly Terms[] {
  const terms: readonly Terms[] = [{ lots: order.quantityLots, ticks: order.holdTicks }]
  return order.pending.reduce((possible, replace) => withReplace(possible, replace, order), terms)
}

/** The possible terms when one more replace of an order is pending. */
export function withReplace(
  possible: readonly Terms[],
  replace: PriceChange & { readonly quantityLots?: number | undefined },
  order: HeldOrder,
): readonly Terms[] {
  const holdTicks = replacedHoldTicks(order, replace)
  const replaced = possible.map(({ lots, ticks }) => ({
    lots: replace.quantityLots ?? lots,
    ticks: holdTicks ?? ticks,
  }))
  const all = [...possible, ...replaced]
  const highest = all.filter((terms, at) => !all.some((other, otherAt) => isBelow(terms, other, otherAt < at)))
  if (highest.length <= termsMax) return highest
  return [{ lots: Math.max(...all.map(({ lots }) => lots)), ticks: Math.max(...all.map(({ ticks }) => ticks)) }]
}

function isBelow(terms: Terms, other: Terms, ofEqualsTheLater: boolean): boolean {
  if (terms.lots === other.lots && terms.ticks === other.ticks) return ofEqualsTheLater
  return terms.lots <= other.lots && terms.ticks <= other.ticks
}

/**
 * What an order may still come to fill: leaves, and leaves × hold price. With replaces pending the larger of old and
 * new, of each (FIX: a replace may be refused).
 */
export function holdOf(possible: readonly Terms[], cumLots: number): Hold {
  let lots = 0
  let value: Exact = 0
  for (const terms of possible) {
    const leavesLots = Math.max(0, terms.lots - cumLots)
    lots = Math.max(lots, leavesLots)
    value = larger(value, multiply(leavesLots, terms.ticks))
  }
  return { lots, value }
}

/**
 * When the order expires: while replaces of its time are pending, the latest of the times it may have, since an expiry
 * cannot be taken back. Undefined when it does not expire or that has been asked for.
 */
export function dueUsOf(order: HeldOrder): number | undefined {
  if (order.expiring || order.expireUs === undefined) return undefined
  let dueUs = order.expireUs
  for (const { expireUs } of order.pending) if (expireUs !== undefined && expireUs > dueUs) dueUs = expireUs
  return dueUs
}
