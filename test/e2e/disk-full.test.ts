import t from 'tap'
import { audit } from '../../src/cli/audit.ts'
import { startNats } from '../../src/local/start-nats.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { healthAt, untilHealth } from '../support/health.ts'
import { settled, startFlow, startWorkerChild } from '../support/processes.ts'
import { startSmallDisk } from '../support/small-disk.ts'
import { connectTestNats, until } from '../support/stack.ts'

const mib = 2 ** 20

void t.test('P4.05 P4.10 the disk of the streams is full: named, and survived without loss or hands', async (t) => {
  const disk = await startSmallDisk(t, 400 * mib)
  const progress: string[] = []
  const server = await startNats({ dataDir: disk.folder, port: 0, onProgress: (text) => progress.push(text) })
  t.teardown(() => server.stop(2_000))
  const nats = await connectTestNats(t, server.url)
  const workers = await startWorkerChild(
    t,
    server.url,
    ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'],
    { env: { STREAMS_MAX_BYTES: String(100 * mib) }, storeDir: disk.folder },
  )
  const { gateway, 'oms-matcher': matcher } = workers.ports
  const ask = asker(gateway)
  const flow = startFlow(t, nats, { seed: 14, ratePerSecond: 200 })
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  await until('work', async () => (await lastOf('EXECUTIONS')) > 300)

  const almost = await disk.fill(100 * mib)
  await untilHealth('health to name the disk', matcher, ({ body }) =>
    body.reasons.some((reason) => /the disk of the streams has \d+ MiB left/.test(reason)),
  )
  const refused = await ask('POST', '/orders', limitOrder('alice', 'buy', '1', '100'))
  t.equal(refused.status, 503)
  t.match(refused.json, { error: 'SYSTEM_STORAGE', message: /the disk of the streams has/ })
  await almost()
  await untilHealth('health again', matcher, ({ body }) => body.status === 'healthy')

  const empty = await disk.fill(0)
  await untilHealth('health to say that nothing is stored', matcher, ({ code, body }) => {
    return code === 503 && body.reasons.some((reason) => /the disk of the streams has 0 MiB left/.test(reason))
  })
  const stored = await lastOf('EXECUTIONS')
  await empty()
  await until('the server to be started again', () =>
    progress.some((text) => /the disk of the streams was full/.test(text)),
  )
  await until('answers', async () => (await lastOf('EXECUTIONS').catch(() => 0)) > stored + 300)
  const sent = await flow.stop()
  await settled(nats, 60_000)
  t.match(await audit(nats), { commands: sent, answers: sent, unanswered: 0, doubled: 0, outOfOrder: 0, ok: true })
  t.equal(workers.restarts(), 0, 'the workers live through it')
  t.equal((await healthAt(matcher)).code, 200)
})
