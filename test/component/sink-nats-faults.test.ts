import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startNats } from '../../src/local/start-nats.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { healthAt, untilHealth, watchHealth } from '../support/health.ts'
import { checkLake, publishAll, readTable, readVersion, tickMessage } from '../support/lake.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const sinks = ['tick-sink', 'alt-sink', 'execution-sink'] as const
const soonMs = 5_000

void t.test('P3.01 NATS is away and comes back, while ticks flow: 503 and 200 in time, each tick once', async (t) => {
  const dataDir = tempDir(t)
  let server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  const { port, url } = server
  const nats = await connectTestNats(t, url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const env = { LAKE_URI: lake, TICK_FLUSH_MS: '100' }
  const worker = await startWorkerChild(t, url, sinks, { env })
  const { ports } = worker
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())

  // Published until it is stored, and therefore twice now and then: the table has each trade once for all that.
  let ticks = 0
  const publish = async (more: number) => {
    const from = ticks
    ticks += more
    await publishAll(
      publisher,
      Array.from({ length: more }, (_, index) => tickMessage(from + index)),
    )
  }
  const allThere = async () => {
    const { last_seq: last } = (await nats.jsm.streams.info('TICKS')).state
    await until('all ticks', async () => (await readVersion(lake, 'market_ticks')).txns[0] === last, 20_000)
    return last
  }
  const areHealthy = async () => {
    for (const sink of sinks)
      await untilHealth(`${sink} to be healthy`, ports[sink], ({ body }) => body.status === 'healthy')
  }
  await publish(100)
  await allThere()
  await areHealthy()

  const kill = async () => {
    server.kill('SIGKILL')
    await server.stop(0)
  }
  const outages: readonly (readonly [name: string, end: () => Promise<void>, awayMs: number, isIdle: boolean])[] = [
    ['is killed with -9', kill, 500, false],
    // Longer than a client, or health, waits for an answer.
    ['is stopped for long', () => server.stop(2_000), 5_500, false],
    ['is killed while nothing comes', kill, 500, true],
  ]
  for (const [name, end, awayMs, isIdle] of outages)
    await t.test(`P3.01 NATS ${name}`, async (t) => {
      const over = new AbortController()
      const publishing = (async () => {
        while (!over.signal.aborted && !isIdle) {
          await publish(20)
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      })()
      const { version } = await readVersion(lake, 'market_ticks')
      if (!isIdle)
        await until('commits to go on', async () => (await readVersion(lake, 'market_ticks')).version > version)
      const watches = sinks.map((sink) => watchHealth(t, ports[sink]))
      const goneMs = Date.now()
      await end()
      for (const sink of sinks) {
        await untilHealth(`${sink} to say it`, ports[sink], ({ code }) => code === 503)
        const { body } = await healthAt(ports[sink])
        t.match(body, { reason: 'NATS disconnected', checks: { nats: 'disconnected', database: 'connected' } }, sink)
      }
      const badMs = Date.now() - goneMs
      t.ok(badMs < soonMs, `503 after ${badMs} ms`)
      await until('the time to pass', () => Date.now() - goneMs > awayMs, awayMs + 1_000)
      for (const sink of sinks) t.equal((await healthAt(ports[sink])).code, 503, `${sink}: and nothing else meanwhile`)

      server = await startNats({ dataDir, port })
      const backMs = Date.now()
      for (const sink of sinks) await untilHealth(`${sink} to be good`, ports[sink], ({ code }) => code === 200)
      const goodMs = Date.now() - backMs
      t.ok(goodMs < soonMs, `200 after ${goodMs} ms`)
      await publish(20)
      over.abort()
      await publishing
      const messages = await allThere()
      await areHealthy()
      for (const watch of watches) t.same((await watch.end()).at(-1), 'healthy')

      const { rows, commits } = await readTable(lake, 'market_ticks')
      const trades = new Set(rows.map((row) => row['trade_id']))
      t.same([rows.length, trades.size], [ticks, ticks], 'no tick lost, none doubled')
      const duplicates = commits.reduce((sum, commit) => sum + Number(commit['duplicates']), 0)
      t.equal(rows.length + duplicates, messages, `every message is counted; ${duplicates} had been published twice`)
      t.equal(worker.restarts(), 0, 'by the same process')
    })
  await checkLake(t, { LAKE_URI: lake }, { alt_docs: 0, executions: 0, market_ticks: ticks })
})
