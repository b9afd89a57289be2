interface Expiry {
  readonly timeUs: number
  readonly orderNumber: number
}

const sizeMin = 1_024

function isBefore(a: Expiry, b: Expiry): boolean {
  return a.timeUs < b.timeUs || (a.timeUs === b.timeUs && a.orderNumber < b.orderNumber)
}

/**
 * When orders expire: a heap by (time, order number). An order that ends or gets another time leaves its old entry
 * behind, which is recognised as stale when it comes up; the heap is rebuilt when most of it may be stale.
 */
export class Expiries {
  readonly #heap: Expiry[] = []
  readonly #dueUsOf: (orderNumber: number) => number | undefined
  #sizeMax = sizeMin

  /** @param dueUsOf when the order expires now; undefined when it does not or has ended */
  constructor(dueUsOf: (orderNumber: number) => number | undefined) {
    this.#dueUsOf = dueUsOf
  }

  /** Entries kept, stale ones included. */
  get size(): number {
    return this.#heap.length
  }

  add(timeUs: number, orderNumber: number): void {
    if (this.#heap.length >= this.#sizeMax) this.#rebuild()
    this.#push({ timeUs, orderNumber })
  }

  /** The next to expire. */
  peek(): Expiry | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (!first || this.#dueUsOf(first.orderNumber) === first.timeUs) return first
      this.#removeFirst()
    }
  }

  #rebuild(): void {
    const entries = this.#heap.splice(0)
    for (const entry of entries) if (this.#dueUsOf(entry.orderNumber) === entry.timeUs) this.#push(entry)
    this.#sizeMax = Math.max(sizeMin, 2 * this.#heap.length)
  }

  #push(entry: Expiry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = heap[parentAt]
      if (!parent || isBefore(parent, entry)) break
      heap[at] = parent
      at = parentAt
    }
    heap[at] = entry
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (;;) {
      let childAt = 2 * at + 1
      const left = heap[childAt]
      const right = heap[childAt + 1]
      if (!left) break
      if (right && isBefore(right, left)) childAt += 1
      const child = right && isBefore(right, left) ? right : left
      if (isBefore(last, child)) break
      heap[at] = child
      at = childAt
    }
    heap[at] = last
  }
}
