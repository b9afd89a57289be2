import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { rfc3339FromUs } from '../../src/base/clock.ts'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import { storeBelow } from '../../src/lake/store.ts'
import { appIdOf } from '../../src/runtime/sink-position.ts'
import { appendTicks, firstDay, tickBatches } from '../lake/tick-table.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { checkLake } from '../support/lake.ts'
import { type ReaderRequest, readTables } from '../support/lake-readers.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { connectTestNats, startTestNats } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

const secondDay = '2026-11-21'

interface MinioLake {
  readonly table: DeltaTable
  readonly access: Readonly<Record<string, string>>
  readonly run: (...args: string[]) => Promise<CliResult>
  readonly json: <T = unknown>(...args: string[]) => Promise<T>
  /** Every key below the table, without the log. */
  readonly files: () => Promise<string[]>
  /** By delta-rs. */
  readonly read: (requests?: readonly Partial<ReaderRequest>[]) => ReturnType<typeof readTables>
  /** Where commands put what they need for a while. */
  readonly temporary: string
}

/** A bucket whose `desk` has one table of 120 rows in 12 files, those of one commit on a second day. */
async function minioLake(t: Test, env: Readonly<Record<string, string>> = {}): Promise<MinioLake> {
  const minio = await startTestMinio(t)
  const { LAKE_URI: bucket, ...keys } = minio.access
  const store = storeBelow(openTestMinio(t, minio, { prefix: 'desk' }), 'market_ticks/')
  const table = await appendTicks(store, [...tickBatches(2, 40), { from: 81, to: 121, dt: secondDay }])
  const temporary = mkdtempSync(join(tempDir(t), 'tmp-'))
  const access = { ...keys, LAKE_URI: `${bucket}/desk` }
  const run = (...args: string[]) => runCli(['lake', ...args], { ...access, ...env, TMPDIR: temporary })
  const storageOptions = { ...keys, AWS_ALLOW_HTTP: 'true' }
  return {
    ...{ table, access, run, temporary },
    json: async <T>(...args: string[]) => {
      const { stdout, stderr } = await run(...args, '--json')
      if (stdout === '') throw new Error(stderr)
      return JSON.parse(stdout) as T
    },
    files: async () => {
      const keys: string[] = []
      for await (const { key } of store.list('')) if (!key.startsWith('_')) keys.push(key)
      return keys
    },
    read: (requests = [{}]) =>
      readTables(
        requests.map((request) => ({
          uri: `${bucket}/desk/market_ticks`,
          storageOptions,
          engines: ['deltalake', 'duckdb'],
          ...request,
        })),
      ),
  }
}

const count = 'select count(*)::integer as n from market_ticks'

