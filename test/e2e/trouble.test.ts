import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { startNats } from '../../src/local/start-nats.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { runCli } from '../support/cli.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { startTestValkey, untilHealth } from '../support/health.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const clockPreload = fileURLToPath(new URL('../support/shifted-clock.ts', import.meta.url))
/** How long a server is away; a minute in the long form. */
const awayMs = process.env['PROOF'] ? 60_000 : 8_000

const lastOf = async (nats: Nats, stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq

async function passes(ms: number): Promise<void> {
  const endMs = Date.now() + ms
  await until('the time to pass', () => Date.now() >= endMs, ms + 10_000)
}

/** Stops the flow, and looks whether everything took effect once. */
async function provesOnce(t: Test, nats: Nats, url: string, flow: { stop(): Promise<number> }): Promise<void> {
  const sent = await flow.stop()
  await settled(nats, 60_000)
  t.match(await audit(nats), { commands: sent, answers: sent, unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  const { code, stdout } = await runCli(['verify', '--nats', url, '--no-tables', '--json'], { REDIS_URL: '' })
  t.equal(code, 0, stdout)
}

void t.test('P4.10 NATS and Redis are away: errors at the edge, recovery without hands, nothing lost', async (t) => {
  const dataDir = tempDir(t)
  let server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  const { port, url } = server
  let redis = await startTestValkey(t)
  const redisPlace = { dataDir: redis.dataDir, port: redis.port }
  const nats = await connectTestNats(t, url)
  const workers = await startWorkerChild(t, url, [...chain, 'gateway'], { env: { REDIS_URL: redis.url } })
  const flow = startFlow(t, nats, { seed: 21, ratePerSecond: 100 })
  const ask = asker(workers.ports.gateway)
  const order = limitOrder('alice', 'buy', '0.001', '100')
  await until('the door to answer', async () => (await ask('POST', '/orders', order)).status === 200)

  await redis.stop(2_000)
  const pnl = workers.ports['pnl-updater']
  await untilHealth('health to miss Redis', pnl, ({ body }) => body.status === 'degraded')
  await passes(awayMs)
  t.equal((await ask('POST', '/orders', order)).status, 200, 'orders flow without Redis')
  redis = await startTestValkey(t, redisPlace)
  await untilHealth('health to find Redis', pnl, ({ body }) => body.status === 'healthy')

  await server.stop(3_000)
  await untilHealth('health to miss NATS', workers.ports['oms-matcher'], ({ code }) => code === 503)
  const refused = await ask('POST', '/orders', order)
  t.match(refused, { status: 503, json: { error: 'SYSTEM_UNAVAILABLE' } })
  await passes(awayMs)
  server = await startNats({ dataDir, port })
  await until('the door to answer again', async () => (await ask('POST', '/orders', order)).status === 200)
  t.equal(workers.restarts(), 0, 'the workers live through it')
  const sent = await flow.stop()
  await settled(nats, 60_000)
  const { commands, ...result } = await audit(nats)
  t.match(result, { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  t.ok(commands > sent, 'those of the door too')
  const { code, stdout } = await runCli(['verify', '--nats', url, '--no-tables', '--json'], { REDIS_URL: redis.url })
  t.equal(code, 0, stdout)
})

void t.test(
  'P4.10 EXECUTIONS at its limit: the matcher waits and says so, and goes on when there is room',
  async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    const workers = await startWorkerChild(t, server.url, chain)
    const flow = startFlow(t, nats, { seed: 22, ratePerSecond: 100 })
    await until('work', async () => (await lastOf(nats, 'EXECUTIONS')) > 200)
    const { config, state } = await nats.jsm.streams.info('EXECUTIONS')
    // Below what refuses new orders: everything that is on its way meets the limit.
    await nats.jsm.streams.update('EXECUTIONS', { max_bytes: state.bytes })
    await untilHealth('health to say why', workers.ports['oms-matcher'], ({ body }) =>
      body.reasons.some((reason) => /EXECUTIONS: maximum bytes exceeded/.test(reason)),
    )
    const full = await lastOf(nats, 'EXECUTIONS')
    await passes(2_000)
    t.equal(await lastOf(nats, 'EXECUTIONS'), full, 'nothing is stored, and nothing overwritten')
    await nats.jsm.streams.update('EXECUTIONS', { max_bytes: config.max_bytes })
    await until('answers', async () => (await lastOf(nats, 'EXECUTIONS')) > full + 100)
    t.equal(workers.restarts(), 0)
    await provesOnce(t, nats, server.url, flow)
  },
)

void t.test('P4.10 a slow consumer: others go on, it catches up, and needs no more memory for it', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await startWorkerChild(t, server.url, ['risk-gate', 'oms-matcher', 'tape'])
  const pnl = await startWorkerChild(t, server.url, ['pnl-updater'])
  const rssMib = () => {
    const status = readFileSync(`/proc/${pnl.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1_024
  }
  const flow = startFlow(t, nats, { seed: 23, ratePerSecond: 400 })
  await until('work', async () => (await lastOf(nats, 'POSITIONS')) > 500)
  const before = rssMib()
  const executions = await lastOf(nats, 'EXECUTIONS')
  pnl.kill('SIGSTOP')
  await passes(awayMs)
  t.ok((await lastOf(nats, 'EXECUTIONS')) > executions + 500, 'the matcher goes on meanwhile')
  pnl.kill('SIGCONT')
  await provesOnce(t, nats, server.url, flow)
  const grownMib = rssMib() - before
  t.ok(grownMib < 100, `its memory grew by ${grownMib.toFixed(0)} MiB`)
  t.equal(pnl.restarts(), 0)
})

void t.test(
  'P4.10 the clock jumps an hour forward and back: orders flow, nobody is deposed, nothing is lost',
  async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    const folder = tempDir(t)
    const offset = join(folder, 'offset')
    writeFileSync(offset, '0')
    const env = { NODE_OPTIONS: `--import=${clockPreload}`, CLOCK_OFFSET_FILE: offset }
    const workers = await startWorkerChild(t, server.url, chain, { env })
    const flow = startFlow(t, nats, { seed: 24, ratePerSecond: 100 })
    await until('work', async () => (await lastOf(nats, 'EXECUTIONS')) > 200)
    for (const hours of [1, -1, 0]) {
      const before = await lastOf(nats, 'EXECUTIONS')
      writeFileSync(offset, String(hours * 3_600_000))
      workers.kill('SIGUSR2')
      await until('answers', async () => (await lastOf(nats, 'EXECUTIONS')) > before + 150)
      for (const worker of chain)
        await untilHealth(`${worker} to be healthy`, workers.ports[worker], ({ body }) => body.status === 'healthy')
    }
    t.equal(workers.restarts(), 0)
    await provesOnce(t, nats, server.url, flow)
  },
)
