import { assert } from '../base/assert.ts'
import type { Exact } from '../base/decimal.ts'
import { add, normal } from './money.ts'
import type { Order } from './order.ts'

/** The orders at one price, oldest first. */
export class PriceLevel {
  readonly ticks: number
  /** The larger the better, on either side of the book. */
  readonly rank: number
  readonly levels: PriceLevels
  /** Σ of what the orders show; many orders of 9e15 lots are more than a double counts exactly. */
  lots: Exact = 0
  /** Σ of what icebergs hide. */
  hiddenLots: Exact = 0
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
    const { hiddenLots } = order
    this.lots = plus(this.lots, order.leavesLots - hiddenLots)
    if (hiddenLots !== 0) this.hiddenLots = plus(this.hiddenLots, hiddenLots)
  }

  /** Takes an order out with what it still has; the last one takes the level with it. */
  remove(order: Order): void {
    const { before, after } = order
    if (before) before.after = after
    else this.head = after
    if (after) after.before = before
    else this.tail = before
    order.level = order.before = order.after = undefined
    if (!this.head) {
      this.levels.remove(this)
      return
    }
    const { hiddenLots } = order
    this.lots = plus(this.lots, hiddenLots - order.leavesLots)
    if (hiddenLots !== 0) this.hiddenLots = plus(this.hiddenLots, -hiddenLots)
  }

  /** Takes lots off what one of its orders shows; it keeps its place. */
  reduce(order: Order, lots: number): void {
    order.leavesLots -= lots
    this.lots = plus(this.lots, -lots)
  }

  /** Gives one of its orders another quantity; it keeps its place, and an iceberg loses first what it hides. */
  resize(order: Order, leavesLots: number): void {
    const { shownLots, hiddenLots } = order
    order.leavesLots = leavesLots
    order.hiddenLots = hiddenLots === 0 ? 0 : Math.max(0, leavesLots - shownLots)
    this.lots = plus(this.lots, order.shownLots - shownLots)
    this.hiddenLots = plus(this.hiddenLots, order.hiddenLots - hiddenLots)
  }

  /** Brings out the next peak of an iceberg that shows nothing more, behind all other orders. */
  renew(order: Order, displayLots: number): void {
    const lots = Math.min(displayLots, order.hiddenLots)
    order.hiddenLots -= lots
    this.lots = plus(this.lots, lots)
    this.hiddenLots = plus(this.hiddenLots, -lots)
    const { before, after } = order
    if (!after) return
    if (before) before.after = after
    else this.head = after
    after.before = before
    const last = this.tail as Order
    last.after = order
    order.before = last
    order.after = undefined
    this.tail = order
  }
}

/** A sum that is never negative, so that one comparison tells whether it was exact. */
function plus(sum: Exact, lots: number): Exact {
  if (typeof sum === 'number') {
    const total = sum + lots
    if (total <= Number.MAX_SAFE_INTEGER) return total
  }
  return add(sum, lots)
}

/** Levels in a chunk: moving at most so many keeps an insertion cheap however many levels there are. */
const chunkMax = 128

/** Neighbouring levels by ascending rank. The ranks stand in an array of their own: a search touches little memory. */
interface Chunk {
  readonly ranks: number[]
  readonly levels: PriceLevel[]
}

/**
 * The price levels of one side: a sorted array, best last, cut into chunks. Near the best, where most things happen,
 * an insertion or removal moves next to nothing.
 */
export class PriceLevels {
  /** 1 for bids, −1 for asks. */
  readonly sign: 1 | -1
  best: PriceLevel | undefined = undefined
  /** Only a sole chunk may be empty. */
  readonly #chunks: Chunk[] = [{ ranks: [], levels: [] }]
  /** No rank of a chunk is below its floor, and all of the chunk before are. */
  readonly #floors: number[] = [-Infinity]

  constructor(sign: 1 | -1) {
    this.sign = sign
  }

