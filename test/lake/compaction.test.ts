import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import type { Add } from '../../src/lake/actions.ts'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { type CompactionPolicy, compactionDefaults, planCompaction } from '../../src/lake/compaction-plan.ts'
import { compactTable } from '../../src/lake/compaction.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { cleanUpLog } from '../../src/lake/log-cleanup.ts'
import { readCommit } from '../../src/lake/log-files.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { queryLake } from '../../src/lake/query.ts'
import { type ObjectStore, storeBelow } from '../../src/lake/store.ts'
import { tempDir } from '../support/temp-dir.ts'
import { appendTicks, firstDay, symbols, tickAppId, tickBatches, tickDefinition } from './tick-table.ts'

const policy: CompactionPolicy = { ...compactionDefaults, orderBy: ['stream_seq'], dateColumn: 'dt' }
/** While the first day lasts. */
const duringMs = Date.parse(`${firstDay}T12:00:00Z`)
const afterwardsMs = Date.parse(`${firstDay}T00:00:00Z`) + 25 * 3_600_000
const at = (ms: number) => ({ clock: { nowMs: () => ms } })

function lakeOf(t: Test): ObjectStore {
  return openLocalStore(tempDir(t))
}

async function filesOf(table: DeltaTable): Promise<Add[]> {
  const files: Add[] = []
  for await (const file of readFiles(table.store, await table.refresh())) files.push(file)
  return files
}

async function query(lake: ObjectStore, sql: string, version?: number): Promise<unknown[]> {
  const result = await queryLake(lake, sql, { temporaryBytesMax: 2 ** 30, version })
  try {
    const rows: unknown[] = []
    for await (const some of result.rows) rows.push(...some)
    return rows
  } finally {
    await result.close()
  }
}

const everything = 'select * from ticks order by stream_seq'

for (const [where, storeOf] of [
  ['a folder', lakeOf],
  ['objects', () => openMemoryStore()],
] as const)
  void t.test(
    `P3.12 small files of ${where} become one a partition, with the same rows and exact statistics`,
    async (t) => {
      const lake = storeOf(t)
      const table = await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(6, 200))
      const before = await query(lake, everything)
      t.equal(before.length, 1_200)
      const [first] = await filesOf(table)
      const result = await compactTable(table, policy, at(duringMs))
      t.match(result, { commits: 1, version: 7, filesRemoved: 24, filesAdded: 4, rows: 1_200, abandoned: [] })

      const files = await filesOf(table)
      t.same(files.map(({ partitionValues }) => partitionValues['symbol']).sort(), [...symbols].sort())
      t.same(await query(lake, everything), before)
      t.same(await query(lake, everything, 6), before, 'the version before can still be read')
      const actions = (await readCommit(table.store, 7)) ?? []
      for (const action of actions) {
        if ('add' in action) t.notOk(action.add.dataChange)
        if ('remove' in action)
          t.match(action.remove, {
            dataChange: false,
            deletionTimestamp: Number,
            extendedFileMetadata: true,
            size: Number,
          })
      }
      t.ok(first?.stats)
      // What our own writer says of the same rows in one file.
      const other = await appendTicks(openMemoryStore(), [{ from: 1, to: 1_201 }])
      const statsBySymbol = (adds: readonly Add[]) =>
        new Map(
          adds.map(({ partitionValues, stats }) => [partitionValues['symbol'], JSON.parse(stats ?? '') as unknown]),
        )
      t.same(statsBySymbol(files), statsBySymbol(await filesOf(other)))
      t.match(
        await compactTable(table, policy, at(duringMs)),
        { commits: 0, filesRemoved: 0 },
        'a second run finds nothing',
      )
      t.equal(table.transactionVersion(tickAppId), 1_200)
    },
  )

