import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import type { OrdStatus, OrdType, Side, TimeInForce } from '../schemas/enums.ts'
import type { OrderTerms } from '../schemas/execution.ts'
import { instrumentFrom, type Instrument, type InstrumentDefinition } from '../schemas/instrument.ts'
import type { NewRecord } from '../schemas/risk.ts'
import { feeRateOf, type FeeRate } from './fees.ts'
import { PriceLevels, type PriceLevel } from './price-levels.ts'

/** An order and its place in the book. Only the matcher changes it. */
export class Order implements OrderTerms {
  readonly orderNumber: number
  readonly account: string
  readonly symbol: string
  readonly side: Side
  readonly ordType: OrdType
  readonly timeInForce: TimeInForce
  clOrdId: string | undefined
  quantityLots: number
  priceTicks: number | undefined
  readonly stopTicks: number | undefined
  readonly traceparent: string | undefined

  readonly book: OrderBook
  readonly postOnly: boolean
  expireUs: number | undefined
  /** Never trades through it: the price of a LIMIT, the protection of a MARKET. */
  limitTicks: number
  leavesLots: number
  cumLots = 0
  /** Σ lots × ticks of all fills. */
  cumCost: Exact = 0
  /** Set while it rests. */
  level: PriceLevel | undefined = undefined
  before: Order | undefined = undefined
  after: Order | undefined = undefined
  /** Set while it is open: links of `OpenOrders`. */
  nextInBucket: Order | undefined = undefined
  olderOfAccount: Order | undefined = undefined
  newerOfAccount: Order | undefined = undefined

  constructor(record: NewRecord, book: OrderBook, limitTicks: number) {
    this.orderNumber = record.srcSeq
    this.account = record.account
    this.symbol = record.symbol
    this.side = record.side
    this.ordType = record.ordType
    this.timeInForce = record.timeInForce
    this.clOrdId = record.clOrdId
    this.quantityLots = record.quantityLots
    this.priceTicks = record.priceTicks
    this.stopTicks = record.stopTicks
    this.traceparent = record.traceparent
    this.book = book
    this.postOnly = record.postOnly === true
    this.expireUs = record.expireUs
    this.limitTicks = limitTicks
    this.leavesLots = record.quantityLots
  }

  /** The status of an order that is open or filled. */
  get status(): OrdStatus {
    return this.cumLots === 0 ? 'New' : this.leavesLots === 0 ? 'Filled' : 'PartiallyFilled'
  }
}

/** A displayed price level: exact lots, as many orders of 9e15 are more than a double counts. */
export type DepthLevel = [priceTicks: number, lots: Exact]

/** The book of one symbol. */
export class OrderBook {
  instrument: Instrument
  makerFee: FeeRate
  takerFee: FeeRate
  readonly bids = new PriceLevels(1)
  readonly asks = new PriceLevels(-1)
  lastTradeTicks: number | undefined = undefined

  constructor(definition: InstrumentDefinition) {
    this.instrument = instrumentFrom(definition)
    this.makerFee = feeRateOf(this.instrument, 'MAKER')
    this.takerFee = feeRateOf(this.instrument, 'TAKER')
  }

  /** @throws BugError when the units change, in which resting orders are counted */
  redefine(definition: InstrumentDefinition): void {
    const was = this.instrument.definition
    assert(
      definition.tick === was.tick && definition.lot === was.lot && definition.quoteScale === was.quoteScale,
      `${was.symbol}: tick, lot and quoteScale cannot change`,
    )
    this.instrument = instrumentFrom(definition)
    this.makerFee = feeRateOf(this.instrument, 'MAKER')
    this.takerFee = feeRateOf(this.instrument, 'TAKER')
  }

  /** The side on which an order rests. */
  ownSide(side: Side): PriceLevels {
    return side === 'BUY' ? this.bids : this.asks
  }

  /** The side that an order trades with. */
  opposite(side: Side): PriceLevels {
    return side === 'BUY' ? this.asks : this.bids
  }

  /** All resting orders: bids, then asks, each in the order in which they would trade. */
  *orders(): Generator<Order> {
    for (const side of [this.bids, this.asks]) for (const level of side) yield* level.orders()
  }

  /** @throws BugError */
  checkInvariants(): void {
    this.bids.checkInvariants()
    this.asks.checkInvariants()
    const { bids, asks } = this
    if (bids.best && asks.best) assert(bids.best.ticks < asks.best.ticks, 'the book is not crossed')
    for (const order of this.orders()) {
      assert(order.book === this && order.level?.levels === this.ownSide(order.side), 'an order rests on its side')
      assert(order.leavesLots > 0 && order.leavesLots + order.cumLots === order.quantityLots, 'leaves + cum = quantity')
      assert(order.limitTicks === order.priceTicks, 'only orders with a price rest')
    }
  }
}
