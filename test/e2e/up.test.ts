import { createServer } from 'node:net'
import t from 'tap'
import { isRunning, processId } from '../../src/local/process.ts'
import { documentsOf, firstDocument, startCli } from '../support/cli-process.ts'
import { tempDir, until } from '../support/stack.ts'

interface Ready {
  readonly ready: boolean
  readonly processes: readonly { readonly name: string; readonly pid: number }[]
  readonly urls: Readonly<Record<'gateway' | 'risk' | 'pnl' | 'nats' | 'redis', string>>
}

const order = { account: 'a', symbol: 'BTCUSDT', side: 'buy', type: 'limit', quantity: 0.1, price: 45_000.0 }
const names = ['gateway', 'nats-server', 'oms-matcher', 'pnl-updater', 'risk-gate', 'tape', 'valkey']

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

void t.test('P1.04 a port in use: the error names who holds it', async (t) => {
  const holder = createServer()
  await new Promise<void>((resolve, reject) => {
    holder.once('error', reject)
    holder.listen(8103, '127.0.0.1', resolve)
  }).catch(() => undefined)
  t.teardown(() => holder.close())
  const run = startCli(t, ['up', '--data-dir', tempDir(t)])
  t.equal(await run.ended, 69)
  t.match(run.stderr(), /PORT_IN_USE.*port \d+ is in use by pid \d+/)
})

void t.test('P1.04 with NATS_URL set no server is started', async (t) => {
  const first = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports', '--json'])
  const { urls } = (await firstDocument(first)) as unknown as Ready
  await until('the first to be up', () => first.stdout().includes('ready'))
  const unreachable = startCli(t, ['up', '--data-dir', tempDir(t), '--free-ports'], { NATS_URL: 'nats://127.0.0.1:1' })
  t.equal(await unreachable.ended, 69)
  t.match(unreachable.stderr(), /NATS_UNREACHABLE/)
  const tail = startCli(t, ['worker', 'tape', '--port', '0', '--instance', 'other'], { NATS_URL: urls.nats })
  await until('the stand-by to say so', () => /stand-by/.test(tail.stderr()), 20_000)
})