void t.test('P3.12 the partition with most small files comes first, files near the target stay', async (t) => {
  const file = (symbol: string, at: number, more: Partial<Add> = {}): Add => ({
    path: `${symbol}-${at}`,
    partitionValues: { symbol, dt: firstDay },
    size: 2 ** 20,
    modificationTime: at,
    dataChange: true,
    stats: JSON.stringify({ numRecords: 10, minValues: { stream_seq: at } }),
    ...more,
  })
  const plan = (files: readonly Add[], nowMs = duringMs, changes: Partial<CompactionPolicy> = {}) =>
    planCompaction(
      async function* () {
        await Promise.resolve()
        yield* files
      },
      { ...policy, ...changes },
      nowMs,
    )
  const many = (symbol: string, count: number, more: Partial<Add> = {}) =>
    Array.from({ length: count }, (_, index) => file(symbol, index, more))
  const shape = (groups: Awaited<ReturnType<typeof plan>>) =>
    groups.map(({ partitionValues, files }) => `${String(partitionValues['symbol'])} ${files.length}`)

  t.same(shape(await plan([...many('A', 3), ...many('B', 9), file('C', 1)])), ['B 9', 'A 3'])
  t.same(shape(await plan([...many('A', 3), ...many('B', 9)], duringMs, { filesMin: 4 })), ['B 9'])
  t.same(shape(await plan(many('A', 150))), ['A 64', 'A 64', 'A 22'], 'no more than the target each')
  const [first] = await plan([...many('A', 5)].reverse())
  t.same(
    first?.files.map(({ path }) => path),
    ['A-0', 'A-1', 'A-2', 'A-3', 'A-4'],
    'in the order of the stream',
  )
  t.same(shape(await plan([...many('A', 3, { size: 48 * 2 ** 20 }), ...many('B', 2, { size: 47 * 2 ** 20 })])), [])
  const grown = file('A', 0, { size: 40 * 2 ** 20 })
  t.same(
    shape(await plan([grown, ...many('A', 5).slice(1)])),
    ['A 4'],
    'what outweighs the others is not written again',
  )
  t.same(shape(await plan([grown, file('A', 1, { size: 10 * 2 ** 20 }), file('A', 2)])), ['A 3'])

  t.same(shape(await plan([grown, ...many('A', 150).slice(1)], afterwardsMs - 1)).length, 3)
  t.same(
    shape(await plan([grown, ...many('A', 150).slice(1)], afterwardsMs)),
    ['A 150'],
    'an hour after its day one file',
  )
  t.same(shape(await plan([grown], afterwardsMs)), [])
  t.same(shape(await plan(many('A', 4_500, { size: 1_000 }), afterwardsMs)), ['A 2000', 'A 2000', 'A 500'])
  t.same(shape(await plan([...many('A', 4_500, { size: 1_000 }), ...many('B', 499), ...many('C', 2)], afterwardsMs)), [
    'A 2000',
    'A 2000',
    'A 500',
    'B 256',
    'B 243',
  ])
  t.same(
    shape(await plan([...many('A', 2, { partitionValues: { symbol: 'A', dt: null } })], afterwardsMs)),
    ['A 2'],
    'a day that is null is never over',
  )
})

void t.test(
  'P3.12 a day that is over becomes one file a symbol, whatever its size, in the order of the stream',
  async (t) => {
    const lake = lakeOf(t)
    const store = storeBelow(lake, 'ticks/')
    const table = await appendTicks(store, tickBatches(4, 100, { symbols: ['A'] }))
    const before = await query(lake, everything)
    const closing = { ...policy, targetBytes: 1_000 }
    t.match(await compactTable(table, closing, at(duringMs)), { filesAdded: 0 }, 'all are large already')
    t.match(await compactTable(table, closing, at(afterwardsMs)), { filesAdded: 1, rows: 400 })
    const [only, ...others] = await filesOf(table)
    t.same(others, [])
    t.equal(only?.path.startsWith('symbol=A/dt=2026-11-20/'), true)
    const stored = await query(lake, 'select stream_seq from ticks')
    t.same(
      stored,
      Array.from({ length: 400 }, (_, index) => [BigInt(index + 1)]),
      'as they lie in the file',
    )
    t.same(await query(lake, everything), before)
  },
)

