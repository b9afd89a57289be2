import { connect, DeliverPolicy, type JsMsg, StringCodec } from 'nats'
import t from 'tap'
import { startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface Message {
  readonly cmdSeq: number
  readonly reports: readonly { readonly orderId: string; readonly execType: string; readonly account: string }[]
}

void t.test('P1.18 a client on the legacy nats 2.x package trades', async (t) => {
  const server = await startTestNats(t)
  await startTestWorkers(t, server.url)
  const nc = await connect({ servers: server.url })
  t.teardown(() => nc.close())
  const codec = StringCodec()
  const js = nc.jetstream()
  await until('the matcher', async () => {
    const jsm = await nc.jetstreamManager()
    const info = await jsm.streams.info('EXECUTIONS').catch(() => undefined)
    return (info?.state.last_seq ?? 0) > 0
  })
  const seen: { subject: string; sequence: string | undefined; message: Message }[] = []
  nc.subscribe('executions.>', {
    callback: (_error, { subject, headers, data }) =>
      seen.push({
        subject,
        sequence: headers?.get('Nats-Sequence'),
        message: JSON.parse(codec.decode(data)) as Message,
      }),
  })
  await nc.flush()

  const order = { symbol: 'BTCUSDT', order_type: 'LIMIT', quantity: 0.001, price: 45_000 }
  const acks = []
  for (const [account, side] of [
    ['maker', 'sell'],
    ['taker', 'buy'],
  ] as const)
    acks.push(await js.publish('orders.new', codec.encode(JSON.stringify({ ...order, account, side }))))
  t.match(acks, [
    { stream: 'ORDERS', seq: 1, duplicate: false },
    { stream: 'ORDERS', seq: 2, duplicate: false },
  ])
  t.equal((await js.publish(`orders.cancel`, codec.encode('{"orderId":"o-1"}'), { msgID: 'once' })).seq, 3)
  t.match(await js.publish(`orders.cancel`, codec.encode('{"orderId":"o-1"}'), { msgID: 'once' }), {
    seq: 3,
    duplicate: true,
  })

  const line = ({ reports }: Message) => reports.map(({ orderId, account, execType }) => [orderId, account, execType])
  const expected = [
    [['o-1', 'maker', 'New']],
    [
      ['o-2', 'taker', 'New'],
      ['o-2', 'taker', 'Trade'],
      ['o-1', 'maker', 'Trade'],
    ],
    [['o-1', undefined, 'CancelRejected']],
  ]
  await until('the reports', () => seen.length === 3)
  t.same(
    seen.map(({ subject, sequence, message }) => [subject, sequence, line(message)]),
    [
      ['executions.BTCUSDT', '2', expected[0]],
      ['executions.BTCUSDT', '3', expected[1]],
      ['executions._', '4', expected[2]],
    ],
  )

  // By its name: no stream listens on executions.> itself, since outputs come in on w.executions.>.
  const consumer = await js.consumers.get('EXECUTIONS', {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: 2,
  })
  const messages: JsMsg[] = []
  for await (const message of await consumer.fetch({ max_messages: 3 })) messages.push(message)
  t.same(
    messages.map(({ seq, headers, data }) => [
      seq,
      headers?.get('Src-Seq'),
      line(JSON.parse(codec.decode(data)) as Message),
    ]),
    [
      [2, '1', expected[0]],
      [3, '2', expected[1]],
      [4, '3', expected[2]],
    ],
  )
})
