import { assert, unreachable } from '../base/assert.ts'
import { textFromUnits } from '../base/decimal.ts'
import { orderIdOf, orderNumberOf, type ReportValue } from '../schemas/execution.ts'
import type { Instrument, InstrumentDefinition } from '../schemas/instrument.ts'
import type {
  CancelRecord,
  ExpireRecord,
  MassCancelRecord,
  NewRecord,
  RejectRecord,
  ReplaceRecord,
  RiskRecord,
} from '../schemas/risk.ts'
import { Crossing } from './crossing.ts'
import { EndedOrders } from './ended-orders.ts'
import { hashOf } from './matcher-hash.ts'
import { loadMatcher, type MatcherState, saveMatcher } from './matcher-state.ts'
import { OpenOrders } from './open-orders.ts'
import { Holding, reducibleLots, type Order } from './order.ts'
import { OrderBook, type DepthLevel } from './order-book.ts'
import { OrderPool } from './order-pool.ts'
import { Reports } from './order-report.ts'
import type { PriceLevels } from './price-levels.ts'
import { replaceOrder, tooManyPeaks, wouldTake, type Refused } from './replacement.ts'

/**
 * Price-time priority over all symbols: turns the records of RISK into reports (contract, section 3a).
 *
 * A pure fold: equal records from an equal state give equal reports and an equal state.
 */
export class Matcher {
  readonly #books = new Map<string, OrderBook>()
  readonly #open = new OpenOrders()
  readonly #ended = new EndedOrders()
  readonly #reports = new Reports()
  readonly #pool = new OrderPool()
  readonly #crossing = new Crossing(this.#open, this.#ended, this.#reports, this.#pool)

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
    this.#reports.clear()
    this.#pool.nextRecord()
    switch (record.type) {
      case 'new':
        this.#accept(record)
        break
      case 'cancel':
        this.#cancel(record)
        break
      case 'replace':
        this.#replace(record)
        break
      case 'massCancel':
        this.#massCancel(record)
        break
      case 'reject':
        this.#refuse(record)
        break
      case 'expire':
        this.#expire(record)
        break
      case 'limits':
      case 'halt':
        break
      default:
        return unreachable(record)
    }
    return this.#reports.values
  }

  /**
   * Answers a record that cannot be applied because of a bug of ours; nothing else becomes of it.
   * @returns as `apply`; nothing for what the gate issued, which waits for no answer
   */
  refuseFaulty(record: RiskRecord): readonly ReportValue[] {
    this.#reports.clear()
    this.#pool.nextRecord()
    const refusal = faultOf(record)
    if (refusal) this.#refuse(refusal)
    return this.#reports.values
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
    return hashOf(this.#books, this.#ended)
  }

  /** What later reports depend on; parts of it are the state itself, so it is written out before the next record. */
  save(): MatcherState {
    return saveMatcher(this.#books, this.#ended)
  }

  /** Goes on from a saved state; only before anything else. */
  load(state: MatcherState): void {
    loadMatcher(state, this.#books, this.#open, this.#ended)
  }

  /** @throws BugError when links, sums, maps or the order of the book disagree */
  checkInvariants(): void {
    this.#open.checkInvariants()
    let count = 0
    for (const book of this.#books.values()) {
      book.checkInvariants()
      for (const order of book.orders()) {
        assert(this.#open.get(order.orderNumber) === order, 'an order that rests or waits is open')
        count += 1
      }
    }
    assert(this.#open.size === count, 'an open order rests or waits')
  }

  #accept(record: NewRecord): void {
    const book = this.#books.get(record.symbol)
    assert(book !== undefined, 'an order needs a defined symbol')
    assert(isComplete(record), 'an order has the prices of its kind')
    const holding = book.holdings.get(record.account) ?? this.#newHolding(book, record.account)
    const order = this.#pool.make(record, book, holding)
    const { side, instructions, traceparent } = order
    const reports = this.#reports
    const refused = refusalOf(order)
    if (refused) {
      reports.command('Rejected', 'Rejected', order, undefined, 0, record, refused.reason, refused.text)
      return
    }
    reports.order('New', 'New', order, order.leavesLots, traceparent)
    if (instructions?.waiting) {
      instructions.startTrail(side, book.lastTradeTicks)
      this.#crossing.wait(order, false, traceparent)
    } else this.#crossing.enter(order, false, traceparent)
    this.#crossing.runStops(book)
  }

  #newHolding(book: OrderBook, account: string): Holding {
    const holding = new Holding(this.#open.account(account))
    book.holdings.set(account, holding)
    return holding
  }

  #cancel(record: CancelRecord): void {
    const order = this.#open.get(record.target)
    if (order) this.#cancelOrder(order, record)
    else this.#refuseClosed('CancelRejected', record)
  }

  #cancelOrder(order: Order, command: CancelRecord | MassCancelRecord): void {
    this.#crossing.close(order, 'Canceled')
    this.#reports.command('Canceled', 'Canceled', order, order.clOrdId, 0, command)
  }

  #refuseClosed(execType: 'CancelRejected' | 'ReplaceRejected', record: CancelRecord | ReplaceRecord): void {
    const status = this.#ended.endingOf(record.target)
    const orderId = orderIdOf(record.target)
    const text = `order ${orderId} is not open${status === undefined ? '' : `: ${status}`}`
    const echo = { orderId }
    this.#reports.echo(execType, status ?? 'Rejected', record, record.origClOrdId, 'ORDER_CLOSED', text, echo)
  }

  #massCancel(record: MassCancelRecord): void {
    const { account, symbol, side } = record
    const candidates =
      account !== undefined
        ? this.#open.ofAccount(account)
        : symbol !== undefined
          ? (this.#books.get(symbol)?.orders() ?? [])
          : this.#open
    Array.from(candidates)
      .filter((order) => (symbol ?? order.symbol) === order.symbol && (side ?? order.side) === order.side)
      .sort((a, b) => a.orderNumber - b.orderNumber)
      .forEach((order) => {
        this.#cancelOrder(order, record)
      })
  }

  #expire(record: ExpireRecord): void {
    const order = this.#open.get(record.target)
    if (!order) return
    this.#crossing.close(order, 'Expired')
    this.#reports.order('Expired', 'Expired', order, 0, record.traceparent)
  }

  #replace(record: ReplaceRecord): void {
    const order = this.#open.get(record.target)
    if (order) replaceOrder(order, record, this.#crossing, this.#reports)
    else this.#refuseClosed('ReplaceRejected', record)
  }

  /** Reports what the gate refused, with the open order it names unless that is another account's. */
  #refuse(record: RejectRecord): void {
    const { kind, reason, text, echo } = record
    const reports = this.#reports
    if (kind === 'new') {
      reports.echo('Rejected', 'Rejected', record, echo.origClOrdId, reason, text, echo)
      return
    }
    const execType = kind === 'replace' ? 'ReplaceRejected' : 'CancelRejected'
    const target = kind === 'mass_cancel' || echo.orderId === undefined ? undefined : orderNumberOf(echo.orderId)
    const order = target === undefined ? undefined : this.#open.get(target)
    if (order && (echo.account ?? order.account) === order.account) {
      reports.command(execType, order.status, order, order.clOrdId, order.leavesLots, record, reason, text)
      return
    }
    const ending = reason === 'ORDER_CLOSED' && target !== undefined ? this.#ended.endingOf(target) : undefined
    reports.echo(execType, ending ?? 'Rejected', record, echo.origClOrdId, reason, text, echo)
  }
}

