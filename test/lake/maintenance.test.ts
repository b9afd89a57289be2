import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import {
  type Maintenance,
  type MaintenanceKind,
  type MaintenancePolicy,
  type MaintenanceRun,
  startMaintenance,
} from '../../src/lake/maintenance.ts'
import { checkTable } from '../../src/lake/table-check.ts'
import { readHistory } from '../../src/lake/table-history.ts'
import { processesOn } from '../support/cli-process.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { appendTicks, tickBatches } from './tick-table.ts'

t.setTimeout(600_000)

/**
 * The processes that do the work have a low priority, so that beside other tests a run takes as long as these leave them:
 * ten seconds and more on two cores that are busy.
 */
const waitMs = 120_000
const policy: MaintenancePolicy = { orderBy: ['stream_seq'], compactEveryMs: 50, vacuumEveryMs: 50 }
/** Long over, by every clock. */
const dt = '2020-01-01'

type NamedRun = { readonly [Kind in MaintenanceKind]: MaintenanceRun<Kind> & { readonly kind: Kind } }[MaintenanceKind]

function start(
  t: Test,
  uri: string,
  {
    isActive = () => true,
    env = process.env,
    ...changes
  }: Partial<MaintenancePolicy> & { isActive?: () => boolean; env?: NodeJS.ProcessEnv } = {},
) {
  const runs: NamedRun[] = []
  const maintenance: Maintenance = startMaintenance(
    uri,
    env,
    { ...policy, ...changes },
    { isActive, onRun: (kind, run) => runs.push({ kind, ...run } as NamedRun) },
  )
  t.teardown(() => maintenance.stop())
  return { maintenance, runs }
}

async function filesOf(table: DeltaTable): Promise<number> {
  const files = []
  for await (const file of readFiles(table.store, await table.refresh())) files.push(file)
  return files.length
}

async function checkRows(t: Test, table: DeltaTable, expected: number): Promise<void> {
  const options = { key: ['stream_seq'], temporaryBytesMax: 2 ** 30 }
  const { rows, checks } = await checkTable(table.store, await table.refresh(), options)
  t.equal(rows, expected)
  t.ok(
    checks.every(({ ok }) => ok),
    JSON.stringify(checks),
  )
}

/** What no table needs, from long ago. */
function writeStray(folder: string): string {
  const stray = join(folder, 'symbol=A', 'stray.parquet')
  mkdirSync(dirname(stray))
  writeFileSync(stray, 'stray')
  utimesSync(stray, 1_000, 1_000)
  return stray
}

function inFolder(t: Test) {
  const store = openLocalStore(tempDir(t))
  return { store, env: process.env, strays: [writeStray(store.uri)] }
}

async function onMinio(t: Test) {
  const minio = await startTestMinio(t)
  return { store: openTestMinio(t, minio, { prefix: 'ticks' }), env: { ...process.env, ...minio.access }, strays: [] }
}

for (const [where, storeOf] of [
  ['in a folder', inFolder],
  ['on MinIO', onMinio],
] as const)
  void t.test(`P3.12 a table ${where} is compacted and vacuumed on a schedule, while rows are appended`, async (t) => {
    const { store, env, strays } = await storeOf(t)
    let batches = 0
    const append = async () => {
      const from = 1 + 40 * batches++
      return appendTicks(store, [{ from, to: from + 40, dt }])
    }
    const table = await append()
    const { maintenance, runs } = start(t, store.uri, { env })
    const results = () => runs.flatMap((run) => (run.kind === 'compact' && 'result' in run ? [run.result] : []))
    const isCompacted = () => results().filter(({ commits }) => commits > 0).length >= 2
    const appendUntilCompacted = async () => {
      await append()
      // Who appends without a pause leaves processes of low priority nothing of a core.
      await wait(100)
      return isCompacted()
    }
    await until('rows to be compacted that came in the time of a compaction', appendUntilCompacted, waitMs)
    const leftByRuns = () =>
      results().reduce((left, { filesRemoved, filesAdded }) => left - filesRemoved + filesAdded, batches * 4)
    await until('a run to tell of the last', () => leftByRuns() === 4, waitMs)
    t.equal(await filesOf(table), 4, 'a file a symbol')
    const vacuums = () => runs.flatMap((run) => (run.kind === 'vacuum' && 'result' in run ? [run.result] : []))
    await until('a vacuum', () => vacuums().length > 0, waitMs)
    t.match(maintenance.last, { compact: { startedMs: Number, durationMs: Number, result: { abandoned: [] } } })
    await maintenance.stop()

    t.same(
      runs.filter((run) => 'problem' in run),
      [],
      'none failed',
    )
    t.same(
      results().flatMap(({ abandoned }) => abandoned),
      [],
      'none gave anything up',
    )
    let commits = 0
    for await (const { info } of readHistory(store, await table.refresh()))
      if (info.operation === 'OPTIMIZE') commits += 1
    t.equal(
      results().reduce((sum, result) => sum + result.commits, 0),
      commits,
    )
    t.equal(
      vacuums().reduce((sum, { files }) => sum + files, 0),
      strays.length,
    )
    t.same(
      strays.filter((path) => existsSync(path)),
      [],
    )
    await checkRows(t, table, batches * 40)
  })

void t.test('P3.12 stopping ends what runs, and leaves the table whole', async (t) => {
  const store = openLocalStore(tempDir(t))
  const table = await appendTicks(store, tickBatches(40, 8))
  const { maintenance } = start(t, store.uri, { vacuumEveryMs: 0 })
  await until('it to run', () => processesOn(store.uri).length > 0, waitMs)
  await maintenance.stop()
  t.same(processesOn(store.uri), [])
  await checkRows(t, table, 320)
})

void t.test('P3.12 a stand-by maintains nothing, and what fails is told and done again', async (t) => {
  const folder = tempDir(t)
  let isActive = false
  const { maintenance, runs } = start(t, folder, { vacuumEveryMs: 0, isActive: () => isActive })
  const other = start(t, join(folder, 'nowhere'), { compactEveryMs: 0 })
  const { vacuum } = await until('a failure', () => other.maintenance.last.vacuum && other.maintenance.last, waitMs)
  t.match(vacuum, { problem: /there is no such folder/ })
  t.same(runs, [])
  isActive = true
  const { compact } = await until('a failure', () => maintenance.last.compact && maintenance.last, waitMs)
  t.match(compact, { problem: /there is no table/ })
  await appendTicks(openLocalStore(folder), tickBatches(8, 8))
  await until('a compaction', () => maintenance.last.compact && 'result' in maintenance.last.compact, waitMs)
})
