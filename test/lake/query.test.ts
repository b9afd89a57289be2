import { mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import type { Row } from '../../src/lake/duckdb.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { queryLake, type QueriedTable, type QueryOptions } from '../../src/lake/query.ts'
import { type ObjectStore, storeBelow } from '../../src/lake/store.ts'
import { askReaders } from '../support/lake-readers.ts'
import { tempDir } from '../support/temp-dir.ts'
import { appendTicks, firstDay, tickBatches, tickDefinition, tickRows } from './tick-table.ts'

interface Answer {
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
  readonly tables: readonly QueriedTable[]
}

async function query(lake: ObjectStore, sql: string, options: Partial<QueryOptions> = {}): Promise<Answer> {
  const result = await queryLake(lake, sql, { temporaryBytesMax: 2 ** 30, ...options })
  const { columns, rows, tables } = result
  try {
    const all: Row[] = []
    for await (const some of rows) all.push(...some)
    return { columns: columns.map(({ name, type }) => `${name} ${type}`), rows: all, tables }
  } finally {
    await result.close()
  }
}

async function localLake(t: Test, folder = tempDir(t)): Promise<ObjectStore> {
  const lake = openLocalStore(folder)
  await lake.check()
  return lake
}

const secondDay = '2026-11-21'
const daysOfTicks = [...tickBatches(2, 40), { from: 81, to: 121, dt: secondDay }]

// Other tests may use the machine's own at the same time.
const temporary = tempDir(t)
process.env['TMPDIR'] = temporary
const leftovers = () => readdirSync(tmpdir()).filter((name) => name.startsWith('trade2026-lake-'))

void t.test(
  'P3.15 a view a table: every type, partition columns from the log, only the files that matter',
  async (t) => {
    const before = leftovers()
    for (const lake of [await localLake(t, join(tempDir(t), 'a [b]*?')), openMemoryStore()]) {
      await appendTicks(storeBelow(lake, 'ticks/'), daysOfTicks)
      const { columns, rows } = await query(lake, 'select * from ticks where stream_seq in (1, 43) order by stream_seq')
      t.same(columns, [
        ...[
          'stream_seq BIGINT',
          'event_ts TIMESTAMP WITH TIME ZONE',
          'symbol VARCHAR',
          'price DOUBLE',
          'amount DECIMAL(18,8)',
        ],
        ...[
          'fee DECIMAL(38,18)',
          'note VARCHAR',
          'tags VARCHAR[]',
          'is_own BOOLEAN',
          'level INTEGER',
          'settles DATE',
          'dt DATE',
        ],
      ])
      t.same(rows[0], [
        ...[
          1n,
          '2026-11-20T00:00:00.001001Z',
          'EUR/USD',
          45_000.125,
          '0.12345678',
          '9999999999999999999.999999999999999999',
        ],
        ...['\u{1f600}1', [], false, -4, '2026-11-19', firstDay],
      ])
      t.same(rows[1]?.slice(0, 4), [43n, '2026-11-20T00:00:00.043043Z', null, 45_005.375])

      const counted = async (where: string) => {
        const answer = await query(lake, `select count(*) from ticks where ${where}`)
        return [Number(answer.rows[0]?.[0]), answer.tables[0]?.filesRead]
      }
      t.same(await counted('true'), [120, 12])
      t.same(await counted(`dt = '${secondDay}'`), [40, 4])
      t.same(await counted(`symbol = '100% é' and dt < '${secondDay}'`), [20, 2])
      t.same(await counted('symbol is null'), [30, 12], 'what cannot be told from the log is read')
      t.same(await counted('stream_seq between 10 and 20'), [11, 4])
      t.same(await counted("dt > date '2027-01-01'"), [0, 0])
    }
    t.same(leftovers(), before, 'no temporary files are left')
  },
)

void t.test('P3.15 several tables in one query, and what is no table', async (t) => {
  const lake = await localLake(t)
  await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(1, 40))
  await appendTicks(storeBelow(lake, 'Other ticks/'), tickBatches(1, 20))
  await lake.put('_health/tick-sink', new Uint8Array())
  const sql =
    'with n as (select stream_seq from "other ticks") select count(*) from ticks semi join n using (stream_seq)'
  const { rows, tables } = await query(lake, sql)
  t.same(rows, [[20n]])
  t.same(
    tables.map(({ name, version }) => `${name} ${version}`),
    ['Other ticks 1', 'ticks 1'],
  )
  t.same((await query(lake, 'select 1 as one')).rows, [[1]])
  t.match((await query(lake, 'describe ticks')).rows[0], ['stream_seq', 'BIGINT'])
  await t.rejects(query(lake, 'select * from tocks'), { code: 'USAGE', message: /has the tables Other ticks, ticks/ })
  await t.rejects(query(lake, 'select nothing from ticks'), { code: 'USAGE', message: /nothing/ })
})