  /** Best first. The side must not change meanwhile. */
  *[Symbol.iterator](): Generator<PriceLevel> {
    for (let at = this.#chunks.length - 1; at >= 0; at -= 1) yield* (this.#chunks[at] as Chunk).levels.toReversed()
  }

  *orders(): Generator<Order> {
    for (const level of this) yield* level.orders()
  }

  /** Whether an order of the other side with this limit would trade. */
  meets(limitTicks: number): boolean {
    return this.best !== undefined && this.best.rank >= this.sign * limitTicks
  }

  /** Whether the levels within the limit hold so many lots, shown or hidden. */
  holds(quantityLots: number, limitTicks: number): boolean {
    let missingLots = quantityLots
    for (const { rank, lots, hiddenLots } of this) {
      if (rank < this.sign * limitTicks) return false
      const heldLots = add(lots, hiddenLots)
      if (heldLots >= missingLots) return true
      missingLots -= Number(heldLots)
    }
    return false
  }

  /** The level of a price, made when there is none. */
  at(ticks: number): PriceLevel {
    const rank = this.sign * ticks
    if (this.best?.rank === rank) return this.best
    const chunkAt = this.#chunkAt(rank)
    const { ranks, levels } = this.#chunks[chunkAt] as Chunk
    const index = countBelow(ranks, rank)
    if (ranks[index] === rank) return levels[index] as PriceLevel
    const level = new PriceLevel(ticks, rank, this)
    if (!this.best || rank > this.best.rank) this.best = level
    insertAt(ranks, index, rank)
    insertAt(levels, index, level)
    if (ranks.length > chunkMax) {
      const middle = chunkMax / 2
      this.#floors.splice(chunkAt + 1, 0, ranks[middle] as number)
      this.#chunks.splice(chunkAt + 1, 0, { ranks: ranks.splice(middle), levels: levels.splice(middle) })
    }
    return level
  }

  remove(level: PriceLevel): void {
    const chunkAt = this.#chunkAt(level.rank)
    const { ranks, levels } = this.#chunks[chunkAt] as Chunk
    const index = countBelow(ranks, level.rank)
    removeAt(ranks, index)
    removeAt(levels, index)
    if (ranks.length === 0 && this.#chunks.length > 1) {
      this.#chunks.splice(chunkAt, 1)
      this.#floors.splice(chunkAt, 1)
      this.#floors[0] = -Infinity
    }
    if (level === this.best)
      this.best = levels.length > 0 ? levels[levels.length - 1] : this.#chunks.at(-1)?.levels.at(-1)
  }

  #chunkAt(rank: number): number {
    const last = this.#floors.length - 1
    return rank >= (this.#floors[last] as number) ? last : countBelow(this.#floors, rank + 1) - 1
  }

  /**
   * @param ticksOf where an order belongs
   * @throws BugError
   */
  checkInvariants(ticksOf: (order: Order) => number | undefined): void {
    let better: PriceLevel | undefined
    for (const level of this) {
      if (better) assert(better.rank > level.rank, 'levels are sorted and unique')
      else assert(level === this.best, 'the best level is the first')
      assert(level.rank === this.sign * level.ticks && level.levels === this, 'a level knows its side')
      let before: Order | undefined
      let [lots, hiddenLots] = [0n, 0n]
      for (const order of level.orders()) {
        assert(order.before === before && order.level === level, 'orders of a level are linked both ways')
        assert(ticksOf(order) === level.ticks, 'an order stands at its price')
        lots += BigInt(order.shownLots)
        hiddenLots += BigInt(order.hiddenLots)
        before = order
      }
      assert(before !== undefined && level.tail === before, 'a level is not empty and knows its last order')
      assert(level.lots === normal(lots) && level.hiddenLots === normal(hiddenLots), 'a level knows its sums')
      better = level
    }
    assert((better === undefined) === (this.best === undefined), 'no best level without levels')
    assert(this.#floors.length === this.#chunks.length && this.#floors[0] === -Infinity, 'each chunk has a floor')
    this.#chunks.forEach(({ ranks, levels }, at) => {
      assert(ranks.length > 0 || this.#chunks.length === 1, 'a chunk is not empty')
      assert(ranks.length <= chunkMax && ranks.length === levels.length, 'a chunk is bounded')
      const [floor = 0, ceiling = Infinity] = this.#floors.slice(at, at + 2)
      for (const [index, rank] of ranks.entries())
        assert(rank === levels[index]?.rank && rank >= floor && rank < ceiling, 'a chunk keeps to its floor')
    })
  }
}

/** The number of sorted values below `value`; searched from the end, where most orders arrive. */
function countBelow(values: readonly number[], value: number): number {
  let high = values.length
  let low = high - 1
  for (let step = 1; low >= 0 && (values[low] as number) >= value; step *= 2) {
    high = low
    low -= step
  }
  low = low < 0 ? 0 : low + 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((values[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}

/** For the few elements behind the index, faster than `splice`. */
function insertAt<T>(values: T[], index: number, value: T): void {
  values.push(value)
  for (let to = values.length - 1; to > index; to -= 1) values[to] = values[to - 1] as T
  values[index] = value
}

function removeAt(values: unknown[], index: number): void {
  for (let to = index; to < values.length - 1; to += 1) values[to] = values[to + 1]
  values.pop()
}
