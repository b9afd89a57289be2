import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type CliRun, firstDocument, signalAndCheck, processesOn, startCli } from '../support/cli-process.ts'
import { readTables } from '../support/lake-readers.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Data folders that demos have made for themselves. */
const demoFolders = (tmp: string) => readdirSync(tmp).filter((name) => name.startsWith('trade2026-demo-'))

void t.test('P1.17 demo: every command answered once, everything adds up, exit code 0', async (t) => {
  const tmp = tempDir(t)
  const run = startCli(t, ['demo', '--orders', '3000', '--rate', '1500', '--seed', '3', '--json'], { TMPDIR: tmp })
  const summary = await firstDocument(run, 90_000)
  t.equal(await run.ended, 0, run.stderr())
  t.match(summary, {
    ok: true,
    commands: 3_000,
    answers: 3_000,
    unanswered: 0,
    doubled: 0,
    conservation: { ok: true },
    latencyMs: { report: { p50: Number, p90: Number, p99: Number }, position: { p50: Number } },
    ordersPerSecond: Number,
  })
  t.ok(Number(summary['trades']) > 100)
  t.match(summary['rejects'], { INVALID_FIELD: Number, INVALID_MESSAGE: Number, RISK_MAX_ORDER_VALUE: Number })
  t.match(summary['deadLetters'], { 'risk-gate': Number })
  t.match(summary['tables'], [
    { name: 'market_ticks', problems: [] },
    { name: 'alt_docs', problems: [] },
    { name: 'executions', problems: [] },
  ])
  t.ok((summary['positions'] as unknown[]).length > 10)
  t.equal(run.stdout().trim().split('\n').length, 1, 'one document on stdout')
  t.same(demoFolders(tmp), [], 'no folder is left')
})

void t.test('P3.14 demo leaves tables that hold what it says, and a second demo goes on with them', async (t) => {
  const dataDir = tempDir(t)
  for (const seed of ['3', '4']) {
    const run = startCli(t, ['demo', '--orders', '1000', '--seed', seed, '--data-dir', dataDir, '--json'])
    const summary = await firstDocument(run, 90_000)
    t.equal(await run.ended, 0, run.stderr())
    const tables = summary['tables'] as { name: string; rows: number; messages: number; version: number }[]
    t.same(
      tables.map(({ name }) => name),
      ['market_ticks', 'alt_docs', 'executions'],
    )
    t.ok(tables.every(({ rows, messages }) => rows > 0 && messages > 0))
    const readings = await readTables(
      tables.map(({ name }) => ({
        uri: join(dataDir, 'lake', name),
        sql: 'select count(*) as n from t',
        engines: ['deltalake', 'duckdb'],
      })),
    )
    for (const [index, { name, rows, version }] of tables.entries()) {
      const reading = readings[index]
      t.equal(reading?.log.version, version, name)
      t.same(
        reading?.engines.map(({ rows: answer }) => Number(answer[0]?.['n'])),
        [rows, rows],
        name,
      )
    }
  }
  const check = startCli(t, ['lake', 'check', '--data-dir', dataDir])
  t.equal(await check.ended, 0, check.stdout())
})

const moments: readonly (readonly [string, (run: CliRun, tmp: string) => boolean])[] = [
  ['while servers start', (_, tmp) => processesOn(tmp).length > 0],
  ['while workers start', (run) => run.stderr().includes('starting workers')],
  ['while orders flow', (run) => /orders\/s/.test(run.stderr())],
]
for (const [moment, isReached] of moments)
  void t.test(`P1.17 Ctrl-C ${moment} of a demo leaves no process and no folder behind`, async (t) => {
    const tmp = tempDir(t)
    const run = startCli(t, ['demo', '--orders', '100000', '--rate', '500'], { TMPDIR: tmp })
    await until(moment, () => isReached(run, tmp), 60_000)
    t.equal(demoFolders(tmp).length, 1)
    await signalAndCheck(t, run, tmp)
    t.same(demoFolders(tmp), [], 'no folder is left')
  })
