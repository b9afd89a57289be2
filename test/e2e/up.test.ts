import { cpSync, existsSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import t, { type Test } from 'tap'
import { localUrl } from '../../src/cli/stack-layout.ts'
import { openStore } from '../../src/lake/open-store.ts'
import { isRunning, processId } from '../../src/local/process.ts'
import { startValkey } from '../../src/local/start-valkey.ts'
import { stackSpecs } from '../../src/subjects/contract.ts'
import {
  type CliRun,
  documentsOf,
  firstDocument,
  processesOn,
  signalAndCheck,
  startCli,
} from '../support/cli-process.ts'
import { startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

interface Ready {
  readonly ready: boolean
  readonly processes: readonly { readonly name: string; readonly pid: number }[]
  readonly urls: Readonly<Record<'gateway' | 'risk' | 'pnl' | 'nats' | 'redis' | 'minio', string>>
}

const order = { account: 'a', symbol: 'BTCUSDT', side: 'buy', type: 'limit', quantity: 0.1, price: 45_000.0 }
const names = [...stackSpecs.map(({ name }) => name), 'nats-server', 'valkey'].sort()

async function post(gateway: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${gateway}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

for (const layout of ['compact', 'separate'])
  void t.test(`P1.16 up, ${layout}: says when it is ready, starts what dies again, ends within 5 s`, async (t) => {
    const dataDir = tempDir(t)
    const run = startCli(t, ['up', '--data-dir', dataDir, '--layout', layout, '--free-ports', '--json'])
    const ready = (await firstDocument(run)) as unknown as Ready
    t.equal(ready.ready, true)
    t.same(ready.processes.map(({ name }) => name).sort(), names)
    const pids = new Map(ready.processes.map(({ name, pid }) => [name, processId(pid)]))
    t.ok([...pids.values()].every((process) => process && isRunning(process)))
    t.equal(pids.get('risk-gate')?.pid === pids.get('oms-matcher')?.pid, layout === 'compact')
    t.match(await post(ready.urls.gateway), { status: 200, body: { status: 'NEW' } })

    const victim = pids.get('oms-matcher')?.pid ?? 0
    process.kill(victim, 'SIGKILL')
    const restarted = await until('the restart to be said', () =>
      documentsOf(run).find(({ event, name }) => event === 'restarted' && name === 'oms-matcher'),
    )
    t.not(restarted['pid'], victim)
    t.match(restarted['why'], new RegExp(`^SIGKILL; its log is ${dataDir}/logs/`), 'P1.16')
    await until('orders to be answered again', async () => (await post(ready.urls.gateway)).status === 200, 20_000)

    const second = startCli(t, ['up', '--data-dir', dataDir, '--free-ports'])
    t.equal(await second.ended, 69, 'P1.04 a second up on one data folder is refused')
    t.match(second.stderr(), new RegExp(`DATA_DIR_IN_USE.*${run.pid}`))

    const startedMs = Date.now()
    run.child.kill('SIGTERM')
    t.equal(await run.ended, 0)
    t.ok(Date.now() - startedMs < 5_000, `ended in ${Date.now() - startedMs} ms`)
    const left = [...pids].filter(([, process]) => process && isRunning(process)).map(([name]) => name)
    t.same(left, [], 'no process is left')
  })

void t.test('P3.13 up --minio: a MinIO with a bucket of its own, watched and stopped like the others', async (t) => {
  const dataDir = tempDir(t)
  const run = startCli(t, ['up', '--data-dir', dataDir, '--minio', '--free-ports', '--json'])
  const ready = (await firstDocument(run)) as unknown as Ready
  t.same(ready.processes.map(({ name }) => name).sort(), [...names, 'minio'].sort())
  const access = parseEnv(readFileSync(join(dataDir, 'minio.env'), 'utf8'))
  t.equal(ready.urls.minio, access['AWS_ENDPOINT_URL'])
  const store = await openStore(access['LAKE_URI'] ?? '', access)
  t.teardown(() => store.close())
  await store.check()
  await store.put('kept', Buffer.from('x'))

  const pid = ready.processes.find(({ name }) => name === 'minio')?.pid ?? 0
  process.kill(pid, 'SIGKILL')
  await until('the restart to be said', () =>
    documentsOf(run).find(({ event, name }) => event === 'restarted' && name === 'minio'),
  )
  await until('MinIO to be back', () => store.get('kept').catch(() => undefined))
  const secret = access['AWS_SECRET_ACCESS_KEY'] ?? ''
  t.ok(secret.length >= 32)
  t.notOk((run.stdout() + run.stderr()).includes(secret), 'the secret is not printed')
  await signalAndCheck(t, run, dataDir)

  const elsewhere = startCli(t, ['up', '--data-dir', dataDir, '--minio'], { LAKE_URI: 's3://elsewhere' })
  t.equal(await elsewhere.ended, 64)
  t.match(elsewhere.stderr(), /USAGE: LAKE_URI names another place/)
})

const moments: readonly (readonly [string, (run: CliRun, dataDir: string) => boolean])[] = [
  ['servers', (_, dataDir) => existsSync(join(dataDir, 'lock'))],
  ['streams', (run) => run.stderr().includes('making streams')],
  ['workers', (run) => run.stderr().includes('starting workers')],
]
for (const [what, isReached] of moments)
  void t.test(`P1.16 Ctrl-C while ${what} start ends up within 5 s and leaves no process`, async (t) => {
    const dataDir = tempDir(t)
    const run = startCli(t, ['up', '--data-dir', dataDir, '--layout', 'separate', '--free-ports', '--json'])
    await until(what, () => isReached(run, dataDir), 30_000)
    await signalAndCheck(t, run, dataDir)
    t.equal(run.stdout(), '', 'it was not ready')
    t.notMatch(run.stderr(), /trade2026:/, 'an interrupt is no error')
  })

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  void t.test(`P1.16 ${signal} while a server does not answer ends up within 5 s and leaves no process`, async (t) => {
    const dataDir = tempDir(t)
    const binary = join(tempDir(t), 'nats-server')
    writeFileSync(binary, '#!/bin/sh\n[ "$1" = --version ] && echo v2.99.0 || sleep 60\n', { mode: 0o755 })
    const run = startCli(t, ['up', '--data-dir', dataDir, '--free-ports'], { NATS_SERVER_BIN: binary })
    await until('the server to run', () => processesOn(dataDir, run.pid).length > 0)
    await signalAndCheck(t, run, dataDir, signal)
    t.equal(run.stderr(), 'stopping\n', 'an interrupt is no error')
  })

void t.test('P1.16 doors on another address: up waits for them there and says so', async (t) => {
  t.equal(localUrl('0.0.0.0', 1), 'http://127.0.0.1:1')
  t.equal(localUrl('::', 1), 'http://[::1]:1')
  t.equal(localUrl('::1', 1), 'http://[::1]:1')
  t.equal(localUrl('10.0.0.7', 1), 'http://10.0.0.7:1')
  // Only Linux has all of 127.0.0.0/8 without further ado.
  const host = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1'
  const run = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports', '--json'], { HTTP_HOST: host })
  const { urls } = (await firstDocument(run)) as unknown as Ready
  t.equal(new URL(urls.gateway).hostname, host)
  t.match(await post(urls.gateway), { status: 200, body: { status: 'NEW' } })
})

void t.test('P1.04 a port in use: the error names who holds it', async (t) => {
  // The first that `up` looks at: with it held, no other port matters.
  const port = stackSpecs[0]?.httpPort
  const holder = createServer()
  const isForeign = await new Promise<boolean>((resolve, reject) => {
    holder.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(true) : reject(error),
    )
    holder.listen(port, '127.0.0.1', () => resolve(false))
  })
  if (isForeign) {
    t.pass('its own port', { skip: `somebody else holds port ${port}` })
    return
  }
  t.teardown(() => holder.close())
  const run = startCli(t, ['up', '--data-dir', tempDir(t)])
  t.equal(await run.ended, 69)
  t.match(run.stderr(), new RegExp(`PORT_IN_USE.*port ${port} is in use by pid ${process.pid} .*--free-ports`))
})

/** The command line in a folder of its own, whose configuration can be spoilt. */
function copyOfRepository(t: Test): { mainFile: string; config: string } {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const copy = tempDir(t)
  for (const name of ['src', 'config', 'deploy', 'package.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(realpathSync(join(root, 'node_modules')), join(copy, 'node_modules'))
  return { mainFile: join(copy, 'src/cli/main.ts'), config: join(copy, 'config/instruments.json') }
}

for (const layout of ['compact', 'separate'])
  void t.test(`P1.16 up, ${layout}: the error of a worker is that of up, at once`, async (t) => {
    const { mainFile, config } = copyOfRepository(t)
    const dataDir = tempDir(t)
    const up = () =>
      startCli(t, ['up', '--data-dir', dataDir, '--layout', layout, '--free-ports', '--json'], {}, mainFile)
    const good = up()
    const { urls } = (await firstDocument(good)) as unknown as Ready
    t.match(await post(urls.gateway), { status: 200, body: { status: 'NEW' } })
    good.child.kill('SIGTERM')
    await good.ended

    writeFileSync(config, '{"default":{},"instruments":{"BTCUSDT":{"tick":"0.05"}}}')
    const startedMs = Date.now()
    const changed = up()
    t.equal(await changed.ended, 1)
    t.match(changed.stderr(), new RegExp(`CONFIG_INSTRUMENT_CHANGED: .*BTCUSDT.*log is ${dataDir}/logs/\\w`))
    t.ok(Date.now() - startedMs < 20_000, `after ${Date.now() - startedMs} ms`)

    writeFileSync(config, '{"default":{},"instruments":{"BTCUSDT":{"tick":"none"}}}')
    const bad = up()
    t.equal(await bad.ended, 64)
    t.match(bad.stderr(), /CONFIG_INVALID: .*instruments\.json: .*BTCUSDT/)
    t.same(processesOn(dataDir), [], 'nothing is left')
  })

void t.test('P1.04 an unusable data folder and a bad setting are one line and exit code 64', async (t) => {
  const file = join(tempDir(t), 'file')
  writeFileSync(file, '')
  const run = startCli(t, ['up', '--data-dir', file, '--free-ports'])
  t.equal(await run.ended, 64)
  t.match(run.stderr(), new RegExp(`^trade2026: DATA_DIR_UNUSABLE: .*${file}.*--data-dir\n$`))
  const setting = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports'], { BATCH_MAX: 'many' })
  t.equal(await setting.ended, 64)
  t.match(setting.stderr(), /^trade2026: CONFIG_INVALID: .*BATCH_MAX.*\n$/)
  const host = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports'], { HTTP_HOST: '999.1.1.1' })
  t.equal(await host.ended, 64)
  t.match(host.stderr(), /^trade2026: CONFIG_INVALID: HTTP_HOST: 999\.1\.1\.1 is no address .*127\.0\.0\.1.*\n$/m)
})

void t.test('P1.16 kill -9 of demo leaves no process', async (t) => {
  const dataDir = tempDir(t)
  const run = startCli(t, ['demo', '--data-dir', dataDir, '--orders', '1000000', '--rate', '100'])
  await until('orders to flow', () => run.stderr().includes('orders/s'), 40_000)
  t.ok(processesOn(dataDir, run.pid).length >= 4, 'two servers, two of ours')
  process.kill(-run.pid, 'SIGKILL')
  t.equal(await run.ended, 'SIGKILL')
  await until('no process to be left', () => processesOn(dataDir).length === 0, 10_000)
})

void t.test('P1.04 with NATS_URL and REDIS_URL set no server is started', async (t) => {
  const nats = await startTestNats(t)
  const redis = await startValkey({ dataDir: tempDir(t), port: 0 })
  t.teardown(() => redis.stop(2_000))
  const given = { NATS_URL: nats.url, REDIS_URL: redis.url }
  const dataDir = tempDir(t)
  const run = startCli(t, ['up', '--data-dir', dataDir, '--free-ports', '--json'], given)
  const ready = (await firstDocument(run)) as unknown as Ready
  t.match(ready.urls, { nats: nats.url, redis: redis.url })
  t.same(ready.processes.map(({ name }) => name).sort(), stackSpecs.map(({ name }) => name).sort())
  t.same(processesOn(dataDir, run.pid), [], 'a server would work in the data folder')
  t.match(await post(ready.urls.gateway), { status: 200, body: { status: 'NEW' } })

  const unreachable = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports'], { NATS_URL: 'nats://127.0.0.1:1' })
  t.equal(await unreachable.ended, 69)
  t.match(unreachable.stderr(), /NATS_UNREACHABLE/)
  const tape = startCli(t, ['worker', 'tape', '--port', '0', '--instance', 'other'], given)
  await until('the stand-by to say so', () => /stand-by/.test(tape.stderr()), 20_000)
})
