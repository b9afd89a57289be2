const compactMin = 1_024

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
    this.#taken += items.length
    if (this.#taken > compactMin && this.#taken * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#taken)
      this.#taken = 0
    }
    return items
  }
}
