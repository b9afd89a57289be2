import t from 'tap'
import { utf8FromText } from '../../src/base/json.ts'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { cleanUpLog } from '../../src/lake/log-cleanup.ts'
import { checkpointKey, commitKey, lastCheckpointKey, logPrefix } from '../../src/lake/log-files.ts'
import { type MemoryStore, openMemoryStore } from '../../src/lake/memory-store.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { tableProperties } from '../../src/lake/table-properties.ts'
import { addOf, metaData, protocol, putCommit } from './log-tools.ts'

const dayMs = 86_400_000
const properties = tableProperties({
  id: 'a',
  format: { provider: 'parquet', options: {} },
  schemaString: '',
  partitionColumns: [],
  configuration: { 'delta.logRetentionDuration': 'interval 10 days' },
})

/** A version a day, checkpoints at some; `_last_checkpoint` names the last of them. */
async function logOf(newest: number, checkpoints: readonly number[]): Promise<MemoryStore> {
  const store = openMemoryStore()
  putCommit(store, 0, [protocol, metaData])
  for (let version = 1; version <= newest; version += 1) putCommit(store, version, [addOf(`f${version}`)])
  for (const version of checkpoints) {
    const snapshot = await loadSnapshot(store, { version })
    if (snapshot) await writeCheckpoint(store, snapshot, 0)
  }
  for (const [key, { data }] of store.objects) {
    const version = /\/(\d{20})\./.exec(key)?.[1]
    if (version !== undefined) store.objects.set(key, { data, modifiedMs: Number(version) * dayMs })
  }
  return store
}

/** What stays, as `7` for a commit and `C7` for a checkpoint. */
function namesOf(store: MemoryStore): string {
  return [...store.objects.keys()]
    .flatMap((key) => /\/0*(\d+)\.(json|checkpoint)/.exec(key) ?? [])
    .join()
    .replaceAll(/\/0*(\d+)\.(json|checkpoint),\1,\2/g, (_, version: string, kind) =>
      kind === 'json' ? version : `C${version}`,
    )
}

void t.test('P3.11 clean-up keeps what the versions within the retention are read from, and no gap', async (t) => {
  const rows: readonly (readonly [what: string, newest: number, checkpoints: number[], day: number, kept: string])[] = [
    ['nothing is old', 6, [2, 4], 10, '0,1,2,3,4,5,6,C2,C4'],
    ['version 3 is the oldest to be read: by checkpoint 2', 6, [2, 4], 13, '2,3,4,5,6,C2,C4'],
    ['version 4 is: by checkpoint 4', 6, [2, 4], 14, '4,5,6,C4'],
    ['the newest version and its checkpoint stay, however old', 6, [2, 4], 100, '4,5,6,C4'],
    ['a checkpoint of the newest version has its commit', 6, [6], 100, '6,C6'],
    ['without a checkpoint all stay', 6, [], 100, '0,1,2,3,4,5,6'],
    ['with one that comes too late all stay', 6, [5], 14, '0,1,2,3,4,5,6,C5'],
  ]
  for (const [what, newest, checkpoints, day, kept] of rows) {
    const store = await logOf(newest, checkpoints)
    const before = store.objects.size
    const deleted = await cleanUpLog(store, properties, day * dayMs)
    t.equal(namesOf(store), kept, what)
    t.equal(before - store.objects.size, deleted)
    t.equal((await loadSnapshot(store))?.version, newest)
  }
})

void t.test('P3.11 clean-up keeps what _last_checkpoint names, and deletes nothing when it may not', async (t) => {
  const hinted = await logOf(6, [2, 4])
  await hinted.put(lastCheckpointKey, utf8FromText('{"version":2,"size":1}'))
  await cleanUpLog(hinted, properties, 100 * dayMs)
  t.equal(namesOf(hinted), '2,3,4,5,6,C2,C4')

  const disabled = await logOf(6, [4])
  t.equal(await cleanUpLog(disabled, { ...properties, enableExpiredLogCleanup: false }, 100 * dayMs), 0)

  const broken = await logOf(6, [4])
  broken.objects.set(checkpointKey(4), { data: new Uint8Array(100), modifiedMs: 0 })
  t.equal(await cleanUpLog(broken, properties, 100 * dayMs), 0, 'the checkpoint cannot stand in')

  const gap = await logOf(6, [4])
  gap.objects.delete(commitKey(5))
  t.equal(await cleanUpLog(gap, properties, 100 * dayMs), 0, 'the log is broken')
})

void t.test('P3.11 clean-up takes checksums with their commits and leaves all other files', async (t) => {
  const store = await logOf(6, [4])
  const others = ['00000000000000000001.crc', '00000000000000000005.crc', '00000000000000000001.note', 'x.json']
  for (const name of others) store.objects.set(logPrefix + name, { data: new Uint8Array(1), modifiedMs: 0 })
  await cleanUpLog(store, properties, 100 * dayMs)
  t.same(
    others.filter((name) => store.objects.has(logPrefix + name)),
    others.slice(1),
  )
})

void t.test('P3.11 clean-up takes compacted commits that begin before what is kept', async (t) => {
  const store = await logOf(6, [4])
  const name = (first: number, last: number) =>
    `${[first, last].map((version) => String(version).padStart(20, '0')).join('.')}.compacted.json`
  const others = [name(0, 3), name(1, 6), name(4, 5), name(4, 6), name(5, 6)]
  for (const other of others) store.objects.set(logPrefix + other, { data: new Uint8Array(1), modifiedMs: 99 * dayMs })
  await cleanUpLog(store, properties, 100 * dayMs)
  t.same(
    others.filter((other) => store.objects.has(logPrefix + other)),
    [name(5, 6)],
  )
  t.equal(namesOf(store), '4,5,6,C4')
})

void t.test('P3.11 however a clean-up ends, the oldest files went first', async (t) => {
  const store = await logOf(6, [2, 4])
  const deleted: string[] = []
  const recording = {
    ...store,
    list: store.list.bind(store),
    delete: (keys: readonly string[]) => (deleted.push(...keys), Promise.resolve()),
  }
  await cleanUpLog(recording, properties, 100 * dayMs)
  t.same(deleted, [...deleted].sort())
  t.same(deleted.length, 5)
})
