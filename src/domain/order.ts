import type { Exact } from '../base/decimal.ts'
import type { OrdStatus, OrdType, Side, StpMode, TimeInForce } from '../schemas/enums.ts'
import type { OrderTerms } from '../schemas/execution.ts'
import type { NewRecord } from '../schemas/risk.ts'
import { add } from './money.ts'
import { trailingStopTicksOf } from './order-terms.ts'
import type { OrderBook } from './order-book.ts'
import type { PriceLevel } from './price-levels.ts'
import type { Trail } from './trailing-stops.ts'

/** One account as the matcher knows it; its open orders in the order of acceptance. */
export class Account {
  readonly name: string
  oldest: Order | undefined = undefined
  newest: Order | undefined = undefined

  constructor(name: string) {
    this.name = name
  }
}

/** What an account holds of one symbol by the matcher's own trades. */
export class Holding {
  readonly account: Account
  /** Signed. */
  lots: Exact = 0

  constructor(account: Account) {
    this.account = account
  }

  trade(side: Side, lots: number): void {
    this.lots = add(this.lots, side === 'BUY' ? lots : -lots)
  }
}

/** What only some orders ask for. Most have none of it and pay nothing for it. */
export class Instructions {
  readonly reduceOnly: boolean
  readonly stpMode: StpMode
  /** Peak of an iceberg. */
  readonly displayLots: number | undefined
  readonly trailingTicks: number | undefined
  /** Of a STOP or STOP_LIMIT; of a TRAILING_STOP where its trail has brought it. */
  stopTicks: number | undefined
  /** For its trigger: open, not in the book. */
  waiting: boolean
  /** Set while a TRAILING_STOP waits. */
  trail: Trail | undefined = undefined

  constructor({
    reduceOnly,
    stpMode,
    displayLots,
    trailingTicks,
    stopTicks,
    waiting,
  }: Pick<Instructions, 'reduceOnly' | 'stpMode' | 'displayLots' | 'trailingTicks' | 'stopTicks' | 'waiting'>) {
    this.reduceOnly = reduceOnly
    this.stpMode = stpMode
    this.displayLots = displayLots
    this.trailingTicks = trailingTicks
    this.stopTicks = stopTicks
    this.waiting = waiting
  }

  /** Starts a TRAILING_STOP at the last trade; the record's stop price is that of a symbol without any. */
  startTrail(side: Side, lastTradeTicks: number | undefined): void {
    if (this.trailingTicks === undefined || lastTradeTicks === undefined) return
    this.stopTicks = trailingStopTicksOf(side === 'BUY', lastTradeTicks, this.trailingTicks)
  }
}

function instructionsOf(record: NewRecord): Instructions | undefined {
  const { stopTicks, reduceOnly = false, displayLots, stpMode = 'NONE', trailingTicks, quantityLots } = record
  if (stopTicks === undefined && !reduceOnly && displayLots === undefined && stpMode === 'NONE') return undefined
  return new Instructions({
    reduceOnly,
    stpMode,
    displayLots: displayLots !== undefined && displayLots < quantityLots ? displayLots : undefined,
    trailingTicks,
    stopTicks,
    waiting: stopTicks !== undefined,
  })
}

/**
 * An order and its place in the book or among the stops. Only the matcher changes it; when it has ended, the object
 * becomes another order with the next record (`OrderPool`).
 */
export class Order implements OrderTerms {
  orderNumber = 0
  book!: OrderBook
  holding!: Holding
  side: Side = 'BUY'
  ordType: OrdType = 'LIMIT'
  timeInForce: TimeInForce = 'GTC'
  postOnly = false
  traceparent: string | undefined
  instructions: Instructions | undefined
  clOrdId: string | undefined
  expireUs: number | undefined
  quantityLots = 0
  /** Never trades through it: the price of a LIMIT or STOP_LIMIT, else the protection, which a stop has once triggered. */
  limitTicks = 0
  leavesLots = 0
  /** Of an iceberg in the book: what comes after the part shown. */
  hiddenLots = 0
  /** Σ lots × ticks of all fills. */
  cumCost: Exact = 0
  /** Set while it rests in the book or waits for its trigger. */
  level: PriceLevel | undefined = undefined
  before: Order | undefined = undefined
  after: Order | undefined = undefined
  /** Set while it is open: links of `OpenOrders`. */
  nextInBucket: Order | undefined = undefined
  olderOfAccount: Order | undefined = undefined
  newerOfAccount: Order | undefined = undefined

  begin(record: NewRecord, book: OrderBook, holding: Holding): void {
    this.orderNumber = record.srcSeq
    this.book = book
    this.holding = holding
    this.side = record.side
    this.ordType = record.ordType
    this.timeInForce = record.timeInForce
    this.postOnly = record.postOnly === true
    this.traceparent = record.traceparent
    this.instructions = instructionsOf(record)
    this.clOrdId = record.clOrdId
    this.expireUs = record.expireUs
    this.quantityLots = record.quantityLots
    this.limitTicks = record.priceTicks ?? record.protectionTicks ?? 0
    this.leavesLots = record.quantityLots
    this.hiddenLots = 0
    this.cumCost = 0
  }

  get account(): string {
    return this.holding.account.name
  }

  get symbol(): string {
    return this.book.symbol
  }

  get cumLots(): number {
    return this.quantityLots - this.leavesLots
  }

  get shownLots(): number {
    return this.leavesLots - this.hiddenLots
  }

  get priceTicks(): number | undefined {
    return this.ordType === 'LIMIT' || this.ordType === 'STOP_LIMIT' ? this.limitTicks : undefined
  }

  /** The current one. */
  get stopTicks(): number | undefined {
    const { instructions } = this
    return instructions?.trail?.stopTicksOf(this) ?? instructions?.stopTicks
  }

  get waits(): boolean {
    return this.instructions?.waiting === true
  }

  get reduceOnly(): boolean {
    return this.instructions?.reduceOnly === true
  }

  /** Ends at once with what it cannot fill, once it may trade. */
  get isImmediate(): boolean {
    return this.priceTicks === undefined || this.timeInForce === 'IOC' || this.timeInForce === 'FOK'
  }

  /** The status of an order that is open or filled. */
  get status(): OrdStatus {
    return this.leavesLots === this.quantityLots ? 'New' : this.leavesLots === 0 ? 'Filled' : 'PartiallyFilled'
  }
}

/** How many lots a trade of this side may still take off a position before it is flat; at least 9e15 counts as more. */
export function reducibleLots(side: Side, positionLots: Exact): number {
  const lots = Number(positionLots)
  return Math.max(0, side === 'BUY' ? -lots : lots)
}