void t.test('P3.15 on MinIO: `lake ls`, `describe` and `history`; `query` at a version or a time', async (t) => {
  const { table, run, json, read, temporary, access } = await minioLake(t)
  t.match(await json('ls'), {
    uri: access['LAKE_URI'],
    tables: [{ table: 'market_ticks', version: 3, rows: 120, files: 12 }],
  })
  t.match(await json('describe', 'market_ticks', '--version', '1'), { version: 1, files: 4, rows: 40 })
  t.match(await json('history', 'market_ticks', '--limit', '1'), {
    commits: [{ version: 3, info: { operation: 'WRITE', firstStreamSeq: 81, lastStreamSeq: 120 } }],
  })
  t.match(await run('ls', '--uri', 's3://elsewhere'), { code: 69, stderr: /no such bucket \(NoSuchBucket 404/ })
  t.match(await run('ls', '--uri', `${access['LAKE_URI']}/market_ticks`), { code: 64, stderr: /is a table; name/ })

  t.match(await json('query', count), { rows: [{ n: 120 }] })
  t.match(await json('query', count, '--version', '2'), { rows: [{ n: 80 }] })
  const times: number[] = []
  for await (const { key, modifiedMs } of table.store.list('_delta_log/'))
    if ([commitKey(1), commitKey(2)].includes(key)) times.push(modifiedMs)
  const readings = await read(times.map((timestampMs) => ({ timestampMs, engines: [] })))
  for (const [index, timeMs] of times.entries()) {
    const version = index + 1
    t.equal(readings[index]?.log.version, version, 'deltalake takes this version at that time')
    t.match(await json('query', count, '--timestamp', rfc3339FromUs(timeMs * 1_000)), {
      rows: [{ n: version * 40 }],
      tables: [{ version, filesRead: version * 4 }],
    })
  }

  const bytes = 2 ** 13
  t.match(await run('query', '--temporary-bytes', String(bytes), 'from market_ticks'), {
    code: 1,
    stderr: /LAKE_QUERY_LIMIT: the query reads \d+ bytes from s3:.* say which symbol, dt, or allow more/,
  })
  const where = `dt = '${secondDay}' and symbol = 'BTCUSDT'`
  const pruned = await json<{ tables: readonly { bytesRead: number }[] }>(
    ...['query', '--temporary-bytes', String(bytes), `${count} where ${where}`],
  )
  t.match(pruned, { rows: [{ n: 10 }], tables: [{ filesInTable: 12, filesRead: 1 }] })
  t.ok((pruned.tables[0]?.bytesRead ?? bytes) < bytes)
  t.same(readdirSync(temporary), [], 'copies are removed')
})

void t.test('P3.12 on MinIO: `lake optimize`, then `vacuum`, and the rows stay what they are', async (t) => {
  const { table, run, json, files, read, temporary, access } = await minioLake(t)
  const rowsOf = async () => {
    const [reading] = await read()
    return reading?.engines.map(({ rows }) => rows.map((row) => JSON.stringify(row)).sort())
  }
  const before = await rowsOf()
  t.same(
    before?.map(({ length }) => length),
    [120, 120],
  )
  const sources = await files()
  t.equal(sources.length, 12)

  t.match(await json('optimize'), {
    ok: true,
    tables: [{ table: 'market_ticks', version: 4, filesRemoved: 8, filesAdded: 4, rows: 80, abandoned: [] }],
  })
  t.match(await json('optimize'), { ok: true, tables: [{ commits: 0, filesRemoved: 0 }] })
  t.equal((await files()).length, 16, 'what older versions need stays')
  t.same(await rowsOf(), before, 'others read the same rows')
  t.match(await json('query', count, '--version', '3'), { rows: [{ n: 120 }] })

  await table.store.put(`symbol=BTCUSDT/dt=${firstDay}/stray.parquet`, Buffer.from('left by a writer that died'))
  t.match(await json('vacuum'), { tables: [{ files: 0 }] }, 'all is young')
  t.match(await run('vacuum', '--retention-hours', '0'), { code: 64, stderr: /below one hour.*--force/ })
  const vacuum = ['vacuum', '--retention-hours', '0', '--force']
  const dry = await json<{ tables: readonly { deleted: readonly { key: string }[] }[] }>(...vacuum, '--dry-run')
  t.match(dry, { dryRun: true, tables: [{ files: 9, version: undefined }] })
  t.equal((await files()).length, 17, 'a dry run deletes nothing')
  t.match(await json(...vacuum), { dryRun: false, tables: [{ files: 9, version: 6 }] })
  const left = await files()
  t.equal(left.length, 8)
  const deleted = dry.tables[0]?.deleted.map(({ key }) => key) ?? []
  t.same(
    deleted.filter((key) => left.includes(key)),
    [],
    'what the dry run named is gone',
  )

  await checkLake(t, access, { market_ticks: 120 })
  t.same(await rowsOf(), before, 'others read the same rows')
  t.match(await run('query', count, '--version', '3'), { code: 1, stderr: /LAKE_FILE_MISSING: s3:.*symbol=/ })
  await appendTicks(table.store, [{ from: 121, to: 161 }])
  await checkLake(t, access, { market_ticks: 160 })
  t.same(readdirSync(temporary), [], 'copies are removed')
})

void t.test('P3.15 on MinIO: `lake adopt` lets a table go on with another stream', async (t) => {
  const server = await startTestNats(t)
  const { table, run, json, access } = await minioLake(t, { NATS_URL: server.url })
  const nats = await connectTestNats(t, server.url)
  const { created } = await nats.jsm.streams.add({ name: 'TICKS', subjects: ['market.tick.>'], first_seq: 131 })
  t.match(await run('adopt', 'market_ticks'), { code: 64, stderr: /nothing was done: say --yes/ })
  t.match(await json('adopt', 'market_ticks', '--yes'), { sequence: 130, before: null, version: 4, changed: true })
  const { txns } = await table.refresh()
  t.match(txns.get(appIdOf('TICKS', created, 'market_ticks')), { version: 130 })
  await checkLake(t, access, { market_ticks: 120 })
})
