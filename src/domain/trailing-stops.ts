import { assert } from '../base/assert.ts'
import type { Order } from './order.ts'
import { trailingStopTicksOf } from './order-terms.ts'
import { PriceLevels } from './price-levels.ts'

/** Trailing stops of one side that follow the same best price; by offset, as the nearest triggers first. */
export class Trail extends PriceLevels {
  /** The best price since they began. */
  markTicks: number
  count = 0

  constructor(markTicks: number) {
    super(-1)
    this.markTicks = markTicks
  }

  stopTicksOf(order: Order): number {
    return trailingStopTicksOf(order.side === 'BUY', this.markTicks, order.instructions?.trailingTicks ?? 0)
  }

  put(order: Order): void {
    const { instructions } = order
    assert(instructions?.trailingTicks !== undefined, 'a TRAILING_STOP has an offset')
    this.at(instructions.trailingTicks).append(order)
    instructions.trail = this
    this.count += 1
  }

  /** The order keeps the stop price that it has come to. */
  take(order: Order): void {
    const { instructions } = order
    assert(instructions?.trail === this, 'an order knows its trail')
    instructions.stopTicks = this.stopTicksOf(order)
    instructions.trail = undefined
    order.level?.remove(order)
    this.count -= 1
  }
}

/**
 * The waiting trailing stops of one side of a symbol.
 *
 * A price better than a trail's moves all its stops by one assignment; trails that a price has overtaken are one from
 * then on, the smaller moving into the larger.
 */
export class TrailingStops {
  /** 1 for sell stops, which follow rising prices; −1 for buy stops. */
  readonly #direction: 1 | -1
  /** By mark, the nearest to the market last; none is empty. */
  readonly #trails: Trail[] = []
  /** Rank (direction × price) of the stop that triggers first; undefined when it has to be looked for. */
  #nearestRank: number | undefined = -Infinity

  constructor(direction: 1 | -1) {
    this.#direction = direction
  }

  /** Starts an order whose stop price now is `instructions.stopTicks`. */
  add(order: Order): void {
    const { stopTicks, trailingTicks } = order.instructions ?? {}
    assert(stopTicks !== undefined && trailingTicks !== undefined, 'a TRAILING_STOP has a stop price and an offset')
    const markTicks = stopTicks + this.#direction * trailingTicks
    let at = this.#trails.length
    while (at > 0 && this.#rank((this.#trails[at - 1] as Trail).markTicks) < this.#rank(markTicks)) at -= 1
    let trail = this.#trails[at - 1]
    if (trail?.markTicks !== markTicks) this.#trails.splice(at, 0, (trail = new Trail(markTicks)))
    trail.put(order)
    this.#sawRank(trail)
  }

  remove(order: Order): void {
    const trail = order.instructions?.trail
    assert(trail, 'a waiting TRAILING_STOP has a trail')
    trail.take(order)
    if (trail.count === 0) this.#trails.splice(this.#trails.indexOf(trail), 1)
    this.#nearestRank = undefined
  }

  /** A trade: moves the stops, then takes those out that it triggers. */
  follow(ticks: number, triggered: Order[]): void {
    this.#moveTo(ticks)
    const rank = this.#rank(ticks)
    if (this.#nearest() < rank) return
    for (const trail of this.#trails) {
      while (trail.best && this.#stopRank(trail) >= rank) {
        for (const order of [...trail.best.orders()]) {
          trail.take(order)
          triggered.push(order)
        }
      }
    }
    this.#trails.splice(0, Infinity, ...this.#trails.filter(({ count }) => count > 0))
    this.#nearestRank = undefined
  }

  *orders(): Generator<Order> {
    for (const trail of this.#trails) yield* trail.orders()
  }

  #moveTo(ticks: number): void {
    const trails = this.#trails
    const rank = this.#rank(ticks)
    let last = trails.at(-1)
    if (!last || rank <= this.#rank(last.markTicks)) return
    last.markTicks = ticks
    for (let next = trails.at(-2); next && this.#rank(next.markTicks) <= rank; next = trails.at(-2)) {
      trails.length -= 2
      trails.push((last = merged(last, next)))
    }
    this.#sawRank(last)
  }

  #rank(ticks: number): number {
    return this.#direction * ticks
  }

  #stopRank(trail: Trail): number {
    const nearest = trail.best?.head
    return nearest ? this.#rank(trail.stopTicksOf(nearest)) : -Infinity
  }

  #sawRank(trail: Trail): void {
    if (this.#nearestRank !== undefined) this.#nearestRank = Math.max(this.#nearestRank, this.#stopRank(trail))
  }

  #nearest(): number {
    if (this.#nearestRank === undefined) {
      this.#nearestRank = -Infinity
      for (const trail of this.#trails) this.#sawRank(trail)
    }
    return this.#nearestRank
  }

  /** @throws BugError */
  checkInvariants(): void {
    let outer: Trail | undefined
    let nearest = -Infinity
    for (const trail of this.#trails) {
      trail.checkInvariants((order) => order.instructions?.trailingTicks)
      let count = 0
      for (const order of trail.orders()) if (order.instructions?.trail === trail) count += 1
      assert(count > 0 && count === trail.count, 'a trail is not empty, and known to its orders')
      assert(!outer || this.#rank(trail.markTicks) < this.#rank(outer.markTicks), 'trails are sorted by their mark')
      nearest = Math.max(nearest, this.#stopRank(trail))
      outer = trail
    }
    assert(this.#nearestRank === undefined || this.#nearestRank === nearest, 'the nearest stop is known')
  }
}

/** One trail of both, at the mark of the first. */
function merged(first: Trail, second: Trail): Trail {
  const [into, from] = first.count > second.count ? [first, second] : [second, first]
  into.markTicks = first.markTicks
  for (const order of [...from.orders()]) {
    from.take(order)
    into.put(order)
  }
  return into
}
