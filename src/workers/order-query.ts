/**
 * reads       requests `query.order.<orderId>`, `query.orders.<account>`, `query.book.<symbol>` from the doors
 * writes      their replies; nothing that lasts
 * state       the matcher's, as it is between two batches
 * guarantees  the state after every record up to the `seq` it names, reports on their way included
 * crash       nobody answers until the next matcher is active
 */
import { textFromUnits } from '../base/decimal.ts'
import { quote } from '../base/json.ts'
import type { Matcher } from '../domain/matcher.ts'
import type { Order } from '../domain/order.ts'
import type { DepthLevel } from '../domain/order-book.ts'
import { statusOf } from '../domain/order-views.ts'
import { averagePriceText, orderIdOf, orderNumberOf } from '../schemas/execution.ts'
import type { Nats } from '../runtime/nats.ts'
import { querySubjects } from '../subjects/names.ts'

/** Orders in one reply; more than this are asked for page by page. */
const pageMax = 1_000
/** Levels of each side of a book in one reply. */
const depthMax = 1_000

/**
 * Answers the queries of the doors: an `OrderState` or null, an `OrdersPage` (the request's body is the number of the
 * last order seen, or empty), a book (the body is its depth).
 * @param cmdSeq of the last record applied
 */
export function serveOrderQueries(nats: Nats, matcher: Matcher, cmdSeq: () => number): { stop(): void } {
  const answer = (subject: string, reply: (name: string, body: string) => string) =>
    nats.connection.subscribe(subject, {
      callback: (error, message) => {
        const name = message.subject.split('.')[2]
        if (!error && name !== undefined) message.respond(reply(name, message.string()))
      },
    })
  const subscriptions = [
    answer(querySubjects.order('*'), (orderId) => {
      const order = matcher.order(orderNumberOf(orderId) ?? 0)
      return order ? encodeOrder(order) : 'null'
    }),
    answer(querySubjects.orders('*'), (account, after) => {
      const page: string[] = []
      for (const order of matcher.openOrdersOf(account)) {
        if (order.orderNumber <= Number(after)) continue
        if (page.length === pageMax) return `{"orders":[${page.join(',')}],"hasMore":true}`
        page.push(encodeOrder(order))
      }
      return `{"orders":[${page.join(',')}],"hasMore":false}`
    }),
    answer(querySubjects.book('*'), (symbol, depth) => encodeBook(matcher, symbol, depthOf(depth), cmdSeq())),
  ]
  return {
    stop: () => {
      for (const subscription of subscriptions) subscription.unsubscribe()
    },
  }
}

function encodeOrder(order: Order): string {
  const { tick, lot } = order.book.instrument
  let json = `{"orderId":"${orderIdOf(order.orderNumber)}"`
  if (order.clOrdId !== undefined) json += `,"clOrdId":${quote(order.clOrdId)}`
  json += `,"account":"${order.account}","symbol":"${order.symbol}","side":"${order.side}","quantity":${textFromUnits(order.quantityLots, lot)}`
  if (order.priceTicks !== undefined) json += `,"price":${textFromUnits(order.priceTicks, tick)}`
  json += `,"status":"${statusOf({ ordStatus: order.status })}","filledQuantity":${textFromUnits(order.cumLots, lot)}`
  if (order.cumLots > 0)
    json += `,"averagePrice":${averagePriceText(order.cumCost, order.cumLots, order.book.instrument)}`
  return `${json}}`
}

/** Anybody may ask: a reply above the server's max_payload would throw in the client's reader and end it. */
function depthOf(body: string): number {
  return /^\d{1,9}$/.test(body) ? Math.min(depthMax, Number(body)) : 0
}

/** The book a door answers with; `seq` is the `cmdSeq` of the last record of RISK that it reflects. */
function encodeBook(matcher: Matcher, symbol: string, depth: number, seq: number): string {
  const { bids, asks } = matcher.depth(symbol, depth)
  const instrument = matcher.instrument(symbol)
  const side = (levels: readonly DepthLevel[]) =>
    instrument
      ? levels
          .map(([ticks, lots]) => `[${textFromUnits(ticks, instrument.tick)},${textFromUnits(lots, instrument.lot)}]`)
          .join(',')
      : ''
  return `{"symbol":${quote(symbol)},"seq":${seq},"bids":[${side(bids)}],"asks":[${side(asks)}]}`
}
