import type { NewRecord } from '../schemas/risk.ts'
import { Order, type Holding } from './order.ts'
import type { OrderBook } from './order-book.ts'

/** Ended orders that are kept; what else ends is left to the garbage collector. */
const spareMax = 4_096

/** Makes orders out of ended ones: those are still in the processor's caches, where new memory never is. */
export class OrderPool {
  readonly #spare: Order[] = []
  /** By the current record, whose reports refer to them. */
  readonly #justEnded: Order[] = []

  make(record: NewRecord, book: OrderBook, holding: Holding): Order {
    const order = this.#spare.pop() ?? new Order()
    order.begin(record, book, holding)
    return order
  }

  /** The order is in no list any more. It stays as it is until `nextRecord`. */
  giveBack(order: Order): void {
    this.#justEnded.push(order)
  }

  nextRecord(): void {
    const justEnded = this.#justEnded
    while (justEnded.length > 0) {
      const order = justEnded.pop() as Order
      if (this.#spare.length < spareMax) this.#spare.push(order)
    }
  }
}
