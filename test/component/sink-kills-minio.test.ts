import t from 'tap'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { type ProxyFault, type SeenRequest, startSwallowingProxy } from '../support/swallowing-proxy.ts'
import { startTickFeed } from '../support/tick-feed.ts'

const isUpload = ({ method, path }: SeenRequest) => method === 'PUT' && /\/market_ticks\/.*\.parquet/.test(path)
const isCommit = ({ isConditional, path }: SeenRequest) => isConditional && /_delta_log\/\d{20}\.json/.test(path)

/** What becomes of a request of the sink, which is killed when it was sent, or only when it was done. */
const moments: readonly (readonly [
  string,
  (request: SeenRequest) => boolean,
  ProxyFault,
  (request: SeenRequest) => boolean,
])[] = [
  ['before the upload', isUpload, 'cut', () => true],
  ['between upload and commit', isCommit, 'cut', () => true],
  ['between commit and acknowledgement', isCommit, 'mute', ({ isForwarded }) => isForwarded],
  ['with the commit on its way, which arrives before the next life', isCommit, { delayMs: 200 }, () => true],
  ['with the commit on its way, which arrives in the next life', isCommit, { delayMs: 4_000 }, () => true],
]

void t.test('P3.16 a sink on MinIO killed with -9 anywhere in a commit writes every tick once', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const minio = await startTestMinio(t)
  const proxy = await startSwallowingProxy(t, minio.access.AWS_ENDPOINT_URL)
  const env = { ...minio.access, AWS_ENDPOINT_URL: proxy.url, TICK_FLUSH_MS: '50', LEASE_MS: '300' }
  const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env })
  const feed = startTickFeed(t, nats, openTestMinio(t, minio), 3)
  await feed.publish(50)
  await feed.allThere()
  for (const [name, matches, fault, isDone] of moments) {
    const restarts = sink.restarts()
    const seen = proxy.requests.length
    const hit = () => proxy.requests.slice(seen).find(matches)
    proxy.inject(fault, matches)
    await feed.publish(200)
    await until(`${name}: the moment`, () => {
      const request = hit()
      return request && isDone(request)
    })
    sink.kill('SIGKILL')
    const request = hit()
    await until(`${name}: the sink to run again`, () => sink.restarts() > restarts)
    await feed.publish(100)
    await feed.allThere()
    if (fault !== 'cut') await until(`${name}: the commit to arrive`, () => request?.isForwarded)
    t.equal(request?.isForwarded, fault !== 'cut', name)
  }
  await feed.publish(100)
  await feed.allThere()
  t.equal(sink.restarts(), moments.length)
  await feed.check(t, { ...minio.access })
})
