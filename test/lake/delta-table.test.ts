import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import type { AppendOutcome, Batch } from '../../src/lake/batch.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import { openMemoryStore, type MemoryStore } from '../../src/lake/memory-store.ts'
import type { TableDefinition } from '../../src/lake/schema.ts'
import { formatSchema, withColumns } from '../../src/lake/table-schema.ts'
import { addOf, commitsOf, dataKeys, definition, metaData, protocol, putCommit, removeOf, rowsOf } from './log-tools.ts'

const batch = (version: number, expected?: number): Batch => ({ appId: 'ours', version, expected })
const isCommitOf =
  (version: number) =>
  ({ operation, key }: { readonly operation: string; readonly key: string }) =>
    operation === 'putIfAbsent' && key === commitKey(version)
const isUpload = ({ operation }: { readonly operation: string }) => operation === 'put'

/** A table of version 1, with the rows up to 2. */
async function openWithRows(store: MemoryStore, options = {}) {
  const table = await DeltaTable.open(store, definition, options)
  t.match(await table.append(rowsOf(1, 2), batch(2)), { outcome: 'committed', version: 1 })
  return table
}

void t.test('P3.02 a table is made as (1,2), with comments and configuration, once', async (t) => {
  const store = openMemoryStore()
  const tables = await Promise.all(Array.from({ length: 5 }, () => DeltaTable.open(store.reopen(), definition)))
  t.same(
    tables.map(({ version }) => version),
    [0, 0, 0, 0, 0],
  )
  const [commit = []] = commitsOf(store)
  t.same(commit.slice(1), [
    { protocol: { minReaderVersion: 1, minWriterVersion: 2 } },
    {
      metaData: {
        id: tables[0]?.snapshot.metaData.id,
        description: 'ticks for tests',
        format: { provider: 'parquet', options: {} },
        schemaString: formatSchema(definition.columns),
        partitionColumns: ['symbol'],
        configuration: { 'delta.appendOnly': 'true', owner: 'tests' },
        createdTime: tables[0]?.snapshot.metaData.createdTime,
      },
    },
  ])
  t.match(commit[0], { commitInfo: { operation: 'CREATE TABLE', isBlindAppend: true, txnId: /^[0-9a-f-]{36}$/ } })
  t.equal(new Set(tables.map((table) => table.snapshot.metaData.id)).size, 1)
})

void t.test('P3.02 a commit has its rows, the txn, and what it says of itself', async (t) => {
  const store = openMemoryStore()
  const clock = { nowMs: () => 1_800_000_000_000 }
  const table = await DeltaTable.open(store, definition, { clock })
  const extras = { firstStreamSeq: 1, lastStreamSeq: 5, messages: 5, rows: 4, duplicates: 1, deadLetters: 0 }
  const outcome = await table.append(rowsOf(1, 4, ['EUR/USD', 'X']), { ...batch(5), extras })
  const keys = dataKeys(store)
  const bytes = keys.reduce((sum, key) => sum + (store.objects.get(key)?.data.length ?? NaN), 0)
  t.same(outcome, { outcome: 'committed', version: 1, rows: 4, bytes, files: 2 })
  t.equal(table.version, 1)
  t.equal(table.transactionVersion('ours'), 5)
  t.equal(table.transactionVersion('theirs'), undefined)

  const [, [info, txn, ...adds] = []] = commitsOf(store)
  t.match(info, {
    commitInfo: {
      timestamp: 1_800_000_000_000,
      operation: 'WRITE',
      operationParameters: { mode: 'Append', partitionBy: '["symbol"]' },
      readVersion: 0,
      isBlindAppend: true,
      operationMetrics: { numFiles: '2', numOutputRows: '4', numOutputBytes: String(bytes) },
      engineInfo: /^Trade2026/,
      txnId: /^[0-9a-f-]{36}$/,
      ...extras,
    },
  })
  t.same(txn, { txn: { appId: 'ours', version: 5, lastUpdated: 1_800_000_000_000 } })
  const eur = adds.find((action) => 'add' in action && action.add.partitionValues['symbol'] === 'EUR/USD')
  const [key = ''] = keys.filter((each) => each.startsWith('symbol=EUR'))
  t.match(key, /^symbol=EUR%2FUSD\/part-\d{5}-[0-9a-f-]{36}\.zstd\.parquet$/)
  t.same(eur, {
    add: {
      path: key.replace('%2F', '%252F'),
      partitionValues: { symbol: 'EUR/USD' },
      size: store.objects.get(key)?.data.length,
      modificationTime: 1_800_000_000_000,
      dataChange: true,
      stats:
        '{"numRecords":2,"minValues":{"seq":2,"price":1},"maxValues":{"seq":4,"price":2},"nullCount":{"seq":0,"price":0}}',
    },
  })
})

