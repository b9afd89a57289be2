import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { type Maintenance, type MaintenancePolicy, startMaintenance } from '../../src/lake/maintenance.ts'
import { checkTable } from '../../src/lake/table-check.ts'
import { processesOn } from '../support/cli-process.ts'
import { tempDir, until } from '../support/stack.ts'
import { appendTicks, tickBatches } from './tick-table.ts'

const policy: MaintenancePolicy = { orderBy: ['stream_seq'], compactEveryMs: 50, vacuumEveryMs: 50 }

function start(t: Test, uri: string, changes: Partial<MaintenancePolicy> = {}, isActive = () => true) {
  const runs: string[] = []
  const maintenance: Maintenance = startMaintenance(
    uri,
    process.env,
    { ...policy, ...changes },
    { isActive, onRun: (kind) => runs.push(kind) },
  )
  t.teardown(() => maintenance.stop())
  return { maintenance, runs }
}

async function filesOf(table: DeltaTable): Promise<number> {
  const files = []
  for await (const file of readFiles(table.store, await table.refresh())) files.push(file)
  return files.length
}

void t.test('P3.12 a table is compacted and vacuumed on a schedule, while rows are appended', async (t) => {
  const store = openLocalStore(tempDir(t))
  const table = await appendTicks(store, tickBatches(10, 40))
  const stray = join(store.uri, 'symbol=A')
  mkdirSync(stray)
  writeFileSync(join(stray, 'stray.parquet'), 'stray')
  utimesSync(join(stray, 'stray.parquet'), 1_000, 1_000)
  const { maintenance } = start(t, store.uri)
  for (let from = 401; from < 801; from += 40) await appendTicks(store, [{ from, to: from + 40 }])
  const { compact } = await until('a compaction', () => maintenance.last.compact && maintenance.last, 20_000)
  t.match(compact, { result: { abandoned: [], commits: 1 }, startedMs: Number, durationMs: Number })
  await until('a vacuum', () => maintenance.last.vacuum && 'result' in maintenance.last.vacuum, 20_000)
  await until('all to be compacted', async () => (await filesOf(table)) < 8 * 4, 20_000)
  await maintenance.stop()
  const { rows, checks } = await checkTable(store, await table.refresh(), {
    key: ['stream_seq'],
    temporaryBytesMax: 2 ** 30,
  })
  t.equal(rows, 800)
  t.ok(
    checks.every(({ ok }) => ok),
    JSON.stringify(checks),
  )
})

void t.test('P3.12 stopping ends what runs, and leaves the table whole', async (t) => {
  const store = openLocalStore(tempDir(t))
  const table = await appendTicks(store, tickBatches(40, 8))
  const { maintenance } = start(t, store.uri, { vacuumEveryMs: 0 })
  await until('it to run', () => processesOn(store.uri).length > 0, 10_000)
  await maintenance.stop()
  t.same(processesOn(store.uri), [])
  const { rows, checks } = await checkTable(store, await table.refresh(), {
    key: ['stream_seq'],
    temporaryBytesMax: 2 ** 30,
  })
  t.equal(rows, 320)
  t.ok(checks.every(({ ok }) => ok))
})

void t.test('P3.12 a stand-by maintains nothing, and what fails is told and done again', async (t) => {
  const folder = tempDir(t)
  let isActive = false
  const { maintenance, runs } = start(t, folder, { vacuumEveryMs: 0 }, () => isActive)
  const other = start(t, join(folder, 'nowhere'), { compactEveryMs: 0 })
  const { vacuum } = await until('a failure', () => other.maintenance.last.vacuum && other.maintenance.last, 10_000)
  t.match(vacuum, { problem: /there is no such folder/ })
  t.same(runs, [])
  isActive = true
  const { compact } = await until('a failure', () => maintenance.last.compact && maintenance.last, 10_000)
  t.match(compact, { problem: /there is no table/ })
  await appendTicks(openLocalStore(folder), tickBatches(8, 8))
  await until('a compaction', () => maintenance.last.compact && 'result' in maintenance.last.compact, 10_000)
})
