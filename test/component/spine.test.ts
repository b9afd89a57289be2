import t from 'tap'
import { readStream } from '../../src/runtime/reader.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

void t.test(
  'P1.08 an order on orders.new becomes a position, through three workers on a real nats-server',
  async (t) => {
    const server = await startTestNats(t)
    await startTestWorkers(t, server.url)
    const nats = await connectTestNats(t, server.url)
    const send = (body: object, account: string) => nats.js.publish(`orders.new.${account}`, JSON.stringify(body))
    await send({ symbol: 'BTCUSDT', side: 'sell', type: 'limit', quantity: 0.5, price: 45000 }, 'maker')
    const ack = await send({ symbol: 'btcusdt', side: 'BUY', order_type: 'MARKET', quantity: '0.2' }, 'taker')
    t.equal(ack.seq, 2)

    const position = await until('the position', async () => {
      const found = await nats.jsm.streams
        .getMessage('POSITIONS', { last_by_subj: 'positions.taker.BTCUSDT' })
        .catch(() => null)
      return found?.json<Record<string, unknown>>()
    })
    t.match(position, { account: 'taker', symbol: 'BTCUSDT', quantity: 0.2, avgPx: 45000, realizedPnl: 0, fees: 10.8 })

    const messages: { subject: string; body: { reports: Record<string, unknown>[] } }[] = []
    const last = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
    for await (const { subject, data } of readStream(nats, 'EXECUTIONS', 1, last))
      messages.push({
        subject,
        body: JSON.parse(Buffer.from(data).toString()) as { reports: Record<string, unknown>[] },
      })
    t.equal(messages[0]?.subject, 'executions._epoch')
    t.same(
      messages
        .slice(1)
        .map(({ subject, body }) => [
          subject,
          ...body.reports.map(({ execType, ordStatus, orderId }) => [execType, ordStatus, orderId]),
        ]),
      [
        ['executions.BTCUSDT', ['New', 'New', 'o-1']],
        ['executions.BTCUSDT', ['New', 'New', 'o-2'], ['Trade', 'Filled', 'o-2'], ['Trade', 'PartiallyFilled', 'o-1']],
      ],
    )
    const tick = await until('the tick', async () => {
      const found = await nats.jsm.streams
        .getMessage('TICKS', { last_by_subj: 'market.tick.T2026.BTCUSDT' })
        .catch(() => null)
      return found?.json<Record<string, unknown>>()
    })
    t.match(tick, { venue: 'T2026', symbol: 'BTCUSDT', price: 45000, size: 0.2, side: 'buy' })
  },
)
