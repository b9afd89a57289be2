import { messageOf } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { isOpen, OrderViews, type OrdersPage, type OrderState } from '../domain/order-views.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Nats } from '../runtime/nats.ts'
import { storedMessage } from '../runtime/position.ts'
import { query } from '../runtime/query.ts'
import { readLatest, readSince } from '../runtime/reader.ts'
import { type Command, decodeCommand, echoOfCommand } from '../schemas/command.ts'
import { decodeExecution, orderIdOf, orderNumberOf } from '../schemas/execution.ts'
import type { CommandEcho } from '../schemas/risk.ts'
import { executionsSubject, parseOrdersSubject, positionSubject, querySubjects } from '../subjects/names.ts'
import type { ExecutionFeed } from './execution-feed.ts'
import { DoorError } from './gateway-answers.ts'

/** How long a door that lags may take to catch up before others are asked. */
const catchUpMs = 1_000
/** Bounds of one search in EXECUTIONS, and how many go on at once. */
const searchMs = 2_000
const searchesMax = 4
/** Clocks of servers may differ by this much. */
const clockSlackUs = 1_000_000

/** Finds what the feed does not know: orders not answered yet or out of its memory, books, positions. */
export class Lookup {
  readonly #nats: Nats
  readonly #feed: ExecutionFeed
  #searches = 0

  constructor(nats: Nats, feed: ExecutionFeed) {
    this.#nats = nats
    this.#feed = feed
  }

