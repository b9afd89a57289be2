import { createHash } from 'node:crypto'
import { assert, unreachable } from '../base/assert.ts'
import { addProduct, textFromUnits } from '../base/decimal.ts'
import { orderIdOf, orderNumberOf, type ReportValue } from '../schemas/execution.ts'
import type { Instrument, InstrumentDefinition } from '../schemas/instrument.ts'
import type { RejectReason } from '../schemas/reject-reasons.ts'
import type {
  CancelRecord,
  ExpireRecord,
  MassCancelRecord,
  NewRecord,
  RejectRecord,
  ReplaceRecord,
  RiskRecord,
} from '../schemas/risk.ts'
import { EndedOrders, type Ending } from './ended-orders.ts'
import { feeAt } from './fees.ts'
import { OpenOrders } from './open-orders.ts'
import { Order, OrderBook, type DepthLevel } from './order-book.ts'
import { commandReport, echoReport, orderReport, tradeReport, type OrderReport } from './order-report.ts'
import type { PriceLevels } from './price-levels.ts'

/**
 * Price-time priority over all symbols: turns the records of RISK into reports (contract, section 3a).
 *
 * A pure fold: equal records from an equal state give equal reports and an equal state.
 */
export class Matcher {
  readonly #books = new Map<string, OrderBook>()
  readonly #open = new OpenOrders()
  readonly #ended = new EndedOrders()

  /**
   * Makes a symbol known, or changes its fees or collar from now on.
   * @throws BugError when a known symbol's tick, lot or quoteScale differs
   */
  define(definition: InstrumentDefinition): void {
    const book = this.#books.get(definition.symbol)
    if (book) book.redefine(definition)
    else this.#books.set(definition.symbol, new OrderBook(definition))
  }

