import { type ConsumerConfig, DeliverPolicy } from '@nats-io/jetstream'
import t, { type Test } from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { seededRandom } from '../../src/cli/order-flow.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { workerSpec } from '../../src/subjects/contract.ts'
import { runCli } from '../support/cli.ts'
import { startClient } from '../support/client.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { startProxy } from '../support/proxy.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const lengthOf = async (nats: Nats, stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq

/** Stops the flow, and looks whether every command took effect once: by the streams' numbers, and by all that follows from them. */
async function provesOnce(t: Test, nats: Nats, url: string, flow: { stop(): Promise<number> }): Promise<void> {
  const sent = await flow.stop()
  await settled(nats, 60_000)
  t.match(await audit(nats), { commands: sent, answers: sent, unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  const { code, stdout } = await runCli(['verify', '--nats', url, '--no-tables', '--json'], { REDIS_URL: '' })
  t.equal(code, 0, stdout)
}

void t.test('P4.09 everything delivered again, from the beginning, in full flight: no second effect', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await startTestWorkers(t, server.url, { workers: chain })
  const flow = startFlow(t, nats, { seed: 11, ratePerSecond: 300 })
  await until('ticks of own trades', async () => (await lengthOf(nats, 'TICKS')) > 20)
  let made = 0
  for (let round = 0; round < 3; round += 1)
    for (const worker of chain) {
      const { input = 'ORDERS' } = workerSpec(worker)
      const before = await lengthOf(nats, 'EXECUTIONS')
      const { config } = await until(`a consumer of ${worker}`, () =>
        nats.jsm.consumers.info(input, worker).catch(() => undefined),
      )
      const anew: Partial<ConsumerConfig> = { ...config, deliver_policy: DeliverPolicy.All }
      delete anew.opt_start_seq
      await nats.jsm.consumers.delete(input, worker)
      // Somebody makes one of the same name, which knows of nothing that was acknowledged, unless the worker is faster.
      made += await nats.jsm.consumers.add(input, anew).then(
        () => 1,
        () => 0,
      )
      await until('answers', async () => (await lengthOf(nats, 'EXECUTIONS')) > before + 50)
    }
  t.ok(made > 0, `${made} consumers began again`)
  await provesOnce(t, nats, server.url, flow)
})

void t.test('P4.09 killed and started after the de-duplication window is over: no second effect', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const workers = await Promise.all(chain.map((name) => startWorkerChild(t, server.url, [name])))
  // Shorter than any start: no id that an earlier life has used is known to the server.
  for (const stream of ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS', 'TICKS'])
    await nats.jsm.streams.update(stream, { duplicate_window: 100e6 })
  const random = seededRandom(12)
  const flow = startFlow(t, nats, { seed: 12, ratePerSecond: 300 })
  for (let round = 0; round < 2; round += 1)
    for (const worker of workers) {
      const resumeMs = Date.now() + 300 * random()
      await until('the next kill', () => Date.now() > resumeMs)
      const before = worker.restarts()
      worker.kill('SIGKILL')
      await until(`${worker.name} to be started again`, () => worker.restarts() > before)
    }
  await provesOnce(t, nats, server.url, flow)
})

void t.test(
  'P4.09 a client sends all again after the window: each is answered, and nothing is done twice',
  async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    await startTestWorkers(t, server.url, { workers: chain })
    await nats.jsm.streams.update('ORDERS', { duplicate_window: 100e6 })
    const client = await startClient(t, nats)
    const send = async () => {
      const sequences: number[] = []
      for (let number = 0; number < 20; number += 1) {
        const side = number % 2 === 0 ? 'BUY' : 'SELL'
        const account = number % 2 === 0 ? 'alice' : 'bob'
        const body = { account, symbol: 'BTCUSDT', side, quantity: 0.001, price: 45_000, ordType: 'LIMIT' }
        const id = `again-${number}`
        sequences.push(await client.send('orders.new', { ...body, clOrdId: id }, { 'Nats-Msg-Id': id }))
      }
      return sequences
    }
    const first = await send()
    for (const sequence of first) await client.answerTo(sequence)
    await settled(nats)
    const position = async () =>
      (await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions.alice.BTCUSDT' }))?.string()
    const before = await position()
    t.match(before, /"quantity":0.01,/)
    const windowMs = Date.now() + 300
    await until('the window to be over', () => Date.now() > windowMs)
    const second = await send()
    t.ok((second[0] ?? 0) > (first.at(-1) ?? 0), 'the server takes them for new ones')
    for (const sequence of second) {
      const { reports } = await client.answerTo(sequence)
      t.match(reports, [{ execType: 'Rejected', ordRejReason: 'DUPLICATE_CL_ORD_ID' }])
    }
    await settled(nats)
    t.equal(await position(), before, 'and nobody has traded')
  },
)

void t.test('P4.09 publishes whose acks are lost: no second effect', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const proxy = await startProxy(t, Number(new URL(server.url).port))
  await startWorkerChild(t, proxy.url, chain)
  const flow = startFlow(t, nats, { seed: 13, ratePerSecond: 300 })
  for (let round = 0; round < 4; round += 1) {
    const before = await lengthOf(nats, 'EXECUTIONS')
    await until('answers', async () => (await lengthOf(nats, 'EXECUTIONS')) > before + 100)
    proxy.dropAnswers()
    // What is on its way is stored meanwhile, and nobody hears of it.
    const mutedMs = Date.now() + 200
    await until('some to be lost', () => Date.now() > mutedMs)
    proxy.cut()
    proxy.open()
  }
  await provesOnce(t, nats, server.url, flow)
})
