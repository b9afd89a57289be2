import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { compactionDefaults } from '../../src/lake/compaction-plan.ts'
import { compactTable } from '../../src/lake/compaction.ts'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import type { ObjectInfo, ObjectStore } from '../../src/lake/store.ts'
import { vacuumTable, type VacuumOptions } from '../../src/lake/vacuum.ts'
import { tempDir } from '../support/temp-dir.ts'
import { appendTicks, firstDay, tickBatches } from './tick-table.ts'

const hourMs = 3_600_000
const policy = { ...compactionDefaults, orderBy: ['stream_seq'], dateColumn: 'dt' }
const noonMs = Date.parse(`${firstDay}T12:00:00Z`)
const later = (hours: number) => ({ nowMs: () => Date.now() + hours * hourMs })

interface Vacuumed {
  readonly keys: readonly string[]
  readonly result: Awaited<ReturnType<typeof vacuumTable>>
}

async function vacuum(table: DeltaTable, options: VacuumOptions = {}): Promise<Vacuumed> {
  const files: ObjectInfo[] = []
  const result = await vacuumTable(table, { onFile: (file) => files.push(file), ...options })
  return { keys: files.map(({ key }) => key), result }
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list('')) if (!key.startsWith('_delta_log/')) keys.push(key)
  return keys
}

/** A table of 12 small files and the 4 that they were compacted into, in a folder whose path needs escapes. */
async function compacted(t: Test): Promise<DeltaTable> {
  const store = openLocalStore(join(tempDir(t), 'a b%20[c]'))
  await store.check()
  const table = await appendTicks(store, tickBatches(3, 100))
  t.match(await compactTable(table, policy, { clock: { nowMs: () => noonMs } }), { filesRemoved: 12, filesAdded: 4 })
  return table
}

/** A file that the table does not know, of an age. */
function stray(table: DeltaTable, key: string, hours: number): string {
  const path = join(table.store.uri, key)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, 'stray')
  utimesSync(path, Date.now() / 1_000, Date.now() / 1_000 - hours * 3_600)
  return key
}

void t.test('P3.12 vacuum deletes what the table has not needed for its retention, and nothing else', async (t) => {
  const table = await compacted(t)
  const { store } = table
  const before = await keysOf(store)
  t.equal(before.length, 16)
  t.same((await vacuum(table)).keys, [], 'what was removed just now stays')

  const old = [
    stray(table, 'symbol=EUR%2FUSD/dt=2026-11-20/left.parquet', 200),
    stray(table, 'left.crc', 200),
    stray(table, 'symbol=_x/left.parquet', 200),
  ]
  const kept = [
    stray(table, 'symbol=BTCUSDT/young.parquet', 1),
    stray(table, '_change_data/left.parquet', 200),
    stray(table, '_delta_log/left.json', 200),
    stray(table, '_health/tick-sink', 200),
    stray(table, 'symbol=BTCUSDT/.left.parquet', 200),
    stray(table, 'symbol=BTCUSDT/_left.parquet', 200),
  ]
  const version = table.version
  const dry = await vacuum(table, { dryRun: true })
  t.same([...dry.keys].sort(), [...old].sort())
  t.match(dry.result, { files: 3, bytes: 15, retentionMs: 7 * 24 * hourMs, version: undefined })
  t.ok(
    old.every((key) => existsSync(join(store.uri, key))),
    'a dry run deletes nothing',
  )
  t.equal((await table.refresh()).version, version, 'nor does it commit')

  t.same([...(await vacuum(table)).keys].sort(), [...old].sort())
  t.same(
    old.filter((key) => existsSync(join(store.uri, key))),
    [],
  )
  t.same(
    kept.filter((key) => !existsSync(join(store.uri, key))),
    [],
  )
  t.equal((await table.refresh()).version, version + 2, 'its start and its end are commits')

  const { keys, result } = await vacuum(table, { clock: later(24 * 7 + 1) })
  t.equal(result.files, 12 + 1, 'the sources of the compaction, and the file that was young')
  t.notOk(keys.some((key) => key.startsWith('_') || key.includes('/.')))
  const left = await keysOf(store)
  t.equal(left.filter((key) => key.endsWith('.zstd.parquet')).length, 4)
  await t.resolves(vacuum(table), 'again')
})

void t.test('P3.12 a retention that is too short is refused, unless it is forced', async (t) => {
  const table = await compacted(t)
  await t.rejects(vacuum(table, { retentionMs: hourMs - 1 }), { code: 'USAGE', message: /one hour/ })
  await t.rejects(vacuum(table, { retentionMs: 2 * hourMs }), {
    code: 'USAGE',
    message: /deletedFileRetentionDuration, 168 h/,
  })
  await t.rejects(vacuum(table, { retentionMs: 0, dryRun: true }), { code: 'USAGE' })
  t.equal((await keysOf(table.store)).length, 16)
  t.match((await vacuum(table, { retentionMs: 24 * 8 * hourMs })).result, { files: 0 })
  t.match((await vacuum(table, { retentionMs: 0, force: true, clock: later(0.001) })).result, { files: 12 })
})

void t.test('P3.12 a retention that is longer than the table’s keeps what checkpoints no longer name', async (t) => {
  const table = await compacted(t)
  for (const key of await keysOf(table.store)) {
    const old = Date.now() / 1_000 - 60 * 24 * 3_600
    utimesSync(join(table.store.uri, key), old, old)
  }
  const inAWeek = later(24 * 8)
  t.equal(await writeCheckpoint(table.store, table.snapshot, inAWeek.nowMs()), 'written')
  await appendTicks(table.store, [{ from: 301, to: 302 }])
  t.match((await vacuum(table, { retentionMs: 24 * 9 * hourMs, clock: inAWeek })).result, { files: 0 })
  t.match((await vacuum(table, { clock: inAWeek })).result, { files: 12 })
})

void t.test('P3.12 vacuum knows paths however they are written: escaped, absolute, as a URI', async (t) => {
  const store = openLocalStore(join(tempDir(t), 'a b'))
  await store.check()
  const table = await appendTicks(store, tickBatches(1, 40))
  const log = join(store.uri, '_delta_log/00000000000000000001.json')
  const alias = `${store.uri} alias`
  symlinkSync(store.uri, alias)
  const forms = [
    (path: string) => encodeURI(join(store.uri, decodeURIComponent(path))),
    (path: string) => new URL(`file://${encodeURI(join(store.uri, decodeURIComponent(path)))}`).href,
    (path: string) => encodeURI(join(alias, decodeURIComponent(path))),
    (path: string) => encodeURIComponent(decodeURIComponent(path)).replaceAll('%2F', '/').replaceAll('%253F', '%3f'),
  ]
  let at = 0
  const lines = readFileSync(log, 'utf8')
    .split('\n')
    .map((line) => {
      if (!line.startsWith('{"add"')) return line
      const action = JSON.parse(line) as { add: { path: string } }
      const form = forms[at++ % forms.length]
      return JSON.stringify({ add: { ...action.add, path: form?.(action.add.path) ?? '' } })
    })
  writeFileSync(log, lines.join('\n'))
  t.equal(at, 4)
  t.match((await vacuum(table, { clock: later(24 * 30) })).result, { files: 0 })
  t.equal(readdirSync(store.uri).length >= 4, true)
})