void t.test('P3.15 a query can only read, and only the files of its tables', async (t) => {
  const lake = await localLake(t)
  await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(1, 40))
  const secret = join(lake.uri, 'secret.csv')
  writeFileSync(secret, 'a\n1\n')
  const written = join(lake.uri, 'ticks/written.csv')
  const refused = [
    ...[`select * from read_csv('${secret}')`, `select * from read_text('/etc/passwd')`, `from '${secret}'`],
    ...[`select * from glob('${lake.uri}/*')`, `copy ticks to '${written}'`, `copy (from ticks) to '${written}'`],
    ...['delete from ticks', 'insert into ticks select * from ticks', 'drop view ticks', `attach '${lake.uri}/x.db'`],
    ...[
      'set enable_external_access = true',
      'reset lock_configuration',
      'install httpfs',
      'load httpfs',
      "select * from 'https://127.0.0.1/x.parquet'",
    ],
    ...[
      'create table x as from ticks',
      'explain analyze from ticks',
      'begin',
      'select 1; select 2',
      'pragma version',
      'call duckdb_functions()',
    ],
    ...[
      `export database '${lake.uri}/x'`,
      `import database '${lake.uri}/x'`,
      `select * from read_json('${secret}')`,
      '',
      '--',
    ],
  ]
  const before = readdirSync(join(lake.uri, 'ticks'))
  for (const sql of refused) await t.rejects(query(lake, sql), { code: 'USAGE' }, sql)
  t.same(readdirSync(join(lake.uri, 'ticks')), before)
  t.same(
    (
      await query(
        lake,
        "select current_setting('enable_external_access'), current_setting('lock_configuration') from ticks limit 1",
      )
    ).rows,
    [[false, true]],
  )
})

void t.test('P3.15 a column that was added is null in files from before, a removed file is not read', async (t) => {
  const lake = await localLake(t)
  const store = storeBelow(lake, 'ticks/')
  await appendTicks(store, tickBatches(1, 20, { symbols: ['A'] }))
  const wider = {
    ...tickDefinition,
    columns: [...tickDefinition.columns, { name: 'more', type: 'string', nullable: true } as const],
  }
  const table = await DeltaTable.open(store, wider)
  const [rows] = tickRows({ from: 21, to: 41, symbols: ['A'] })
  if (!rows) throw new Error('no rows')
  const columns = [...rows.columns, Array.from({ length: 20 }, () => 'new')]
  await table.append([{ ...rows, columns }], { appId: 'other', version: 1, expected: undefined })
  t.same((await query(lake, 'select more, count(*) from ticks group by more order by 2, 1')).rows, [
    ['new', 20n],
    [null, 20n],
  ])
  t.equal(
    (await query(lake, 'select * from ticks', { version: 1 })).columns.length,
    12,
    'before there was no such column',
  )
})

