import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { checkLake, publishAll, readTable, readVersion, tickMessage } from '../support/lake.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const invalid: readonly (readonly [subject: string, body: string | Uint8Array])[] = [
  ['market.tick.V.A', 'nope'],
  ['market.tick.V.A', Uint8Array.of(0xff, 0xfe)],
  ['market.tick.V.A', '[]'],
  ['market.tick.V.A', '{"event_ts":1795339800,"price":"a lot"}'],
  ['market.tick.V.A', '{"event_ts":1795339800}'],
  ['market.tick.V.A', '{"event_ts":1795339800,"price":1,"side":"up"}'],
  ['market.tick.V.A', '{"event_ts":"1999-12-31T23:59:59Z","price":1}'],
  ['market.tick.V.A', '{"event_ts":4102444800,"price":1}'],
  ['market.tick.V.A', '{"event_ts":1795339800,"price":1,"symbol":"B"}'],
  ['market.tick.V.LONGER-THAN-20-CHARACTERS', '{"event_ts":1795339800,"price":1}'],
]
const rounds = 3
const ticksEach = 400

void t.test(
  'P3.16 invalid ticks go to the DLQ once, though the sink is killed with their letters under way',
  async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    const lake = join(tempDir(t), 'lake')
    mkdirSync(lake)
    const env = { TICK_FLUSH_MS: '300', LEASE_MS: '300', LAKE_URI: lake }
    const sink = await startWorkerChild(t, server.url, ['tick-sink'], { env })
    const publisher = new AckedPublisher(nats.connection, 1_000)
    t.teardown(() => publisher.close())
    const letters = async () => (await nats.jsm.streams.info('DLQ')).state.messages
    for (let round = 0; round < rounds; round += 1) {
      const restarts = sink.restarts()
      const before = await letters()
      const messages = Array.from({ length: ticksEach }, (_, index) => {
        const number = round * ticksEach + index
        // The last is valid: without rows there is no commit that counts the others.
        return (index % 2 === 0 && invalid[(number / 2) % invalid.length]) || tickMessage(number)
      })
      await publishAll(publisher, messages)
      await until('letters, of which no commit tells', async () => (await letters()) > before)
      sink.kill('SIGKILL')
      await until('the sink to run again', () => sink.restarts() > restarts)
      const all = (round + 1) * ticksEach
      await until('all ticks', async () => (await readVersion(lake, 'market_ticks')).txns[0] === all, 20_000)
    }
    const bad = (rounds * ticksEach) / 2
    const { state } = await nats.jsm.streams.info('DLQ', { subjects_filter: '>' })
    const expected = Array.from({ length: bad }, (_, index) => [`dlq.tick-sink.TICKS.${2 * index + 1}`, 1])
    t.same(Object.fromEntries(Object.entries(state.subjects ?? {})), Object.fromEntries(expected), 'a letter each')
    const { rows, commits } = await readTable(lake, 'market_ticks')
    t.same(
      rows.map((row) => Number(row['stream_seq'])),
      Array.from({ length: bad }, (_, index) => 2 * index + 2),
      'a row of each other',
    )
    t.equal(
      commits.reduce((sum, { deadLetters }) => sum + Number(deadLetters), 0),
      bad,
      'the commits count them',
    )
    t.equal(sink.restarts(), rounds)
    await checkLake(t, { LAKE_URI: lake }, { market_ticks: bad })
  },
)
