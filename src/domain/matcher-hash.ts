import { createHash } from 'node:crypto'
import type { EndedOrders } from './ended-orders.ts'
import type { Order } from './order.ts'
import type { OrderBook } from './order-book.ts'

/** SHA-256 over all that later reports depend on, in an order that does not depend on how the state came about. */
export function hashOf(books: ReadonlyMap<string, OrderBook>, ended: EndedOrders): string {
  const hash = createHash('sha256')
  const line = (values: unknown) => hash.update(`${JSON.stringify(values)}\n`)
  for (const [, book] of [...books].sort(byName)) {
    line([Object.entries(book.instrument.definition).sort(byName), book.lastTradeTicks])
    for (const order of book.orders()) line(valuesOf(order))
    for (const [account, { lots }] of [...book.holdings].sort(byName)) if (lots !== 0) line([account, String(lots)])
  }
  ended.addTo(hash)
  return hash.digest('hex')
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

function valuesOf(order: Order): unknown[] {
  const { instructions } = order
  return [
    order.orderNumber,
    order.account,
    order.side,
    order.ordType,
    order.timeInForce,
    order.clOrdId,
    order.quantityLots,
    order.limitTicks,
    order.stopTicks,
    order.traceparent,
    order.postOnly,
    order.expireUs,
    order.leavesLots,
    order.hiddenLots,
    String(order.cumCost),
    ...(instructions
      ? [
          instructions.reduceOnly,
          instructions.stpMode,
          instructions.displayLots,
          instructions.trailingTicks,
          instructions.waiting,
        ]
      : []),
  ]
}
