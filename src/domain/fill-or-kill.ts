import type { Exact } from '../base/decimal.ts'
import { add } from './money.ts'
import { reducibleLots, type Holding, type Order } from './order.ts'

/** Whether a FOK would fill completely, so that one which would not changes nothing. */
export function canFill(taker: Order): boolean {
  const { book, side, instructions, leavesLots, limitTicks } = taker
  if (instructions?.reduceOnly && leavesLots > reducibleLots(side, taker.holding.lots)) return false
  const isPlain = (instructions === undefined || instructions.stpMode === 'NONE') && book.reduceOnlyCount === 0
  return isPlain ? book.opposite(side).holds(leavesLots, limitTicks) : wouldFill(taker)
}

/**
 * Goes through the fills one by one, as only so it is known where own orders and positions run out: the same rules as
 * `Crossing`, without effect.
 */
function wouldFill(taker: Order): boolean {
  const { book, side, holding, instructions, limitTicks } = taker
  const stpMode = instructions?.stpMode ?? 'NONE'
  const moved = new Map<Holding, Exact>()
  const move = (of: Holding, lots: number) => moved.set(of, add(moved.get(of) ?? of.lots, lots))
  let missingLots = taker.leavesLots
  const makers = book.opposite(side)
  for (const level of makers) {
    if (level.rank < makers.sign * limitTicks) return false
    const queue = Array.from(level.orders(), (maker) => ({
      maker,
      leavesLots: maker.leavesLots,
      shownLots: maker.shownLots,
    }))
    // Grows while it is walked: an iceberg's next peak comes last.
    for (const { maker, leavesLots, shownLots } of queue) {
      const position = moved.get(maker.holding) ?? maker.holding.lots
      const roomLots = maker.reduceOnly ? reducibleLots(maker.side, position) : Infinity
      if (roomLots === 0) continue
      if (maker.holding === holding && stpMode !== 'NONE') {
        if (stpMode === 'EXPIRE_MAKER') continue
        return false
      }
      const lots = Math.min(missingLots, shownLots, roomLots)
      missingLots -= lots
      if (missingLots === 0) return true
      move(maker.holding, maker.side === 'BUY' ? lots : -lots)
      move(holding, side === 'BUY' ? lots : -lots)
      const restLots = leavesLots - lots
      if (restLots > 0 && lots < roomLots)
        queue.push({ maker, leavesLots: restLots, shownLots: Math.min(maker.instructions?.displayLots ?? 0, restLots) })
    }
  }
  return false
}
