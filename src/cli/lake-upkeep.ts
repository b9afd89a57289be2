import { exitCodes } from '../base/errors.ts'
import { compactionPolicyOf } from '../lake/compaction-plan.ts'
import { compactTable, type CompactionResult } from '../lake/compaction.ts'
import type { ObjectInfo } from '../lake/store.ts'
import { vacuumTable, type VacuumResult } from '../lake/vacuum.ts'
import { interrupted } from './interrupt.ts'
import { keyColumns } from './lake-check.ts'
import { chosenTables, type LakeOptions, openTable, withLake } from './lake-place.ts'
import { bytesText, printJson, printLine, visible } from './output.ts'
import { showSteps } from './progress.ts'
import { numeric, renderTable } from './table.ts'

export async function optimize(named: readonly string[], options: LakeOptions): Promise<void> {
  await withLake(options, async (lake) => {
    const tables: ({ table: string; ok: boolean; seconds: number } & CompactionResult)[] = []
    const steps = showSteps()
    try {
      for (const name of await chosenTables(lake, named)) {
        steps.update(`${name}: planning`)
        const table = await openTable(lake, name)
        const startedMs = performance.now()
        const result = await compactTable(table, compactionPolicyOf(table.snapshot.metaData, keyColumns), {
          signal: interrupted,
          onProgress: ({ filesRemoved, filesAdded }) =>
            steps.update(`${name}: ${filesRemoved} files are ${filesAdded} now`),
        })
        const seconds = Math.round(performance.now() - startedMs) / 1_000
        tables.push({ table: name, ok: result.abandoned.length === 0, seconds, ...result })
      }
    } finally {
      steps.stop()
    }
    const ok = tables.every((table) => table.ok)
    if (options.json) printJson({ ok, uri: lake.uri, tables })
    else {
      printLine(
        renderTable(
          ['table', ...['version', 'files before', 'after', 'bytes before', 'after', 'rows', 'seconds'].map(numeric)],
          tables.map(({ table, version, filesRemoved, filesAdded, bytesRemoved, bytesAdded, rows, seconds }) => [
            ...[
              visible(table),
              version === undefined ? '-' : String(version),
              String(filesRemoved),
              String(filesAdded),
            ],
            ...[bytesText(bytesRemoved), bytesText(bytesAdded), String(rows), seconds.toFixed(1)],
          ]),
        ),
      )
      for (const { table, abandoned } of tables)
        for (const problem of abandoned) printLine(`${visible(table)}: left as it is: ${visible(problem)}`)
    }
    if (!ok) process.exitCode = exitCodes.failed
  })
}

interface VacuumCommandOptions extends LakeOptions {
  readonly retentionHours?: number
  readonly dryRun: boolean
  readonly force: boolean
}

const hourMs = 3_600_000

export async function vacuum(named: readonly string[], options: VacuumCommandOptions): Promise<void> {
  const { retentionHours, dryRun, force, json } = options
  await withLake(options, async (lake) => {
    const tables: ({ table: string; deleted: ObjectInfo[] } & VacuumResult)[] = []
    const steps = showSteps()
    try {
      for (const name of await chosenTables(lake, named)) {
        steps.update(`${name}: reading the log`)
        const deleted: ObjectInfo[] = []
        const result = await vacuumTable(await openTable(lake, name), {
          ...{ dryRun, force, signal: interrupted },
          retentionMs: retentionHours === undefined ? undefined : retentionHours * hourMs,
          onFile: (file) => {
            if (deleted.push(file) % 1_000 === 0) steps.update(`${name}: ${deleted.length} files`)
          },
        })
        tables.push({ table: name, deleted, ...result })
      }
    } finally {
      steps.stop()
    }
    if (json) printJson({ uri: lake.uri, dryRun, tables })
    else showVacuum(tables, dryRun)
  })
}

function showVacuum(
  tables: readonly ({ readonly table: string; readonly deleted: readonly ObjectInfo[] } & VacuumResult)[],
  dryRun: boolean,
): void {
  if (dryRun) {
    const files = tables.flatMap(({ table, deleted }) => deleted.map((file) => ({ table, file })))
    if (files.length > 0)
      printLine(
        `${renderTable(
          ['table', numeric('bytes'), 'written', 'file'],
          files.map(({ table, file: { key, bytes, modifiedMs } }) => [
            ...[visible(table), String(bytes), new Date(modifiedMs).toISOString().slice(0, 19), visible(key)],
          ]),
          Infinity,
        )}\n`,
      )
  }
  printLine(
    renderTable(
      ['table', ...[dryRun ? 'to delete' : 'deleted', 'bytes', 'retention'].map(numeric)],
      tables.map(({ table, files, bytes, retentionMs }) => [
        ...[visible(table), String(files), bytesText(bytes), `${retentionMs / hourMs} h`],
      ]),
    ),
  )
}
