import t from 'tap'
import { audit } from '../../src/cli/audit.ts'
import type { WorkerName } from '../../src/subjects/contract.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const outputs = { 'risk-gate': 'RISK', 'oms-matcher': 'EXECUTIONS', 'pnl-updater': 'POSITIONS' } as const

for (const name of ['risk-gate', 'oms-matcher', 'pnl-updater'] as const satisfies readonly WorkerName[])
  void t.test(`P4.08 a stand-by of ${name} takes over from one that is stopped for good, under load`, async (t) => {
    const server = await startTestNats(t)
    await startWorkerChild(
      t,
      server.url,
      chain.filter((other) => other !== name),
    )
    const nats = await connectTestNats(t, server.url)
    const leases = await nats.kvm.open('LEASES')
    const holder = async () => {
      const lease = await leases.get(name)
      // One that was given back is deleted.
      return lease?.operation === 'PUT' ? lease.json<{ instance: string }>().instance : undefined
    }
    const isActive = (instance: string) => async () => (await holder()) === instance
    const lastOutput = async () => (await nats.jsm.streams.info(outputs[name])).state.last_seq
    const flow = startFlow(t, nats, { seed: 5, ratePerSecond: 300 })

    const first = await startWorkerChild(t, server.url, [name], { instance: 'first' })
    await until('the first to be active', isActive('first'))
    const second = await startWorkerChild(t, server.url, [name], { instance: 'second' })
    await until('work', async () => (await lastOutput()) > 200)
    const beforeTerm = await lastOutput()
    const termMs = performance.now()
    // Not started again: it was stopped by its supervisor.
    const stopped = first.stop(5_000)
    await until('the second to be active', isActive('second'))
    await until('the second to write', async () => (await lastOutput()) > beforeTerm + 20)
    t.comment(`after SIGTERM outputs flowed again within ${Math.round(performance.now() - termMs)} ms`)
    await stopped

    const third = await startWorkerChild(t, server.url, [name], { instance: 'third' })
    const beforeKill = await lastOutput()
    const killMs = performance.now()
    second.kill('SIGKILL')
    await second.stop(0)
    await until('the third to be active', isActive('third'))
    await until('the third to write', async () => (await lastOutput()) > beforeKill + 20)
    t.comment(`after kill -9 outputs flowed again within ${Math.round(performance.now() - killMs)} ms`)
    t.equal(third.restarts(), 0, 'it was ready to take over')

    const sent = await flow.stop()
    await settled(nats)
    t.match(await audit(nats), { commands: sent, answers: sent, unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  })
