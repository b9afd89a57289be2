import t from 'tap'
import type { HealthEntry } from '../../src/schemas/health.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { runCli, startCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface LagDocument {
  status: string
  reasons: string[]
  workers: {
    worker: string
    status: string
    reasons: string[]
    phase: string | null
    input: string | null
    lagMessages: number | null
    oldestAgeMs: number | null
    ackPendingMessages: number | null
    signOfLifeAgeMs: number | null
  }[]
  streams: { stream: string; usedPercent: number; sizeBytesMax: number; secondsUntilFull: number | null }[]
}

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const

void t.test('P1.14 P1.15 `lag` says how every worker is and how full the streams are', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  const lag = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCli(['lag', '--json', ...args], env)
    t.equal(stderr, '')
    return { code, report: JSON.parse(stdout) as LagDocument }
  }
  const nats = await connectTestNats(t, server.url)

  await t.test('nothing runs: 2', async (t) => {
    const { code, report } = await lag()
    t.equal(code, 2)
    t.equal(report.status, 'unhealthy')
    t.match(report.reasons, ['stream ORDERS is missing'])
    t.same(
      report.workers.map(({ worker, status, reasons, phase }) => [worker, status, reasons, phase]),
      chain.map((worker) => [worker, 'unhealthy', ['not running'], null]),
    )
  })

  // Small, so that one of them fills soon.
  await ensureStreams(nats, 100 * 2 ** 20)
  const rest = await startTestWorkers(t, server.url, { workers: ['oms-matcher', 'pnl-updater', 'tape', 'gateway'] })
  const gate = await startTestWorkers(t, server.url, { workers: ['risk-gate'] })
  const health = await nats.kvm.open('HEALTH')
  for (const worker of [...chain, 'gateway.test'])
    await until(`${worker} to be healthy`, async () => {
      return (await health.get(worker))?.json<HealthEntry>().status === 'healthy'
    })
  const order = (side: string) => ({ symbol: 'BTCUSDT', side, type: 'limit', quantity: 1, price: 45000 })
  const send = (side: string) => nats.js.publish('orders.new', JSON.stringify(order(side)))
  await send('buy')
  await send('sell')

  await t.test('all at work: 0', async (t) => {
    const { code, report } = await lag()
    t.equal(code, 0, report.reasons.join('; '))
    t.match(report, { status: 'healthy', reasons: [] })
    t.same(
      report.workers.map(({ worker, status, input }) => [worker, status, input]),
      [
        ['risk-gate', 'healthy', 'ORDERS'],
        ['oms-matcher', 'healthy', 'RISK'],
        ['pnl-updater', 'healthy', 'EXECUTIONS'],
        ['tape', 'healthy', 'EXECUTIONS'],
        ['gateway.test', 'healthy', null],
      ],
    )
    for (const { worker, lagMessages, ackPendingMessages, signOfLifeAgeMs } of report.workers.slice(0, 2)) {
      t.equal(lagMessages, 0, worker)
      t.equal(ackPendingMessages, 0)
      t.ok((signOfLifeAgeMs ?? Infinity) < 3_500)
    }
  })

  const watching = startCli(t, ['lag', '--watch', '--json'], env)
  const seen = () => watching.lines.map((line) => JSON.parse(line) as LagDocument)
  const ticks = () => seen().map(({ streams }) => streams.find(({ stream }) => stream === 'TICKS'))

  await t.test('a stream that fills: 1, and when it will be full', async (t) => {
    await until('health in the watched documents', () => seen().some(({ status }) => status === 'healthy'))
    const bytesMax = (await nats.jsm.streams.info('TICKS')).config.max_bytes
    const tick = JSON.stringify({ symbol: 'X', price: 1, size: 1, note: 'x'.repeat(15_000) })
    const fillTo = async (share: number) => {
      for (;;) {
        const { bytes } = (await nats.jsm.streams.info('TICKS')).state
        if (bytes >= share * bytesMax) return
        await nats.js.publish('market.tick.TEST.X', tick)
      }
    }
    await fillTo(0.5)
    const level = await until('a pace', () => ticks().find((one) => (one?.secondsUntilFull ?? 0) > 0))
    t.ok(level.usedPercent > 0 && level.usedPercent < 60)
    await fillTo(0.88)
    const { code, report } = await lag()
    t.equal(code, 1, report.reasons.join('; '))
    t.equal(report.status, 'degraded')
    t.match(report.reasons, [/^tape: stream TICKS is 8\d\.\d % full$/])
    await until('that in the watched documents', () => seen().some(({ status }) => status === 'degraded'))
  })

  await t.test('a worker that stopped with work to do: 2', async (t) => {
    await gate.stop()
    const sendingMs = Date.now()
    const sent = [await send('buy'), await send('buy'), await send('buy')]
    const { created } = (await health.get('risk-gate')) ?? { created: new Date() }
    const sentMs = Date.now()
    await until('silence', () => Date.now() - created.getTime() > 5_100)
    const askedMs = Date.now()
    const { code, report } = await lag()
    const answeredMs = Date.now()
    t.equal(code, 2)
    const [riskGate, matcher] = report.workers
    t.match(riskGate, { worker: 'risk-gate', status: 'unhealthy', lagMessages: 3, input: 'ORDERS' })
    t.match(riskGate?.reasons, [/^no sign of life for \d+\.\d s$/, /^lag of 3 messages in ORDERS, the oldest \d/])
    const ageMs = riskGate?.oldestAgeMs ?? 0
    t.ok(ageMs >= askedMs - sentMs - 1 && ageMs <= answeredMs - sendingMs + 1, `${ageMs} ms`)
    t.match(matcher, { worker: 'oms-matcher', status: 'healthy', lagMessages: 0 })
    t.equal(sent.length, 3)

    const table = await runCli(['lag'], env)
    t.equal(table.code, 2)
    // Whether its last sign still came while it stopped, is up to the machine; the table shows what it was.
    const phase = (await health.get('risk-gate'))?.json<HealthEntry>().phase ?? ''
    t.ok(['active', 'stopped'].includes(phase), phase)
    t.match(table.stdout, new RegExp(`^risk-gate +unhealthy +${phase} +ORDERS +3 +\\d+\\.\\d s `, 'm'))
    t.match(table.stdout, /^TICKS +8\d\.\d % /m)
    t.match(table.stdout, /^unhealthy\n {2}risk-gate: no sign of life/m)

    await until('that in the watched documents', () => seen().some(({ status }) => status === 'unhealthy'))
    t.equal(await watching.interrupt(), 130)
  })
  await rest.stop()
})
