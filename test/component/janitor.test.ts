import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { verifyAll } from '../../src/cli/verify.ts'
import { holdRoom } from '../../src/runtime/hold-room.ts'
import { trimmedStreams } from '../../src/runtime/trim.ts'
import { runCli } from '../support/cli.ts'
import { publishAll, tickMessage } from '../support/lake.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { settled, startFlow } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
const sinks = ['tick-sink', 'alt-sink', 'execution-sink'] as const

void t.test('P4.05 the janitor trims streams that fill up to what nobody needs, and everything goes on', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const env = {
    ...{ LAKE_URI: lake, EXECUTION_FLUSH_MS: '200', TICK_FLUSH_MS: '200', ALT_FLUSH_MS: '200' },
    ...{ STREAMS_MAX_BYTES: String(100 * 2 ** 20), STORAGE_TRIM_PERCENT: '1', SNAPSHOT_GROWTH_PERCENT: '1' },
  }
  const running = await startTestWorkers(t, server.url, { workers: [...chain, ...sinks, 'janitor'], env })
  const firstOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.first_seq
  const verify = () => verifyAll(nats, { redis: '', uri: lake, tables: true }, () => undefined)
  const flow = startFlow(t, nats, { seed: 9, ratePerSecond: 400 })
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  for (let round = 0; round < 40; round += 1)
    await publishAll(
      publisher,
      Array.from({ length: 250 }, (_, index) => tickMessage(round * 250 + index)),
    )
  for (const stream of ['ORDERS', 'RISK', 'EXECUTIONS', 'TICKS'])
    await until(`${stream} to be trimmed`, async () => (await firstOf(stream)) > 1, 120_000)

  // Nothing goes while somebody wants everything to stay.
  const release = await holdRoom(nats)
  const held = await Promise.all(trimmedStreams.map(firstOf))
  const { ok, checks } = await verify()
  t.ok(ok, `on a trimmed system under load: ${JSON.stringify(checks.filter((check) => !check.ok))}`)
  t.same(await Promise.all(trimmedStreams.map(firstOf)), held)
  t.match(await runCli(['trim', '--nats', server.url]), { code: 1, stderr: /`trade2026 verify` is at work/ })
  await release()
  await until('trimming to go on', async () => (await firstOf('EXECUTIONS')) > (held[2] ?? 0), 120_000)

  await flow.stop()
  await settled(nats)
  await running.stop()
  const sizes = await Promise.all(trimmedStreams.map(async (stream) => (await nats.jsm.streams.info(stream)).state))
  for (const [index, stream] of trimmedStreams.entries())
    if (stream !== 'ALT') t.ok((sizes[index]?.messages ?? 0) > 0, `${stream} keeps its last message`)

  // The tape reads its position in its last tick; gate, matcher and PnL go on from snapshots.
  await startTestWorkers(t, server.url, { workers: [...chain, ...sinks], env, instance: 'second' })
  const more = startFlow(t, nats, { seed: 10, ratePerSecond: 200 })
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.ok((await more.stop()) > 0)
  await settled(nats)
  const after = await verify()
  t.ok(after.ok, JSON.stringify(after.checks.filter((check) => !check.ok)))
})
