import { assert } from '../base/assert.ts'
import { columnsOf, viewsOf, type OrderViewsState } from './order-views-state.ts'
import type { ExecutionMessage, ExecutionReport } from '../schemas/execution.ts'

/** Status of an order as the HTTP door names it. */
export type OrderViewStatus =
  'PENDING_NEW' | 'NEW' | 'PARTIALLY_FILLED' | 'FILLED' | 'CANCELLED' | 'REJECTED' | 'RISK_REJECTED' | 'EXPIRED'

/** What is known of an order from its reports. Numbers are the tokens of the reports. */
export interface OrderView {
  readonly orderId: string
  readonly clOrdId?: string
  readonly account?: string
  readonly symbol?: string
  readonly side?: string
  readonly quantity?: number | string
  readonly price?: number | string
  readonly status: OrderViewStatus
  readonly filledQuantity: number | string
  readonly averagePrice?: number | string
  readonly errorMessage?: string
  /** The first order of this clOrdId, when this one was refused as its duplicate. */
  readonly refOrderId?: string
  /** EXECUTIONS sequence of the last report folded in. */
  readonly asOf: number
}

/** The state of an order by itself. */
export type OrderState = Omit<OrderView, 'asOf'>

/** Open orders of an account, in the order of acceptance, as the matcher answers `query.orders.<account>`. */
export interface OrdersPage {
  readonly orders: readonly OrderState[]
  /** There are more, with higher numbers. */
  readonly hasMore: boolean
}

export function isOpen(view: OrderState): boolean {
  return view.status === 'NEW' || view.status === 'PARTIALLY_FILLED' || view.status === 'PENDING_NEW'
}

/**
 * Folds EXECUTIONS into the latest state of orders: all open ones, and of those that have ended the last
 * `endedMax`.
 */
export class OrderViews {
  readonly #endedMax: number
  readonly #open = new Map<string, OrderView>()
  readonly #ended = new Map<string, OrderView>()
  readonly #openByAccount = new Map<string, Set<string>>()

  constructor(endedMax: number) {
    this.#endedMax = endedMax
  }

  /** @returns the orders that changed, in the order of their reports, each once */
  apply(sequence: number, message: ExecutionMessage): OrderView[] {
    const [only] = message.reports
    if (message.reports.length === 1 && only) {
      const view = this.#fold(sequence, only)
      return view ? [view] : []
    }
    const changed = new Map<string, OrderView>()
    for (const report of message.reports) {
      const view = this.#fold(sequence, report)
      if (view) changed.set(view.orderId, view)
    }
    return [...changed.values()]
  }

  get(orderId: string): OrderView | undefined {
    return this.#open.get(orderId) ?? this.#ended.get(orderId)
  }

  openOf(account: string): OrderView[] {
    return [...(this.#openByAccount.get(account) ?? [])].map((orderId) => {
      const view = this.#open.get(orderId)
      assert(view, `open order ${orderId} is missing`)
      return view
    })
  }

  /** Ended orders of an account that are still remembered; walks all of them. */
  endedOf(account: string): OrderView[] {
    return [...this.#ended.values()].filter((view) => view.account === account)
  }

  /** All open orders. */
  open(): IterableIterator<OrderView> {
    return this.#open.values()
  }

  /** Ended orders that are still remembered, the oldest first. */
  ended(): IterableIterator<OrderView> {
    return this.#ended.values()
  }

  get openCount(): number {
    return this.#open.size
  }

  save(): OrderViewsState {
    return { open: columnsOf([...this.#open.values()]), ended: columnsOf([...this.#ended.values()]) }
  }

  /** Goes on from a saved state; only before anything else. */
  load({ open, ended }: OrderViewsState): void {
    assert(this.#open.size === 0 && this.#ended.size === 0, 'a state is loaded once, at the start')
    for (const view of viewsOf(open)) this.#addOpen(view)
    for (const view of viewsOf(ended)) this.#ended.set(view.orderId, view)
  }

  #addOpen(view: OrderView): void {
    this.#open.set(view.orderId, view)
    if (view.account === undefined) return
    const own = this.#openByAccount.get(view.account)
    if (own) own.add(view.orderId)
    else this.#openByAccount.set(view.account, new Set([view.orderId]))
  }

  #fold(sequence: number, report: ExecutionReport): OrderView | undefined {
    const { orderId, execType } = report
    // A refused cancel or replace leaves its target as it is.
    if (execType === 'CancelRejected' || execType === 'ReplaceRejected') return undefined
    const view = viewOf(sequence, report)
    if (isOpen(view)) {
      this.#addOpen(view)
      return view
    }
    this.#open.delete(orderId)
    if (view.account !== undefined) {
      const own = this.#openByAccount.get(view.account)
      if (own?.delete(orderId) && own.size === 0) this.#openByAccount.delete(view.account)
    }
    this.#ended.set(orderId, view)
    if (this.#ended.size > this.#endedMax) {
      const oldest = this.#ended.keys().next()
      if (!oldest.done) this.#ended.delete(oldest.value)
    }
    return view
  }
}

/** What a report says of its order: every one carries the complete state, so that one is enough. */
export function viewOf(sequence: number, report: ExecutionReport): OrderView {
  const { orderId, clOrdId, account, symbol, side, orderQty, price, avgPx, refOrderId } = report
  const view: { -readonly [K in keyof OrderView]: OrderView[K] } = {
    orderId,
    status: statusOf(report),
    filledQuantity: report.cumQty ?? 0,
    asOf: sequence,
  }
  if (clOrdId !== undefined) view.clOrdId = clOrdId
  if (account !== undefined) view.account = account
  if (symbol !== undefined) view.symbol = symbol
  if (side !== undefined) view.side = side
  if (orderQty !== undefined) view.quantity = orderQty
  if (price !== undefined) view.price = price
  if (avgPx !== undefined) view.averagePrice = avgPx
  if (report.ordRejReason !== undefined) view.errorMessage = errorMessageOf(report)
  if (refOrderId !== undefined) view.refOrderId = refOrderId
  return view
}

/** Why a command was refused, in words: the reason, then its text, which may begin with the reason itself. */
export function errorMessageOf({ ordRejReason: reason, text }: ExecutionReport): string {
  if (reason === undefined || text === undefined) return text ?? reason ?? ''
  return text.startsWith(reason) ? text : `${reason}: ${text}`
}

export function statusOf({
  ordStatus,
  ordRejReason,
}: Pick<ExecutionReport, 'ordStatus' | 'ordRejReason'>): OrderViewStatus {
  switch (ordStatus) {
    case 'New':
      return 'NEW'
    case 'PartiallyFilled':
      return 'PARTIALLY_FILLED'
    case 'Filled':
      return 'FILLED'
    case 'Canceled':
      return 'CANCELLED'
    case 'Expired':
      return 'EXPIRED'
    case 'Rejected':
      return ordRejReason?.startsWith('RISK_') ? 'RISK_REJECTED' : 'REJECTED'
  }
}
