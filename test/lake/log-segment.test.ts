import t from 'tap'
import { type LogListing, segmentsOf } from '../../src/lake/log-segment.ts'

function listingOf(commits: readonly number[], checkpoints: readonly number[]): LogListing {
  return {
    commits: commits.map((version) => ({ version, modifiedMs: 0 })),
    checkpoints: checkpoints.map((version) => ({ version, keys: [`C${version}`] })),
    hasV2Checkpoint: false,
  }
}

const upTo = (newest: number): number[] => Array.from({ length: newest + 1 }, (_, version) => version)

void t.test('P3.11 a version is made of every checkpoint from which no commit is missing, the newest first', (t) => {
  const rows: readonly (readonly [
    what: string,
    commits: number[],
    checkpoints: number[],
    version: number,
    found: (number | undefined)[],
  ])[] = [
    ['commits alone', upTo(4), [], 3, [undefined]],
    ['checkpoints before it, and none', upTo(6), [6, 4, 2], 5, [4, 2, undefined]],
    ['its own', upTo(6), [4], 4, [4, undefined]],
    ['its own, without its commit', [0, 1, 2, 3, 5], [4], 4, [4]],
    ['a gap before the last checkpoint', [0, 1, 3, 4, 5], [4, 1], 5, [4]],
    ['a gap right behind a checkpoint', [0, 1, 2, 4, 5], [2], 5, []],
    ['a gap further on is none of its own', [0, 1, 2, 4], [1], 2, [1, undefined]],
    ['what was cleaned up', [4, 5, 6], [4], 6, [4]],
    ['a checkpoint beside the first commit that is left', [4, 5, 6], [3], 6, [3]],
    ['nothing leads to it', [4, 5, 6], [], 6, []],
    ['nothing at all', [], [], 0, []],
  ]
  for (const [what, commits, checkpoints, version, found] of rows)
    t.same(
      segmentsOf(listingOf(commits, checkpoints), version).map(({ checkpoint }) => checkpoint?.version),
      found,
      what,
    )
  t.end()
})

void t.test('P3.15 a version of a log of a week is found at once', (t) => {
  const listing = listingOf(
    upTo(300_000),
    upTo(3_000)
      .map((at) => at * 100)
      .reverse(),
  )
  const startedMs = performance.now()
  t.equal(segmentsOf(listing, 299_990)[0]?.checkpoint?.version, 299_900)
  // To look for gaps from each checkpoint on took minutes.
  t.ok(performance.now() - startedMs < 1_000)
  t.end()
})
