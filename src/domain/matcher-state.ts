import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import type { OrdType, Side, StpMode, TimeInForce } from '../schemas/enums.ts'
import type { InstrumentDefinition } from '../schemas/instrument.ts'
import type { EndedOrders, EndedOrdersState } from './ended-orders.ts'
import type { OpenOrders } from './open-orders.ts'
import { Holding, Instructions, Order } from './order.ts'
import { OrderBook } from './order-book.ts'
import { numberAt, numberColumn, textColumn, textsOf, type TextColumn } from './columns.ts'

/** What later reports depend on, as plain values: a snapshot of the matcher. */
export interface MatcherState {
  readonly books: readonly BookState[]
  readonly ended: EndedOrdersState
}

interface BookState {
  readonly definition: InstrumentDefinition
  readonly lastTradeTicks: number | undefined
  /** Of the accounts that hold something. */
  readonly holdings: readonly (readonly [account: string, lots: Exact])[]
  readonly orders: OrderColumns
}

/** Open orders: bids, then asks, each in the order in which they would trade, then the waiting stops. */
interface OrderColumns {
  readonly orderNumber: Float64Array
  readonly account: TextColumn
  readonly side: TextColumn
  readonly ordType: TextColumn
  readonly timeInForce: TextColumn
  readonly postOnly: Uint8Array
  readonly traceparent: readonly (string | undefined)[]
  readonly clOrdId: readonly (string | undefined)[]
  readonly expireUs: Float64Array
  readonly quantityLots: Float64Array
  readonly limitTicks: Float64Array
  readonly leavesLots: Float64Array
  readonly hiddenLots: Float64Array
  readonly cumCost: readonly Exact[]
  /** By row: most orders have none. */
  readonly instructions: readonly (readonly [row: number, instructions: InstructionsState])[]
}

interface InstructionsState {
  readonly reduceOnly: boolean
  readonly stpMode: StpMode
  readonly displayLots: number | undefined
  readonly trailingTicks: number | undefined
  readonly stopTicks: number | undefined
  readonly waiting: boolean
}

export function saveMatcher(books: ReadonlyMap<string, OrderBook>, ended: EndedOrders): MatcherState {
  return {
    books: Array.from(books.values(), (book) => ({
      definition: book.instrument.definition,
      lastTradeTicks: book.lastTradeTicks,
      holdings: Array.from(book.holdings, ([account, { lots }]) => [account, lots] as const).filter(
        ([, lots]) => lots !== 0,
      ),
      orders: columnsOf([...book.orders()]),
    })),
    ended: ended.save(),
  }
}

/** Puts a saved state into empty maps. */
export function loadMatcher(
  state: MatcherState,
  books: Map<string, OrderBook>,
  open: OpenOrders,
  ended: EndedOrders,
): void {
  assert(books.size === 0 && open.size === 0, 'a state is loaded once, at the start')
  const all: Order[] = []
  for (const { definition, lastTradeTicks, holdings, orders } of state.books) {
    const book = new OrderBook(definition)
    books.set(definition.symbol, book)
    book.lastTradeTicks = lastTradeTicks
    const holdingOf = (account: string) => {
      let holding = book.holdings.get(account)
      if (!holding) book.holdings.set(account, (holding = new Holding(open.account(account))))
      return holding
    }
    for (const [account, lots] of holdings) holdingOf(account).lots = lots
    for (const order of ordersOf(orders, book, holdingOf)) {
      if (order.waits) book.waitForTrigger(order)
      else book.restAgain(order)
      all.push(order)
    }
  }
  // An account's orders are linked in the order of acceptance, which is that of their numbers.
  for (const order of all.sort((a, b) => a.orderNumber - b.orderNumber)) open.add(order)
  ended.load(state.ended)
}

function columnsOf(orders: readonly Order[]): OrderColumns {
  const numbers = (valueOf: (order: Order) => number | undefined) => numberColumn(orders.map(valueOf))
  const texts = (valueOf: (order: Order) => string | undefined) => textColumn(orders.map(valueOf))
  const instructions: [number, InstructionsState][] = []
  orders.forEach(({ instructions: asked, stopTicks }, row) => {
    if (!asked) return
    const { reduceOnly, stpMode, displayLots, trailingTicks, waiting } = asked
    instructions.push([row, { reduceOnly, stpMode, displayLots, trailingTicks, stopTicks, waiting }])
  })
  return {
    orderNumber: numbers((order) => order.orderNumber),
    account: texts((order) => order.account),
    side: texts((order) => order.side),
    ordType: texts((order) => order.ordType),
    timeInForce: texts((order) => order.timeInForce),
    postOnly: Uint8Array.from(orders, (order) => (order.postOnly ? 1 : 0)),
    traceparent: orders.map((order) => order.traceparent),
    clOrdId: orders.map((order) => order.clOrdId),
    expireUs: numbers((order) => order.expireUs),
    quantityLots: numbers((order) => order.quantityLots),
    limitTicks: numbers((order) => order.limitTicks),
    leavesLots: numbers((order) => order.leavesLots),
    hiddenLots: numbers((order) => order.hiddenLots),
    cumCost: orders.map((order) => order.cumCost),
    instructions,
  }
}

function ordersOf(columns: OrderColumns, book: OrderBook, holdingOf: (account: string) => Holding): Order[] {
  const accounts = textsOf(columns.account)
  const sides = textsOf(columns.side)
  const ordTypes = textsOf(columns.ordType)
  const timesInForce = textsOf(columns.timeInForce)
  const orders = Array.from(columns.orderNumber, (orderNumber, row) => {
    const order = new Order()
    order.orderNumber = orderNumber
    order.book = book
    order.holding = holdingOf(accounts[row] ?? '')
    order.side = sides[row] as Side
    order.ordType = ordTypes[row] as OrdType
    order.timeInForce = timesInForce[row] as TimeInForce
    order.postOnly = columns.postOnly[row] === 1
    order.traceparent = columns.traceparent[row]
    order.clOrdId = columns.clOrdId[row]
    order.expireUs = numberAt(columns.expireUs, row)
    order.quantityLots = columns.quantityLots[row] ?? 0
    order.limitTicks = columns.limitTicks[row] ?? 0
    order.leavesLots = columns.leavesLots[row] ?? 0
    order.hiddenLots = columns.hiddenLots[row] ?? 0
    order.cumCost = columns.cumCost[row] ?? 0
    return order
  })
  for (const [row, state] of columns.instructions) {
    const order = orders[row]
    assert(order, `no order ${row}`)
    order.instructions = new Instructions(state)
  }
  return orders
}
