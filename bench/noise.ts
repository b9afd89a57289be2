import type { Spread } from './statistics.ts'

/** Of three rounds each, ranges that do not overlap happen by chance once in ten times; of five, once in 126. */
export const roundsMin = 3
/** What machines differ by from minute to minute, whatever the rounds say. */
const differenceMinPercent = 5

export function changePercent(before: Spread, after: Spread): number {
  return before.median === 0 ? (after.median === 0 ? 0 : Infinity) : (after.median / before.median - 1) * 100
}

/** Whether two spreads differ by more than their rounds do among themselves: no round of one lies among the other's. */
export function isOutsideNoise(before: Spread, after: Spread): boolean {
  const isApart = after.min > before.max || after.max < before.min
  return isApart && Math.abs(changePercent(before, after)) >= differenceMinPercent
}
