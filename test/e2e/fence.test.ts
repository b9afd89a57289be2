import { readFileSync } from 'node:fs'
import t from 'tap'
import { audit } from '../../src/cli/audit.ts'
import type { WorkerName } from '../../src/subjects/contract.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const clean = { unanswered: 0, doubled: 0, outOfOrder: 0, ok: true }

for (const name of ['risk-gate', 'oms-matcher', 'pnl-updater'] as const satisfies readonly WorkerName[])
  void t.test(`P1.19 a ${name} that was stopped and wakes up after another took over is refused`, async (t) => {
    const server = await startTestNats(t)
    const others = chain.filter((other) => other !== name)
    await startWorkerChild(t, server.url, others)
    const first = await startWorkerChild(t, server.url, [name], { instance: 'first' })
    const nats = await connectTestNats(t, server.url)
    const flow = startFlow(t, nats, { seed: 7, ratePerSecond: 500 })
    const leases = await nats.kvm.open('LEASES')
    const holder = async () => (await leases.get(name))?.json<{ instance: string }>().instance
    await until('the first to be active', async () => (await holder()) === 'first')
    await until('some work', async () => (await nats.jsm.streams.info('POSITIONS')).state.last_seq > 100)

    await startWorkerChild(t, server.url, [name], { instance: 'second' })
    first.kill('SIGSTOP')
    await until('the second to take over', async () => (await holder()) === 'second')
    const before = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
    await until(
      'the second to work',
      async () => (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq > before + 50,
    )
    first.kill('SIGCONT')
    await until('the first to end', () => first.restarts() > 0)
    t.match(readFileSync(first.logFile, 'utf8'), /WRITER_FENCED.*taken over/, 'it says why')
    await flow.stop()
    await settled(nats)
    t.match(await audit(nats), clean)
    t.equal(await holder(), 'second')
  })

void t.test('P1.19 nats-server killed with -9 and started again: nothing lost, nothing twice', async (t) => {
  const server = await startTestNats(t)
  const workers = await startWorkerChild(t, server.url, chain)
  const nats = await connectTestNats(t, server.url)
  const flow = startFlow(t, nats, { seed: 11, ratePerSecond: 600 })
  for (let round = 0; round < 3; round += 1) {
    const reached = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq + 300
    const work = () => nats.jsm.streams.info('EXECUTIONS').then(({ state }) => state.last_seq > reached)
    await until('work to flow', () => work().catch(() => false), 20_000)
    server.kill('SIGKILL')
    await until('the connection to be lost', () => !nats.isConnected())
    await nats.whenConnected()
  }
  const sent = await flow.stop()
  await settled(nats, 60_000)
  t.match(await audit(nats), { ...clean, commands: sent, answers: sent })
  t.equal(workers.restarts(), 0, 'the workers live through it')
})

void t.test('P1.13 after nats-server was killed and is back, a POST is answered at once again', async (t) => {
  const server = await startTestNats(t)
  const workers = await startWorkerChild(t, server.url, [...chain, 'gateway'])
  const nats = await connectTestNats(t, server.url)
  const body = JSON.stringify({
    account: 'a',
    symbol: 'BTCUSDT',
    side: 'buy',
    type: 'limit',
    quantity: 0.1,
    price: 45_000,
  })
  const post = async () => {
    const url = `http://127.0.0.1:${workers.ports.gateway ?? 0}/orders`
    const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    await answer.arrayBuffer()
    return answer.status
  }
  await until('the door to answer', async () => (await post().catch(() => 0)) === 200, 20_000)
  for (let round = 0; round < 2; round += 1) {
    server.kill('SIGKILL')
    await until('the connection to be lost', () => !nats.isConnected())
    await nats.whenConnected()
    await until('the door to be connected again', async () => (await post()) === 200, 20_000)
    const statuses = []
    for (let index = 0; index < 30; index += 1) statuses.push(await post())
    t.same([...new Set(statuses)], [200], 'none waits for its report until it is 202')
  }
})
