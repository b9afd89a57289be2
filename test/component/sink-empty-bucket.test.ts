import { mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startMinio } from '../../src/local/start-minio.ts'
import { readTable } from '../support/lake.ts'
import { openTestMinio } from '../support/minio.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

void t.test('P3.16 P3.06 the bucket comes back empty under a running sink: no table gets a hole', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const dataDir = tempDir(t)
  const minio = await startMinio({ dataDir, port: 0 })
  t.teardown(() => minio.stop(2_000))
  const access = { ...minio.access }
  const lake = openTestMinio(t, minio)
  const env = { ...access, TICK_FLUSH_MS: '50', LEASE_MS: '300' }
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env })
  const feed = startTickFeed(t, nats, lake)
  const logged = (text: RegExp) => text.test(readFileSync(sink.logFile, 'utf8'))
  const bucket = join(dataDir, 'minio/lake')
  const elsewhere = join(dataDir, 'elsewhere')
  const empty = () => {
    renameSync(bucket, elsewhere)
    mkdirSync(bucket)
  }
  await feed.publish(200)
  await feed.allThere()

  await t.test('P3.16 it stops by name, and the table is filled anew from the whole stream', async (t) => {
    await feed.during(async () => {
      empty()
      await until('the sink to stop', () => sink.restarts() > 0, 20_000)
    })
    t.ok(logged(/LAKE_LOG_UNREADABLE.*version \d+ of the log of s3:\S+ is gone/), 'it says why')
    await feed.allThere()
    await feed.check(t, access)
    rmSync(elsewhere, { recursive: true })
  })

  await t.test('P3.16 what the stream does not have any more is not left out: it refuses by name', async (t) => {
    await nats.jsm.streams.purge('TICKS', { seq: 101 })
    empty()
    await feed.publish(10)
    await until('it to say why', () => logged(/LAKE_STREAM_GAP.*market_ticks is empty, and 1 to 100 of TICKS are gone/))
    const restarts = sink.restarts()
    await until('it to be started again', () => sink.restarts() > restarts)
    t.match(await readTable(lake, 'market_ticks'), { version: 0, rows: [], txns: [] }, 'nothing is in the table')
  })

  await t.test('P3.16 it goes on when the bucket is restored', async (t) => {
    // MinIO writes there meanwhile.
    renameSync(bucket, join(dataDir, 'given up'))
    renameSync(elsewhere, bucket)
    await feed.publish(10)
    await feed.allThere()
    await feed.check(t, access)
  })
})
