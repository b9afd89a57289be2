import t, { type Test } from 'tap'
import { audit } from '../../src/cli/audit.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { listSnapshots } from '../../src/runtime/snapshots.ts'
import { runCli } from '../support/cli.ts'
import { startClient } from '../support/client.ts'
import { nextVersion } from '../support/next-version.ts'
import { settled, startFlow, startWorkerChild, type WorkerProcess } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater'] as const
type ChainWorker = (typeof chain)[number]
const outputOf = { 'risk-gate': 'RISK', 'oms-matcher': 'EXECUTIONS', 'pnl-updater': 'POSITIONS' } as const

/** The logicVersion that the last output of a worker says. */
async function writingVersion(nats: Nats, worker: ChainWorker): Promise<number> {
  const query =
    worker === 'pnl-updater'
      ? { last_by_subj: 'positions._watermark' }
      : { seq: (await nats.jsm.streams.info(outputOf[worker])).state.last_seq }
  const last = await nats.jsm.streams.getMessage(outputOf[worker], query)
  return Number(last?.header.get('Logic-Version') || 1)
}

async function lastOutput(nats: Nats, worker: ChainWorker): Promise<number> {
  return (await nats.jsm.streams.info(outputOf[worker])).state.last_seq
}

/** What both versions of the program make of `verify`. */
function verify(url: string, mainFile?: string) {
  const env = { REDIS_URL: '', LAKE_URI: '' }
  return runCli(['verify', '--nats', url, '--no-tables', '--json'], env, mainFile)
}

interface Order {
  readonly orderId: string
  readonly clOrdId: string
}

/** Texts of the gate and of the matcher, by which their rules are known. */
async function textsOf(t: Test, nats: Nats, name: string): Promise<{ gate: unknown; matcher: unknown }> {
  const client = await startClient(t, nats)
  const order = { account: name, symbol: 'BTCUSDT', side: 'BUY', quantity: 0.001, price: 100, ordType: 'LIMIT' }
  const send = async (subject: string, body: object) => client.answerTo(await client.send(subject, body))
  const first = (await send('orders.new', { ...order, clOrdId: name })).reports[0] as Order | undefined
  const again = await send('orders.new', { ...order, clOrdId: name })
  await send('orders.cancel', { orderId: first?.orderId })
  const closed = await send('orders.cancel', { orderId: first?.orderId })
  return { gate: again.reports[0]?.['text'], matcher: closed.reports[0]?.['text'] }
}

void t.test('P4.06 another logicVersion takes over under load, worker by worker, by snapshots', async (t) => {
  const server = await startTestNats(t)
  const mainFile = nextVersion(t)
  const old = new Map<ChainWorker, WorkerProcess>()
  for (const worker of chain)
    old.set(worker, await startWorkerChild(t, server.url, [worker], { instance: `${worker}-1` }))
  await startWorkerChild(t, server.url, ['tape'])
  const oldJanitor = await startWorkerChild(t, server.url, ['janitor'])
  const nats = await connectTestNats(t, server.url)
  const flow = startFlow(t, nats, { seed: 6, ratePerSecond: 200 })
  await until('work', async () => (await lastOutput(nats, 'pnl-updater')) > 300)
  const before = await textsOf(t, nats, 'before')
  t.match(before, { gate: /has used/, matcher: /is not open/ })

  const next = new Map<ChainWorker, WorkerProcess>()
  for (const worker of chain) {
    const standBy = await startWorkerChild(t, server.url, [worker], { instance: `${worker}-2`, mainFile })
    next.set(worker, standBy)
    const sequence = await lastOutput(nats, worker)
    const startedMs = performance.now()
    // It is stopped for good: its supervisor does not start it again.
    const stopped = old.get(worker)?.stop(10_000)
    await until(`outputs of the next ${worker}`, async () => {
      return (await writingVersion(nats, worker)) === 2 && (await lastOutput(nats, worker)) > sequence + 20
    })
    t.comment(`${worker}: outputs flowed again within ${Math.round(performance.now() - startedMs)} ms`)
    await stopped
    t.equal(standBy.restarts(), 0, `${worker}: it waited, and went on`)
  }
  t.match(await textsOf(t, nats, 'after'), { gate: /has already used/, matcher: /is no longer open/ })

  // Started anew it folds what its own version has made since, and nothing before.
  next.get('oms-matcher')?.kill('SIGKILL')
  await until('the matcher again', () => (next.get('oms-matcher')?.restarts() ?? 0) === 1)
  await oldJanitor.stop(5_000)
  await startWorkerChild(t, server.url, ['janitor'], { mainFile })
  const sent = await flow.stop()
  await settled(nats)
  t.match(await audit(nats), { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  t.ok((await nats.jsm.streams.info('ORDERS')).state.last_seq >= sent)

  const { code, stdout, stderr } = await verify(server.url, mainFile)
  t.equal(code, 0, `${stdout} ${stderr}`)
  const { checks } = JSON.parse(stdout) as { checks: { name: string; compared: number }[] }
  for (const { name, compared } of checks) t.ok(compared > 0, name)
  const byOld = await verify(server.url)
  t.equal(byOld.code, 1, 'the version before says that it is the wrong one')
  t.match(byOld.stderr, /LOGIC_NEWER.*logicVersion 2, this is 1/)

  t.equal((await runCli(['snapshots', '--take', '--nats', server.url], {}, mainFile)).code, 0)
  for (const worker of chain) {
    const [newest] = await listSnapshots(nats, worker)
    t.equal(newest?.logicVersion, 2, worker)
    t.ok((newest?.logicSince ?? 0) > 0, `${worker}: it says from where on its rules hold`)
  }
  t.equal((await verify(server.url, mainFile)).code, 0, 'from there on it agrees')
})

void t.test('P4.06 without a snapshot of the version before, the next one does not start, and says why', async (t) => {
  const server = await startTestNats(t)
  const mainFile = nextVersion(t)
  const nats = await connectTestNats(t, server.url)
  const first = await startWorkerChild(t, server.url, [...chain, 'tape'])
  const texts = await textsOf(t, nats, 'first')
  t.match(texts, { gate: /has used/, matcher: /is not open/ })
  await settled(nats)
  await first.stop(5_000)

  const second = startWorkerChild(t, server.url, ['oms-matcher'], { instance: 'second', mainFile })
  const taken = async () => (await runCli(['snapshots', '--take', '--nats', server.url])).code === 0
  await until('the take-over', async () => {
    const { last_seq: last } = (await nats.jsm.streams.info('EXECUTIONS')).state
    return (await nats.jsm.streams.getMessage('EXECUTIONS', { seq: last }))?.header.get('Logic-Version') === '2'
  })
  const wrong = await verify(server.url, mainFile)
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /LOGIC_CHANGED: RISK 2 was made by logicVersion 1.*snapshots --take/)
  t.ok(await taken(), 'the version before takes one')
  await second
  for (const worker of ['risk-gate', 'pnl-updater'] as const)
    await startWorkerChild(t, server.url, [worker], { instance: 'second', mainFile })
  t.match(await textsOf(t, nats, 'second'), { gate: /has already used/, matcher: /is no longer open/ })
  await settled(nats)
  t.equal((await verify(server.url, mainFile)).code, 0)

  const outdated = await runCli(['snapshots', '--take', '--nats', server.url])
  t.equal(outdated.code, 1)
  t.match(outdated.stderr, /LOGIC_NEWER/)
})
