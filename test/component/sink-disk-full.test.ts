import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { asker } from '../support/gateway.ts'
import { untilHealth } from '../support/health.ts'
import { readVersion } from '../support/lake.ts'
import { startWorkerChild } from '../support/processes.ts'
import { startSmallDisk } from '../support/small-disk.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { startTickFeed } from '../support/tick-feed.ts'

void t.test('P3.16 disk full: nothing is left behind, the batch is kept, pulling stops, and goes on', async (t) => {
  const disk = await startSmallDisk(t, 16 * 2 ** 20)
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(disk.folder, 'lake')
  mkdirSync(lake)
  const env = { TICK_FLUSH_MS: '50', LAKE_FLUSH_BYTES: String(2 ** 20), LAKE_URI: lake }
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env })
  const port = sink.ports['tick-sink']
  const feed = startTickFeed(t, nats, lake)
  // Without the probe object of health, which is first written when the sink is idle.
  const files = () =>
    readdirSync(lake, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(lake.length + 1))
      .filter((path) => !path.startsWith('_health/'))
      .sort()
  await feed.publish(500)
  await feed.allThere()
  await untilHealth('the sink to be healthy', port, ({ body }) => body.status === 'healthy')
  const { version } = await readVersion(lake, 'market_ticks')
  const filesBefore = files().filter((path) => !path.startsWith('.tmp/'))

  // Room for a file or two of the five of a commit.
  const makeRoom = await disk.fill(12 * 2 ** 10)
  await feed.publish(20_000)
  const isFull = (body: { reason?: string }) => /Delta Lake unavailable: .*disk full/.test(body.reason ?? '')
  await untilHealth('health to say it', port, ({ code, body }) => code === 503 && isFull(body), 5_000)
  let buffered = -1
  await until('pulling to stop', async () => {
    const before = buffered
    await new Promise((resolve) => setTimeout(resolve, 300))
    buffered = Number((await asker(port)('GET', '/stats')).json['rows_buffered'])
    return before === buffered
  })
  t.ok(buffered > 1_000 && buffered < 18_000, `${buffered} of 20,000 rows are in memory`)
  const { num_pending: pending } = await nats.jsm.consumers.info('TICKS', 'tick-sink')
  t.ok(pending > 1_000, `${pending} wait in the stream`)
  t.equal((await readVersion(lake, 'market_ticks')).version, version, 'no version more')
  // A try may be on its way just now.
  await until('only the files of before to be there', () => files().join() === filesBefore.join())

  await makeRoom()
  await untilHealth('health to be good again', port, ({ code }) => code === 200, 5_000)
  await feed.publish(500)
  await feed.allThere()
  t.equal(sink.restarts(), 0, 'by the same process')
  await until('no temporary file to be left', () => !files().some((name) => name.startsWith('.tmp')))
  await feed.check(t, { LAKE_URI: lake })
})