void t.test('P3.02 columns are added, in one commit, whoever is first', async (t) => {
  const store = openMemoryStore()
  await openWithRows(store)
  const venue = { name: 'venue', type: 'string', nullable: true, comment: 'where' } as const
  const wider: TableDefinition = { ...definition, columns: [...definition.columns, venue] }
  const tables = await Promise.all([1, 2, 3].map(() => DeltaTable.open(store.reopen(), wider)))
  t.same(
    tables.map((table) => table.version),
    [2, 2, 2],
  )
  const [info, changed] = commitsOf(store)[2] ?? []
  t.match(info, {
    commitInfo: { operation: 'ADD COLUMNS', operationParameters: { columns: /"venue"/ }, isBlindAppend: false },
  })
  t.same(changed, { metaData: { ...tables[0]?.snapshot.metaData, schemaString: formatSchema(wider.columns) } })
  t.equal(tables[0]?.transactionVersion('ours'), 2)

  const old = await DeltaTable.open(store.reopen(), definition)
  await old.append(rowsOf(3, 3), batch(3, 2))
  const add = commitsOf(store)[3]?.at(-1)
  t.match(add, { add: { stats: '{"numRecords":1}' } }, 'no statistics that lack a column of the table')
})

void t.test('P3.02 what does not fit is refused by name', async (t) => {
  const narrow: TableDefinition = { ...definition, partitionColumns: [] }
  const store = openMemoryStore()
  await openWithRows(store)
  await t.rejects(DeltaTable.open(store, narrow), {
    code: 'LAKE_SCHEMA_MISMATCH',
    message: 'the table in memory: does not take our rows: it is partitioned by symbol, not by nothing',
  })
  putCommit(store, 2, [{ protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: ['deletionVectors'] } }])
  await t.rejects(DeltaTable.open(store, definition), { code: 'LAKE_FEATURE_UNSUPPORTED', message: /deletionVectors/ })
  t.equal(await DeltaTable.openExisting(openMemoryStore()), undefined)
  t.equal((await DeltaTable.openExisting(store))?.version, 2)
})

const other: Action = { txn: { appId: 'other', version: 99 } }
const winners: readonly {
  readonly what: string
  readonly actions: readonly Action[]
  readonly outcome: object
}[] = [
  { what: 'an append', actions: [addOf('a'), other], outcome: { outcome: 'committed', version: 3 } },
  { what: 'a compaction', actions: [removeOf('a'), addOf('b', false)], outcome: { outcome: 'committed', version: 3 } },
  {
    what: 'only a commitInfo',
    actions: [{ commitInfo: { operation: 'VACUUM START' } }],
    outcome: { outcome: 'committed', version: 3 },
  },
  {
    what: 'an append of ours elsewhere',
    actions: [{ txn: { appId: 'ours', version: 3 } }, addOf('a')],
    outcome: { outcome: 'superseded', watermark: 3 },
  },
  {
    what: 'one of ours that goes less far',
    actions: [{ txn: { appId: 'ours', version: 2 } }, addOf('a')],
    outcome: { outcome: 'superseded', watermark: 2 },
  },
  {
    what: 'further columns',
    actions: [metaDataWith({ name: 'more', type: 'double', nullable: true })],
    outcome: { outcome: 'committed', version: 3 },
  },
  { what: 'the same protocol', actions: [protocol], outcome: { outcome: 'committed', version: 3 } },
]

