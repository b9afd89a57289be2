import fc from 'fast-check'
import { deepStrictEqual } from 'node:assert/strict'
import t from 'tap'
import { textFromUtf8 } from '../../src/base/json.ts'
import { readFiles } from '../../src/lake/active-files.ts'
import type { Action } from '../../src/lake/actions.ts'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { checkpointKey, commitKey, lastCheckpointKey } from '../../src/lake/log-files.ts'
import { type MemoryStore, openMemoryStore } from '../../src/lake/memory-store.ts'
import { loadSnapshot, type Snapshot } from '../../src/lake/snapshot.ts'
import { addOf, metaData, protocol, putCommit, readTombstones } from './log-tools.ts'

const weekMs = 7 * 86_400_000
const nowMs = 100 * weekMs

async function snapshotOf(store: MemoryStore, version?: number): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store, { version })
  if (!snapshot) throw new Error('no table')
  return snapshot
}

async function checkpoint(store: MemoryStore, version?: number) {
  return writeCheckpoint(store, await snapshotOf(store, version), nowMs)
}

/** All that a version says. */
async function stateOf(store: MemoryStore) {
  const snapshot = await snapshotOf(store)
  const files: string[] = []
  for await (const add of readFiles(store, snapshot)) files.push(textOf(add))
  const tombstones: string[] = []
  for await (const remove of readTombstones(store, snapshot)) tombstones.push(textOf(remove))
  return {
    version: snapshot.version,
    protocol: snapshot.protocol,
    metaData: snapshot.metaData,
    txns: [...snapshot.txns].sort(),
    files: files.sort(),
    tombstones: tombstones.sort(),
  }
}

/** A checkpoint may differ in dataChange and in the order of fields. */
function textOf(body: object): string {
  return JSON.stringify(Object.entries({ ...body, dataChange: false }).sort())
}

/** The same log without its checkpoints. */
function withoutCheckpoints(store: MemoryStore): MemoryStore {
  return openMemoryStore(new Map([...store.objects].filter(([key]) => key.endsWith('.json'))))
}

/** So that only what checkpoints say can be read. */
function forgetCommits(store: MemoryStore, before: number): void {
  for (let version = 0; version < before; version += 1) store.objects.delete(commitKey(version))
}

const removed = (path: string, deletionTimestamp: number): Action => ({
  remove: { path, dataChange: true, deletionTimestamp, partitionValues: { symbol: null }, size: 7 },
})

const name = fc.constantFrom('a', 'b', 'c', 'd', 'symbol=EUR%252FUSD/e', 'symbol=EUR%2FUSD/e', 'f%20g', 'f g')
const commit = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: name.map((path) => addOf(path)) },
    { weight: 2, arbitrary: name.map((path) => removed(path, nowMs)) },
    fc.record({ appId: fc.constantFrom('a', 'b'), version: fc.nat() }).map((txn): Action => ({ txn })),
  ),
  { maxLength: 6 },
)

void t.test('P3.11 a version from a checkpoint is what the commits before it made', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(commit, fc.boolean()), { maxLength: 12 }), async (commits) => {
      const store = openMemoryStore()
      putCommit(store, 0, [protocol, metaData])
      for (const [index, [actions, isCheckpointed]] of commits.entries()) {
        putCommit(store, index + 1, [{ commitInfo: {} }, ...onceEach(actions)])
        if (isCheckpointed) deepStrictEqual(await checkpoint(store), 'written')
      }
      deepStrictEqual(await stateOf(store), await stateOf(withoutCheckpoints(store)))
    }),
    { numRuns: 60 },
  )
  t.pass()
})

/** A commit says one thing of a file and of an application. */
function onceEach(actions: readonly Action[]): Action[] {
  const keyOf = (action: Action) =>
    'add' in action ? action.add.path : 'remove' in action ? action.remove.path : JSON.stringify(action).slice(0, 18)
  return [...new Map(actions.map((action) => [keyOf(action), action])).values()]
}

