import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startMinio, type MinioServer } from '../../src/local/start-minio.ts'
import { healthAt, untilHealth, watchHealth } from '../support/health.ts'
import { openTestMinio } from '../support/minio.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

/** Longer than anything in a sink waits for an answer. */
const awayMs = 30_000
const soonMs = 5_000

void t.test('P3.16 P3.01 the store is away, refuses the key or has no bucket, while ticks flow', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const dataDir = tempDir(t)
  const servers: MinioServer[] = []
  const start = async () => {
    const minio = await startMinio({ dataDir, port: servers[0]?.port ?? 0 })
    servers.push(minio)
    return minio
  }
  t.teardown(() => Promise.all(servers.map((minio) => minio.stop(2_000))))
  const minio = await start()
  const stop = () => Promise.all(servers.map((minio) => minio.stop(2_000)))
  const access = { ...minio.access }
  const lake = openTestMinio(t, minio)
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env: { ...access, TICK_FLUSH_MS: '200' } })
  const port = sink.ports['tick-sink']
  const feed = startTickFeed(t, nats, lake)
  await feed.publish(100)
  await feed.allThere()
  await untilHealth('the sink to be healthy', port, ({ body }) => body.status === 'healthy')

  /** Health says it in time and is good in time when it is over; the same process has every tick once then. */
  const fault = (
    name: string,
    said: RegExp,
    begin: () => unknown,
    lastMs: number,
    end: () => unknown,
    isIdle = false,
  ) =>
    t.test(`P3.16 P3.01 ${name}`, async (t) => {
      const run = async () => {
        const health = watchHealth(t, port)
        await begin()
        const begunMs = Date.now()
        const badMs = await untilHealth('health to say it', port, ({ code }) => code === 503)
        const reason = await until('the reason', () => [...health.reasons].find((text) => said.test(text)), soonMs)
        t.ok(badMs < soonMs, `503 after ${badMs} ms: ${reason}`)
        await until('the time to pass', () => Date.now() - begunMs > lastMs, lastMs + 1_000)
        t.equal((await healthAt(port)).code, 503, 'and nothing else meanwhile')
        await end()
        const goodMs = await untilHealth('health to be good', port, ({ code }) => code === 200)
        t.ok(goodMs < soonMs, `200 after ${goodMs} ms`)
        await untilHealth('nothing to be left of it', port, ({ body }) => body.status === 'healthy')
        t.equal((await health.end()).at(-1), 'healthy')
      }
      if (isIdle) await run()
      else await feed.during(run)
      await feed.publish(10)
      await feed.allThere()
      t.equal(sink.restarts(), 0, 'by the same process')
      await feed.check(t, access)
    })

  await fault('MinIO is down in mid-stream', /Delta Lake unavailable: .*(nothing listens|broke)/, stop, awayMs, start)

  const envFile = join(dataDir, 'minio.env')
  const good = readFileSync(envFile, 'utf8')
  const startWith = async (text: string) => {
    await stop()
    writeFileSync(envFile, text)
    await start()
  }
  const other = good.replace(/^MINIO_ROOT_PASSWORD=.*$/m, 'MINIO_ROOT_PASSWORD=another-secret-than-ours')
  await fault(
    'the key is wrong',
    /Delta Lake unavailable: .*the secret of the access key is wrong/,
    () => startWith(other),
    1_000,
    () => startWith(good),
  )

  const bucket = join(dataDir, 'minio/lake')
  const elsewhere = join(dataDir, 'elsewhere')
  for (const isIdle of [false, true])
    await fault(
      `the bucket is gone${isIdle ? ', and nothing comes' : ''}`,
      /Delta Lake unavailable: .*no such bucket/,
      () => renameSync(bucket, elsewhere),
      1_000,
      () => renameSync(elsewhere, bucket),
      isIdle,
    )
})
