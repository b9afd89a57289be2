import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { checkpointKey, commitKey, lastCheckpointKey } from '../../src/lake/log-files.ts'
import { openMemoryStore, type MemoryStore } from '../../src/lake/memory-store.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { definition, pathsOf, rowsOf } from './log-tools.ts'

/**
 * A log that delta-rs 1.6.6 has written: eight appends into symbols with all kinds of characters, with txns of two streams;
 * a delete, a compaction, a checkpoint at 9, before which it has deleted the commits; three appends and a delete.
 * `delta-rs.json` is what delta-rs says of version 13.
 */
const folder = join(import.meta.dirname, 'golden', 'delta-rs')
const expected = JSON.parse(readFileSync(`${folder}.json`, 'utf8')) as {
  readonly version: number
  readonly files: readonly string[]
  readonly txns: Readonly<Record<string, number>>
}

function goldenStore(): MemoryStore {
  const store = openMemoryStore()
  for (const name of readdirSync(folder)) {
    const data = readFileSync(join(folder, name))
    store.objects.set(`_delta_log/${name.replace('.ndjson', '.json')}`, { data, modifiedMs: 0 })
  }
  return store
}

void t.test('P3.11 a checkpoint of delta-rs and the commits after it', async (t) => {
  const store = goldenStore()
  const snapshot = await loadSnapshot(store)
  t.equal(snapshot?.version, expected.version)
  t.same(snapshot?.checkpoint, { version: 9, keys: [checkpointKey(9)] })
  t.same(
    Object.fromEntries(Array.from(snapshot?.txns.values() ?? [], (txn) => [txn.appId, txn.version])),
    expected.txns,
  )
  t.match(snapshot?.metaData, {
    name: 'ticks',
    description: 'by delta-rs',
    partitionColumns: ['symbol'],
    configuration: { 'delta.logRetentionDuration': 'interval 0 days', 'delta.checkpointInterval': '1000' },
  })
  t.match(snapshot?.properties, { logRetentionMs: 0, checkpointInterval: 1000 })
  const { files, tombstones } = await pathsOf(store)
  t.same(files, expected.files)
  t.ok(tombstones.length > 0)
  t.same(
    tombstones.filter((path) => files.includes(path)),
    [],
  )
})

void t.test('P3.11 versions at, after and before the checkpoint', async (t) => {
  const store = goldenStore()
  const at = await pathsOf(store, 9)
  const after = await pathsOf(store, 10)
  t.equal(after.files.length, at.files.length + 1)
  t.same(
    at.files.filter((path) => !after.files.includes(path)),
    [],
  )
  await t.rejects(loadSnapshot(store, { version: 8 }), { code: 'LAKE_VERSION_MISSING', message: /cleaned up/ })
})

void t.test('P3.11 without the hint, and with one that lies, the listing shows the checkpoint', async (t) => {
  for (const hint of [undefined, '', '{"version":13,"size":1}', '{"version":4,"size":1}', '{"version":99,"size":1}']) {
    const store = goldenStore()
    if (hint === undefined) store.objects.delete(lastCheckpointKey)
    else store.objects.set(lastCheckpointKey, { data: Buffer.from(hint), modifiedMs: 0 })
    t.match(await loadSnapshot(store), { version: 13, checkpoint: { version: 9 } }, String(hint))
    t.same((await pathsOf(store)).files, expected.files, String(hint))
  }
})

void t.test('P3.11 a newer checkpoint that is truncated, wrong or half there is passed over', async (t) => {
  const whole = goldenStore().objects.get(checkpointKey(9))?.data ?? new Uint8Array()
  const spoilt: readonly (readonly [what: string, key: string, data: Uint8Array])[] = [
    ['empty', checkpointKey(11), new Uint8Array()],
    ['garbage', checkpointKey(11), Buffer.from('PAR1 no Parquet at all PAR1')],
    ['truncated', checkpointKey(11), whole.subarray(0, whole.length / 2)],
    ['without its beginning', checkpointKey(11), whole.subarray(-2_000)],
    ['a part of two', checkpointKey(11).replace('.parquet', '.0000000001.0000000002.parquet'), whole],
  ]
  for (const [what, key, data] of spoilt) {
    const store = goldenStore()
    store.objects.set(key, { data, modifiedMs: 0 })
    store.objects.set(lastCheckpointKey, { data: Buffer.from('{"version":11,"size":3}'), modifiedMs: 0 })
    t.match(await loadSnapshot(store), { version: 13, checkpoint: { version: 9 } }, what)
    t.same((await pathsOf(store)).files, expected.files, what)
    store.objects.delete(checkpointKey(9))
    await t.rejects(loadSnapshot(store), { code: 'LAKE_LOG_UNREADABLE' }, `${what}, and no other`)
  }
})

void t.test('P3.11 a checkpoint in parts is read', async (t) => {
  const store = goldenStore()
  const whole = store.objects.get(checkpointKey(9))
  store.objects.delete(checkpointKey(9))
  if (whole)
    for (const part of [1, 2])
      store.objects.set(checkpointKey(9).replace('.parquet', `.000000000${part}.0000000002.parquet`), whole)
  t.match(await loadSnapshot(store), { version: 13, checkpoint: { version: 9, keys: { length: 2 } } })
})

void t.test('P3.11 a table that is kept open takes newer checkpoints for its files', async (t) => {
  const store = goldenStore()
  const old = await loadSnapshot(store, { version: 9 })
  const whole = store.objects.get(checkpointKey(9))
  if (!old || !whole) throw new Error('no table')
  const { files } = await pathsOf(store, 9)
  // As if it had been opened long before the checkpoint, whose commits are gone by now.
  const read: string[] = []
  for await (const { path } of readFiles(store, { ...old, checkpoint: undefined })) read.push(path)
  t.same(read.sort(), files)
})

void t.test('P3.02 what delta-rs has made is gone on with', async (t) => {
  const store = goldenStore()
  const nullable = definition.columns.map((column) => ({ ...column, nullable: true }))
  const table = await DeltaTable.open(store, { ...definition, columns: nullable })
  t.equal(table.transactionVersion('stream-a'), expected.txns['stream-a'])
  const batch = { appId: 'stream-a', version: 105, expected: 100 }
  t.match(await table.append(rowsOf(101, 105), batch), { outcome: 'committed', version: 14 })
  t.ok(store.objects.has(commitKey(14)))
  t.equal((await pathsOf(store)).files.length, expected.files.length + 1)
})
