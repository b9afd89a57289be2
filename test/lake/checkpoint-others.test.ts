import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import { readCheckpoint } from '../../src/lake/checkpoint-read.ts'
import { actionKinds } from '../../src/lake/checkpoint-schema.ts'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { checkpointKey, commitKey } from '../../src/lake/log-files.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { run } from '../../src/local/process.ts'
import { readTables } from '../support/lake-readers.ts'
import { pythonPath } from '../support/python.ts'
import { definition, rowsOf } from './log-tools.ts'

void t.test('P3.11 others read a table whose older commits only our checkpoint has', async (t) => {
  const folder = t.testdir()
  const store = openLocalStore(folder)
  const table = await DeltaTable.open(store, definition)
  const symbols = ['EUR/USD', 'a b', 'é']
  for (let batch = 0; batch < 8; batch += 1) {
    const rows = rowsOf(batch * 10 + 1, batch * 10 + 10, symbols)
    await table.append(rows, {
      appId: 'ours',
      version: batch * 10 + 10,
      expected: batch === 0 ? undefined : batch * 10,
    })
    // The second is made from the first.
    if (batch === 2 || batch === 5) await writeCheckpoint(store, table.snapshot, Date.now())
  }
  for (let version = 0; version < 6; version += 1) rmSync(join(folder, commitKey(version)))
  rmSync(join(folder, checkpointKey(3)))
  const [all, atCheckpoint] = await readTables([
    { uri: folder, appIds: ['ours'] },
    { uri: folder, version: 6, where: { column: 'seq', op: '>=', value: '51' } },
  ])
  t.equal(all?.log.version, 8)
  t.match(all?.log.transactions, { ours: '80' })
  for (const { engine, rows } of all?.engines ?? []) t.equal(rows.length, 80, engine)
  for (const { engine, rows } of atCheckpoint?.engines ?? []) t.equal(rows.length, 10, engine)
})

/** Writes a checkpoint anew as PyArrow would, in the ways that Spark's parquet-mr, delta-rs and others have of their own. */
const rewrite = `
import pyarrow.parquet as pq, sys, os
source, folder = sys.argv[1:]
table = pq.read_table(source)
for name, options in {
    'snappy': dict(compression='snappy', data_page_version='1.0'),
    'gzip': dict(compression='gzip', data_page_version='2.0'),
    'zstd': dict(compression='zstd', write_page_index=True),
    'brotli': dict(compression='brotli'),
    'plain': dict(compression='none', use_dictionary=False, write_statistics=False),
    'groups': dict(row_group_size=3, write_page_index=True),
    'pages': dict(data_page_size=1, write_batch_size=1, write_page_index=True),
}.items():
    pq.write_table(table, os.path.join(folder, f'{name}.parquet'), **options)
`

void t.test('P3.11 checkpoints of others are read, however they are compressed and cut into pages', async (t) => {
  const golden = join(import.meta.dirname, 'golden', 'delta-rs', '00000000000000000009.checkpoint.parquet')
  const folder = t.testdir()
  mkdirSync(join(folder, '_delta_log'))
  const env = { ...process.env, PYTHONPATH: await pythonPath() }
  await run('python3', ['-c', rewrite, golden, join(folder, '_delta_log')], { env })
  const read = async (root: string, key: string) => {
    const actions: Action[] = []
    for await (const action of readCheckpoint(openLocalStore(root), [key], actionKinds)) actions.push(action)
    return actions.map((action) => JSON.stringify(action)).sort()
  }
  const wanted = await read(join(golden, '..'), '00000000000000000009.checkpoint.parquet')
  t.ok(wanted.some((text) => text.startsWith('{"add"')) && wanted.some((text) => text.startsWith('{"remove"')))
  const names = readdirSync(join(folder, '_delta_log'))
  t.equal(names.length, 7)
  for (const name of names) t.same(await read(folder, `_delta_log/${name}`), wanted, name)
})

void t.test('P3.11 from a checkpoint of delta-rs we make our own, which says the same', async (t) => {
  const folder = t.testdir()
  mkdirSync(join(folder, '_delta_log'))
  const golden = join(import.meta.dirname, 'golden', 'delta-rs')
  const store = openLocalStore(folder)
  for (const name of readdirSync(golden))
    await store.put(`_delta_log/${name.replace('.ndjson', '.json')}`, readFileSync(join(golden, name)))
  const snapshot = await loadSnapshot(store)
  if (!snapshot) throw new Error('no table')
  t.equal(await writeCheckpoint(store, snapshot, 0), 'written')
  for (let version = 9; version < 13; version += 1) rmSync(join(folder, commitKey(version)))
  rmSync(join(folder, checkpointKey(9)))
  const expected = JSON.parse(readFileSync(`${golden}.json`, 'utf8')) as {
    files: string[]
    txns: Record<string, number>
  }
  const [{ log } = { log: undefined }] = await readTables([
    { uri: folder, appIds: Object.keys(expected.txns), engines: [] },
  ])
  t.equal(log?.version, 13)
  t.equal(log?.files.length, expected.files.length)
  t.same(log?.transactions, Object.fromEntries(Object.entries(expected.txns).map(([id, at]) => [id, String(at)])))
})