function metaDataWith(column: { name: string; type: 'double'; nullable: boolean }): Action {
  return 'metaData' in metaData ? { metaData: withColumns(metaData.metaData, [column]) } : metaData
}

void t.test('P3.06 what a batch does when another commit has won', async (t) => {
  for (const { what, actions, outcome } of winners) {
    const store = openMemoryStore()
    const table = await openWithRows(store)
    const before = dataKeys(store)
    putCommit(store, 2, actions)
    t.match(await table.append(rowsOf(3, 4), batch(4, 2)), outcome, what)
    t.equal(store.calls.filter(isUpload).length, 2, `${what}: its file is written once`)
    const isCommitted = 'version' in outcome
    t.equal(dataKeys(store).length, before.length + (isCommitted ? 1 : 0), `${what}: and stays when it is committed`)
    t.equal(commitsOf(store).length, isCommitted ? 4 : 3, what)
  }
})

void t.test('P3.06 a batch stops when the schema or the features no longer fit', async (t) => {
  const stops: readonly (readonly [Action, { readonly code: string; readonly message: RegExp }])[] = [
    [
      metaDataWith({ name: 'must', type: 'double', nullable: false }),
      { code: 'LAKE_SCHEMA_MISMATCH', message: /must may not be null/ },
    ],
    [
      { protocol: { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: ['rowTracking'] } },
      { code: 'LAKE_FEATURE_UNSUPPORTED', message: /cannot append to .*: rowTracking/ },
    ],
  ]
  for (const [action, error] of stops) {
    const store = openMemoryStore()
    const table = await openWithRows(store)
    putCommit(store, 2, [action])
    await t.rejects(table.append(rowsOf(3, 4), batch(4, 2)), error)
    t.equal(dataKeys(store).length, 1, 'its file is gone')
    t.equal(commitsOf(store).length, 3)
  }
})

void t.test('P3.06 a batch on another watermark is superseded before anything is written', async (t) => {
  const store = openMemoryStore()
  const table = await openWithRows(store)
  const uploads = () => store.calls.filter(isUpload).length
  t.same(await table.append(rowsOf(2, 4), batch(4, 1)), { outcome: 'superseded', watermark: 2 })
  t.same(await table.append(rowsOf(1, 4), batch(4)), { outcome: 'superseded', watermark: 2 })
  t.equal(uploads(), 1)
  t.match(await table.append(rowsOf(3, 4), batch(4, 2)), { outcome: 'committed', version: 2 })
})

void t.test('P3.06 many versions that came meanwhile cost one try more, and none of them is overtaken', async (t) => {
  for (const isOurs of [false, true]) {
    const store = openMemoryStore()
    const table = await openWithRows(store)
    for (let version = 2; version <= 30; version += 1)
      putCommit(
        store,
        version,
        isOurs && version === 20 ? [{ txn: { appId: 'ours', version: 2 } }] : [addOf(`${version}`)],
      )
    const outcome = await table.append(rowsOf(3, 4), batch(4, 2))
    t.match(outcome, isOurs ? { outcome: 'superseded', watermark: 2 } : { outcome: 'committed', version: 31 })
    const tries = store.calls.filter(({ operation, key }) => operation === 'putIfAbsent' && key > commitKey(1))
    t.equal(tries.length, isOurs ? 1 : 2)
  }
})

void t.test('P3.06 of two sinks each batch is written once', async (t) => {
  const store = openMemoryStore()
  const [a, b] = [await DeltaTable.open(store, definition), await DeltaTable.open(store.reopen(), definition)]
  const outcomes = await Promise.all([a.append(rowsOf(1, 2), batch(2)), b.append(rowsOf(1, 2), batch(2))])
  t.same(outcomes.map(({ outcome }) => outcome).sort(), ['committed', 'superseded'])
  t.match(
    outcomes,
    [{}, {}].map((_, at) => (outcomes[at]?.outcome === 'superseded' ? { watermark: 2 } : { version: 1 })),
  )
  t.equal(dataKeys(store).length, 1)
})

