import t from 'tap'
import { RecentIds } from '../../src/runtime/recent-ids.ts'

void t.test('P3.10 a repeat of the last ids is known, and no message is its own repeat', (t) => {
  const ids = new RecentIds(100, () => Promise.resolve([]))
  t.notOk(ids.isRepeat('a', 1))
  t.ok(ids.isRepeat('a', 2))
  t.notOk(ids.isRepeat('a', 1), 'read again')
  t.ok(ids.isRepeat('a', 2), 'and its repeat too')
  t.notOk(ids.isRepeat('b', 9))
  t.notOk(ids.isRepeat('b', 5), 'one before it, read again after the window moved')
  t.ok(ids.isRepeat('b', 9), 'is now the first')
  t.end()
})

void t.test('P3.10 at least the last ids are kept, and at most twice as many', (t) => {
  const ids = new RecentIds(100, () => Promise.resolve([]))
  let longest = 0
  for (let sequence = 1; sequence <= 1_000; sequence += 1) {
    t.notOk(ids.isRepeat(`id-${sequence}`, sequence))
    longest = Math.max(longest, ids.length)
    for (const back of [1, 50, 99])
      if (sequence > back && !ids.isRepeat(`id-${sequence - back}`, sequence + 1)) t.fail(`${back} before ${sequence}`)
  }
  t.ok(longest <= 200)
  t.notOk(ids.isRepeat('id-1', 2_000), 'what is long ago is forgotten')
  t.end()
})

void t.test('P3.10 at the start the ids are those that came into the table last', async (t) => {
  const ids = new RecentIds(100, (count) => Promise.resolve([[`of ${count}`, 7] as const]))
  t.notOk(ids.isRepeat('buffered', 8))
  await ids.recover()
  t.ok(ids.isRepeat('of 100', 9))
  t.notOk(ids.isRepeat('of 100', 7))
  t.notOk(ids.isRepeat('buffered', 9), 'what was not committed is forgotten')
})
