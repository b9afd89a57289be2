import { assert } from '../src/base/assert.ts'
import { readFiles } from '../src/lake/active-files.ts'
import { DeltaTable } from '../src/lake/delta-table.ts'
import { type MaintenanceRun, startMaintenance } from '../src/lake/maintenance.ts'
import { openStore } from '../src/lake/open-store.ts'
import { queryLake } from '../src/lake/query.ts'
import { type ObjectStore, storeBelow } from '../src/lake/store.ts'
import { marketTicks } from '../src/workers/tick-sink.ts'
import { ticks } from './parquet.ts'
import { peakRssMbBelow } from './peak-memory.ts'
import { type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const symbols = 20
/** Long over, so that it becomes one file a symbol. */
const dt = '2026-01-05'
const scan = 'select symbol, count(*), avg(price), max(size) from market_ticks group by symbol'
/** Some 500 rows of one symbol. */
const lookUp = `select count(*), max(price) from market_ticks where symbol = 'SYM7' and stream_seq < 3000010000`

interface Size {
  readonly files: number
  readonly rows: number
}

/**
 * The compaction of a sink on a table of many small files in a folder: its speed and memory, and files, bytes and queries
 * before and after.
 */
export async function compactionBench(session: Session, options: Size & { readonly rounds: number }): Promise<Row[]> {
  const rounds: Round[] = []
  for (let round = 1; round <= options.rounds; round += 1) {
    session.onProgress(`compaction, round ${round} of ${options.rounds}`)
    rounds.push(await compactionRound(session, options))
  }
  const load = `${options.rows} rows in ${options.files} files`
  return [rowOf({ scenario: 'compaction', load }, 'rowsPerSecond', rounds)]
}

async function compactionRound(session: Session, size: Size): Promise<Round> {
  const lake = await openStore(session.folder(), process.env)
  await lake.check()
  const table = await tableOf(storeBelow(lake, `${marketTicks.name}/`), size)
  const before = await lookAt(lake, table)
  const { durationMs, maintenanceRssMb, duckDbRssMb } = await compacted(session, table, before.rows)
  const after = await lookAt(lake, table)
  assert(after.rows === before.rows, 'the rows are still there')
  return {
    rowsPerSecond: (before.rows / durationMs) * 1_000,
    durationMs,
    maintenanceRssMb,
    duckDbRssMb,
    filesBefore: before.files,
    filesAfter: after.files,
    beforeBytesPerRow: before.bytes / before.rows,
    afterBytesPerRow: after.bytes / after.rows,
    scanBeforeMs: before.scanMs,
    scanAfterMs: after.scanMs,
    lookUpBeforeMs: before.lookUpMs,
    lookUpAfterMs: after.lookUpMs,
  }
}

/** Commits of a file a symbol, each symbol with the same ticks. */
async function tableOf(store: ObjectStore, { files, rows }: Size): Promise<DeltaTable> {
  const table = await DeltaTable.open(store, marketTicks)
  const commits = Math.ceil(files / symbols)
  const fileRows = Math.ceil(rows / symbols / commits)
  const { columns } = ticks(commits * fileRows)
  for (let commit = 0; commit < commits; commit += 1) {
    const part = columns.map((values) => values.slice(commit * fileRows, (commit + 1) * fileRows))
    const partitions = Array.from({ length: symbols }, (_, symbol) => ({
      partitionValues: { symbol: `SYM${symbol}`, dt },
      columns: part,
      rows: fileRows,
    }))
    const expected = commit === 0 ? undefined : commit
    const { outcome } = await table.append(partitions, { appId: 'bench', version: commit + 1, expected })
    assert(outcome === 'committed', 'nobody else writes')
  }
  return table
}

async function lookAt(lake: ObjectStore, table: DeltaTable) {
  let [files, bytes] = [0, 0]
  for await (const { size } of readFiles(table.store, await table.refresh())) {
    files += 1
    bytes += size
  }
  const [counts, scanMs] = await timed(lake, scan)
  const [, lookUpMs] = await timed(lake, lookUp)
  return { files, bytes, rows: counts.reduce((sum, [, count]) => sum + Number(count), 0), scanMs, lookUpMs }
}

/** A query as `lake query` runs it, in a process of its own. */
async function timed(lake: ObjectStore, sql: string) {
  const startedMs = performance.now()
  const result = await queryLake(lake, sql, { temporaryBytesMax: 2 ** 30 })
  const rows = []
  for await (const some of result.rows) rows.push(...some)
  await result.close()
  return [rows, performance.now() - startedMs] as const
}

async function compacted(session: Session, table: DeltaTable, rows: number) {
  const { promise, resolve } = Promise.withResolvers<MaintenanceRun>()
  const policy = { orderBy: ['stream_seq'], compactEveryMs: 1, vacuumEveryMs: 0 }
  let [maintenanceRssMb, duckDbRssMb] = [0, 0]
  const watch = setInterval(() => {
    maintenanceRssMb = Math.max(maintenanceRssMb, peakRssMbBelow('maintenance-child'))
    duckDbRssMb = Math.max(duckDbRssMb, peakRssMbBelow('duckdb-child'))
  }, 20)
  const maintenance = startMaintenance(table.store.uri, process.env, policy, {
    isActive: () => true,
    onRun: (_, run) => resolve(run),
  })
  const end = session.own(async () => {
    clearInterval(watch)
    await maintenance.stop()
  })
  const run = await promise
  await end()
  assert('result' in run && 'commits' in run.result && run.result.rows === rows, `compacted: ${JSON.stringify(run)}`)
  return { durationMs: run.durationMs, maintenanceRssMb, duckDbRssMb }
}
