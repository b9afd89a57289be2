import type { TableCommit } from './table-history.ts'

/** Sequences from one to another, both included. */
export interface SequenceRange {
  readonly from: bigint
  readonly to: bigint
}

/** What a commit says it has dealt with, and how many of these sequences have no rows. */
export interface SequenceAccount extends SequenceRange {
  readonly version: number
  readonly withoutRows: bigint
}

/** @returns undefined for a commit that is not of a stream */
export function accountOf({ version, info }: TableCommit): SequenceAccount | undefined {
  const { firstStreamSeq: from, lastStreamSeq: to } = info
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to)) return undefined
  const withoutRows = [info['duplicates'], info['deadLetters'], info['empty'], info['skipped']]
    .map((count) => (Number.isSafeInteger(count) ? BigInt(count as number) : 0n))
    .reduce((sum, count) => sum + count, 0n)
  return { version, from: BigInt(from as number), to: BigInt(to as number), withoutRows }
}

export interface SequenceProblem {
  readonly range: SequenceRange
  readonly problem: string
}

/**
 * Compares what commits say of a stream with the sequences that have rows. Every sequence from the first that a commit in
 * the log tells of has rows, or is counted as a duplicate, a dead letter or empty by the one commit that dealt with it.
 *
 * @param accounts in the order of their sequences
 * @param present the sequences with rows, as ranges that neither overlap nor touch, in order
 */
export function sequenceProblems(
  accounts: readonly SequenceAccount[],
  present: readonly SequenceRange[],
): SequenceProblem[] {
  const problems: SequenceProblem[] = []
  const [first] = accounts
  if (!first) return problems
  let at = 0
  let next = first.from
  for (const { version, from, to, withoutRows } of accounts) {
    if (from > next) problems.push({ range: { from: next, to: from - 1n }, problem: 'no commit tells of them' })
    if (from < next)
      problems.push({
        range: { from, to: next - 1n < to ? next - 1n : to },
        problem: `version ${version} tells of them, and so does one before`,
      })
    let rows = 0n
    for (let range = present[at]; range && range.from <= to; range = present[at]) {
      const low = range.from > from ? range.from : from
      const high = range.to < to ? range.to : to
      if (high >= low) rows += high - low + 1n
      if (range.to > to) break
      at += 1
    }
    const missing = to - from + 1n - rows
    if (missing !== withoutRows)
      problems.push({
        range: { from, to },
        problem: `version ${version} counts ${withoutRows} of them as duplicates, dead letters or empty, and ${missing} have no rows`,
      })
    next = to + 1n > next ? to + 1n : next
  }
  const beyond = present.find((range) => range.to >= next)
  if (beyond)
    problems.push({
      range: { from: beyond.from > next ? beyond.from : next, to: beyond.to },
      problem: 'rows that no commit tells of',
    })
  return problems
}
