import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { DuckDb, type DuckDbConfig, type Row } from '../../src/lake/duckdb.ts'
import { encodeParquet } from '../../src/lake/parquet-file.ts'
import { processesOn } from '../support/cli-process.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

function configOf(t: Test, config: Partial<DuckDbConfig> = {}): DuckDbConfig {
  return { folder: tempDir(t), memoryBytes: 100 * 2 ** 20, spillBytesMax: 2 ** 30, ...config }
}

async function start(t: Test, config: Partial<DuckDbConfig> = {}): Promise<DuckDb> {
  const duckDb = await DuckDb.start(configOf(t, config))
  t.teardown(() => duckDb.stop())
  return duckDb
}

async function rowsOf(rows: AsyncIterable<Row[]>): Promise<Row[]> {
  const all: Row[] = []
  for await (const some of rows) all.push(...some)
  return all
}

void t.test('P3.15 values come without losing a digit', async (t) => {
  const duckDb = await start(t)
  const [row] = await duckDb.run(`
    select null, true, 7::integer, 9007199254740993, 170141183460469231731687303715884105727::hugeint, 1.5::double,
      1.5::decimal(18,8), date '2026-11-23', timestamptz '2026-11-23 01:02:03.123456+00', timestamp '1969-12-31 23:59:59',
      ['a', null], {x: 1::bigint}, 'é'`)
  t.same(row, [
    ...[null, true, 7, 9007199254740993n, 170141183460469231731687303715884105727n, 1.5],
    ...['1.50000000', '2026-11-23', '2026-11-23T01:02:03.123456Z', '1969-12-31T23:59:59.000000'],
    ...[['a', null], { x: 1n }, 'é'],
  ])
})

void t.test('P3.15 a query is one statement that reads, and nothing else', async (t) => {
  const duckDb = await start(t)
  await duckDb.run("create table ticks as select range i, 'x' s from range(5000)")
  const { columns, rows } = await duckDb.query('select i, s as "the s" from ticks order by i')
  t.same(columns, [
    { name: 'i', type: 'BIGINT' },
    { name: 'the s', type: 'VARCHAR' },
  ])
  const all = await rowsOf(rows)
  t.equal(all.length, 5_000)
  t.same(all.at(-1), [4_999n, 'x'])
  for (const sql of ['describe ticks', 'summarize ticks', 'with w as (from ticks) from w limit 1', 'values (1)'])
    t.ok((await rowsOf((await duckDb.query(sql)).rows)).length > 0, sql)

  const file = join(tmpdir(), `duckdb-test-${process.pid}`)
  const refused = [
    ...['insert into ticks values (1, null)', 'delete from ticks', 'drop table ticks', 'create table other (i int)'],
    ...[`copy ticks to '${file}'`, `attach '${file}'`, `export database '${file}'`, 'checkpoint', 'set threads = 4'],
    ...[
      'install httpfs',
      'load httpfs',
      'begin',
      `explain analyze copy ticks to '${file}'`,
      'select 1; drop table ticks',
    ],
    ...['selec 1', 'select * from nowhere', 'select ?', ''],
  ]
  for (const sql of refused) await t.rejects(duckDb.query(sql), { code: 'USAGE' }, sql)
  t.notOk(existsSync(file), 'nothing was written')
  t.same(await duckDb.run('select count(*) from ticks'), [[5_000n]])
})

void t.test('P3.15 what does not fit memory and folder is an error, and DuckDB goes on', async (t) => {
  const duckDb = await start(t, { memoryBytes: 32 * 2 ** 20, spillBytesMax: 2 ** 20 })
  const sql = 'create temporary table big as select range, hash(range) from range(10_000_000)'
  await t.rejects(duckDb.run(sql), { code: 'LAKE_DUCKDB' })
  t.same(await duckDb.run('select 1'), [[1]])
})

void t.test('P3.15 a process that was killed is an error, to be tried again', async (t) => {
  const config = configOf(t)
  const stopping = new AbortController()
  const duckDb = await DuckDb.start(config, stopping.signal)
  await duckDb.run('select 1')
  const running = duckDb.run('select count(*) from range(1_000_000_000_000)')
  stopping.abort()
  const error: unknown = await running.catch((cause: unknown) => cause)
  t.ok(isPipelineError(error, 'LAKE_DUCKDB') && error.retriable)
  await t.rejects(duckDb.run('select 1'), { code: 'LAKE_DUCKDB' })
  await duckDb.stop()
  t.same(processesOn(config.folder), [])
})

void t.test('P3.12 a file that has taken the name of another is read as it is', async (t) => {
  const config = configOf(t)
  const duckDb = await start(t, config)
  const path = join(config.folder, 'file.parquet')
  const hex = (bytes: number) => randomBytes(bytes).toString('hex')
  const [short, long] = [hex(500), hex(1_000)]
  const columns = ['a', 'b'].map((name) => ({ name, type: 'string', nullable: false }) as const)
  const sizes = new Set<number>()
  for (const row of [
    [short, long],
    [long, short],
  ]) {
    const file = encodeParquet(columns, { partitionValues: {}, columns: row.map((text) => [text]), rows: 1 })
    sizes.add(file.length)
    writeFileSync(path, file)
    t.same(await duckDb.run(`from '${path}'`), [row])
    rmSync(path)
  }
  t.equal(sizes.size, 1, 'they look alike')
})

void t.test('P3.12 DuckDB ends with its parent, in mid-query too, and its folder goes', async (t) => {
  const config = configOf(t)
  const script = `
    const { DuckDb } = await import(${JSON.stringify(new URL('../../src/lake/duckdb.ts', import.meta.url).href)})
    const duckDb = await DuckDb.start(${JSON.stringify(config)})
    await duckDb.run('select 1')
    void duckDb.run('select count(*) from range(1_000_000_000_000)')
    console.log('running')`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(parent.stdout, 'data')
  t.ok(processesOn(config.folder, parent.pid).some((line) => line.includes('duckdb-child')))
  parent.kill('SIGKILL')
  await until('it to end', () => processesOn(config.folder).length === 0 && !existsSync(config.folder), 5_000)
})
