import { assert } from '../base/assert.ts'
import { add, subtract } from './money.ts'
import type { Exact } from '../base/decimal.ts'
import type { NewRecord, ReplaceRecord } from '../schemas/risk.ts'
import { Expiries } from './expiries.ts'
import type { Exposure, Market } from './exposure.ts'
import {
  dueUsOf,
  holdOf,
  possibleTerms,
  replacedHoldTicks,
  withReplace,
  type HeldOrder,
  type PendingReplace,
} from './held-order.ts'
import { heldOrdersOf, saveHeldOrders, type HeldOrdersState } from './held-orders-state.ts'
import { protectionTicksOf } from './order-terms.ts'

/** The orders that the gate holds for, and what their exposures hold because of them. */
export class HeldOrders {
  readonly expiries = new Expiries((orderNumber) => {
    const order = this.#orders.get(orderNumber)
    return order && dueUsOf(order)
  })
  readonly #orders = new Map<number, HeldOrder>()
  /** Orders with pending replaces by the replace's cmdSeq. */
  readonly #replaces = new Map<number, HeldOrder>()

  get size(): number {
    return this.#orders.size
  }

  get pendingReplaces(): number {
    return this.#replaces.size
  }

  has(orderNumber: number): boolean {
    return this.#orders.has(orderNumber)
  }

  get(orderNumber: number): HeldOrder | undefined {
    return this.#orders.get(orderNumber)
  }

  /** In the order of acceptance. */
  values(): Iterable<HeldOrder> {
    return this.#orders.values()
  }

  /** The cmdSeq of every replace that is pending. */
  pendingSeqs(): Iterable<number> {
    return this.#replaces.keys()
  }

