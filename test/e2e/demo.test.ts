import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { startCli, firstDocument } from '../support/cli-process.ts'
import { tempDir, until } from '../support/stack.ts'

void t.test('P1.17 demo: every command answered once, everything adds up, exit code 0', async (t) => {
  const run = startCli(t, ['demo', '--orders', '3000', '--rate', '1500', '--seed', '3', '--json'])
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
  t.ok((summary['positions'] as unknown[]).length > 10)
  t.equal(run.stdout().trim().split('\n').length, 1, 'one document on stdout')
})

void t.test('P1.17 Ctrl-C in the middle of a demo leaves no process and no folder behind', async (t) => {
  const dataDir = tempDir(t)
  const run = startCli(t, ['demo', '--orders', '100000', '--rate', '500', '--data-dir', dataDir])
  await until('orders to flow', () => /orders\/s/.test(run.stderr()), 60_000)
  run.child.kill('SIGINT')
  t.equal(await run.ended, 130)
  await until('no process to be left', () => !commandLines().some((line) => line.includes(dataDir)), 5_000)
})

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      } catch {
        return ''
      }
    })
}
