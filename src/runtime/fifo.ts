import { assert } from '../base/assert.ts'

/** Taken items are let go of together: once there are more of them than this, and than there are waiting. */
const takenMax = 32

/** A queue: to take its first item costs the same however long it is, which `Array.shift` does not. */
export class Fifo<T> {
  #items: T[] = []
  #taken = 0

  get length(): number {
    return this.#items.length - this.#taken
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** @param index from 0, the first; negative from the last on */
  at(index: number): T | undefined {
    if (index < -this.length) return undefined
    return index < 0 ? this.#items.at(index) : this.#items[this.#taken + index]
  }

  /** Removes the first `count` items, or as many as there are. */
  take(count: number): T[] {
    const items = this.#items.slice(this.#taken, this.#taken + count)
    this.#forget(items.length)
    return items
  }

  /** Removes the first item; there must be one. */
  shift(): T {
    const item = this.#items[this.#taken]
    assert(item !== undefined, 'the queue is empty')
    this.#forget(1)
    return item
  }

  #forget(count: number): void {
    this.#taken += count
    if (this.#taken <= takenMax || this.#taken * 2 <= this.#items.length) return
    this.#items = this.#items.slice(this.#taken)
    this.#taken = 0
  }
}