  save(): HeldOrdersState {
    const ended = new Set([...this.#replaces.values()].filter(({ orderNumber }) => !this.#orders.has(orderNumber)))
    return saveHeldOrders([...this.#orders.values()], [...ended])
  }

  /** Goes on from a saved state. @param exposureOf where the holds of an account in a symbol are summed up */
  load(state: HeldOrdersState, exposureOf: (account: string, symbol: string) => Exposure): void {
    assert(this.#orders.size === 0, 'a state is loaded once, at the start')
    const replaces: [number, HeldOrder][] = []
    for (const order of heldOrdersOf(state, exposureOf)) {
      for (const { cmdSeq } of order.pending) replaces.push([cmdSeq, order])
      if (this.#orders.size === state.openCount) continue
      const { exposure } = order
      this.#orders.set(order.orderNumber, order)
      exposure.account.openOrders += 1
      exposure.openOrders += 1
      exposure.hold(order.buy, order.heldLots, order.heldValue)
      this.#setExpiry(order)
    }
    for (const [cmdSeq, order] of replaces.sort(([a], [b]) => a - b)) this.#replaces.set(cmdSeq, order)
  }

  open(record: NewRecord, exposure: Exposure): void {
    const { srcSeq: orderNumber, quantityLots, ordType, expireUs } = record
    const holdTicks = record.priceTicks ?? record.protectionTicks
    assert(holdTicks !== undefined, `order ${orderNumber} has no price to hold at`)
    const order: HeldOrder = {
      orderNumber,
      cmdSeq: record.cmdSeq,
      exposure,
      clOrdId: record.clOrdId,
      buy: record.side === 'BUY',
      ordType,
      timeInForce: record.timeInForce,
      quantityLots,
      cumLots: 0,
      holdTicks,
      stopTicks: ordType === 'STOP' || ordType === 'TRAILING_STOP' ? record.stopTicks : undefined,
      expireUs,
      expiring: false,
      pending: [],
      possible: [{ lots: quantityLots, ticks: holdTicks }],
      heldLots: 0,
      heldValue: 0,
    }
    this.#orders.set(orderNumber, order)
    exposure.account.openOrders += 1
    exposure.openOrders += 1
    this.#setHold(order)
    if (expireUs !== undefined) this.expiries.add(expireUs, orderNumber)
  }

  /** Holds the larger of old and new until the replace is answered. */
  addReplace(
    order: HeldOrder,
    { cmdSeq, clOrdId, quantityLots, priceTicks, stopTicks, expireUs }: ReplaceRecord,
  ): void {
    const replace = { cmdSeq, clOrdId, quantityLots, priceTicks, stopTicks, expireUs }
    order.pending.push(replace)
    order.possible = withReplace(order.possible, replace, order)
    this.#replaces.set(cmdSeq, order)
    this.#setHold(order)
    this.#setExpiry(order)
  }

  /** @returns undefined when none of that cmdSeq is pending */
  findReplace(cmdSeq: number): { order: HeldOrder; replace: PendingReplace } | undefined {
    const order = this.#replaces.get(cmdSeq)
    const replace = order?.pending.find((pending) => pending.cmdSeq === cmdSeq)
    return order && replace && { order, replace }
  }

  /** A pending replace has been answered; one of another kind of record, or answered before, is no news. */
  settleReplace(cmdSeq: number, accepted: boolean): void {
    const found = this.findReplace(cmdSeq)
    if (!found) return
    const { order, replace } = found
    this.#replaces.delete(cmdSeq)
    order.pending = order.pending.filter((pending) => pending !== replace)
    if (accepted) {
      order.quantityLots = replace.quantityLots ?? order.quantityLots
      order.holdTicks = replacedHoldTicks(order, replace) ?? order.holdTicks
      if (order.stopTicks !== undefined) order.stopTicks = replace.stopTicks ?? order.stopTicks
      order.expireUs = replace.expireUs ?? order.expireUs
      assert(order.quantityLots > order.cumLots, `order ${order.orderNumber} is replaced below what is filled`)
    }
    if (!this.#orders.has(order.orderNumber)) return
    this.#setPossible(order)
    if (replace.expireUs !== undefined) this.#setExpiry(order)
  }

  fill(order: HeldOrder, lots: number, ticks: number): void {
    order.cumLots += lots
    assert(order.cumLots <= order.quantityLots, `order ${order.orderNumber} is filled beyond its quantity`)
    order.exposure.fill(order.buy ? lots : -lots, ticks)
    this.#setHold(order)
  }

  /** A trailing stop stands elsewhere. */
  moveStop(order: HeldOrder, stopTicks: number): void {
    if (order.stopTicks === stopTicks) return
    order.stopTicks = stopTicks
    this.#protect(order)
  }

  /** The market's collar has changed. */
  protectAnew(market: Market): void {
    for (const order of this.#orders.values())
      if (order.exposure.market === market && order.stopTicks !== undefined) this.#protect(order)
  }

  end(order: HeldOrder): void {
    const { exposure } = order
    exposure.hold(order.buy, -order.heldLots, -order.heldValue)
    order.heldLots = 0
    order.heldValue = 0
    exposure.openOrders -= 1
    exposure.account.openOrders -= 1
    this.#orders.delete(order.orderNumber)
  }

  #protect(order: HeldOrder): void {
    const { stopTicks, buy, exposure } = order
    assert(stopTicks !== undefined, `order ${order.orderNumber} has no stop price`)
    order.holdTicks = protectionTicksOf(buy, stopTicks, exposure.market.instrument.collarBps)
    this.#setPossible(order)
  }

  #setPossible(order: HeldOrder): void {
    order.possible = possibleTerms(order)
    this.#setHold(order)
  }

  #setHold(order: HeldOrder): void {
    const { lots, value } = holdOf(order.possible, order.cumLots)
    order.exposure.hold(order.buy, lots - order.heldLots, subtract(value, order.heldValue))
    order.heldLots = lots
    order.heldValue = value
  }

  #setExpiry(order: HeldOrder): void {
    const dueUs = dueUsOf(order)
    if (dueUs !== undefined) this.expiries.add(dueUs, order.orderNumber)
  }

  /**
   * What each exposure must hold.
   * @throws BugError when an order's own figures do not agree
   */
  sums(): Map<Exposure, HeldSums> {
    const sums = new Map<Exposure, HeldSums>()
    for (const order of this.#orders.values()) {
      const { lots, value } = holdOf(order.possible, order.cumLots)
      assert(order.heldLots === lots && order.heldValue === value, `order ${order.orderNumber}: hold`)
      assert(order.cumLots < order.quantityLots, `order ${order.orderNumber}: nothing left to fill`)
      const total = sums.get(order.exposure) ?? { buyLots: 0, buyValue: 0, sellLots: 0, sellValue: 0, openOrders: 0 }
      if (order.buy) {
        total.buyLots = add(total.buyLots, lots)
        total.buyValue = add(total.buyValue, value)
      } else {
        total.sellLots = add(total.sellLots, lots)
        total.sellValue = add(total.sellValue, value)
      }
      total.openOrders += 1
      sums.set(order.exposure, total)
    }
    for (const order of this.#replaces.values())
      assert(order.pending.length > 0, `order ${order.orderNumber}: replaces`)
    return sums
  }
}

/** Sums over the open orders of an exposure. */
export interface HeldSums {
  buyLots: Exact
  buyValue: Exact
  sellLots: Exact
  sellValue: Exact
  openOrders: number
}