  /**
   * Takes the next record of RISK.
   * @returns what it causes, in order; the array and its values hold until the next call
   * @throws BugError when the record contradicts the state, as the gate never lets through
   */
  apply(record: RiskRecord): readonly ReportValue[] {
    switch (record.type) {
      case 'new':
        return this.#accept(record)
      case 'cancel':
        return this.#cancel(record)
      case 'replace':
        return this.#replace(record)
      case 'massCancel':
        return this.#massCancel(record)
      case 'reject':
        return [this.#refuse(record)]
      case 'expire':
        return this.#expire(record)
      case 'limits':
      case 'halt':
        return []
      default:
        return unreachable(record)
    }
  }

  /** @returns undefined unless the order is open */
  order(orderNumber: number): Order | undefined {
    return this.#open.get(orderNumber)
  }

  get openCount(): number {
    return this.#open.size
  }

  /** The open orders of an account in the order of acceptance. */
  openOrdersOf(account: string): Iterable<Order> {
    return this.#open.ofAccount(account)
  }

  /** The best `levels` price levels of each side, best first, with the quantity they display. */
  depth(symbol: string, levels: number): { bids: DepthLevel[]; asks: DepthLevel[] } {
    const book = this.#books.get(symbol)
    const best = (side: PriceLevels | undefined) => {
      const found: DepthLevel[] = []
      for (const { ticks, lots } of side ?? []) {
        if (found.length === levels) break
        found.push([ticks, lots])
      }
      return found
    }
    return { bids: best(book?.bids), asks: best(book?.asks) }
  }

  /** @returns undefined before the first trade */
  lastTradeTicks(symbol: string): number | undefined {
    return this.#books.get(symbol)?.lastTradeTicks
  }

  instrument(symbol: string): Instrument | undefined {
    return this.#books.get(symbol)?.instrument
  }

  /** SHA-256 over everything that later reports depend on. */
  stateHash(): string {
    const hash = createHash('sha256')
    for (const symbol of [...this.#books.keys()].sort()) {
      const book = this.#books.get(symbol) as OrderBook
      const definition = Object.entries(book.instrument.definition).sort(([a], [b]) => (a < b ? -1 : 1))
      hash.update(`${JSON.stringify([definition, book.lastTradeTicks])}\n`)
      for (const order of book.orders()) hash.update(`${canonicalText(order)}\n`)
    }
    this.#ended.addTo(hash)
    return hash.digest('hex')
  }

  /** @throws BugError when links, sums, maps or the order of the book disagree */
  checkInvariants(): void {
    this.#open.checkInvariants()
    let resting = 0
    for (const book of this.#books.values()) {
      book.checkInvariants()
      for (const order of book.orders()) {
        assert(this.#open.get(order.orderNumber) === order, 'a resting order is open')
        resting += 1
      }
    }
    assert(this.#open.size === resting, 'an open order rests')
  }

  #accept(record: NewRecord): OrderReport[] {
    const book = this.#books.get(record.symbol)
    const limitTicks = record.ordType === 'LIMIT' ? record.priceTicks : record.protectionTicks
    assert(book !== undefined, 'an order needs a defined symbol')
    assert(limitTicks !== undefined, 'a LIMIT has a price, a MARKET its protection')
    assert(isPlain(record), 'LIMIT and MARKET orders without further instructions')
    const order = new Order(record, book, limitTicks)
    const makers = book.opposite(order.side)
    if (order.postOnly && makers.meets(limitTicks)) {
      const text = wouldTakeText(order, limitTicks)
      return [commandReport('Rejected', 'Rejected', order, undefined, 0, record, 'ORDER_WOULD_TAKE', text)]
    }
    const { traceparent } = record
    const reports = [orderReport('New', 'New', order, order.leavesLots, traceparent)]
    if (order.timeInForce !== 'FOK' || makers.holds(order.leavesLots, limitTicks))
      this.#match(order, makers, traceparent, reports)
    if (order.leavesLots === 0) {
      this.#ended.remember(order.orderNumber, 'Filled')
    } else if (order.ordType === 'MARKET' || order.timeInForce === 'IOC' || order.timeInForce === 'FOK') {
      this.#ended.remember(order.orderNumber, 'Expired')
      reports.push(orderReport('Expired', 'Expired', order, 0, traceparent))
    } else {
      this.#open.add(order)
      book.ownSide(order.side).at(limitTicks).append(order)
    }
    return reports
  }

  /** Trades with the best makers, oldest first, up to the taker's limit. */
  #match(taker: Order, makers: PriceLevels, traceparent: string | undefined, reports: OrderReport[]): void {
    const { book } = taker
    const rankMin = makers.sign * taker.limitTicks
    let level = makers.best
    while (taker.leavesLots > 0 && level !== undefined && level.rank >= rankMin) {
      const maker = level.head as Order
      const { ticks } = level
      const lots = Math.min(taker.leavesLots, maker.leavesLots)
      taker.leavesLots -= lots
      fill(taker, lots, ticks)
      level.reduce(maker, lots)
      fill(maker, lots, ticks)
      reports.push(
        tradeReport(taker, lots, ticks, 'TAKER', feeAt(lots, ticks, book.takerFee), traceparent),
        tradeReport(maker, lots, ticks, 'MAKER', feeAt(lots, ticks, book.makerFee), undefined),
      )
      book.lastTradeTicks = ticks
      if (maker.leavesLots === 0) this.#close(maker, 'Filled')
      level = makers.best
    }
  }

  /** Ends an order that is open. */
  #close(order: Order, ending: Ending): void {
    order.level?.remove(order)
    this.#open.remove(order)
    this.#ended.remember(order.orderNumber, ending)
  }

  #cancel(record: CancelRecord): OrderReport[] {
    const order = this.#open.get(record.target)
    return [order ? this.#cancelOrder(order, record) : this.#refuseClosed('CancelRejected', record)]
  }

  #cancelOrder(order: Order, command: CancelRecord | MassCancelRecord): OrderReport {
    this.#close(order, 'Canceled')
    return commandReport('Canceled', 'Canceled', order, order.clOrdId, 0, command)
  }