void t.test(
  'P3.11 whole parts of a large checkpoint are taken over; removed files and old tombstones go',
  async (t) => {
    const store = openMemoryStore()
    const many = (count: number, prefix: string, of: (path: string) => Action) =>
      Array.from({ length: count }, (_, number) => of(`${prefix}${number}`))
    putCommit(store, 0, [protocol, metaData])
    putCommit(
      store,
      1,
      many(22_000, 'a', (path) => addOf(path)),
    )
    putCommit(
      store,
      2,
      many(3_000, 'gone', (path) => removed(path, nowMs - (path.length % 2 === 0 ? weekMs : 0))),
    )
    await checkpoint(store)
    forgetCommits(store, 2)
    const old = (number: number) => (`gone${number}`.length % 2 === 0 ? [`gone${number}`] : [])
    const tombstones = Array.from({ length: 3_000 }, (_, number) => old(number)).flat()
    const state = await stateOf(store)
    t.equal(state.files.length, 22_000)
    t.equal(state.tombstones.length, 3_000, 'a tombstone is kept as long as the retention')

    // Only the second row group of files has one that goes, and the hint of an earlier version stays behind.
    putCommit(store, 3, [removed('a21500', nowMs), addOf('b'), { txn: { appId: 'ours', version: 5 } }])
    const later = await writeCheckpoint(store, await snapshotOf(store), nowMs + 1)
    t.equal(later, 'written')
    const hint = JSON.parse(textFromUtf8(store.objects.get(lastCheckpointKey)?.data ?? new Uint8Array())) as unknown
    const bytes = store.objects.get(checkpointKey(3))?.data.length
    const kept = 3_000 - tombstones.length
    t.same(hint, { version: 3, size: 22_000 + kept + 1 + 3, sizeInBytes: bytes, numOfAddFiles: 22_000 })
    store.objects.delete(checkpointKey(2))
    forgetCommits(store, 4)
    const after = await stateOf(store)
    const files = [...state.files.filter((text) => !text.includes('"a21500"')), textOf(addOf('b').add)]
    t.same(after.files, files.sort())
    t.equal(after.tombstones.length, kept + 1)
    t.same(after.txns, [['ours', { appId: 'ours', version: 5 }]])
  },
)

void t.test(
  'P3.11 a checkpoint is made once; _last_checkpoint names none that is not durable, and never goes back',
  async (t) => {
    const store = openMemoryStore()
    putCommit(store, 0, [protocol, metaData])
    putCommit(store, 1, [addOf('a')])
    await checkpoint(store, 1)
    const [first, hint] = [store.objects.get(checkpointKey(1)), store.objects.get(lastCheckpointKey)]
    putCommit(store, 2, [addOf('b')])
    t.equal(await checkpoint(store, 1), 'exists')
    t.equal(store.objects.get(checkpointKey(1)), first, 'what is there stays')
    t.equal(await checkpoint(store, 0), 'written')
    t.equal(store.objects.get(lastCheckpointKey), hint, 'the hint stays at the later one')
  },
)

void t.test(
  'P3.11 whatever becomes of the write, a reader finds the version and the hint no missing checkpoint',
  async (t) => {
    const rows = [
      ['fail', false, false],
      ['lost', false, false],
      ['stored', true, true],
      ['crashBefore', false, false],
      ['crashAfter', true, false],
    ] as const
    for (const [fault, isThere, isNamed] of rows) {
      const store = openMemoryStore()
      putCommit(store, 0, [protocol, metaData])
      putCommit(store, 1, [addOf('a')])
      const snapshot = await snapshotOf(store)
      store.inject(fault, ({ key }) => key === checkpointKey(1))
      await (isNamed ? writeCheckpoint(store, snapshot, nowMs) : t.rejects(writeCheckpoint(store, snapshot, nowMs)))
      const after = store.reopen()
      t.equal(after.objects.has(checkpointKey(1)), isThere, `${fault}: the checkpoint`)
      t.equal(after.objects.has(lastCheckpointKey), isNamed, `${fault}: the hint`)
      t.equal((await stateOf(after)).files.length, 1, `${fault}: the version can be read`)
    }
  },
)

void t.test('P3.11 a table that uses what we do not support gets no checkpoint', async (t) => {
  const store = openMemoryStore()
  const domains = { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: ['domainMetadata'] }
  putCommit(store, 0, [{ protocol: domains }, metaData])
  await t.rejects(checkpoint(store), { code: 'LAKE_FEATURE_UNSUPPORTED', message: /domainMetadata/ })
  t.notOk(store.objects.has(checkpointKey(0)))
})

void t.test('P3.11 a checkpoint of others is rewritten, one that is broken is passed over', async (t) => {
  const store = openMemoryStore()
  putCommit(store, 0, [protocol, metaData])
  putCommit(store, 1, [addOf('a')])
  await checkpoint(store)
  putCommit(store, 2, [addOf('b')])
  store.objects.set(checkpointKey(2), { data: new Uint8Array(100), modifiedMs: 0 })
  putCommit(store, 3, [addOf('c')])
  t.equal(await checkpoint(store), 'written')
  forgetCommits(store, 4)
  t.equal((await stateOf(store)).files.length, 3)
})