  /**
   * The state of an order: of an acknowledged one always, be it not answered yet.
   * @returns undefined when there is no such order, or its command has been trimmed away and it is not open
   * @throws DoorError SYSTEM_UNAVAILABLE
   */
  async find(orderId: string): Promise<OrderState | undefined> {
    const orderNumber = orderNumberOf(orderId)
    if (orderNumber === undefined) return undefined
    const { views } = this.#feed
    const known = views.get(orderId)
    if (known && (!isOpen(known) || !this.#nats.isConnected())) return known
    this.#needNats()
    if (known) {
      // Another door may have answered a change of it just now.
      await this.#feed.caughtUp(catchUpMs).catch(messageOf)
      return views.get(orderId) ?? known
    }
    const command = await storedMessage(this.#nats.jsm, 'ORDERS', { seq: orderNumber })
    if (command ? parseOrdersSubject(command.subject).kind !== 'new' : await this.#isBeyondOrders(orderNumber))
      return undefined
    const isCurrent = await this.#feed.caughtUp(catchUpMs)
    const arrived = views.get(orderId)
    if (arrived) return arrived
    // Nobody has answered it, or this door lags too much to know.
    const isUnanswered = orderNumber > this.#feed.lastSrcSeq
    if (command && isUnanswered && isCurrent) return stateOfStored(orderNumber, command)
    const reply = await query(this.#nats, querySubjects.order(orderId))
    const open = reply && (parseOwnJson(textFromUtf8(reply)) as OrderState | null)
    if (open) return open
    if (!command) return undefined
    return isUnanswered ? stateOfStored(orderNumber, command) : this.#search(orderId, orderNumber, command)
  }

  /** Open orders of an account, in the order of acceptance. @throws DoorError SYSTEM_UNAVAILABLE */
  async openOf(account: string): Promise<readonly OrderState[]> {
    this.#needNats()
    const isCurrent = await this.#feed.caughtUp(catchUpMs)
    if (isCurrent && this.#feed.isComplete) return this.#feed.views.openOf(account)
    const orders: OrderState[] = []
    for (;;) {
      const last = orders.at(-1)?.orderId.slice(2) ?? ''
      const reply = await query(this.#nats, querySubjects.orders(account), last)
      if (!reply) throw new DoorError('SYSTEM_UNAVAILABLE', 'no active oms-matcher answers for its open orders')
      const page = parseOwnJson(textFromUtf8(reply)) as OrdersPage
      orders.push(...page.orders)
      if (!page.hasMore) return orders
    }
  }

  /** The JSON of a book, as the matcher has it. @throws DoorError SYSTEM_UNAVAILABLE */
  async book(symbol: string, depth: number): Promise<string> {
    this.#needNats()
    const reply = await query(this.#nats, querySubjects.book(symbol), String(depth))
    if (!reply) throw new DoorError('SYSTEM_UNAVAILABLE', 'no active oms-matcher answers for its books')
    return textFromUtf8(reply)
  }

  /** The JSON of an account's latest positions, and of its sums. @throws DoorError SYSTEM_UNAVAILABLE */
  async positions(account: string): Promise<{ positions: string[]; aggregate: string | null }> {
    this.#needNats()
    const positions = await readLatest(this.#nats, 'POSITIONS', positionSubject(account, '*'))
    const sums = await storedMessage(this.#nats.jsm, 'POSITIONS', { last_by_subj: positionSubject(account) })
    return {
      positions: Array.from(positions.values(), ({ data }) => textFromUtf8(data)),
      aggregate: sums ? textFromUtf8(sums.data) : null,
    }
  }

  async #isBeyondOrders(orderNumber: number): Promise<boolean> {
    return orderNumber > (await this.#nats.jsm.streams.info('ORDERS')).state.last_seq
  }

  /** An order that ended before this door's memory: reads EXECUTIONS from its command on until it has ended. */
  async #search(orderId: string, orderNumber: number, command: StoredCommand): Promise<OrderState | undefined> {
    if (this.#searches >= searchesMax)
      throw new DoorError('OVERLOADED', 'too many orders are being looked for that ended long ago')
    this.#searches += 1
    try {
      const deadlineMs = Date.now() + searchMs
      const views = new OrderViews(1)
      const { symbol } = stateOfStored(orderNumber, command)
      const sinceUs = Math.max(0, command.time.getTime() * 1_000 - clockSlackUs)
      // Its own reports are under its symbol, except for the end by a mass cancel that names no symbol.
      for (const subject of [executionsSubject(symbol, false), executionsSubject(undefined, true)])
        for await (const message of readSince(this.#nats, 'EXECUTIONS', subject, sinceUs)) {
          const { sequence } = message
          const execution = decodeMessage('EXECUTIONS', message, decodeExecution)
          const reports = execution.reports.filter((report) => report.orderId === orderId)
          const [view] = views.apply(sequence, { ...execution, reports })
          if (view && !isOpen(view)) return view
          if (Date.now() > deadlineMs)
            throw new DoorError(
              'SYSTEM_UNAVAILABLE',
              `${orderId} ended too long ago to be found in time; see EXECUTIONS`,
            )
        }
      return views.get(orderId)
    } finally {
      this.#searches -= 1
    }
  }

  #needNats(): void {
    if (!this.#nats.isConnected()) throw new DoorError('SYSTEM_UNAVAILABLE', 'NATS is disconnected')
  }
}

interface StoredCommand {
  readonly data: Uint8Array
  readonly subject: string
  readonly time: Date
}

/** An order that has a command and no report, as far as the command is readable. */
function stateOfStored(orderNumber: number, { data, subject }: StoredCommand): OrderState {
  const decoded = decodeCommand('new', data, parseOrdersSubject(subject).account)
  if (decoded.outcome === 'command') return pendingState(orderIdOf(orderNumber), decoded.command)
  return pendingState(orderIdOf(orderNumber), decoded.outcome === 'invalid' ? decoded.echo : {})
}

/** An order that waits for its first report, in the words of its command. */
export function pendingState(orderId: string, command: CommandEcho | Command): OrderState {
  const terms: CommandEcho = 'kind' in command ? echoOfCommand(command) : command
  const { account, symbol, side, quantity, price } = terms
  return {
    orderId,
    ...(account === undefined ? {} : { account }),
    ...(symbol === undefined ? {} : { symbol }),
    ...(side === undefined ? {} : { side }),
    ...(quantity === undefined ? {} : { quantity }),
    ...(price === undefined ? {} : { price }),
    status: 'PENDING_NEW',
    filledQuantity: 0,
  }
}
