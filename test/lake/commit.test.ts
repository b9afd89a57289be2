import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import { commitVersion } from '../../src/lake/commit.ts'
import { checkpointKey, commitKey, readCommit } from '../../src/lake/log-files.ts'
import { openMemoryStore, type Fault } from '../../src/lake/memory-store.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import { metaData, protocol, putCommit } from './log-tools.ts'

const ours: readonly Action[] = [{ commitInfo: { txnId: 'ours' } }, { txn: { appId: 'a', version: 1 } }]
const theirs: readonly Action[] = [{ commitInfo: { txnId: 'theirs' } }]
const isWrite = ({ operation }: { readonly operation: string }) => operation === 'putIfAbsent'

const cases: readonly {
  readonly what: string
  readonly faults: readonly Fault[]
  readonly there?: readonly Action[] | string
  readonly outcome: 'committed' | 'lost'
  readonly writes: number
}[] = [
  { what: 'answered', faults: [], outcome: 'committed', writes: 1 },
  { what: 'the answer is lost', faults: ['stored'], outcome: 'committed', writes: 1 },
  { what: 'the write is lost', faults: ['lost'], outcome: 'committed', writes: 2 },
  {
    what: 'the write is lost, and again, and again',
    faults: ['lost', 'lost', 'lost'],
    outcome: 'committed',
    writes: 4,
  },
  { what: 'the write is lost, then the answer', faults: ['lost', 'stored'], outcome: 'committed', writes: 2 },
  { what: 'the write arrives after the version was read', faults: ['late'], outcome: 'committed', writes: 2 },
  { what: 'twice late', faults: ['late', 'late'], outcome: 'committed', writes: 2 },
  { what: 'another has the version', faults: [], there: theirs, outcome: 'lost', writes: 1 },
  { what: 'another has it and the answer is lost', faults: ['lost'], there: theirs, outcome: 'lost', writes: 1 },
  { what: 'another without a commitInfo', faults: [], there: [protocol], outcome: 'lost', writes: 1 },
  { what: 'our own of before', faults: [], there: ours, outcome: 'committed', writes: 1 },
]

void t.test('P3.05 what a commit was answered and what the version says', async (t) => {
  for (const { what, faults, there, outcome, writes } of cases) {
    const store = openMemoryStore()
    putCommit(store, 2, theirs)
    if (there) putCommit(store, 3, there)
    for (const fault of faults) store.inject(fault, isWrite)
    const result = await commitVersion(store, 3, ours, 'ours')
    t.same(result, outcome === 'lost' ? { outcome, actions: there } : { outcome }, what)
    t.same(await readCommit(store, 3), there ?? ours, `${what}: the version`)
    t.equal(store.calls.filter(isWrite).length, writes, `${what}: writes`)
  }
})

void t.test('P3.05 each try has the same bytes', async (t) => {
  const store = openMemoryStore()
  const written: string[] = []
  const watched = {
    ...store,
    putIfAbsent: (key: string, data: Uint8Array) => {
      written.push(Buffer.from(data).toString('hex'))
      return store.putIfAbsent(key, data)
    },
  }
  store.inject('lost', isWrite)
  store.inject('late', isWrite)
  t.same(await commitVersion(watched, 0, [...ours, protocol, metaData], 'ours'), { outcome: 'committed' })
  t.equal(written.length, 3)
  t.equal(new Set(written).size, 1)
})

void t.test('P3.05 a store that leaves it open is an error that may be tried again', async (t) => {
  const store = openMemoryStore()
  putCommit(store, 2, theirs)
  store.inject('fail', isWrite)
  await t.rejects(commitVersion(store, 3, ours, 'ours'), { code: 'LAKE_STORE_UNAVAILABLE', retriable: true })
  store.inject('stored', isWrite)
  store.inject('fail', ({ operation, key }) => operation === 'get' && key === commitKey(3))
  await t.rejects(commitVersion(store, 3, ours, 'ours'), { code: 'LAKE_STORE_UNAVAILABLE', retriable: true })
  t.ok(store.objects.has(commitKey(3)), 'it may be there')

  let writes = 0
  const never: ObjectStore = {
    ...store,
    putIfAbsent: () => {
      writes += 1
      return Promise.resolve('unknown')
    },
  }
  await t.rejects(commitVersion(never, 4, ours, 'ours'), {
    code: 'LAKE_STORE_UNAVAILABLE',
    retriable: true,
    message: 'memory:: it neither takes version 4 of the log nor has it',
  })
  t.ok(writes > 5 && writes < 50, `tried ${writes} times`)
})

void t.test('P3.11 a version of garbage is an error, and not ours to write', async (t) => {
  const store = openMemoryStore()
  putCommit(store, 2, theirs)
  putCommit(store, 3, '{"commitInfo":')
  await t.rejects(commitVersion(store, 3, ours, 'ours'), { code: 'LAKE_LOG_UNREADABLE', message: /version 3 .*line 1/ })
})

void t.test('P3.06 P3.16 no version is made behind one that is gone', async (t) => {
  const gone = { code: 'LAKE_LOG_UNREADABLE', retriable: false, message: /^version 2 of the log of memory: is gone/ }
  const store = openMemoryStore()
  await t.rejects(commitVersion(store, 3, ours, 'ours'), gone, 'the store is empty')
  t.same([...store.objects.keys()], [])
  putCommit(store, 1, theirs)
  await t.rejects(commitVersion(store, 3, ours, 'ours'), gone, 'the table is one from before')

  putCommit(store, 2, theirs)
  store.inject('lost', (call) => {
    if (isWrite(call)) store.objects.clear()
    return isWrite(call)
  })
  await t.rejects(commitVersion(store, 3, ours, 'ours'), gone, 'it goes between two tries')

  store.objects.set(checkpointKey(2), { data: new Uint8Array(), modifiedMs: 0 })
  t.same(await commitVersion(store, 3, ours, 'ours'), { outcome: 'committed' }, 'cleaned up to its checkpoint')
  store.objects.delete(checkpointKey(2))
  t.same(await commitVersion(store, 3, theirs, 'theirs'), { outcome: 'lost', actions: ours }, 'cleaned up by the next')
})
