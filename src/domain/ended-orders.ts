import type { Hash } from 'node:crypto'
import type { OrdStatus } from '../schemas/enums.ts'

const endings = ['Filled', 'Canceled', 'Expired'] as const satisfies readonly OrdStatus[]
export type Ending = (typeof endings)[number]

const slots = 2 ** 17

export interface EndedOrdersState {
  readonly orderNumbers: Float64Array
  readonly endings: Uint8Array
}

/** How the last orders ended: a bounded memory in which an order number gives way to one 2^17 later. */
export class EndedOrders {
  readonly #orderNumbers = new Float64Array(slots)
  readonly #endings = new Uint8Array(slots)

  remember(orderNumber: number, ending: Ending): void {
    const slot = orderNumber & (slots - 1)
    this.#orderNumbers[slot] = orderNumber
    this.#endings[slot] = ending === 'Filled' ? 0 : ending === 'Canceled' ? 1 : 2
  }

  /** @returns undefined when the order is not, or no longer, remembered */
  endingOf(orderNumber: number): Ending | undefined {
    const slot = orderNumber & (slots - 1)
    return this.#orderNumbers[slot] === orderNumber ? endings[this.#endings[slot] as number] : undefined
  }

  /** The state itself, not a copy. */
  save(): EndedOrdersState {
    return { orderNumbers: this.#orderNumbers, endings: this.#endings }
  }

  load({ orderNumbers, endings }: EndedOrdersState): void {
    this.#orderNumbers.set(orderNumbers)
    this.#endings.set(endings)
  }

  addTo(hash: Hash): void {
    hash.update(this.#orderNumbers).update(this.#endings)
  }
}
