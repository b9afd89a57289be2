import { assert } from '../base/assert.ts'
import { Account, type Order } from './order.ts'

const bucketsMin = 1_024

/**
 * All open orders, by number and by account.
 *
 * The table by number is our own and hashes to the low bits: numbers ascend, so what is recent lies together in memory
 * however many orders are open (a Map scatters).
 */
export class OpenOrders {
  #size = 0
  /** The first order of each bucket; 2^n buckets, at least as many as orders. */
  #buckets = new Array<Order | undefined>(bucketsMin).fill(undefined)
  readonly #accounts = new Map<string, Account>()

  get size(): number {
    return this.#size
  }

  get(orderNumber: number): Order | undefined {
    let order = this.#buckets[orderNumber & (this.#buckets.length - 1)]
    while (order !== undefined && order.orderNumber !== orderNumber) order = order.nextInBucket
    return order
  }

  /** All, in no particular order. */
  *[Symbol.iterator](): Generator<Order> {
    for (const first of this.#buckets) for (let order = first; order; order = order.nextInBucket) yield order
  }

  *ofAccount(name: string): Generator<Order> {
    for (let order = this.#accounts.get(name)?.oldest; order; order = order.newerOfAccount) yield order
  }

  /** Made when it is first asked for, and kept. */
  account(name: string): Account {
    let account = this.#accounts.get(name)
    if (!account) this.#accounts.set(name, (account = new Account(name)))
    return account
  }

  /** The number must not be that of an open order: not checked here, as it would fetch cold memory for every order. */
  add(order: Order): void {
    this.#size += 1
    if (this.#size > this.#buckets.length) this.#grow()
    this.#insert(order)
    const { account: own } = order.holding
    order.olderOfAccount = own.newest
    if (own.newest) own.newest.newerOfAccount = order
    else own.oldest = order
    own.newest = order
  }

  remove(order: Order): void {
    this.#size -= 1
    const bucket = order.orderNumber & (this.#buckets.length - 1)
    const first = this.#buckets[bucket] as Order
    if (first === order) this.#buckets[bucket] = order.nextInBucket
    else {
      let previous = first
      while (previous.nextInBucket !== order) previous = previous.nextInBucket as Order
      previous.nextInBucket = order.nextInBucket
    }
    order.nextInBucket = undefined
    const { olderOfAccount: older, newerOfAccount: newer } = order
    order.olderOfAccount = order.newerOfAccount = undefined
    const { account: own } = order.holding
    if (older) older.newerOfAccount = newer
    else own.oldest = newer
    if (newer) newer.olderOfAccount = older
    else own.newest = older
  }

  #insert(order: Order): void {
    const bucket = order.orderNumber & (this.#buckets.length - 1)
    order.nextInBucket = this.#buckets[bucket]
    this.#buckets[bucket] = order
  }

  #grow(): void {
    const orders = [...this]
    this.#buckets = new Array<Order | undefined>(2 * this.#buckets.length).fill(undefined)
    for (const order of orders) this.#insert(order)
  }

  /** @throws BugError */
  checkInvariants(): void {
    let count = 0
    for (const [name, own] of this.#accounts) {
      let older: Order | undefined
      for (const order of this.ofAccount(name)) {
        assert(
          order.holding.account === own && order.olderOfAccount === older,
          'orders of an account are linked both ways',
        )
        assert(this.get(order.orderNumber) === order, 'an order of an account is known by its number')
        older = order
        count += 1
      }
      assert(own.name === name && own.newest === older, 'an account knows its newest order')
    }
    assert(count === this.#size && count === Array.from(this).length, 'every open order belongs to an account')
  }
}
