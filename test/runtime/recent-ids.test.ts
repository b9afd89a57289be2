import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { RecentIds } from '../../src/runtime/recent-ids.ts'

const idOf = (name: string | number) => createHash('sha256').update(String(name)).digest('hex').slice(0, 16)
const none = () => Promise.resolve([])

void t.test('P3.10 a repeat of the last ids is known, and no message is its own repeat', (t) => {
  const ids = new RecentIds(100, none)
  const [a, b] = [idOf('a'), idOf('b')]
  t.notOk(ids.isRepeat(a, 1))
  t.ok(ids.isRepeat(a, 2))
  t.notOk(ids.isRepeat(a, 1), 'read again')
  t.ok(ids.isRepeat(a, 2), 'and its repeat too')
  t.notOk(ids.isRepeat(b, 9))
  t.notOk(ids.isRepeat(b, 5), 'one before it, read again after the window moved')
  t.ok(ids.isRepeat(b, 9), 'is now the first')
  t.end()
})

void t.test('P3.10 at least the last ids are kept, and at most twice as many', (t) => {
  const ids = new RecentIds(100, none)
  let longest = 0
  for (let sequence = 1; sequence <= 1_000; sequence += 1) {
    if (ids.isRepeat(idOf(sequence), sequence)) t.fail(`${sequence} is new`)
    longest = Math.max(longest, ids.length)
    for (const back of [1, 50, 99])
      if (sequence > back && !ids.isRepeat(idOf(sequence - back), sequence + 1)) t.fail(`${back} before ${sequence}`)
  }
  t.ok(longest <= 200, `${longest} were kept`)
  t.notOk(ids.isRepeat(idOf(1), 2_000), 'what is long ago is forgotten')
  t.end()
})

void t.test('P3.10 ids that differ in a bit, or fall into one slot, are not confused', (t) => {
  const digit = fc.constantFrom('0', '1', 'f')
  const id = fc.tuple(digit, digit, digit, digit).map(([a, b, c, d]) => `${a}000000${b}${c}000000${d}`)
  fc.assert(
    fc.property(fc.array(id, { maxLength: 200 }), (written) => {
      const ids = new RecentIds(1_000, none)
      const seen = new Set<string>()
      written.forEach((each, index) => {
        if (ids.isRepeat(each, index + 1) !== seen.has(each)) throw new Error(each)
        seen.add(each)
      })
    }),
    { numRuns: 200 },
  )
  t.end()
})

void t.test('P3.10 at the start the ids are those that came into the table last', async (t) => {
  const ids = new RecentIds(100, (count) => Promise.resolve([[idOf(`of ${count}`), 7] as const]))
  t.notOk(ids.isRepeat(idOf('buffered'), 8))
  await ids.recover()
  t.ok(ids.isRepeat(idOf('of 100'), 9))
  t.notOk(ids.isRepeat(idOf('of 100'), 7))
  t.notOk(ids.isRepeat(idOf('buffered'), 9), 'what was not committed is forgotten')
})
