import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import type { Order } from './order-book.ts'

/** The orders that rest at one price, oldest first. */
export class PriceLevel {
  readonly ticks: number
  /** The larger the better, on either side of the book. */
  readonly rank: number
  readonly levels: PriceLevels
  /** Σ leavesLots; many orders of 9e15 lots are more than a double counts exactly. */
  lots: Exact = 0
  head: Order | undefined = undefined
  tail: Order | undefined = undefined

  constructor(ticks: number, rank: number, levels: PriceLevels) {
    this.ticks = ticks
    this.rank = rank
    this.levels = levels
  }

  *orders(): Generator<Order> {
    for (let order = this.head; order; order = order.after) yield order
  }

  append(order: Order): void {
    order.level = this
    order.before = this.tail
    order.after = undefined
    if (this.tail) this.tail.after = order
    else this.head = order
    this.tail = order
    this.lots = plus(this.lots, order.leavesLots)
  }

  /** Takes an order out with what it still shows; the last one takes the level with it. */
  remove(order: Order): void {
    const { before, after } = order
    if (before) before.after = after
    else this.head = after
    if (after) after.before = before
    else this.tail = before
    order.level = order.before = order.after = undefined
    if (this.head) this.lots = plus(this.lots, -order.leavesLots)
    else this.levels.remove(this)
  }

  /** Takes lots off one of its orders, which keeps its place. */
  reduce(order: Order, lots: number): void {
    order.leavesLots -= lots
    this.lots = plus(this.lots, -lots)
  }
}

function plus(sum: Exact, lots: number): Exact {
  if (typeof sum === 'number') {
    const total = sum + lots
    if (total <= Number.MAX_SAFE_INTEGER) return total
  }
  const total = BigInt(sum) + BigInt(lots)
  return total <= Number.MAX_SAFE_INTEGER ? Number(total) : total
}

/** Levels in a chunk: moving at most so many references keeps an insertion cheap however many levels there are. */
const chunkMax = 128

/**
 * The price levels of one side, best last, in chunks of a sorted array: near the best, where most things happen,
 * an insertion or removal moves next to nothing.
 */
export class PriceLevels {
  /** 1 for bids, −1 for asks. */
  readonly sign: 1 | -1
  best: PriceLevel | undefined = undefined
  /** Ascending rank; only a sole chunk may be empty. */
  readonly #chunks: PriceLevel[][] = [[]]

  constructor(sign: 1 | -1) {
    this.sign = sign
  }

  /** Best first. The side must not change meanwhile. */
  *[Symbol.iterator](): Generator<PriceLevel> {
    for (let at = this.#chunks.length - 1; at >= 0; at -= 1) yield* (this.#chunks[at] ?? []).toReversed()
  }

  /** Whether an order of the other side with this limit would trade. */
  meets(limitTicks: number): boolean {
    return this.best !== undefined && this.best.rank >= this.sign * limitTicks
  }

  /** Whether the levels within the limit hold so many lots. */
  holds(quantityLots: number, limitTicks: number): boolean {
    let missingLots = quantityLots
    for (const level of this) {
      if (level.rank < this.sign * limitTicks) return false
      if (level.lots >= missingLots) return true
      missingLots -= Number(level.lots)
    }
    return false
  }

  /** The level of a price, made when there is none. */
  at(ticks: number): PriceLevel {
    const rank = this.sign * ticks
    if (this.best?.rank === rank) return this.best
    const chunkAt = this.#chunkAt(rank)
    const chunk = this.#chunks[chunkAt] as PriceLevel[]
    const index = indexIn(chunk, rank)
    const found = chunk[index]
    if (found?.rank === rank) return found
    const level = new PriceLevel(ticks, rank, this)
    if (!this.best || rank > this.best.rank) this.best = level
    chunk.push(level)
    for (let to = chunk.length - 1; to > index; to -= 1) chunk[to] = chunk[to - 1] as PriceLevel
    chunk[index] = level
    if (chunk.length > chunkMax) this.#chunks.splice(chunkAt + 1, 0, chunk.splice(chunkMax / 2))
    return level
  }

  remove(level: PriceLevel): void {
    const chunkAt = level === this.best ? this.#chunks.length - 1 : this.#chunkAt(level.rank)
    const chunk = this.#chunks[chunkAt] as PriceLevel[]
    if (level !== this.best)
      for (let to = indexIn(chunk, level.rank); to < chunk.length - 1; to += 1) chunk[to] = chunk[to + 1] as PriceLevel
    chunk.pop()
    if (chunk.length === 0 && this.#chunks.length > 1) this.#chunks.splice(chunkAt, 1)
    if (level === this.best) this.best = this.#chunks.at(-1)?.at(-1)
  }

  /** The last chunk whose first rank is not above `rank`, else the first. */
  #chunkAt(rank: number): number {
    let low = 0
    let high = this.#chunks.length - 1
    if (((this.#chunks[high] as PriceLevel[])[0]?.rank ?? rank) <= rank) return high
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (((this.#chunks[middle] as PriceLevel[])[0] as PriceLevel).rank <= rank) low = middle
      else high = middle - 1
    }
    return low
  }

  /** @throws BugError */
  checkInvariants(): void {
    let better: PriceLevel | undefined
    for (const level of this) {
      if (better) assert(better.rank > level.rank, 'levels are sorted and unique')
      else assert(level === this.best, 'the best level is the first')
      assert(level.rank === this.sign * level.ticks && level.levels === this, 'a level knows its side')
      let before: Order | undefined
      let lots = 0n
      for (const order of level.orders()) {
        assert(order.before === before && order.level === level, 'orders of a level are linked both ways')
        assert(order.priceTicks === level.ticks, 'an order rests at its price')
        lots += BigInt(order.leavesLots)
        before = order
      }
      assert(before !== undefined && level.tail === before, 'a level is not empty and knows its last order')
      assert(level.lots === (lots <= Number.MAX_SAFE_INTEGER ? Number(lots) : lots), 'a level knows its sum')
      better = level
    }
    assert((better === undefined) === (this.best === undefined), 'no best level without levels')
    assert(
      this.#chunks.length === 1 || this.#chunks.every((chunk) => chunk.length > 0 && chunk.length <= chunkMax),
      'chunks are bounded and not empty',
    )
  }
}

/** The number of levels of a chunk below `rank`; searched from the best, where most orders arrive. */
function indexIn(chunk: readonly PriceLevel[], rank: number): number {
  let high = chunk.length
  let low = high - 1
  for (let step = 1; low >= 0 && (chunk[low] as PriceLevel).rank >= rank; step *= 2) {
    high = low
    low -= step
  }
  low = low < 0 ? 0 : low + 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((chunk[middle] as PriceLevel).rank < rank) low = middle + 1
    else high = middle
  }
  return low
}
