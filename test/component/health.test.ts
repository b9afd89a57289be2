import t from 'tap'
import type { Test } from 'tap'
import { startNats } from '../../src/local/start-nats.ts'
import { freePort } from '../../src/local/ports.ts'
import { startWorkerProcess } from '../../src/cli/worker-process.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import type { HealthEntry } from '../../src/schemas/health.ts'
import { streamSpecs, type WorkerName, workerSpec } from '../../src/subjects/contract.ts'
import { healthAt, startTestValkey, untilHealth, watchHealth } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { settled, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
const env = { LAG_DEGRADED_MS: '1000', LAG_UNHEALTHY_MS: '4000' }

/** How soon a change must show (spine, P1.14). */
const soonMs = 5_000
const isHealthy = ({ code, body }: { code: number; body: { status: string } }) =>
  code === 200 && body.status === 'healthy'

async function sendOrders(nats: Nats, count: number): Promise<void> {
  const publisher = new AckedPublisher(nats.connection)
  const order = (index: number) =>
    `{"account":"a${index % 20}","symbol":"BTCUSDT","side":"${index % 2 ? 'BUY' : 'SELL'}","type":"LIMIT","quantity":0.01,"price":45000}`
  const acks = Array.from({ length: count }, (_, index) => publisher.request('orders.new', order(index)))
  for (const ack of await Promise.all(acks)) if (ack.outcome !== 'stored') throw new Error(JSON.stringify(ack))
  publisher.close()
}

async function metricsAt(port: number | undefined): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line): [string, number] => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

/** What the server tells by itself: what each worker last left in KV HEALTH. */
async function entryOf(nats: Nats, key: string): Promise<HealthEntry | undefined> {
  const entry = await (await nats.kvm.open('HEALTH')).get(key)
  return entry?.json<HealthEntry>()
}