void t.test('P3.15 a version, and a time', async (t) => {
  const lake = await localLake(t)
  const store = storeBelow(lake, 'ticks/')
  await appendTicks(store, tickBatches(6, 20))
  t.same((await query(lake, 'select count(*) from ticks', { version: 2 })).rows, [[40n]])
  await t.rejects(query(lake, 'select count(*) from ticks', { version: 7 }), { code: 'LAKE_VERSION_MISSING' })
  await t.rejects(query(lake, 'select 1', { version: 1 }), { code: 'USAGE', message: /a version is that of one table/ })

  for (const version of [0, 1, 2, 3, 4, 5, 6])
    utimesSync(join(store.uri, commitKey(version)), 1_000 + version, 1_000 + version)
  t.same((await query(lake, 'select count(*) from ticks', { timestampMs: 1_004_999 })).rows, [[80n]])
})

void t.test('P3.15 what is copied from a store elsewhere is bounded, and what is gone is named', async (t) => {
  const lake = openMemoryStore()
  const table = await appendTicks(storeBelow(lake, 'ticks/'), daysOfTicks)
  const limits = { temporaryBytesMax: 2 ** 14 }
  await t.rejects(query(lake, 'select * from ticks', limits), {
    code: 'LAKE_QUERY_LIMIT',
    message: /say which symbol, dt/,
  })
  t.same(
    (await query(lake, `select count(*) from ticks where dt = '${secondDay}' and symbol = 'BTCUSDT'`, limits)).rows,
    [[10n]],
  )
  const keys: string[] = []
  for await (const { key } of table.store.list('symbol=BTCUSDT/')) keys.push(key)
  await table.store.delete(keys)
  await t.rejects(query(lake, 'select * from ticks'), { code: 'LAKE_FILE_MISSING', message: /BTCUSDT/ })

  const local = await localLake(t)
  await appendTicks(storeBelow(local, 'ticks/'), tickBatches(1, 40))
  rmSync(join(local.uri, 'ticks/symbol=BTCUSDT'), { recursive: true })
  await t.rejects(query(local, 'select * from ticks'), { code: 'LAKE_FILE_MISSING', message: /BTCUSDT/ })
})

void t.test('P3.15 whoever is interrupted leaves nothing behind', async (t) => {
  const lake = await localLake(t)
  await appendTicks(storeBelow(lake, 'ticks/'), tickBatches(1, 40))
  const before = leftovers()
  const interrupt = new AbortController()
  const onProgress = (step: string) => {
    if (step === 'running the query') setTimeout(() => interrupt.abort(), 50)
  }
  const sql = 'select sum(a.stream_seq * b.i) from ticks a, range(1_000_000_000) b(i)'
  await t.rejects(query(lake, sql, { signal: interrupt.signal, onProgress }), { code: 'LAKE_DUCKDB' })
  t.same(leftovers(), before)
})

void t.test('P3.15 deltalake, Polars and DuckDB see the same rows as a query', async (t) => {
  const lake = await localLake(t)
  await appendTicks(storeBelow(lake, 'ticks/'), daysOfTicks)
  mkdirSync(join(lake.uri, 'ticks'), { recursive: true })
  t.ok(statSync(join(lake.uri, 'ticks/_delta_log')).isDirectory())
  const sql = 'select symbol, dt, count(*) as n, sum(stream_seq) as s from ticks group by all order by all'
  const ours = (await query(lake, sql)).rows.map((row) =>
    row.map((cell) => (cell === null ? null : String(cell as string | bigint))),
  )
  const theirSql = 'select symbol, dt, count(*) as n, sum(stream_seq) as s from t group by symbol, dt'
  const [answer] = await askReaders([{ uri: join(lake.uri, 'ticks'), sql: theirSql, engines: ['deltalake', 'duckdb'] }])
  for (const engine of ['deltalake', 'duckdb'] as const) {
    const seen = answer?.[engine]
    if (!seen || 'error' in seen) throw new Error(JSON.stringify(seen))
    const rows = seen.rows.map(({ symbol, dt, n, s }) => [symbol, dt, n, s])
    const inOrder = (list: readonly (readonly unknown[])[]) => list.map((row) => JSON.stringify(row)).sort()
    t.same(inOrder(rows), inOrder(ours), engine)
  }
})
