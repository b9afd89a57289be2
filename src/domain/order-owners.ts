import { assert } from '../base/assert.ts'
import { textColumn, textsOf, type TextColumn } from './columns.ts'

const capacityMin = 1_024

/** Oldest first. */
export interface OrderOwnersState {
  readonly orderNumbers: Float64Array
  readonly accounts: TextColumn
}

/** Remembers whose the last orders were. Order numbers grow, so a ring in their order is found in by halving. */
export class OrderOwners {
  readonly #capacityMax: number
  #orderNumbers = new Float64Array(capacityMin)
  #accounts = new Uint32Array(capacityMin)
  /** Ring position of the oldest order, and how many there are. */
  #start = 0
  #size = 0
  readonly #accountNames: string[] = []
  readonly #accountIndexes = new Map<string, number>()

  constructor(capacityMax = 2_000_000) {
    this.#capacityMax = capacityMax
  }

  add(orderNumber: number, account: string): void {
    assert(
      this.#size === 0 || orderNumber > this.#numberAt(this.#size - 1),
      `order numbers must grow: ${orderNumber} came late`,
    )
    if (this.#size === this.#orderNumbers.length && this.#size < this.#capacityMax) this.#grow()
    if (this.#size === this.#orderNumbers.length) {
      this.#start = (this.#start + 1) % this.#orderNumbers.length
      this.#size -= 1
    }
    const position = (this.#start + this.#size) % this.#orderNumbers.length
    this.#orderNumbers[position] = orderNumber
    this.#accounts[position] = this.#indexOf(account)
    this.#size += 1
  }

  find(orderNumber: number): string | undefined {
    let low = 0
    let high = this.#size - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const number = this.#numberAt(middle)
      if (number === orderNumber)
        return this.#accountNames[this.#accounts[(this.#start + middle) % this.#accounts.length] ?? 0]
      if (number < orderNumber) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  /** Orders known, oldest first, for the state hash. */
  *entries(): Generator<string> {
    for (let index = 0; index < this.#size; index += 1) {
      const orderNumber = this.#numberAt(index)
      yield `${orderNumber} ${this.find(orderNumber) ?? ''}`
    }
  }

  save(): OrderOwnersState {
    const ring = Array.from({ length: this.#size }, (_, index) => (this.#start + index) % this.#orderNumbers.length)
    return {
      orderNumbers: Float64Array.from(ring, (at) => this.#orderNumbers[at] ?? 0),
      accounts: textColumn(ring.map((at) => this.#accountNames[this.#accounts[at] ?? 0])),
    }
  }

  load({ orderNumbers, accounts }: OrderOwnersState): void {
    assert(this.#size === 0, 'a state is loaded once, at the start')
    textsOf(accounts).forEach((account, index) => this.add(orderNumbers[index] ?? 0, account ?? ''))
  }

  #numberAt(index: number): number {
    return this.#orderNumbers[(this.#start + index) % this.#orderNumbers.length] ?? 0
  }

  #indexOf(account: string): number {
    let index = this.#accountIndexes.get(account)
    if (index === undefined) {
      index = this.#accountNames.push(account) - 1
      this.#accountIndexes.set(account, index)
    }
    return index
  }

  /** Only ever full at the start of the ring: it has not turned round yet. */
  #grow(): void {
    const capacity = Math.min(this.#size * 2, this.#capacityMax)
    const orderNumbers = new Float64Array(capacity)
    const accounts = new Uint32Array(capacity)
    orderNumbers.set(this.#orderNumbers)
    accounts.set(this.#accounts)
    this.#orderNumbers = orderNumbers
    this.#accounts = accounts
  }
}
