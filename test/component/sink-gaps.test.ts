import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DiscardPolicy } from '@nats-io/jetstream'
import t from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { runCli } from '../support/cli.ts'
import { checkLake, publishAll, readTable, tickMessage } from '../support/lake.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { asker } from '../support/gateway.ts'

void t.test('P3.07 after a purge by subject, and after retention, `lake adopt` lets the sink go on', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const access = { LAKE_URI: lake, NATS_URL: server.url, TICK_FLUSH_MS: '100' }
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  const publish = (from: number, count: number) =>
    publishAll(
      publisher,
      Array.from({ length: count }, (_, index) => tickMessage(from + index)),
    )
  const rows = async () => (await readTable(lake, 'market_ticks')).rows.length
  const start = () => startTestWorkers(t, server.url, { workers: ['tick-sink'], instance: 'tick-sink', env: access })
  const flushAndStop = async (running: Awaited<ReturnType<typeof start>>) => {
    t.equal((await asker(running.ports['tick-sink'])('POST', '/flush')).status, 200)
    await running.stop()
  }
  const adopt = async () => {
    const { code, stderr } = await runCli(['lake', 'adopt', 'market_ticks', '--yes'], access)
    t.equal(code, 0, stderr)
  }
  const first = await start()
  await publish(0, 100)
  await flushAndStop(first)
  t.equal(await rows(), 100)

  await publish(100, 100)
  await nats.jsm.streams.purge('TICKS', { filter: 'market.tick.BINANCE.SYM2' })
  await publish(200, 1)
  await adopt()
  const second = await start()
  await until('the rest', async () => (await rows()) === 181)
  await flushAndStop(second)
  await checkLake(t, access, { market_ticks: 181 })

  await publish(201, 100)
  await nats.jsm.streams.update('TICKS', { max_msgs: 40, discard: DiscardPolicy.Old })
  t.equal((await nats.jsm.streams.info('TICKS')).state.messages, 40)
  await adopt()
  const third = await start()
  await until('what retention has left', async () => (await rows()) === 181 + 40)
  await flushAndStop(third)
  await checkLake(t, access, { market_ticks: 181 + 40 })
})
