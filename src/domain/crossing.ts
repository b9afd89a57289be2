import { assert } from '../base/assert.ts'
import { addProduct } from '../base/decimal.ts'
import type { EndedOrders, Ending } from './ended-orders.ts'
import { feeAt } from './fees.ts'
import { canFill } from './fill-or-kill.ts'
import type { OpenOrders } from './open-orders.ts'
import { reducibleLots, type Order } from './order.ts'
import type { OrderBook } from './order-book.ts'
import type { OrderPool } from './order-pool.ts'
import type { Reports } from './order-report.ts'
import type { PriceLevel } from './price-levels.ts'
import { protectionTicksOf } from './order-terms.ts'
import { isThrough } from './stops.ts'

/** What happens when an order meets the book (contract 3a): trades, what ends by them, the stops that they trigger. */
export class Crossing {
  readonly #open: OpenOrders
  readonly #ended: EndedOrders
  readonly #reports: Reports
  readonly #pool: OrderPool

  constructor(open: OpenOrders, ended: EndedOrders, reports: Reports, pool: OrderPool) {
    this.#open = open
    this.#ended = ended
    this.#reports = reports
    this.#pool = pool
  }

  /**
   * Trades as far as the order's terms allow; the rest goes into the book or ends.
   * @param isOpen whether it is among the open orders already
   */
  enter(order: Order, isOpen: boolean, traceparent: string | undefined): void {
    if ((order.timeInForce !== 'FOK' || canFill(order)) && !this.#match(order, traceparent))
      this.#expireTaker(order, isOpen, traceparent)
    else if (order.leavesLots === 0) this.#leave(order, 'Filled', isOpen)
    else if (order.isImmediate) this.#expireTaker(order, isOpen, traceparent)
    else {
      if (!isOpen) this.#open.add(order)
      order.book.rest(order)
    }
  }

  /** A stop waits for its trigger, unless the last trade has been through it already. */
  wait(order: Order, isOpen: boolean, traceparent: string | undefined): void {
    const { book, side, stopTicks } = order
    assert(stopTicks !== undefined, 'a stop has a stop price')
    if (isThrough(side, stopTicks, book.lastTradeTicks)) {
      this.#trigger(order, isOpen, traceparent)
      return
    }
    if (!isOpen) this.#open.add(order)
    book.waitForTrigger(order)
  }

  /** A stop, taken out of where it waited, becomes a taker. */
  #trigger(order: Order, isOpen: boolean, traceparent: string | undefined): void {
    const { instructions, book, side, stopTicks } = order
    if (instructions) instructions.waiting = false
    if (order.ordType !== 'STOP_LIMIT')
      order.limitTicks = protectionTicksOf(side === 'BUY', stopTicks ?? 0, book.instrument.collarBps)
    this.#reports.order('Triggered', 'New', order, order.leavesLots, traceparent)
    if (order.reduceOnly && reducibleLots(side, order.holding.lots) === 0) this.#expireTaker(order, isOpen, traceparent)
    else this.enter(order, isOpen, traceparent)
  }

  /** Lets the stops trade that trades have triggered, round by round, until none is left. */
  runStops({ stops }: OrderBook): void {
    if (!stops) return
    for (let round = stops.takeTriggered(); round.length > 0; round = stops.takeTriggered())
      for (const order of round) this.#trigger(order, true, undefined)
  }

  /** Ends an order that is open. */
  close(order: Order, ending: Ending): void {
    order.book.takeOut(order)
    this.#leave(order, ending, true)
  }

  #leave(order: Order, ending: Ending, isOpen: boolean): void {
    if (isOpen) this.#open.remove(order)
    this.#ended.remember(order.orderNumber, ending)
    this.#pool.giveBack(order)
  }

  #expireTaker(order: Order, isOpen: boolean, traceparent: string | undefined): void {
    this.#leave(order, 'Expired', isOpen)
    this.#reports.order('Expired', 'Expired', order, 0, traceparent)
  }

  #expireMaker(order: Order): void {
    this.close(order, 'Expired')
    this.#reports.order('Expired', 'Expired', order, 0, undefined)
  }

  /**
   * Trades with the best makers, oldest first, up to the taker's limit.
   * @returns false when what is left must end here: it met an order of its own account, or has no position to reduce
   */
  #match(taker: Order, traceparent: string | undefined): boolean {
    const { book, side } = taker
    const makers = book.opposite(side)
    const rankMin = makers.sign * taker.limitTicks
    let level = makers.best
    while (taker.leavesLots > 0 && level !== undefined && level.rank >= rankMin) {
      const maker = level.head as Order
      const lots = Math.min(taker.leavesLots, maker.leavesLots - maker.hiddenLots)
      if (taker.instructions === undefined && maker.instructions === undefined) {
        this.#fill(taker, maker, level, lots, traceparent)
        if (maker.leavesLots === 0) this.close(maker, 'Filled')
      } else if (!this.#meet(taker, maker, level, lots, traceparent)) return false
      level = makers.best
    }
    return true
  }

  /**
   * One step of `#match` where an order has instructions: at most one fill.
   * @returns false when the taker must end here
   */
  #meet(taker: Order, maker: Order, level: PriceLevel, lotsMax: number, traceparent: string | undefined): boolean {
    const takerRoom = roomLotsOf(taker)
    const makerRoom = roomLotsOf(maker)
    if (takerRoom === 0) return false
    if (makerRoom === 0) {
      this.#expireMaker(maker)
      return true
    }
    const stpMode = taker.holding === maker.holding ? taker.instructions?.stpMode : undefined
    if (stpMode !== undefined && stpMode !== 'NONE') {
      if (stpMode !== 'EXPIRE_TAKER') this.#expireMaker(maker)
      return stpMode === 'EXPIRE_MAKER'
    }
    const lots = Math.min(lotsMax, takerRoom, makerRoom)
    this.#fill(taker, maker, level, lots, traceparent)
    if (maker.leavesLots === 0) this.close(maker, 'Filled')
    else if (lots === makerRoom) this.#expireMaker(maker)
    else if (maker.leavesLots === maker.hiddenLots) level.renew(maker, maker.instructions?.displayLots ?? 0)
    return lots < takerRoom || taker.leavesLots === 0
  }

  #fill(taker: Order, maker: Order, level: PriceLevel, lots: number, traceparent: string | undefined): void {
    const { book } = taker
    const { ticks } = level
    taker.leavesLots -= lots
    level.reduce(maker, lots)
    taker.cumCost = addProduct(taker.cumCost, lots, ticks)
    maker.cumCost = addProduct(maker.cumCost, lots, ticks)
    taker.holding.trade(taker.side, lots)
    maker.holding.trade(maker.side, lots)
    this.#reports.trade(taker, lots, ticks, 'TAKER', feeAt(lots, ticks, book.takerFee), traceparent)
    this.#reports.trade(maker, lots, ticks, 'MAKER', feeAt(lots, ticks, book.makerFee), undefined)
    if (ticks !== book.lastTradeTicks) {
      book.lastTradeTicks = ticks
      book.stops?.onTrade(ticks)
    }
  }
}

/** How many lots an order may still trade for all that its position says. */
function roomLotsOf(order: Order): number {
  return order.reduceOnly ? reducibleLots(order.side, order.holding.lots) : Infinity
}