  #refuseClosed(execType: 'CancelRejected' | 'ReplaceRejected', record: CancelRecord | ReplaceRecord): OrderReport {
    const status = this.#ended.endingOf(record.target)
    const orderId = orderIdOf(record.target)
    const text = `order ${orderId} is not open${status === undefined ? '' : `: ${status}`}`
    const echo = { orderId }
    return echoReport(execType, status ?? 'Rejected', record, record.origClOrdId, 'ORDER_CLOSED', text, echo)
  }

  #massCancel(record: MassCancelRecord): OrderReport[] {
    const { account, symbol, side } = record
    const candidates =
      account !== undefined
        ? this.#open.ofAccount(account)
        : symbol !== undefined
          ? (this.#books.get(symbol)?.orders() ?? [])
          : this.#open
    return Array.from(candidates)
      .filter((order) => (symbol ?? order.symbol) === order.symbol && (side ?? order.side) === order.side)
      .sort((a, b) => a.orderNumber - b.orderNumber)
      .map((order) => this.#cancelOrder(order, record))
  }

  #expire(record: ExpireRecord): OrderReport[] {
    const order = this.#open.get(record.target)
    if (!order) return []
    this.#close(order, 'Expired')
    return [orderReport('Expired', 'Expired', order, 0, record.traceparent)]
  }

  #replace(record: ReplaceRecord): OrderReport[] {
    const order = this.#open.get(record.target)
    if (!order) return [this.#refuseClosed('ReplaceRejected', record)]
    const { book, clOrdId } = order
    const quantityLots = record.quantityLots ?? order.quantityLots
    const priceTicks = record.priceTicks ?? order.limitTicks
    const makers = book.opposite(order.side)
    const refused = (reason: RejectReason, text: string) => [
      commandReport('ReplaceRejected', order.status, order, clOrdId, order.leavesLots, record, reason, text),
    ]
    if (quantityLots <= order.cumLots) {
      const [total, filled] = [quantityLots, order.cumLots].map((lots) => textFromUnits(lots, book.instrument.lot))
      return refused('ORDER_QUANTITY_BELOW_FILLED', `quantity ${total} must be more than the ${filled} filled`)
    }
    if (order.postOnly && makers.meets(priceTicks)) return refused('ORDER_WOULD_TAKE', wouldTakeText(order, priceTicks))

    const keepsPriority = quantityLots < order.quantityLots && priceTicks === order.limitTicks
    if (keepsPriority) order.level?.reduce(order, order.quantityLots - quantityLots)
    else order.level?.remove(order)
    order.leavesLots = quantityLots - order.cumLots
    order.quantityLots = quantityLots
    order.priceTicks = order.limitTicks = priceTicks
    order.clOrdId = record.clOrdId ?? clOrdId
    order.expireUs = record.expireUs ?? order.expireUs
    const reports = [commandReport('Replaced', order.status, order, clOrdId, order.leavesLots, record)]
    if (keepsPriority) return reports
    this.#match(order, makers, record.traceparent, reports)
    if (order.leavesLots === 0) this.#close(order, 'Filled')
    else book.ownSide(order.side).at(priceTicks).append(order)
    return reports
  }

  /** Reports what the gate refused, with the open order it names unless that is another account's. */
  #refuse(record: RejectRecord): OrderReport {
    const { kind, reason, text, echo } = record
    if (kind === 'new') return echoReport('Rejected', 'Rejected', record, echo.origClOrdId, reason, text, echo)
    const execType = kind === 'replace' ? 'ReplaceRejected' : 'CancelRejected'
    const target = kind === 'mass_cancel' || echo.orderId === undefined ? undefined : orderNumberOf(echo.orderId)
    const order = target === undefined ? undefined : this.#open.get(target)
    if (order && (echo.account ?? order.account) === order.account)
      return commandReport(execType, order.status, order, order.clOrdId, order.leavesLots, record, reason, text)
    const ending = reason === 'ORDER_CLOSED' && target !== undefined ? this.#ended.endingOf(target) : undefined
    return echoReport(execType, ending ?? 'Rejected', record, echo.origClOrdId, reason, text, echo)
  }
}

function isPlain({ ordType, displayLots, reduceOnly, stpMode }: NewRecord): boolean {
  return (
    (ordType === 'LIMIT' || ordType === 'MARKET') &&
    displayLots === undefined &&
    reduceOnly === undefined &&
    (stpMode === undefined || stpMode === 'NONE')
  )
}

function fill(order: Order, lots: number, ticks: number): void {
  order.cumLots += lots
  order.cumCost = addProduct(order.cumCost, lots, ticks)
}

function wouldTakeText({ side, book }: Order, priceTicks: number): string {
  const { tick } = book.instrument
  const opposing = book.opposite(side).best?.ticks ?? 0
  return `postOnly ${side} at ${textFromUnits(priceTicks, tick)} would take the opposing ${textFromUnits(opposing, tick)}`
}

function canonicalText(order: Order): string {
  return JSON.stringify([
    order.orderNumber,
    order.account,
    order.side,
    order.ordType,
    order.timeInForce,
    order.clOrdId,
    order.quantityLots,
    order.priceTicks,
    order.stopTicks,
    order.traceparent,
    order.postOnly,
    order.expireUs,
    order.leavesLots,
    String(order.cumCost),
  ])
}