void t.test('P3.12 rows that lie out of order are sorted', async (t) => {
  const lake = lakeOf(t)
  const store = storeBelow(lake, 'ticks/')
  const table = await DeltaTable.open(store, tickDefinition)
  const { tickRows } = await import('./tick-table.ts')
  for (const [version, [from, to]] of (
    [
      [500, 600],
      [100, 300],
      [200, 500],
    ] as const
  ).entries()) {
    const rows = tickRows({ from, to, symbols: ['A'] })
    const reversed = rows.map((each) => ({ ...each, columns: each.columns.map((values) => [...values].reverse()) }))
    await table.append(reversed, { appId: 'other', version, expected: version === 0 ? undefined : version - 1 })
  }
  t.match(await compactTable(table, policy, at(duringMs)), { filesAdded: 1, rows: 600 })
  const stored = (await query(lake, 'select stream_seq from ticks')) as [bigint][]
  t.same(
    stored,
    [...stored].sort(([a], [b]) => Number(a - b)),
  )
})

void t.test('P3.12 a result that does not agree with its sources is given up', async (t) => {
  const lake = lakeOf(t)
  const table = await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(2, 100, { symbols: ['A', 'B'] }))
  const log = join(lake.uri, 'ticks/_delta_log/00000000000000000002.json')
  const lines = readFileSync(log, 'utf8').split('\n')
  writeFileSync(
    log,
    lines
      .map((line) => (line.includes('symbol=A') ? line.replace(/numRecords\\":50/, 'numRecords\\":49') : line))
      .join('\n'),
  )
  const files = await filesOf(table)
  const result = await compactTable(table, policy, at(duringMs))
  t.match(result, { commits: 1, filesRemoved: 2, filesAdded: 1, rows: 100, abandoned: [String] })
  t.match(result.abandoned[0], /symbol=A.*100 rows, and 99/)
  const left = (await filesOf(table)).map(({ path }) => path)
  t.same(
    files.filter(({ path }) => path.includes('symbol=A')).every(({ path }) => left.includes(path)),
    true,
  )
  const folder = join(lake.uri, 'ticks/symbol=A/dt=2026-11-20')
  t.equal(readdirSync(folder).length, 2, 'nothing is left of it')
})

/** Does something before the first object is put whose key matches. */
function onPut(store: ObjectStore, what: () => Promise<unknown>): ObjectStore {
  let isDone = false
  return Object.assign(Object.create(store) as ObjectStore, {
    uri: store.uri,
    put: async (key: string, data: Uint8Array) => {
      if (!isDone) {
        isDone = true
        await what()
      }
      await store.put(key, data)
    },
  })
}

void t.test('P3.12 what was planned on files that are gone is dropped and planned anew', async (t) => {
  const lake = lakeOf(t)
  const store = storeBelow(lake, 'ticks/')
  await appendTicks(store, tickBatches(4, 100))
  const before = await query(lake, everything)
  const other = async () => {
    const table = await appendTicks(store, [{ from: 401, to: 501 }])
    t.match(await compactTable(table, policy, at(duringMs)), { commits: 1, filesRemoved: 20, filesAdded: 4 })
    await appendTicks(store, [{ from: 501, to: 601 }])
  }
  const table = await DeltaTable.openExisting(onPut(store, other))
  if (!table) throw new Error('no table')
  t.match(await compactTable(table, { ...policy, filesMin: 2 }, at(duringMs)), { abandoned: [] })
  const after = await query(lake, everything)
  t.same(after.slice(0, before.length), before)
  t.equal(after.length, 600)
  t.same(await query(lake, 'select count(*), count(distinct stream_seq) from ticks'), [[600n, 600n]])
})

void t.test('P3.12 a run ends while rows come: those that came since its beginning are left to the next', async (t) => {
  const store = openMemoryStore()
  await appendTicks(store, tickBatches(2, 40))
  let appends = 0
  const table = await DeltaTable.openExisting({
    ...store,
    put: async (key, data) => {
      // As fast as it compacts.
      const from = 81 + 80 * appends++
      if (appends <= 20)
        await appendTicks(
          store,
          tickBatches(2, 40).map((batch) => ({ from: from + batch.from - 1, to: from + batch.to - 1 })),
        )
      await store.put(key, data)
    },
  })
  if (!table) throw new Error('no table')
  t.match(await compactTable(table, policy, at(duringMs)), {
    commits: 1,
    filesRemoved: 8,
    filesAdded: 4,
    abandoned: [],
  })
  t.equal(appends, 4)
  t.equal((await filesOf(table)).length, 4 + 4 * 8)
})

void t.test('P3.12 what commits did that were cleaned up meanwhile is not undone', async (t) => {
  const lake = lakeOf(t)
  const store = storeBelow(lake, 'ticks/')
  // A log that may forget at once.
  const configuration = { 'delta.logRetentionDuration': 'interval 0 seconds' }
  await DeltaTable.open(store, { ...tickDefinition, configuration })
  const writer = await appendTicks(store, tickBatches(3, 100, { symbols: ['A', 'B'] }))
  const [gone] = await filesOf(writer)
  if (!gone) throw new Error('no file')
  const other = async () => {
    const info = { operation: 'WRITE', isBlindAppend: false } as const
    const remove = { path: gone.path, deletionTimestamp: 1, dataChange: true }
    await writer.commit('append', () => ({ info, actions: [{ remove }] }))
    await appendTicks(store, [{ from: 301, to: 401, symbols: ['A', 'B'] }])
    const snapshot = await writer.refresh()
    await writeCheckpoint(store, snapshot, duringMs)
    await cleanUpLog(store, snapshot.properties, Date.now() + 1_000)
  }
  const table = await DeltaTable.openExisting(onPut(store, other))
  if (!table) throw new Error('no table')
  const result = await compactTable(table, policy, at(duringMs))
  t.match(result, { filesAdded: 2, filesRemoved: 5, rows: 250, abandoned: [] })
  t.same(await query(lake, 'select count(*), count(distinct stream_seq) from ticks'), [[350n, 350n]])
})

void t.test('P3.12 a column that is added meanwhile makes it plan anew', async (t) => {
  const lake = lakeOf(t)
  const store = storeBelow(lake, 'ticks/')
  await appendTicks(store, tickBatches(3, 40))
  const wider = {
    ...tickDefinition,
    columns: [...tickDefinition.columns, { name: 'more', type: 'string', nullable: true } as const],
  }
  const table = await DeltaTable.openExisting(onPut(store, () => DeltaTable.open(store, wider)))
  if (!table) throw new Error('no table')
  t.match(await compactTable(table, policy, at(duringMs)), { commits: 1, filesRemoved: 12, abandoned: [] })
  t.same(await query(lake, 'select count(*), count(more) from ticks'), [[120n, 0n]])
})

void t.test('P3.12 objects of many partitions: each keeps its own rows', async (t) => {
  const lake = openMemoryStore()
  const table = await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(40, 20))
  const before = await query(lake, everything)
  const result = await compactTable(table, policy, at(duringMs))
  t.match(result, { commits: 1, filesRemoved: 160, filesAdded: 4, rows: 800, abandoned: [] })
  t.same(await query(lake, everything), before)
})

void t.test('P3.12 appends go on while files are compacted: no row is lost, none comes twice', async (t) => {
  const lake = lakeOf(t)
  const store = storeBelow(lake, 'ticks/')
  const table = await appendTicks(store, tickBatches(10, 50))
  let isAppending = true
  const appending = (async () => {
    for (let from = 501; from < 3_001; from += 50) await appendTicks(store, [{ from, to: from + 50 }])
    isAppending = false
  })()
  let commits = 0
  while (isAppending) commits += (await compactTable(table, policy, at(duringMs))).commits
  await appending
  commits += (await compactTable(table, policy, at(duringMs))).commits
  t.ok(commits > 1, `${commits} commits of compactions`)
  const [sums] = await query(
    lake,
    'select count(*), count(distinct stream_seq), min(stream_seq), max(stream_seq) from ticks',
  )
  t.same(sums, [3_000n, 3_000n, 1n, 3_000n])
  t.equal((await table.refresh()).txns.get(tickAppId)?.version, 3_000)
})
