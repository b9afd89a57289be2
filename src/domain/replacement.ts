import { textFromUnits } from '../base/decimal.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type { ReplaceRecord } from '../schemas/risk.ts'
import type { Crossing } from './crossing.ts'
import type { Order } from './order.ts'
import type { Reports } from './order-report.ts'

export interface Refused {
  readonly reason: RejectReason
  readonly text: string
}

/** Changes an open order (contract 3a, Replace), which may make it trade, or reports why not. */
export function replaceOrder(order: Order, record: ReplaceRecord, crossing: Crossing, reports: Reports): void {
  const { book, clOrdId, waits } = order
  const refused = refusalOf(order, record)
  if (refused) {
    const { reason, text } = refused
    reports.command('ReplaceRejected', order.status, order, clOrdId, order.leavesLots, record, reason, text)
    return
  }
  const quantityLots = record.quantityLots ?? order.quantityLots
  const limitTicks = record.priceTicks ?? order.limitTicks
  const leavesLots = quantityLots - order.cumLots
  const moves = waits
    ? record.stopTicks !== undefined
    : quantityLots >= order.quantityLots || limitTicks !== order.limitTicks
  if (moves) book.takeOut(order)
  else order.level?.resize(order, leavesLots)
  order.leavesLots = leavesLots
  order.quantityLots = quantityLots
  order.limitTicks = limitTicks
  order.clOrdId = record.clOrdId ?? clOrdId
  order.expireUs = record.expireUs ?? order.expireUs
  if (order.instructions && record.stopTicks !== undefined) order.instructions.stopTicks = record.stopTicks
  reports.command('Replaced', order.status, order, clOrdId, leavesLots, record)
  if (moves && waits) crossing.wait(order, true, record.traceparent)
  else if (moves) crossing.enter(order, true, record.traceparent)
  crossing.runStops(book)
}

function refusalOf(order: Order, record: ReplaceRecord): Refused | undefined {
  const { tick, lot } = order.book.instrument
  const { quantityLots = order.quantityLots, priceTicks = order.limitTicks } = record
  if (quantityLots <= order.cumLots) {
    const [total, filled] = [quantityLots, order.cumLots].map((lots) => textFromUnits(lots, lot))
    const text = `quantity ${total} must be more than the ${filled} filled`
    return { reason: 'ORDER_QUANTITY_BELOW_FILLED', text }
  }
  if (record.stopTicks !== undefined && (!order.waits || order.ordType === 'TRAILING_STOP')) {
    const why =
      order.stopTicks === undefined ? 'has none' : order.waits ? 'follows the market' : 'has been triggered already'
    const text = `stopPrice ${textFromUnits(record.stopTicks, tick)}: the ${order.ordType} ${why}`
    return { reason: 'INVALID_FIELD', text }
  }
  return tooManyPeaks(order, quantityLots) ?? (order.postOnly ? wouldTake(order, priceTicks) : undefined)
}

/** Each peak is a fill with two reports of its own: so many bound what one command can cause. */
const peaksMax = 10_000

/** Why an iceberg must not have this quantity; undefined when it may. */
export function tooManyPeaks({ instructions, book }: Order, quantityLots: number): Refused | undefined {
  const displayLots = instructions?.displayLots
  if (displayLots === undefined || quantityLots <= displayLots * peaksMax) return undefined
  const [peak, total] = [displayLots, quantityLots].map((lots) => textFromUnits(lots, book.instrument.lot))
  const text = `displayQuantity ${peak} is less than 1/${peaksMax} of the quantity ${total}`
  return { reason: 'INVALID_FIELD', text }
}

/** Why a postOnly order must not have this price; undefined when it may. */
export function wouldTake({ side, book }: Order, priceTicks: number): Refused | undefined {
  const makers = book.opposite(side)
  if (!makers.best || !makers.meets(priceTicks)) return undefined
  const [own, opposing] = [priceTicks, makers.best.ticks].map((ticks) => textFromUnits(ticks, book.instrument.tick))
  return { reason: 'ORDER_WOULD_TAKE', text: `postOnly ${side} at ${own} would take the opposing ${opposing}` }
}