void t.test('P1.14 health tells the truth, soon, and does not flap', async (t) => {
  const whole = t
  const dataDir = tempDir(t)
  let server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  let valkey = await startTestValkey(t)
  const rest = await startWorkerChild(t, server.url, ['risk-gate', 'pnl-updater', 'tape', 'gateway'], {
    instance: 'rest',
    env: { ...env, REDIS_URL: valkey.url },
  })
  const matcher = await startWorkerChild(t, server.url, ['oms-matcher'], { instance: 'first', env })
  const nats = await connectTestNats(t, server.url)
  const ports = { ...rest.ports, ...matcher.ports }
  const allHealthy = () =>
    Promise.all(workers.map((worker) => untilHealth(`${worker} to be healthy`, ports[worker], isHealthy)))
  await allHealthy()

  await t.test('P1.14 bodies and codes of every worker', async (t) => {
    await sendOrders(nats, 20)
    await nats.js.publish('orders.new', '{')
    await settled(nats)
    for (const worker of workers) {
      const port = ports[worker]
      const lagged = worker === 'gateway' ? null : workerSpec(worker).input
      await untilHealth('no lag', port, ({ body }) => body.checks.lag?.messages === 0)
      for (const path of ['/health', '/health/detailed', '/health/ready']) {
        const { code, body } = await healthAt(port, path)
        t.equal(code, 200, `${worker} ${path}`)
        t.match(body, {
          status: 'healthy',
          service: worker,
          reasons: [],
          checks: {
            nats: 'connected',
            redis: worker === 'pnl-updater' ? 'connected' : null,
            database: null,
            memory_mb: Number,
            active_connections: Number,
            last_success: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
            event_loop_delay_ms: Number,
            lag: { messages: 0, seconds: 0, ack_pending: Number, redelivered: 0 },
          },
        })
        t.notOk('reason' in body, 'no reason while all is well')
        t.ok(Date.now() - Date.parse(body.checks.last_success ?? '') < 5_000, 'the last success is recent')
        t.same(
          Object.keys(body.checks.storage),
          streamSpecs.map(({ name }) => name),
        )
        t.ok((body.checks.storage['ORDERS']?.used_percent ?? 0) >= 0)
        if (lagged) t.type(body.checks.latency_ms.p99, 'number', `${worker} has measured its batches`)
      }
      const live = await fetch(`http://127.0.0.1:${port}/health/live`)
      t.same([live.status, await live.json()], [200, { status: 'alive' }])
      const key = worker === 'gateway' ? 'gateway.rest' : worker
      const pid = worker === 'oms-matcher' ? matcher.pid : rest.pid
      t.match(await entryOf(nats, key), { service: worker, phase: 'active', pid, timeMs: Number })
    }
  })

  await t.test('P1.14 metrics of the contract are there and move', async (t) => {
    for (const worker of workers) {
      const metrics = await metricsAt(ports[worker])
      const value = (name: string) => metrics.get(`${name}{worker="${worker}"}`)
      t.equal(value('worker_lag_messages'), 0, worker)
      t.equal(value('worker_lag_seconds'), 0)
      t.equal(value('worker_redelivered_total'), 0)
      t.equal(value('worker_dead_letters_total'), worker === 'risk-gate' ? 1 : 0)
      const batches = value('worker_batch_size_count') ?? -1
      t.ok(worker === 'gateway' ? batches === 0 : batches > 0, `batches of ${worker}: ${batches}`)
      if (worker !== 'gateway') t.ok((value('worker_batch_size_sum') ?? 0) >= batches)
      t.ok((metrics.get(`stream_used_percent{stream="ORDERS",worker="${worker}"}`) ?? -1) >= 0)
    }
    const matched = await metricsAt(ports['oms-matcher'])
    t.equal(matched.get('oms_orders_total{status="REJECTED",source="orders",worker="oms-matcher"}'), 1)
  })

  await t.test('P1.14 NATS stopped: 503 in time, and 200 in time when it is back', async (t) => {
    const watches = workers.map((worker) => watchHealth(t, ports[worker]))
    const { port } = server
    await server.stop(5_000)
    const sinceMs = Date.now()
    for (const worker of workers) {
      await untilHealth(`${worker} to notice`, ports[worker], ({ code }) => code === 503)
      const { body } = await healthAt(ports[worker])
      t.equal(body.reasons[0], 'NATS disconnected')
      t.equal(body.checks.nats, 'disconnected')
      t.equal((await healthAt(ports[worker], '/health/ready').catch(() => ({ code: 0 }))).code, 503)
      t.equal((await fetch(`http://127.0.0.1:${ports[worker]}/health/live`)).status, 200)
    }
    const downMs = Date.now() - sinceMs
    t.ok(downMs < soonMs, `noticed after ${downMs} ms`)
    server = await startNats({ dataDir, port })
    const backMs = Date.now()
    for (const worker of workers) await untilHealth(`${worker} to be back`, ports[worker], isHealthy)
    const upMs = Date.now() - backMs
    t.ok(upMs < soonMs, `healthy again after ${upMs} ms`)
    for (const watch of watches) t.same(await watch.end(), ['healthy', 'unhealthy', 'healthy'])
    await sendOrders(nats, 10)
    await settled(nats)
  })

  await t.test('P1.14 NATS hangs: the connection stands, but nothing can be written', async (t) => {
    const watch = watchHealth(t, ports['oms-matcher'])
    server.kill('SIGSTOP')
    const downMs = await untilHealth('the probe to fail', ports['oms-matcher'], ({ code }) => code === 503)
    t.ok(downMs < soonMs, `noticed after ${downMs} ms`)
    t.match((await healthAt(ports['oms-matcher'])).body.reason, /^no successful write for \d+\.\d s/)
    server.kill('SIGCONT')
    const upMs = await untilHealth('the matcher to be back', ports['oms-matcher'], isHealthy)
    t.ok(upMs < soonMs, `healthy again after ${upMs} ms`)
    t.same(await watch.end(), ['healthy', 'unhealthy', 'healthy'])
    await allHealthy()
  })

  for (const how of ['stopped', 'hangs'] as const)
    await t.test(`P1.04 Redis ${how}: the pipeline runs on, only pnl-updater is degraded`, async (t) => {
      const watch = watchHealth(t, ports['pnl-updater'])
      const { port, dataDir: valkeyDir } = valkey
      if (how === 'stopped') await valkey.stop(2_000)
      else valkey.kill('SIGSTOP')
      const downMs = await untilHealth(
        'Redis to be missed',
        ports['pnl-updater'],
        ({ body }) => body.status === 'degraded',
      )
      t.ok(downMs < soonMs, `noticed after ${downMs} ms`)
      const { code, body } = await healthAt(ports['pnl-updater'])
      t.match({ code, ...body }, { code: 200, reason: 'Redis disconnected', checks: { redis: 'disconnected' } })
      t.equal((await healthAt(ports['pnl-updater'], '/health/ready')).code, 200)
      await sendOrders(nats, 50)
      await settled(nats, soonMs)
      for (const worker of workers)
        if (worker !== 'pnl-updater') t.equal((await healthAt(ports[worker])).body.status, 'healthy', worker)
      if (how === 'stopped') valkey = await startTestValkey(whole, { dataDir: valkeyDir, port })
      else valkey.kill('SIGCONT')
      const upMs = await untilHealth('Redis to be back', ports['pnl-updater'], isHealthy)
      t.ok(upMs < soonMs, `healthy again after ${upMs} ms`)
      t.same(await watch.end(), ['healthy', 'degraded', 'healthy'])
    })

  await t.test('P1.14 a stopped worker is seen from outside, and its lag when it goes on', async (t) => {
    const watch = watchHealth(t, ports['oms-matcher'])
    const before = await entryOf(nats, 'oms-matcher')
    await pause(matcher)
    await t.rejects(healthAt(ports['oms-matcher']), 'its port does not answer')
    await sendOrders(nats, 20_000)
    await until('its probe to be late', async () => {
      const entry = await entryOf(nats, 'oms-matcher')
      return Date.now() - (entry?.timeMs ?? 0) > 3_500
    })
    t.equal(before?.pid, matcher.pid)
    // From now on it has a small part of its time, so that it stays behind.
    let isSliced = true
    const slices = setInterval(() => {
      matcher.kill('SIGCONT')
      setTimeout(() => {
        if (isSliced) matcher.kill('SIGSTOP')
      }, 10)
    }, 100)
    t.teardown(() => clearInterval(slices))
    const lag = /^lag of \d+ messages in RISK, the oldest \d+\.\d s old$/
    await until('the lag to show', () => [...watch.reasons].some((reason) => lag.test(reason)), 60_000)
    isSliced = false
    clearInterval(slices)
    matcher.kill('SIGCONT')
    await untilHealth('the matcher to have caught up', ports['oms-matcher'], isHealthy)
    t.equal((await healthAt(ports['oms-matcher'])).body.checks.lag?.messages, 0)
    await watch.end()
    await settled(nats)
    await allHealthy()
  })

  await t.test('P1.14 a worker that cannot write is degraded, then unhealthy, with the reason', async (t) => {
    const watch = watchHealth(t, ports['oms-matcher'])
    const { state } = await nats.jsm.streams.info('EXECUTIONS')
    await nats.jsm.streams.update('EXECUTIONS', { max_msgs: state.messages })
    await sendOrders(nats, 5)
    await untilHealth('degraded', ports['oms-matcher'], ({ body }) => body.status === 'degraded')
    t.equal((await healthAt(ports['oms-matcher'])).body.reasons[0], 'EXECUTIONS: maximum messages exceeded')
    await untilHealth('unhealthy', ports['oms-matcher'], ({ code }) => code === 503)
    const { body } = await healthAt(ports['oms-matcher'])
    t.equal(body.reasons[0], 'EXECUTIONS: maximum messages exceeded')
    t.ok((body.checks.lag?.seconds ?? 0) > 3, `the lag is ${body.checks.lag?.seconds} s`)
    t.equal((await healthAt(ports['oms-matcher'], '/health/ready')).code, 503)
    t.ok(((await metricsAt(ports['oms-matcher'])).get('worker_lag_seconds{worker="oms-matcher"}') ?? 0) > 3)

    // A message of the batch that waits comes again.
    const { delivered } = await nats.jsm.consumers.info('RISK', 'oms-matcher')
    const { stream_seq: streamSeq, consumer_seq: consumerSeq } = delivered
    nats.connection.publish(`$JS.ACK.RISK.oms-matcher.1.${streamSeq}.${consumerSeq}.0.0`, '-NAK')
    await until(
      'the repeat to be counted',
      async () =>
        ((await metricsAt(ports['oms-matcher'])).get('worker_redelivered_total{worker="oms-matcher"}') ?? 0) > 0,
    )

    await nats.jsm.streams.update('EXECUTIONS', { max_msgs: -1 })
    const upMs = await untilHealth('the matcher to be back', ports['oms-matcher'], isHealthy)
    t.ok(upMs < soonMs, `healthy again after ${upMs} ms`)
    t.same((await watch.end()).slice(0, 3), ['healthy', 'degraded', 'unhealthy'])
    await settled(nats)
  })

  await t.test('P1.14 a stand-by is healthy, but not ready; it takes over from the killed one', async (t) => {
    const standBy = await startWorkerChild(t, server.url, ['oms-matcher'], { instance: 'second', env })
    const port = standBy.ports['oms-matcher']
    await untilHealth('the stand-by', port, isHealthy)
    const { code, body } = await healthAt(port, '/health/ready')
    t.equal(code, 503)
    t.match(body, {
      status: 'healthy',
      reason: `stand-by: first (pid ${matcher.pid}) is active`,
      checks: { lag: null },
    })
    t.equal((await healthAt(ports['oms-matcher'], '/health/ready')).code, 200)
    await until('its own probe', async () => (await entryOf(nats, 'oms-matcher.second'))?.phase === 'waiting')
    t.equal((await entryOf(nats, 'oms-matcher'))?.pid, matcher.pid, 'the entry of the worker is that of the active one')
    await sendOrders(nats, 100)
    await settled(nats)
    await untilHealth('the stand-by, after others have worked', port, isHealthy)

    await matcher.stop(0)
    await until('the stand-by to be ready', async () => (await healthAt(port, '/health/ready')).code === 200)
    await sendOrders(nats, 10)
    await settled(nats)
    await until('its probe in its place', async () => (await entryOf(nats, 'oms-matcher'))?.pid === standBy.pid)
  })
})

