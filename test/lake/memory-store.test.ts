import t from 'tap'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { bytes, keysOf, storeSuite, textOf } from './store-suite.ts'

storeSuite(t, 'memory', () => Promise.resolve(openMemoryStore()))

void t.test('P3.05 every kind of fault can be injected', async (t) => {
  const store = openMemoryStore()
  const unavailable = { code: 'LAKE_STORE_UNAVAILABLE', retriable: true }
  store.inject('fail')
  await t.rejects(store.putIfAbsent('a', bytes('1')), unavailable)
  for (const [fault, isThere] of [
    ['stored', true],
    ['lost', false],
  ] as const) {
    store.inject(fault)
    t.equal(await store.putIfAbsent(fault, bytes('1')), 'unknown')
    t.equal((await store.get(fault)) !== undefined, isThere, fault)
    store.inject(fault)
    await t.rejects(store.put(`put-${fault}`, bytes('1')), unavailable)
    t.equal((await store.get(`put-${fault}`)) !== undefined, isThere, fault)
  }

  store.inject('late')
  t.equal(await store.putIfAbsent('late', bytes('first')), 'unknown')
  t.equal(await store.get('late'), undefined)
  t.equal(await store.putIfAbsent('late', bytes('second')), 'exists', 'the first one has come between')
  t.equal(await textOf(store, 'late'), 'first')

  store.inject('fail', ({ operation, key }) => operation === 'get' && key === 'b')
  await store.put('b', bytes('1'))
  await t.rejects(store.get('b'), unavailable)
  t.equal(await textOf(store, 'b'), '1', 'once')
})

void t.test('P3.05 after a crash nothing works but for another process, which sees what was stored', async (t) => {
  const store = openMemoryStore()
  store.inject('crashBefore', ({ key }) => key === 'b')
  await store.put('a', bytes('1'))
  await t.rejects(store.put('b', bytes('1')), { name: 'StoreCrash' })
  await t.rejects(store.get('a'), { name: 'StoreCrash' })
  await t.rejects(store.delete(['a']), { name: 'StoreCrash' })
  const next = store.reopen()
  next.inject('crashAfter')
  await t.rejects(next.putIfAbsent('c', bytes('1')), { name: 'StoreCrash' })
  t.same(await keysOf(next.reopen(), ''), ['a', 'c'])
  t.same(
    store.calls.map(({ operation, key }) => `${operation} ${key}`),
    ['put a', 'put b'],
  )
})