/** The refusal of a record that cannot be applied; undefined for what the gate issued. */
function faultOf(record: RiskRecord): RejectRecord | undefined {
  if (record.srcSeq === 0 || record.type === 'expire' || record.type === 'limits' || record.type === 'halt')
    return undefined
  const { cmdSeq, srcSeq, timeUs, clOrdId, traceparent } = record
  const named = { ...(clOrdId === undefined ? {} : { clOrdId }), ...(traceparent === undefined ? {} : { traceparent }) }
  return {
    ...{ cmdSeq, srcSeq, timeUs, ...named, type: 'reject', reason: 'SYSTEM_COMMAND_FAULT' },
    text: 'the command could not be worked on, three times; nothing has become of it',
    ...whatOf(record),
  }
}

function whatOf(
  record: NewRecord | CancelRecord | ReplaceRecord | MassCancelRecord | RejectRecord,
): Pick<RejectRecord, 'kind' | 'echo'> {
  switch (record.type) {
    case 'new': {
      const { account, symbol, side, ordType, timeInForce } = record
      return { kind: 'new', echo: { account, symbol, side, ordType, timeInForce } }
    }
    case 'cancel':
    case 'replace': {
      const { target, origClOrdId } = record
      const echo = { orderId: orderIdOf(target), ...(origClOrdId === undefined ? {} : { origClOrdId }) }
      return { kind: record.type, echo }
    }
    case 'massCancel':
      return { kind: 'mass_cancel', echo: {} }
    case 'reject':
      return { kind: record.kind, echo: record.echo }
  }
}

/** Whether an order has the prices of its kind. */
function isComplete(record: NewRecord): boolean {
  const { ordType, stopTicks } = record
  switch (ordType) {
    case 'LIMIT':
      return record.priceTicks !== undefined && stopTicks === undefined
    case 'MARKET':
      return record.protectionTicks !== undefined && stopTicks === undefined
    case 'STOP':
      return stopTicks !== undefined
    case 'STOP_LIMIT':
      return record.priceTicks !== undefined && stopTicks !== undefined
    case 'TRAILING_STOP':
      return record.trailingTicks !== undefined && stopTicks !== undefined
  }
}

function refusalOf(order: Order): Refused | undefined {
  const { side, instructions, holding, symbol, book } = order
  if (!instructions) return order.postOnly ? wouldTake(order, order.limitTicks) : undefined
  if (instructions.reduceOnly && reducibleLots(side, holding.lots) === 0) {
    const position = textFromUnits(holding.lots, book.instrument.lot)
    return { reason: 'ORDER_NOT_REDUCING', text: `reduceOnly ${side}: the position of ${symbol} is ${position}` }
  }
  return tooManyPeaks(order, order.quantityLots) ?? (order.postOnly ? wouldTake(order, order.limitTicks) : undefined)
}
