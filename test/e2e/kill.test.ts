import t from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { seededRandom } from '../../src/cli/order-flow.ts'
import type { WorkerName } from '../../src/subjects/contract.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const layouts: Record<string, readonly (readonly WorkerName[])[]> = {
  compact: [chain],
  separate: chain.map((name) => [name]),
}
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

for (const [layout, groups] of Object.entries(layouts)) {
  void t.test(`P1.19 kill -9 of each worker in turn, orders flowing, ${layout} (SEED=${seed})`, async (t) => {
    const random = seededRandom(seed)
    const server = await startTestNats(t)
    const workers = await Promise.all(groups.map((group) => startWorkerChild(t, server.url, group)))
    const nats = await connectTestNats(t, server.url)
    const flow = startFlow(t, nats, { seed, ratePerSecond: 600 })
    for (let round = 0; round < (layout === 'compact' ? 6 : 3); round += 1)
      for (const worker of workers) {
        const before = worker.restarts()
        worker.kill('SIGKILL')
        await until(`${worker.name} to be started again`, () => worker.restarts() > before)
        const pauseMs = 50 + random() * 500
        const resumeMs = Date.now() + pauseMs
        await until('the next kill', () => Date.now() >= resumeMs)
      }
    const sent = await flow.stop()
    await settled(nats, 60_000)
    const result = await audit(nats)
    t.match(result, { commands: sent, answers: sent, unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
    t.same(result.conservation, { ok: true, problems: [] })
    t.ok(result.trades > 0, 'orders met')
  })
}
