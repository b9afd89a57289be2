import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import { storeBelow } from '../../src/lake/store.ts'
import { appIdOf } from '../../src/runtime/sink-position.ts'
import { appendTicks, tickBatches, tickRows } from '../lake/tick-table.ts'
import { runCli, startCli, type CliResult } from '../support/cli.ts'
import { processesOn } from '../support/cli-process.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

interface TestLake {
  readonly folder: string
  readonly table: DeltaTable
  readonly run: (...args: string[]) => Promise<CliResult>
  readonly json: (...args: string[]) => Promise<unknown>
}

/** A data folder whose lake has one table of 120 rows in 12 files. */
async function testLake(t: Test, env: Readonly<Record<string, string>> = {}): Promise<TestLake> {
  const dataDir = tempDir(t)
  const folder = join(dataDir, 'lake')
  mkdirSync(folder)
  const table = await appendTicks(storeBelow(openLocalStore(folder), 'market_ticks/'), tickBatches(3, 40))
  const run = (...args: string[]) => runCli(['lake', ...args, '--data-dir', dataDir], { LAKE_URI: '', ...env })
  const json = async (...args: string[]) => {
    const { stdout, stderr } = await run(...args, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as unknown
  }
  return { folder, table, run, json }
}

void t.test('P3.15 `lake ls`, `describe` and `history` show tables, versions and commits', async (t) => {
  const { folder, run, json } = await testLake(t)
  const ls = await run('ls')
  t.match(ls, { code: 0, stderr: '' })
  t.match(ls.stdout, /^table +version +rows +files +bytes .*\nmarket_ticks +3 +120 +12 .* symbol, dt +20\d\d-/)
  t.match(await json('ls'), {
    uri: folder,
    tables: [{ table: 'market_ticks', version: 3, rows: 120, files: 12, partitions: 4 }],
  })
  t.match(await runCli(['lake', 'ls', '--uri', `file://${folder}`]), { code: 0, stdout: ls.stdout })
  t.match(await runCli(['lake', 'ls'], { LAKE_URI: folder }), { code: 0, stdout: ls.stdout })

  const described = await run('describe', 'market_ticks')
  t.match(
    described.stdout,
    /version +3\nrows +120 in 12 files of [\d.]+ KiB, 4 partitions\n.*protocol +reader 1, writer 2\n/s,
  )
  t.match(
    described.stdout,
    /\nstream_seq +long +no +place in the stream\n.*\ntags +array<string> +yes\n.*\ndt +date +yes +partition\n/s,
  )
  t.match(described.stdout, /\nTICKS@2026-11-20T00:00:00Z\/ticks +120 /)
  t.match(await json('describe', 'market_ticks', '--version', '1'), {
    ...{ table: 'market_ticks', version: 1, files: 4, rows: 40, partitionColumns: ['symbol', 'dt'] },
    protocol: { minReaderVersion: 1, minWriterVersion: 2 },
    transactions: [{ appId: 'TICKS@2026-11-20T00:00:00Z/ticks', version: 40 }],
    columns: [
      { name: 'stream_seq', type: 'long', nullable: false, isPartition: false, comment: 'place in the stream' },
    ],
  })

  const history = await run('history', 'market_ticks', '--limit', '2')
  t.match(history.stdout.split('\n').slice(1), [
    /^ +3 +20.* WRITE +40 +4 +0 .* 81 +120 +0 +0$/,
    /^ +2 .* 41 +80 /,
    /^$/,
  ])
  t.match(await json('history', 'market_ticks'), {
    table: 'market_ticks',
    commits: [
      { version: 3, info: { operation: 'WRITE', firstStreamSeq: 81 }, txns: [{ version: 120 }] },
      {},
      {},
      { version: 0, info: { operation: 'CREATE TABLE' } },
    ],
  })
  rmSync(join(folder, 'market_ticks'), { recursive: true })
  t.match(await run('ls'), { code: 0, stdout: /^no tables in / })
})

void t.test('P3.15 `lake query` prints tables, CSV and JSON, of a version or a time', async (t) => {
  const { table, run, json } = await testLake(t)
  const sql =
    'select stream_seq, symbol, fee, note, tags, price from market_ticks where stream_seq in (1, 3) order by 1'
  const shown = await run('query', sql)
  t.match(shown, { code: 0, stderr: 'trade2026: 2 rows\n' })
  t.equal(
    shown.stdout.split('\n')[1],
    '         1  EUR/USD  9999999999999999999.999999999999999999  \u{1f600}1   []          45000.125',
  )
  t.equal(
    (await run('query', '--csv', sql)).stdout,
    [
      'stream_seq,symbol,fee,note,tags,price',
      '1,EUR/USD,9999999999999999999.999999999999999999,\u{1f600}1,[],45000.125',
      '3,,9999999999999999999.999999999999999997,,"[""t3"",""x""]",45000.375',
      '',
    ].join('\r\n'),
  )
  const { stdout } = await run('query', '--json', sql)
  t.match(stdout, '"rows":[{"stream_seq":1,"symbol":"EUR/USD","fee":9999999999999999999.999999999999999999,')
  t.match(JSON.parse(stdout), {
    tables: [{ name: 'market_ticks', version: 3, filesInTable: 12, filesRead: 3 }],
    columns: [{ name: 'stream_seq', type: 'BIGINT' }],
    rows: [
      { symbol: 'EUR/USD', tags: [] },
      { symbol: null, note: null, tags: ['t3', 'x'] },
    ],
  })
  t.match(await json('query', "select 'nan'::double as n, null as nothing, {'a': [1.5]} as s"), {
    rows: [{ n: 'NaN', nothing: null, s: { a: ['1.5'] } }],
  })
  t.match(
    (await run('query', '--csv', "select '' as empty, null as nothing, 'a\"b' as quote")).stdout,
    '\r\n"",,"a""b"\r\n',
  )

  const count = 'select count(*) as n from market_ticks'
  t.match(await json('query', count, '--version', '2'), { rows: [{ n: 80 }] })
  for (const version of [0, 1, 2, 3]) {
    const seconds = Date.parse('2026-11-20T00:00:00Z') / 1_000 + version
    utimesSync(join(table.store.uri, commitKey(version)), seconds, seconds)
  }
  t.match(await json('query', count, '--timestamp', '2026-11-20T00:00:01.500Z'), { rows: [{ n: 40 }] })
  t.match(await json('query', count, '--timestamp', '1795132802'), { rows: [{ n: 80 }] })

  const refused = async (code: number, text: RegExp, ...args: string[]) =>
    t.match(await run('query', ...args), { code, stdout: '', stderr: text }, args.join(' '))
  await refused(64, /USAGE: DuckDB: .*"selec"/, 'selec 1')
  await refused(64, /USAGE: DuckDB: Only SELECT/, 'delete from market_ticks')
  await refused(64, /no table|does not exist.*\(.* has the tables market_ticks\)/s, 'from ticks')
  await refused(64, /--timestamp must be RFC 3339/, count, '--timestamp', 'yesterday')
  await refused(64, /cannot be used with/, count, '--timestamp', '1', '--version', '1')
  await refused(64, /cannot be used with/, count, '--csv', '--json')
  await refused(1, /LAKE_VERSION_MISSING: .* has no version 9: the newest is 3/, count, '--version', '9')
  const long = await run('query', 'select range as i from range(10_001)')
  t.equal(long.stdout.split('\n').length, 10_002)
  t.match(long.stderr, 'only the first 10000 rows are shown; --csv and --json give all')
})

void t.test('P3.15 Ctrl-C ends a query at once and leaves nothing behind', async (t) => {
  const temporary = mkdtempSync(join(tempDir(t), 'tmp-'))
  const { folder } = await testLake(t)
  const sql = 'select sum(a.stream_seq * b.i) from market_ticks a, range(1_000_000_000) b(i)'
  const run = startCli(t, ['lake', 'query', sql, '--uri', folder], { TMPDIR: temporary })
  const runs = () => processesOn(temporary).some((line) => line.includes('duckdb-child'))
  await until('DuckDB to run', () => runs() && readdirSync(temporary).length > 0, 20_000)
  t.equal(await run.interrupt(), 130)
  await until('DuckDB to end', () => !runs(), 5_000)
  t.same(readdirSync(temporary), [])
})

void t.test('P3.15 `lake check` prints the first difference and fails', async (t) => {
  const { folder, table, run, json } = await testLake(t)
  const whole = await run('check')
  t.match(whole, { code: 0 })
  t.equal(whole.stdout.split('\n').filter((line) => /^market_ticks +3 .* 0 +ok$/.test(line)).length, 4)
  t.match(await json('check', 'market_ticks'), {
    ok: true,
    tables: [
      {
        table: 'market_ticks',
        version: 3,
        rows: 120,
        checks: [{ name: 'files', ok: true, compared: 12, differences: 0, first: null }],
      },
    ],
  })
  const extras = { firstStreamSeq: 121, lastStreamSeq: 170, duplicates: 5, deadLetters: 4, empty: 0 }
  await table.append(tickRows({ from: 131, to: 171 }), { appId: 'x', version: 170, expected: undefined, extras })
  const failed = await run('check')
  t.match(failed, { code: 1 })
  t.match(
    failed.stdout,
    /sequences .* 170 +1 +not ok, first: stream_seq 121 to 170: version 4 counts 9 .*, and 10 have no rows\n/,
  )
  appendFileSync(join(folder, 'market_ticks', commitKey(3)), '{"remove":')
  t.match(await run('check'), { code: 1, stderr: /LAKE_LOG_UNREADABLE: .*version 3/ })
})

void t.test('P3.12 `lake optimize` and `lake vacuum`', async (t) => {
  const { folder, run, json } = await testLake(t)
  const before = await json('query', 'select * from market_ticks order by stream_seq')
  const optimized = await run('optimize')
  t.match(optimized, { code: 0, stdout: /\nmarket_ticks +4 +12 +4 .* 120 +[\d.]+\n/ })
  const rowsOf = (document: unknown) => (document as { rows: unknown[] }).rows
  t.same(rowsOf(await json('query', 'select * from market_ticks order by stream_seq')), rowsOf(before))
  t.match(await json('optimize', 'market_ticks'), {
    ok: true,
    tables: [{ table: 'market_ticks', filesRemoved: 0, commits: 0 }],
  })

  t.match(await run('vacuum', '--retention-hours', '0.5'), { code: 64, stderr: /below one hour/ })
  t.match(await run('vacuum', '--retention-hours', '-1'), { code: 64, stderr: /a number of hours, 0 or more/ })
  const stray = join(folder, 'market_ticks/symbol=A/stray.parquet')
  mkdirSync(dirname(stray))
  writeFileSync(stray, 'x'.repeat(5_000))
  utimesSync(stray, 1_000, 1_000)
  const dry = await run('vacuum', '--dry-run')
  t.match(
    dry.stdout,
    /^table +bytes +written +file\nmarket_ticks +5000 +1970-01-01T00:16:40 +symbol=A\/stray.parquet\n\n.*\nmarket_ticks +1 +4.9 KiB +168 h\n$/s,
  )
  t.match(await json('vacuum'), {
    dryRun: false,
    tables: [{ table: 'market_ticks', files: 1, bytes: 5_000, deleted: [{ key: 'symbol=A/stray.parquet' }] }],
  })
  t.match(await run('vacuum', '--retention-hours', '0', '--force'), { code: 0, stdout: /\nmarket_ticks +12 .* 0 h\n/ })
  t.match(await run('check'), { code: 0 })
})

void t.test('P3.15 what is no lake is named, with the remedy', async (t) => {
  const { folder, run } = await testLake(t)
  t.match(await run('describe', 'nope'), { code: 64, stderr: /no table nope in .*; there are market_ticks/ })
  t.match(await run('optimize', 'market_ticks', 'nope'), { code: 64, stderr: /no table nope/ })
  t.match(await runCli(['lake', 'ls', '--uri', join(folder, 'market_ticks')]), {
    code: 64,
    stderr: /is a table; name the lake/,
  })
  t.match(await runCli(['lake', 'ls', '--uri', join(folder, 'nowhere')]), {
    code: 69,
    stderr: /LAKE_STORE_UNAVAILABLE: .*nowhere.*--uri, LAKE_URI or --data-dir/,
  })
  t.match(await runCli(['lake', 'ls', '--uri', 'hdfs://x/y']), { code: 64, stderr: /CONFIG_INVALID/ })
  t.match(await runCli(['--version']), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
})

void t.test('P3.15 `lake adopt` lets a table go on with another stream', async (t) => {
  const server = await startTestNats(t)
  const { table, run, json } = await testLake(t, { NATS_URL: server.url })
  const nats = await connectTestNats(t, server.url)
  const make = async (firstSequence: number, messages: number) => {
    await nats.jsm.streams.delete('TICKS').catch(() => undefined)
    const { config } = await nats.jsm.streams.add({
      name: 'TICKS',
      subjects: ['market.tick.>'],
      first_seq: firstSequence,
    })
    for (let count = 0; count < messages; count += 1) await nats.js.publish('market.tick.X.A', '{}')
    return (await nats.jsm.streams.info(config.name)).created
  }
  const transactions = async () => (await table.refresh()).txns

  const behind = await make(131, 5)
  const appId = appIdOf('TICKS', behind, 'market_ticks')
  const asked = await run('adopt', 'market_ticks')
  t.match(asked, { code: 64, stderr: /nothing was done: say --yes/ })
  t.match(
    asked.stdout,
    /^market_ticks gets the transaction TICKS@.*\/market_ticks, up to 130\.\nIts sink goes on with sequence 131 of TICKS, which has 131 to 135\.\nSequences 121 to 130 never come into the table\.\n$/,
  )
  t.equal((await transactions()).has(appId), false)
  t.match(await run('adopt', 'market_ticks', '--yes'), { code: 0, stderr: /done in version 4/ })
  t.match((await transactions()).get(appId), { version: 130 })
  t.match(await run('adopt', 'market_ticks', '--yes'), { code: 0, stdout: /nothing to do/ })
  t.match(await json('check'), { ok: true }, 'what was given up is counted')

  const anew = await make(1, 200)
  const refused = await run('adopt', 'market_ticks', '--yes')
  t.match(refused, { code: 64, stdout: '' })
  t.match(
    refused.stderr,
    /sequences 1 to 200, and market_ticks holds what came up to 130\..*--restored .*--sequence 0 .*first_seq 131/,
  )
  t.match(await json('adopt', 'market_ticks', '--sequence', '0', '--yes'), {
    stream: 'TICKS',
    created: anew,
    sequence: 0,
    before: null,
    version: 5,
    changed: true,
  })
  t.match((await transactions()).get(appIdOf('TICKS', anew, 'market_ticks')), { version: 0 })

  await nats.jsm.streams.purge('TICKS', { seq: 151 })
  t.match(await run('adopt', 'market_ticks', '--yes'), { code: 0, stderr: /done in version 6/ }, 'a gap')
  t.match((await transactions()).get(appIdOf('TICKS', anew, 'market_ticks')), { version: 150 })
  await nats.js.publish('market.tick.X.B', '{}')
  await nats.js.publish('market.tick.X.A', '{}')
  await nats.jsm.streams.purge('TICKS', { filter: 'market.tick.X.B' })
  const gapsId = `${appIdOf('TICKS', anew, 'market_ticks')}/gaps`
  const middle = await run('adopt', 'market_ticks', '--yes')
  t.match(middle, { code: 0, stdout: /Of what follows up to 202, messages that are gone never come/ })
  t.match((await transactions()).get(gapsId), { version: 202 })
  t.match(await run('adopt', 'market_ticks', '--yes'), { code: 0, stdout: /nothing to do/ })
  await nats.jsm.streams.purge('TICKS', { filter: 'market.tick.X.A' })
  t.match(await run('adopt', 'market_ticks', '--yes'), { code: 0 }, 'everything is gone')
  t.match((await transactions()).get(appIdOf('TICKS', anew, 'market_ticks')), { version: 202 })

  await make(1, 201)
  t.match(await run('adopt', 'market_ticks', '--restored', '--yes'), {
    code: 64,
    stderr: /TICKS ends at 201, and market_ticks holds what came up to 202: restore/,
  })
  const restored = await make(1, 203)
  t.match(await json('adopt', 'market_ticks', '--restored', '--yes'), { sequence: 202, changed: true })
  t.match((await transactions()).get(appIdOf('TICKS', restored, 'market_ticks')), { version: 202 })

  t.match(await run('adopt', 'nope', '--yes'), { code: 64, stderr: /say whose stream it is with --stream/ })
  t.match(await run('adopt', 'nope', '--stream', 'TICKS'), { code: 64, stderr: /no table nope/ })
  t.match(await run('adopt', 'market_ticks', '--stream', 'ALT'), { code: 69, stderr: /no stream ALT/ })
})