void t.test('P3.05 an append that was left open is found by the next one', async (t) => {
  const isRead = ({ operation, key }: { readonly operation: string; readonly key: string }) =>
    operation === 'get' && key === commitKey(2)
  const store = openMemoryStore()
  const table = await openWithRows(store)
  store.inject('stored', isCommitOf(2))
  store.inject('fail', isRead)
  await t.rejects(table.append(rowsOf(3, 4), batch(4, 2)), { code: 'LAKE_STORE_UNAVAILABLE', retriable: true })
  t.equal(dataKeys(store).length, 2, 'its file stays: it may be in the table')
  t.match(
    await table.append(rowsOf(3, 4), batch(4, 2)),
    { outcome: 'committed', version: 2, rows: 2, files: 1 },
    'the same batch',
  )
  t.equal(dataKeys(store).length, 2, 'it was not written again')
  t.equal(commitsOf(store).length, 3)
  t.match(await table.append(rowsOf(5, 6), batch(6, 4)), { outcome: 'committed', version: 3 })
})

void t.test('P3.05 an append that was left open and never came is written again, its first file deleted', async (t) => {
  const store = openMemoryStore()
  const table = await openWithRows(store)
  store.inject('fail', isCommitOf(2))
  await t.rejects(table.append(rowsOf(3, 4), batch(4, 2)), { code: 'LAKE_STORE_UNAVAILABLE' })
  const [, left] = dataKeys(store).sort()
  t.match(await table.append(rowsOf(3, 4), batch(4, 2)), { outcome: 'committed', version: 2 })
  t.equal(dataKeys(store).length, 2)
  t.ok(left)
  t.equal(commitsOf(store).length, 3)
})

void t.test('P3.05 an append that arrives while the next one is on its way supersedes it', async (t) => {
  const store = openMemoryStore()
  const table = await openWithRows(store)
  store.inject('late', isCommitOf(2))
  store.inject('fail', ({ operation, key }) => operation === 'get' && key === commitKey(2))
  await t.rejects(table.append(rowsOf(3, 4), batch(4, 2)), { code: 'LAKE_STORE_UNAVAILABLE' })
  t.equal(commitsOf(store).length, 2, 'not there yet')
  t.match(
    await table.append(rowsOf(3, 6), batch(6, 2)),
    { outcome: 'superseded', watermark: 4 },
    'it was read as absent, came, and has the version',
  )
  t.equal(dataKeys(store).length, 2, 'what it had written for the second is gone')
  t.match(await table.append(rowsOf(5, 6), batch(6, 4)), { outcome: 'committed', version: 3 })
})

void t.test('P3.05 what was uploaded for nothing is deleted', async (t) => {
  const store = openMemoryStore()
  const table = await DeltaTable.open(store, definition)
  let uploads = 0
  store.inject('fail', (call) => isUpload(call) && (uploads += 1) === 3)
  await t.rejects(table.append(rowsOf(1, 5, ['a', 'b', 'c', 'd', 'e']), batch(5)), { code: 'LAKE_STORE_UNAVAILABLE' })
  t.same(dataKeys(store), [])
  t.match(await table.append(rowsOf(1, 5, ['a', 'b', 'c', 'd', 'e']), batch(5)), { outcome: 'committed', files: 5 })
  t.equal(dataKeys(store).length, 5)
})

void t.test('P3.12 a file older than half the retention is not committed but written anew', async (t) => {
  const store = openMemoryStore()
  let nowMs = 1_800_000_000_000
  const table = await openWithRows(store, { clock: { nowMs: () => nowMs } })
  putCommit(store, 2, [addOf('a')])
  let reads = 0
  const slow = store.get.bind(store)
  store.get = (key, range) => {
    if (key === commitKey(2) && (reads += 1) === 1) nowMs += 4 * 86_400_000
    return slow(key, range)
  }
  const outcome = await table.append(rowsOf(3, 4), batch(4, 2))
  t.match(outcome, { outcome: 'committed', version: 3, files: 1 })
  t.match(commitsOf(store)[3]?.at(-1), { add: { modificationTime: nowMs } })
  t.equal(dataKeys(store).length, 2, 'the old one is gone')
})