/** One worker in this process that may fail. */
async function startOne(t: Test, natsUrl: string, worker: WorkerName): Promise<{ port: number; fatal: Error[] }> {
  const port = await freePort()
  const fatal: Error[] = []
  const started = await startWorkerProcess({
    workers: [worker],
    settings: settingsFrom({ NATS_URL: natsUrl, LOG_LEVEL: 'silent', STREAMS_MAX_BYTES: String(512 * 2 ** 20) }),
    instance: 'one',
    ports: { [worker]: port },
    onFatal: (error) => fatal.push(error),
  })
  t.teardown(() => started.stop())
  return { port, fatal }
}

void t.test('P1.14 a dead loop is never healthy', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)

  await t.test('P1.14 one that has lost its lease', async (t) => {
    const { port, fatal } = await startOne(t, server.url, 'tape')
    await untilHealth('tape to be healthy', port, isHealthy)
    await (await nats.kvm.open('LEASES')).put('tape', JSON.stringify({ instance: 'other', pid: 1, startedMs: 0 }))
    await until('it to give up', () => fatal.length > 0)
    t.match(fatal[0], { code: 'WRITER_FENCED' })
    await untilHealth('it to say so', port, ({ code, body }) => code === 503 && body.reasons[0] === 'stopped')
    t.equal((await healthAt(port, '/health/ready')).code, 503)
  })

  await t.test('P1.14 one that cannot take over', async (t) => {
    await nats.jsm.streams.update('RISK', { max_msgs: 1 })
    await nats.js.publish('risk.decisions', '{"epoch":1,"records":[]}')
    const { port } = await startOne(t, server.url, 'risk-gate')
    await untilHealth('it to be degraded', port, ({ body }) => body.status === 'degraded')
    t.match((await healthAt(port)).body.reason, /^recovering for \d+\.\d s/)
    t.equal((await healthAt(port, '/health/ready')).code, 503)
    await nats.jsm.streams.update('RISK', { max_msgs: -1 })
    await untilHealth('it to be healthy', port, isHealthy)
  })

  await t.test('P1.14 one whose output has no room', async (t) => {
    await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher'] })
    const leases = await nats.kvm.open('LEASES')
    await leases.delete('tape')
    const { port } = await startOne(t, server.url, 'tape')
    await untilHealth('tape to be healthy', port, isHealthy)
    const { state } = await nats.jsm.streams.info('TICKS')
    await nats.jsm.streams.update('TICKS', { max_msgs: Math.max(1, state.messages) })
    await sendOrders(nats, 8)
    await untilHealth('tape to be degraded', port, ({ body }) => body.status === 'degraded')
    t.equal((await healthAt(port)).body.reasons[0], 'market.tick.T2026.BTCUSDT: maximum messages exceeded')
    await nats.jsm.streams.update('TICKS', { max_msgs: -1 })
    await untilHealth('tape to be healthy', port, isHealthy)
  })
})
