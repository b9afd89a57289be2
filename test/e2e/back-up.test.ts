import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { natsCli } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { runCli } from '../support/cli.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { readWhole } from '../support/rewrite-stream.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where the nats command line is not installed yet, it is built.
t.setTimeout(600_000)

const mainFile = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const runbook = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8')
const others = ['risk-gate', 'pnl-updater', 'tape'] as const
const sinks = ['tick-sink', 'execution-sink'] as const

/** Runs the lines of the runbook that stand below a mark. */
async function runLines(t: Test, mark: string, env: Readonly<Record<string, string>>): Promise<void> {
  const [, block] = new RegExp(`<!-- ${mark} -->\\s+\`\`\`sh\\n([^]*?)\`\`\``).exec(runbook) ?? []
  if (block === undefined) throw new Error(`the runbook has no lines for ${mark}`)
  const { path } = await findServer(natsCli)
  const bin = tempDir(t)
  writeFileSync(join(bin, 'trade2026'), `#!/bin/sh\nexec '${process.execPath}' '${mainFile}' "$@"\n`, { mode: 0o755 })
  const full = { PATH: `${bin}:${dirname(path)}:${process.env['PATH']}`, HOME: tempDir(t), ...env }
  await promisify(execFile)('sh', ['-eu', '-c', block], { env: full })
}

void t.test('P4.06 streams and tables are backed up while orders flow, and restored', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const [lake, backup] = [join(tempDir(t), 'lake'), join(tempDir(t), 'back-up')]
  mkdirSync(backup)
  const env = { LAKE_URI: lake, EXECUTION_FLUSH_MS: '300', TICK_FLUSH_MS: '300' }
  const running = [await startWorkerChild(t, server.url, others), await startWorkerChild(t, server.url, sinks, { env })]
  const matcher = await startWorkerChild(t, server.url, ['oms-matcher'])
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  const flow = startFlow(t, nats, { seed: 7, ratePerSecond: 150 })
  await until('work', async () => (await lastOf('EXECUTIONS')) > 500)
  t.equal((await runCli(['snapshots', '--take', '--nats', server.url])).code, 0)
  await runLines(t, 'back-up 1', { NATS_URL: server.url, LAKE: lake, BACKUP: backup })
  await matcher.stop(5_000)
  const atBackUp = await lastOf('EXECUTIONS')
  await runLines(t, 'back-up 2', { NATS_URL: server.url, BACKUP: backup })
  running.push(await startWorkerChild(t, server.url, ['oms-matcher']))
  await until('more work', async () => (await lastOf('EXECUTIONS')) > atBackUp + 200)
  await flow.stop()
  await settled(nats)
  const before = await readWhole(nats, 'EXECUTIONS')
  for (const child of running) await child.stop(5_000)

  const other = await startTestNats(t)
  const restored = await connectTestNats(t, other.url)
  const otherLake = join(tempDir(t), 'lake')
  await runLines(t, 'restore', { NATS_URL: other.url, LAKE: otherLake, BACKUP: backup })
  const kept = (await restored.jsm.streams.info('EXECUTIONS')).state.last_seq
  t.equal(kept, atBackUp)
  const chainAgain = await startWorkerChild(t, other.url, [...others, 'oms-matcher'])
  const sinksAgain = await startWorkerChild(t, other.url, sinks, { env: { ...env, LAKE_URI: otherLake } })
  await settled(restored)
  const after = await readWhole(restored, 'EXECUTIONS')
  t.same(
    after.slice(0, kept).map(({ text }) => text),
    before.slice(0, kept).map(({ text }) => text),
    'what was in the back-up is there',
  )
  // It goes on.
  const more = startFlow(t, restored, { seed: 8, ratePerSecond: 150 })
  await until(
    'new work',
    async () => (await restored.jsm.streams.info('EXECUTIONS')).state.last_seq > after.length + 200,
  )
  await more.stop()
  await settled(restored)
  t.match(await audit(restored), { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  for (const child of [chainAgain, sinksAgain]) t.equal(child.restarts(), 0, `${child.name}: nothing was refused`)
  const { code, stdout, stderr } = await runCli(['verify', '--nats', other.url, '--uri', otherLake, '--json'])
  t.equal(code, 0, stdout + stderr)
  const { checks } = JSON.parse(stdout) as { checks: { name: string; compared: number }[] }
  for (const name of ['orders-risk', 'risk-executions', 'executions-positions', 'executions-table', 'ticks-table'])
    t.ok((checks.find((check) => check.name === name)?.compared ?? 0) > 0, name)
})
