import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { untilHealth, watchHealth } from '../support/health.ts'
import { readVersion } from '../support/lake.ts'
import { readTables } from '../support/lake-readers.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

const preload = fileURLToPath(new URL('../support/shifted-clock.ts', import.meta.url))
const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** As long as health takes to find a change for the worse, and longer than it takes a probe to be too old. */
const judgedMs = 2_500

void t.test('P3.16 the clock jumps, forward and back: rows go on, health does not lie', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const folder = tempDir(t)
  const lake = join(folder, 'lake')
  const offset = join(folder, 'offset')
  mkdirSync(lake)
  writeFileSync(offset, '0')
  const env = {
    LAKE_URI: lake,
    TICK_FLUSH_MS: '100',
    NODE_OPTIONS: `--import=${preload}`,
    CLOCK_OFFSET_FILE: offset,
  }
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env })
  const port = sink.ports['tick-sink']
  const feed = startTickFeed(t, nats, lake, 1)
  await feed.publish(100)
  await feed.allThere()
  await untilHealth('the sink to be healthy', port, ({ body }) => body.status === 'healthy')

  const jump = (ms: number) => {
    writeFileSync(offset, String(ms))
    sink.kill('SIGUSR2')
  }
  for (const [name, ms] of [
    ['forty days forward', 40 * dayMs],
    ['eighty days back', -40 * dayMs],
    ['to where it was', 0],
  ] as const)
    await t.test(`P3.16 ${name}`, async (t) => {
      const health = watchHealth(t, port)
      await feed.during(async () => {
        const { version } = await readVersion(lake, 'market_ticks')
        jump(ms)
        await new Promise((resolve) => setTimeout(resolve, judgedMs))
        t.ok((await readVersion(lake, 'market_ticks')).version > version + 3, 'commits go on')
      })
      await feed.allThere(3_000)
      const statuses = await health.end()
      t.notOk(statuses.includes('unhealthy'), [...health.reasons].join())
    })
  t.equal(sink.restarts(), 0)

  // An idle sink after a jump back: what it says of the store is of now.
  jump(-hourMs)
  const elsewhere = join(folder, 'elsewhere')
  renameSync(lake, elsewhere)
  const badMs = await untilHealth('health to say that the folder is gone', port, ({ code }) => code === 503, 5_000)
  renameSync(elsewhere, lake)
  const goodMs = await untilHealth('health to be good', port, ({ code }) => code === 200, 5_000)
  t.comment(`503 after ${badMs} ms, 200 after ${goodMs} ms`)

  await feed.publish(50)
  await feed.allThere()
  await feed.check(t, { LAKE_URI: lake })
  const sql = 'select count(*) n, count(distinct stream_seq) d from t'
  const [reading] = await readTables([{ uri: join(lake, 'market_ticks'), sql }])
  for (const { engine, rows } of reading?.engines ?? [])
    t.same(rows, [{ n: String(feed.count), d: String(feed.count) }], engine)
})
