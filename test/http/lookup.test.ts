import t from 'tap'
import { ExecutionFeed } from '../../src/http/execution-feed.ts'
import { Lookup } from '../../src/http/lookup.ts'
import { limitOrder, startDoor } from '../support/gateway.ts'
import { until } from '../support/stack.ts'

void t.test('P1.13 a door that knows only the last message finds every order all the same', async (t) => {
  const { nats, ask } = await startDoor(t)
  const send = (subject: string, body: string) => nats.js.publish(subject, body)
  await send('orders.new', limitOrder('maker', 'sell', '0.5', '100'))
  await send('orders.new', limitOrder('taker', 'buy', '0.2', '100'))
  await send('orders.new', limitOrder('maker', 'buy', '1', '90'))
  await send('orders.cancel', '{"orderId":"o-3"}')
  await send('orders.new', limitOrder('maker', 'buy', '1', '0.001'))
  await send('orders.new', '{"account":"maker"}')
  await send('orders.new', 'not json')
  const many = 1_005
  for (let order = 0; order < many; order += 1)
    void send('orders.new', limitOrder('many', 'buy', '1', String(10 + (order % 7))))
  const last = 7 + many
  await until('the last report', async () => (await ask('GET', `/orders/o-${last}`)).json['status'] === 'NEW')

  const feed = new ExecutionFeed(nats, 1)
  await feed.start((error) => t.fail(error.message))
  t.teardown(() => feed.stop({ debug: () => undefined } as never))
  await feed.caughtUp(5_000)
  t.equal(feed.isComplete, false)
  t.equal(feed.lastSrcSeq, last)
  const lookup = new Lookup(nats, feed)
  t.match(await lookup.find('o-1'), { status: 'PARTIALLY_FILLED', filledQuantity: 0.2, averagePrice: 100 }, 'open')
  t.match(await lookup.find('o-2'), { status: 'FILLED', account: 'taker', filledQuantity: 0.2 }, 'ended at once')
  t.match(await lookup.find('o-3'), { status: 'CANCELLED', quantity: 1, price: 90 }, 'ended later')
  t.equal(await lookup.find('o-4'), undefined, 'a cancel is no order')
  t.match(await lookup.find('o-5'), { status: 'REJECTED', errorMessage: /^PRICE_OFF_TICK: / })
  t.match(await lookup.find('o-6'), { status: 'REJECTED', account: 'maker', errorMessage: /^INVALID_FIELD: / })
  t.match(await lookup.find('o-7'), { status: 'REJECTED', errorMessage: /^INVALID_MESSAGE/ })
  for (const orderId of [`o-${last + 1}`, 'o-0', 'o-01', 'x', `o-${'9'.repeat(15)}`])
    t.equal(await lookup.find(orderId), undefined, orderId)

  const open = await lookup.openOf('many')
  t.equal(open.length, many, 'page by page')
  t.equal(new Set(open.map(({ orderId }) => orderId)).size, many)
  t.same(
    (await lookup.openOf('maker')).map(({ orderId }) => orderId),
    ['o-1'],
  )
  t.same(await lookup.openOf('nobody'), [])
})
