import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import type { Side } from '../schemas/enums.ts'
import { instrumentFrom, type Instrument, type InstrumentDefinition } from '../schemas/instrument.ts'
import { feeRateOf, type FeeRate } from './fees.ts'
import { add } from './money.ts'
import type { Holding, Order } from './order.ts'
import { PriceLevels } from './price-levels.ts'
import { Stops } from './stops.ts'

/** A displayed price level: exact lots, as many orders of 9e15 are more than a double counts. */
export type DepthLevel = [priceTicks: number, lots: Exact]

/** One symbol: the book, the stops that wait, who holds how much. */
export class OrderBook {
  readonly symbol: string
  instrument: Instrument
  makerFee: FeeRate
  takerFee: FeeRate
  readonly bids = new PriceLevels(1)
  readonly asks = new PriceLevels(-1)
  /** Undefined as long as no stop has come. */
  stops: Stops | undefined = undefined
  /** Resting orders that may only reduce a position. */
  reduceOnlyCount = 0
  /** By account; one is made with an account's first order and stays. */
  readonly holdings = new Map<string, Holding>()
  lastTradeTicks: number | undefined = undefined

  constructor(definition: InstrumentDefinition) {
    this.symbol = definition.symbol
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

  /** Puts what is left of an order at the end of its price; of an iceberg the first peak. */
  rest(order: Order): void {
    const { instructions, leavesLots } = order
    if (instructions) {
      if (instructions.displayLots !== undefined) order.hiddenLots = Math.max(0, leavesLots - instructions.displayLots)
      if (instructions.reduceOnly) this.reduceOnlyCount += 1
    }
    this.ownSide(order.side).at(order.limitTicks).append(order)
  }

  /** Puts a resting order back at the end of its price, as it was saved. */
  restAgain(order: Order): void {
    if (order.reduceOnly) this.reduceOnlyCount += 1
    this.ownSide(order.side).at(order.limitTicks).append(order)
  }

  /** Puts a stop among those that wait. */
  waitForTrigger(order: Order): void {
    this.stops ??= new Stops()
    this.stops.add(order)
  }

  /** Takes an open order out, from wherever it rests or waits. */
  takeOut(order: Order): void {
    const { instructions, level } = order
    if (instructions?.waiting) this.stops?.remove(order)
    else if (level) {
      if (instructions?.reduceOnly) this.reduceOnlyCount -= 1
      level.remove(order)
    }
  }

  /** All resting orders: bids, then asks, each in the order in which they would trade. */
  *resting(): Generator<Order> {
    yield* this.bids.orders()
    yield* this.asks.orders()
  }

  /** All open orders: the resting, then the waiting ones by number. */
  *orders(): Generator<Order> {
    yield* this.resting()
    if (this.stops) yield* this.stops.orders()
  }

  /** @throws BugError */
  checkInvariants(): void {
    const { bids, asks } = this
    for (const side of [bids, asks]) side.checkInvariants((order) => order.priceTicks)
    if (bids.best && asks.best) assert(bids.best.ticks < asks.best.ticks, 'the book is not crossed')
    let reduceOnlyCount = 0
    for (const order of this.resting()) {
      const { book, level, shownLots, hiddenLots, instructions } = order
      assert(book === this && level?.levels === this.ownSide(order.side), 'an order rests on its side')
      assert(shownLots > 0 && hiddenLots >= 0 && order.leavesLots <= order.quantityLots, 'an order shows something')
      assert(hiddenLots === 0 || shownLots <= (instructions?.displayLots ?? 0), 'an iceberg shows its peak at most')
      assert(!order.waits && !order.isImmediate, 'only what may rest rests')
      if (order.reduceOnly) reduceOnlyCount += 1
    }
    assert(reduceOnlyCount === this.reduceOnlyCount, 'reduceOnly orders are counted')
    this.stops?.checkInvariants(this.lastTradeTicks)
    let sum: Exact = 0
    for (const { lots } of this.holdings.values()) sum = add(sum, lots)
    assert(sum === 0, 'what one holds another owes')
  }
}
