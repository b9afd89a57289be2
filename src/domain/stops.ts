import { assert } from '../base/assert.ts'
import type { Side } from '../schemas/enums.ts'
import type { Order } from './order.ts'
import { PriceLevels } from './price-levels.ts'
import { TrailingStops } from './trailing-stops.ts'

/** Whether a trade at `ticks` triggers a stop (contract 3a). */
export function isThrough(side: Side, stopTicks: number, ticks: number | undefined): boolean {
  return ticks !== undefined && (side === 'BUY' ? ticks >= stopTicks : ticks <= stopTicks)
}

/**
 * The stops of one symbol that wait for their trigger. A trade that triggers none costs a comparison with the nearest
 * of each kind and side.
 */
export class Stops {
  /** Ordered so that the best level triggers first: sell stops the highest, buy stops the lowest. */
  readonly #sells = new PriceLevels(1)
  readonly #buys = new PriceLevels(-1)
  readonly #trailingSells = new TrailingStops(1)
  readonly #trailingBuys = new TrailingStops(-1)
  #triggered: Order[] = []

  /** Waits from now on. */
  add(order: Order): void {
    const { stopTicks } = order
    assert(stopTicks !== undefined, 'a stop has a stop price')
    if (order.ordType === 'TRAILING_STOP') this.#trailing(order.side).add(order)
    else this.#fixed(order.side).at(stopTicks).append(order)
  }

  /** Waits no more. */
  remove(order: Order): void {
    if (order.ordType === 'TRAILING_STOP') this.#trailing(order.side).remove(order)
    else order.level?.remove(order)
  }

  /** A trade at another price than the one before: moves the trailing stops and notes what it triggers. */
  onTrade(ticks: number): void {
    for (const levels of [this.#sells, this.#buys]) {
      while (levels.best && levels.meets(ticks)) {
        for (const order of [...levels.best.orders()]) {
          order.level?.remove(order)
          this.#triggered.push(order)
        }
      }
    }
    this.#trailingSells.follow(ticks, this.#triggered)
    this.#trailingBuys.follow(ticks, this.#triggered)
  }

  /** The stops triggered since it was last asked, by number. */
  takeTriggered(): Order[] {
    if (this.#triggered.length === 0) return this.#triggered
    const triggered = this.#triggered.sort((a, b) => a.orderNumber - b.orderNumber)
    this.#triggered = []
    return triggered
  }

  /** All that wait, by number. */
  orders(): Order[] {
    const waiting = [this.#sells, this.#buys, this.#trailingSells, this.#trailingBuys].flatMap((stops) => [
      ...stops.orders(),
    ])
    return waiting.sort((a, b) => a.orderNumber - b.orderNumber)
  }

  #fixed(side: Side): PriceLevels {
    return side === 'BUY' ? this.#buys : this.#sells
  }

  #trailing(side: Side): TrailingStops {
    return side === 'BUY' ? this.#trailingBuys : this.#trailingSells
  }

  /** @throws BugError */
  checkInvariants(lastTradeTicks: number | undefined): void {
    assert(this.#triggered.length === 0, 'what was triggered has traded')
    this.#sells.checkInvariants((order) => order.stopTicks)
    this.#buys.checkInvariants((order) => order.stopTicks)
    this.#trailingSells.checkInvariants()
    this.#trailingBuys.checkInvariants()
    for (const { side, stopTicks, waits, leavesLots, quantityLots } of this.orders()) {
      assert(waits && leavesLots === quantityLots, 'a stop waits with its whole quantity')
      assert(stopTicks !== undefined && !isThrough(side, stopTicks, lastTradeTicks), 'a stop that is through trades')
    }
  }
}
