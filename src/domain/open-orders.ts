import { assert } from '../base/assert.ts'
import type { Order } from './order-book.ts'

/** The open orders of one account, in the order of acceptance. */
class AccountOrders {
  oldest: Order | undefined = undefined
  newest: Order | undefined = undefined
}

/** All open orders, by number and by account. */
export class OpenOrders {
  readonly #byNumber = new Map<number, Order>()
  readonly #byAccount = new Map<string, AccountOrders>()

  get size(): number {
    return this.#byNumber.size
  }

  get(orderNumber: number): Order | undefined {
    return this.#byNumber.get(orderNumber)
  }

  values(): Iterable<Order> {
    return this.#byNumber.values()
  }

  *ofAccount(account: string): Generator<Order> {
    for (let order = this.#byAccount.get(account)?.oldest; order; order = order.newerOfAccount) yield order
  }

  /** @throws BugError when the number is that of an open order */
  add(order: Order): void {
    const { size } = this.#byNumber
    this.#byNumber.set(order.orderNumber, order)
    assert(this.#byNumber.size > size, 'an order number is used once')
    let own = this.#byAccount.get(order.account)
    if (!own) this.#byAccount.set(order.account, (own = new AccountOrders()))
    order.olderOfAccount = own.newest
    if (own.newest) own.newest.newerOfAccount = order
    else own.oldest = order
    own.newest = order
  }

  remove(order: Order): void {
    this.#byNumber.delete(order.orderNumber)
    const { olderOfAccount: older, newerOfAccount: newer } = order
    order.olderOfAccount = order.newerOfAccount = undefined
    if (older && newer) {
      older.newerOfAccount = newer
      newer.olderOfAccount = older
      return
    }
    const own = this.#byAccount.get(order.account) as AccountOrders
    if (older) older.newerOfAccount = undefined
    else own.oldest = newer
    if (newer) newer.olderOfAccount = undefined
    else own.newest = older
    if (!older && !newer) this.#byAccount.delete(order.account)
  }

  /** @throws BugError */
  checkInvariants(): void {
    let count = 0
    for (const [account, own] of this.#byAccount) {
      let older: Order | undefined
      for (const order of this.ofAccount(account)) {
        assert(order.account === account && order.olderOfAccount === older, 'orders of an account are linked both ways')
        assert(this.#byNumber.get(order.orderNumber) === order, 'an order of an account is known by its number')
        older = order
        count += 1
      }
      assert(older !== undefined && own.newest === older, 'an account is not empty and knows its newest order')
    }
    assert(count === this.#byNumber.size, 'every open order belongs to an account')
  }
}
