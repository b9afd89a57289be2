import t from 'tap'
import { LookupCache } from '../../src/runtime/lookup-cache.ts'
import { until } from '../support/stack.ts'

void t.test('P2.03 a look-up is made once for all who ask at once, and kept', async (t) => {
  const asked: string[] = []
  const loaded: string[] = []
  const dropped: string[] = []
  const cache = new LookupCache({
    max: 2,
    ttlMs: 60_000,
    timeoutMs: 1_000,
    load: async (key) => {
      asked.push(key)
      await new Promise((resolve) => setImmediate(resolve))
      return { key }
    },
    onLoaded: (key) => loaded.push(key),
    onDropped: (key) => dropped.push(key),
  })
  t.equal(cache.peek('a'), undefined)
  t.same(await Promise.all([cache.get('a'), cache.get('a')]), [{ key: 'a' }, { key: 'a' }])
  t.same(await cache.get('a'), { key: 'a' })
  t.same(asked, ['a'])
  await cache.get('b')
  cache.peek('a')
  await cache.get('c')
  t.same(dropped, ['b'], 'the least recently used goes first')
  t.equal(cache.size, 2)
  cache.delete('a')
  t.same(await cache.get('a'), { key: 'a' })
  t.same(asked, ['a', 'b', 'c', 'a'])
  t.same(loaded, asked)
  t.same(dropped, ['b', 'a'])
})

void t.test('P2.03 an entry is looked up anew when it is too old', async (t) => {
  let asked = 0
  const cache = new LookupCache({
    max: 2,
    ttlMs: 20,
    timeoutMs: 1_000,
    load: () => Promise.resolve({ n: (asked += 1) }),
  })
  t.same(await cache.get('a'), { n: 1 })
  await until('the end of its time', () => cache.peek('a') === undefined)
  t.same(await cache.get('a'), { n: 2 })
})

void t.test('P2.03 who waits too long is told so; the look-up goes on for the next', async (t) => {
  const answer = Promise.withResolvers<{ n: number }>()
  const cache = new LookupCache({ max: 2, ttlMs: 60_000, timeoutMs: 20, load: () => answer.promise })
  await t.rejects(cache.get('a'), { name: 'LookupTimeout', message: 'no answer within 20 ms' })
  answer.resolve({ n: 1 })
  await until('the entry', () => cache.peek('a'))
})

void t.test('P2.03 what changes while it is looked up is not kept; a failure is not either', async (t) => {
  const answers = [Promise.withResolvers<{ n: number }>(), Promise.withResolvers<{ n: number }>()]
  let asked = 0
  const cache = new LookupCache({
    max: 2,
    ttlMs: 60_000,
    timeoutMs: 1_000,
    load: () => answers[asked++]?.promise ?? Promise.reject(new Error('away')),
  })
  const first = cache.get('a')
  cache.delete('a')
  answers[0]?.resolve({ n: 1 })
  t.same(await first, { n: 1 })
  t.equal(cache.peek('a'), undefined)
  const second = cache.get('a')
  answers[1]?.reject(new Error('gone'))
  await t.rejects(second, { message: 'gone' })
  await t.rejects(cache.get('a'), { message: 'away' })
})