void t.test('P3.06 whoever slept for half of what the log is kept reads it again before it commits', async (t) => {
  const store = openMemoryStore()
  let nowMs = 1_800_000_000_000
  const table = await openWithRows(store, { clock: { nowMs: () => nowMs } })
  const lists = () => store.calls.filter(({ operation }) => operation === 'list').length
  const before = lists()
  t.match(await table.append(rowsOf(3, 4), batch(4, 2)), { version: 2 })
  t.equal(lists(), before, 'else it lists nothing')
  nowMs += 15 * 86_400_000 - 1
  t.match(await table.append(rowsOf(5, 6), batch(6, 4)), { version: 3 })
  t.equal(lists(), before)
  nowMs += 15 * 86_400_000
  t.match(await table.append(rowsOf(7, 8), batch(8, 6)), { version: 4 })
  t.equal(lists(), before + 1)

  for (const key of store.objects.keys()) if (key > commitKey(2)) store.objects.delete(key)
  nowMs += 15 * 86_400_000
  await t.rejects(table.append(rowsOf(9, 9), batch(9, 8)), {
    code: 'LAKE_LOG_UNREADABLE',
    message: /replaced behind our back/,
  })
})

void t.test('P3.06 commits of a plan are made on the newest version, or dropped', async (t) => {
  const store = openMemoryStore()
  const seen: number[] = []
  const committed: number[] = []
  const table = await openWithRows(store, { onCommit: ({ version }: { version: number }) => committed.push(version) })
  putCommit(store, 2, [addOf('a')])
  putCommit(store, 3, [addOf('b')])
  const version = await table.commit('compact', (snapshot) => {
    seen.push(snapshot.version)
    return {
      info: { operation: 'OPTIMIZE', operationMetrics: { numRemovedFiles: 1 }, isBlindAppend: false },
      actions: [removeOf('a'), addOf('c', false)],
    }
  })
  t.equal(version, 4)
  t.same(seen, [1, 2, 3])
  t.match(commitsOf(store)[4]?.[0], { commitInfo: { operation: 'OPTIMIZE', readVersion: 3, isBlindAppend: false } })
  t.same(committed, [1, 4])
  t.equal(await table.commit('compact', () => undefined), undefined)
  await t.rejects(
    table.commit('compact', () => ({
      info: { operation: 'OPTIMIZE', isBlindAppend: false },
      actions: [{ remove: { path: 'a', dataChange: true } }],
    })),
    { name: 'BugError', message: 'rows of an append-only table stay' },
  )
})

void t.test('P3.02 commits of a table with inCommitTimestamp have one, later than the one before', async (t) => {
  const store = openMemoryStore()
  const features = { minReaderVersion: 1, minWriterVersion: 7, writerFeatures: ['inCommitTimestamp', 'appendOnly'] }
  const configuration = { 'delta.enableInCommitTimestamps': 'true' }
  putCommit(store, 0, [
    { commitInfo: { inCommitTimestamp: 2_000_000_000_000, timestamp: 1 } },
    { protocol: features },
    ...('metaData' in metaData ? [{ metaData: { ...metaData.metaData, configuration } }] : []),
  ])
  const table = await DeltaTable.open(store, definition)
  const results: AppendOutcome[] = []
  for (const seq of [1, 2])
    results.push(await table.append(rowsOf(seq, seq), batch(seq, seq > 1 ? seq - 1 : undefined)))
  t.match(results, [{ version: 1 }, { version: 2 }])
  const stamps = commitsOf(store).map(
    ([first]) => first && 'commitInfo' in first && first.commitInfo['inCommitTimestamp'],
  )
  t.same(stamps, [2_000_000_000_000, 2_000_000_000_001, 2_000_000_000_002])
})
