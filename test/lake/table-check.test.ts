import { appendFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readFiles } from '../../src/lake/active-files.ts'
import type { Add } from '../../src/lake/actions.ts'
import { compactionDefaults } from '../../src/lake/compaction-plan.ts'
import { compactTable } from '../../src/lake/compaction.ts'
import type { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { decodedPath } from '../../src/lake/partition-path.ts'
import { sequenceProblems, type SequenceAccount, type SequenceRange } from '../../src/lake/sequence-account.ts'
import { checkTable, type TableCheck } from '../../src/lake/table-check.ts'
import { tempDir } from '../support/temp-dir.ts'
import { appendTicks, firstDay, tickAppId, tickBatches, tickRows } from './tick-table.ts'

async function check(table: DeltaTable): Promise<TableCheck> {
  return checkTable(table.store, await table.refresh(), {
    key: ['stream_seq', 'report_index'],
    temporaryBytesMax: 2 ** 30,
  })
}

function bad({ checks }: TableCheck): string[] {
  return checks.filter(({ ok }) => !ok).map(({ name, differences, first }) => `${name} ${differences}: ${first ?? ''}`)
}

async function firstFile(table: DeltaTable): Promise<Add> {
  for await (const file of readFiles(table.store, await table.refresh())) return file
  throw new Error('no file')
}

const openTable = (t: Test) => appendTicks(openLocalStore(tempDir(t)), tickBatches(3, 100))
const pathOf = (table: DeltaTable, { path }: Add) => join(table.store.uri, decodedPath(path))

void t.test('P3.15 a table that is whole passes, before and after a compaction', async (t) => {
  const table = await openTable(t)
  const whole = await check(table)
  t.same(bad(whole), [])
  t.match(whole, { version: 3, files: 12, rows: 300 })
  t.same(
    whole.checks.map(({ name, compared }) => [name, compared]),
    [
      ['files', 12],
      ['rows', 12],
      ['unique', 300],
      ['sequences', 300],
    ],
  )
  const clock = { nowMs: () => Date.parse(`${firstDay}T12:00:00Z`) }
  await compactTable(table, { ...compactionDefaults, orderBy: ['stream_seq'], dateColumn: 'dt' }, { clock })
  const after = await check(table)
  t.same(bad(after), [])
  t.match(after, { version: 4, files: 4, rows: 300 })
})

void t.test('P3.15 messages that gave no rows are fine when a commit counts them', async (t) => {
  const table = await openTable(t)
  const counts = { messages: 10, rows: 6, duplicates: 1, deadLetters: 2, empty: 1 }
  const rows = tickRows({ from: 303, to: 309 })
  const extras = { firstStreamSeq: 301, lastStreamSeq: 310, ...counts }
  await table.append(rows, { appId: tickAppId, version: 310, expected: 300, extras })
  t.same(bad(await check(table)), [])
  const more = { firstStreamSeq: 311, lastStreamSeq: 320, ...counts, deadLetters: 1 }
  await table.append(tickRows({ from: 313, to: 319 }), { appId: tickAppId, version: 320, expected: 310, extras: more })
  t.same(bad(await check(table)), [
    'sequences 1: stream_seq 311 to 320: version 5 counts 3 of them as duplicates, dead letters or empty, and 4 have no rows',
  ])
})

void t.test('P3.15 a file that is gone, cut or of another size is found', async (t) => {
  const table = await openTable(t)
  const file = await firstFile(table)
  appendFileSync(pathOf(table, file), 'x')
  t.match(
    bad(await check(table)).at(0),
    new RegExp(`^files 1: .*it has ${file.size + 1} bytes, and ${file.size} by the log`),
  )
  rmSync(pathOf(table, file))
  const result = await check(table)
  t.match(bad(result), [/^files 1: .*it is not in the store/, /^sequences 1: .*have no rows/])
  t.equal(result.rows, 275)
})

void t.test('P3.15 a file that is no Parquet any more is found, and the others are still looked at', async (t) => {
  const table = await openTable(t)
  const file = await firstFile(table)
  truncateSync(pathOf(table, file), 0)
  appendFileSync(pathOf(table, file), 'x'.repeat(file.size))
  const result = await check(table)
  t.match(bad(result)[0], /^rows 1: .*DuckDB/)
  t.equal(result.rows, 275)
})

void t.test('P3.15 rows that the statistics do not say, and rows that come twice, are found', async (t) => {
  const table = await openTable(t)
  const log = join(table.store.uri, '_delta_log/00000000000000000002.json')
  writeFileSync(log, readFileSync(log, 'utf8').replace('numRecords\\":25', 'numRecords\\":26'))
  t.match(bad(await check(table)), [/^rows 1: .*it has 25 rows, and 26 by its statistics/])
  const extras = { firstStreamSeq: 291, lastStreamSeq: 310 }
  await table.append(tickRows({ from: 291, to: 311 }), { appId: tickAppId, version: 310, expected: 300, extras })
  t.match(bad(await check(table)), [
    /^rows 1/,
    /^unique 10: stream_seq 291: 2 rows$/,
    /^sequences 1: stream_seq 291 to 300: version 4 tells of them, and so does one before$/,
  ])
})

void t.test('P3.15 sequences that no commit tells of', (t) => {
  const account = (version: number, from: number, to: number, withoutRows = 0): SequenceAccount => ({
    ...{ version, from: BigInt(from), to: BigInt(to), withoutRows: BigInt(withoutRows) },
  })
  const present = (...ranges: [number, number][]): SequenceRange[] =>
    ranges.map(([from, to]) => ({ from: BigInt(from), to: BigInt(to) }))
  const problems = (accounts: SequenceAccount[], ranges: SequenceRange[]) =>
    sequenceProblems(accounts, ranges).map(({ range, problem }) => `${range.from}-${range.to} ${problem}`)
  const cases: [string, SequenceAccount[], SequenceRange[], string[]][] = [
    ['nothing', [], [], []],
    ['no commit of a stream', [], present([1, 9]), []],
    ['the log begins later', [account(7, 5, 9)], present([1, 9]), []],
    ['across commits', [account(1, 1, 4), account(2, 5, 9, 1)], present([1, 6], [8, 9]), []],
    ['no rows at all', [account(1, 1, 4, 4), account(2, 5, 9)], present([5, 9]), []],
    [
      'a gap between commits',
      [account(1, 1, 4), account(2, 7, 9)],
      present([1, 4], [7, 9]),
      ['5-6 no commit tells of them'],
    ],
    ['rows behind the last', [account(1, 1, 4)], present([1, 6]), ['5-6 rows that no commit tells of']],
    ['rows in a gap', [account(1, 1, 2), account(2, 5, 6)], present([1, 6]), ['3-4 no commit tells of them']],
  ]
  for (const [name, accounts, ranges, expected] of cases) t.same(problems(accounts, ranges), expected, name)
  t.end()
})
