import type { NewOrder } from '../schemas/command.ts'
import type { Instrument } from '../schemas/instrument.ts'
import type { NewRecord } from '../schemas/risk.ts'
import type { Market } from './exposure.ts'
import { isRefusal, lotsOf, protectionTicksOf, ticksOf, trailingStopTicksOf, type Refusal } from './order-terms.ts'

/** What a new order asks for, in its instrument's units; what does not apply is absent. */
export type NewTerms = Pick<
  NewRecord,
  'quantityLots' | 'priceTicks' | 'protectionTicks' | 'stopTicks' | 'trailingTicks' | 'displayLots'
>

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Counts the numbers of a new order. */
export function countedTerms(command: NewOrder, { tick, lot }: Instrument): NewTerms | Refusal {
  const quantityLots = lotsOf('quantity', command.quantity, lot)
  if (isRefusal(quantityLots)) return quantityLots
  const terms: Mutable<NewTerms> = { quantityLots }
  const prices = [
    ['priceTicks', 'price'],
    ['stopTicks', 'stopPrice'],
    ['trailingTicks', 'trailingOffset'],
  ] as const
  for (const [name, field] of prices) {
    const text = command[field]
    if (text === undefined) continue
    const ticks = ticksOf(field, text, tick)
    if (isRefusal(ticks)) return ticks
    terms[name] = ticks
  }
  if (command.displayQuantity === undefined) return terms
  const displayLots = lotsOf('displayQuantity', command.displayQuantity, lot)
  if (isRefusal(displayLots)) return displayLots
  if (displayLots < quantityLots) terms.displayLots = displayLots
  return terms
}

/** Adds the prices that the gate finds for an order: where it is protected, and where a trailing stop starts. */
export function protectedTerms(
  { ordType, side }: NewOrder,
  terms: NewTerms,
  { instrument, markTicks }: Market,
): NewTerms | Refusal {
  const { collarBps, symbol } = instrument
  const buy = side === 'BUY'
  const noReference = (): Refusal => ({
    reason: 'PRICE_NO_REFERENCE',
    text: `${symbol} has no trade and no referencePrice yet`,
  })
  if (ordType === 'MARKET') {
    if (markTicks === undefined) return noReference()
    return { ...terms, protectionTicks: protectionTicksOf(buy, markTicks, collarBps) }
  }
  const { trailingTicks } = terms
  let { stopTicks } = terms
  if (trailingTicks !== undefined) {
    if (markTicks === undefined) return noReference()
    stopTicks = trailingStopTicksOf(buy, markTicks, trailingTicks)
  }
  if (stopTicks === undefined || ordType === 'STOP_LIMIT') return terms
  return { ...terms, stopTicks, protectionTicks: protectionTicksOf(buy, stopTicks, collarBps) }
}
