import t from 'tap'
import { textFromUtf8 } from '../../src/base/json.ts'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'
import type { RiskMessage } from '../../src/schemas/risk.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

void t.test('P1.11 thousands of orders that expire at one time, in messages of a batch', async (t) => {
  const count = 14_000
  const server = await startTestNats(t)
  const workers = await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const publisher = new AckedPublisher(nats.connection, 30_000)
  t.teardown(() => publisher.close())
  const expireAt = new Date(Date.now() + 8_000).toISOString()
  const body = (account: string) =>
    JSON.stringify({
      ...{ account, symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: 0.001, price: 30_000 },
      ...{ timeInForce: 'GTD', expireAt },
    })
  const last = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  await Promise.all(
    Array.from({ length: count }, (_, index) => publisher.request('orders.new', body(index % 2 ? 'a' : 'b'))),
  )
  await settled(nats)
  // They are due while nobody is there to see it.
  await workers.stop()
  await until('the time', () => Date.now() > Date.parse(expireAt))
  await startTestWorkers(t, server.url)
  const after = await nats.js.publish(
    'orders.new.a',
    JSON.stringify({ ...JSON.parse(body('a')), expireAt: undefined, timeInForce: 'GTC' }),
  )
  const counts = new Map<string, number>()
  await until('all to be answered', async () => (await last('EXECUTIONS')) > 2 * count, 30_000)
  await settled(nats, 30_000)
  let afterSeen = 0
  for await (const { data, srcSeq } of readStream(nats, 'EXECUTIONS', 1, await last('EXECUTIONS')))
    for (const { execType } of decodeExecution(data).reports) {
      counts.set(execType, (counts.get(execType) ?? 0) + 1)
      if (srcSeq === after.seq) afterSeen += 1
    }
  t.same(Object.fromEntries(counts), { New: count + 1, Expired: count })
  t.equal(afterSeen, 1, 'the next command is answered once')
  let largest = 0
  for await (const { data } of readStream(nats, 'RISK', 1, await last('RISK')))
    largest = Math.max(largest, (JSON.parse(textFromUtf8(data)) as RiskMessage).records.length)
  t.ok(largest <= 10, `no message of RISK holds more than BATCH_MAX records (${largest})`)
})
