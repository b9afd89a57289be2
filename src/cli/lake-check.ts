import { exitCodes } from '../base/errors.ts'
import { type Check, checkTable, type TableCheck } from '../lake/table-check.ts'
import { interrupted } from './interrupt.ts'
import { chosenTables, type LakeOptions, openAt, withLake } from './lake-place.ts'
import { printJson, printLine, visible } from './output.ts'
import { showSteps } from './progress.ts'
import { numeric, paint, renderTable } from './table.ts'

/** What no two rows of a table of ours have in common. */
export const keyColumns = ['stream_seq', 'report_index'] as const

interface NamedCheck extends TableCheck {
  readonly table: string
  readonly ok: boolean
}

export async function check(
  named: readonly string[],
  options: LakeOptions & { readonly temporaryBytes: number },
): Promise<void> {
  await withLake(options, async (lake) => {
    const tables: NamedCheck[] = []
    const steps = showSteps()
    try {
      for (const table of await chosenTables(lake, named)) {
        const { store, snapshot } = await openAt(lake, table)
        const result = await checkTable(store, snapshot, {
          key: keyColumns,
          temporaryBytesMax: options.temporaryBytes,
          signal: interrupted,
          onProgress: (step, part) => steps.update(`${table}: ${step}`, part),
        })
        tables.push({ table, ok: result.checks.every(({ ok }) => ok), ...result })
      }
    } finally {
      steps.stop()
    }
    const ok = tables.every((table) => table.ok)
    if (options.json) printJson({ ok, uri: lake.uri, tables })
    else show(lake.uri, tables)
    if (!ok) process.exitCode = exitCodes.failed
  })
}

function show(uri: string, tables: readonly NamedCheck[]): void {
  if (tables.length === 0) {
    printLine(`no tables in ${uri}`)
    return
  }
  const rows = tables.flatMap(({ table, version, checks }) =>
    checks.map(({ name, ok, compared, differences, first }) => [
      ...[visible(table), String(version), name, whatOf[name], String(compared), String(differences)],
      ok ? paint('ok', 'good') : `${paint('not ok', 'bad')}, first: ${visible(first ?? '')}`,
    ]),
  )
  printLine(
    renderTable(['table', numeric('version'), 'check', '', numeric('compared'), numeric('different'), ''], rows),
  )
}

const whatOf: Readonly<Record<Check['name'], string>> = {
  files: 'the files of the log are there, with their sizes',
  rows: 'files have the rows that their statistics say',
  unique: 'no two rows have one stream_seq and report_index',
  sequences: 'every sequence has rows or is counted in a commit',
}
