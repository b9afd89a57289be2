import t from 'tap'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

void t.test('P1.12 ticks mark positions; what is no tick is passed over, also after a restart', async (t) => {
  const server = await startTestNats(t)
  const workers = await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const order = { symbol: 'BTCUSDT', ordType: 'LIMIT', price: 45_000 }
  await nats.js.publish('orders.new.m', JSON.stringify({ ...order, side: 'SELL', quantity: 1 }))
  await nats.js.publish('orders.new.a', JSON.stringify({ ...order, side: 'BUY', quantity: 0.5 }))
  const unrealized = async () => {
    const query = { last_by_subj: 'positions.a.BTCUSDT' }
    const stored = await nats.jsm.streams.getMessage('POSITIONS', query).catch(() => null)
    return stored?.json<{ unrealizedPnl: number }>().unrealizedPnl
  }
  await until('the position', async () => (await unrealized()) === 0)
  const bad = [
    'not JSON',
    'null',
    '[]',
    '{"symbol":5,"price":1}',
    '{"symbol":"BTCUSDT","price":"dear"}',
    '{"symbol":"BTCUSDT","price":-1}',
  ]
  for (const [index, body] of bad.entries()) await nats.js.publish(`market.tick.X.S${index}`, body)
  await nats.js.publish('market.tick.X.BTCUSDT', '{"symbol":"BTCUSDT","price":45100.004}')
  await until('the mark, to the nearest tick', async () => (await unrealized()) === 50)
  await workers.stop()
  await startTestWorkers(t, server.url)
  await nats.js.publish('market.tick.X.BTCUSDT', '{"symbol":"BTCUSDT","price":45200}')
  await until('the mark after the restart', async () => (await unrealized()) === 100)
})
