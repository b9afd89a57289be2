import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { decodeExecution } from '../../src/schemas/execution.ts'
import { readStream } from '../../src/runtime/reader.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { asker, limitOrder, startDoor } from '../support/gateway.ts'
import { pause } from '../support/pause.ts'
import { startSecuredNats } from '../support/secured-nats.ts'
import { connectTestNats, startTestWorkers, until } from '../support/stack.ts'

void t.test('P1.13 the door answers with stored reports', async (t) => {
  const { nats, ask, gateway, startGateway } = await startDoor(t, { env: { HTTP_IN_FLIGHT_MAX: '1000' } })
  const lastOf = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  const idOf = ({ json }: { json: Record<string, unknown> }) => String(json['order_id'])

  await t.test('P1.13 POST /orders of the README', async (t) => {
    const body =
      '{"account":"test_account","symbol":"BTCUSDT","side":"buy","type":"limit","order_type":"LIMIT","quantity":0.1,"price":45000.0}'
    const { status, text } = await ask('POST', '/orders', body)
    t.equal(status, 200)
    t.equal(
      text,
      '{"order_id":"o-1","account":"test_account","symbol":"BTCUSDT","side":"BUY","quantity":0.1,"price":45000,"status":"NEW","filled_quantity":0,"average_price":null,"error_message":null}',
    )
    const stored = await nats.jsm.streams.getMessage('ORDERS', { seq: 1 })
    t.equal(stored?.string(), body, 'the command is stored as it came')
    t.equal(stored?.subject, 'orders.new')
    t.equal((await ask('GET', '/orders/o-1')).text, text)
    const cancelled = await ask('DELETE', '/orders/o-1?account=test_account')
    t.equal(cancelled.status, 200)
    t.match(cancelled.json, { order_id: 'o-1', status: 'CANCELLED', filled_quantity: 0, error_message: null })
  })

  await t.test('P1.13 a fill is in the answer, with every digit', async (t) => {
    await ask('POST', '/orders', limitOrder('seller', 'sell', '0.00000003', '9000000000000.01'))
    const { status, text } = await ask('POST', '/orders', limitOrder('buyer', 'buy', '0.00000002', '9000000000000.01'))
    t.equal(status, 200)
    t.match(
      text,
      '"quantity":0.00000002,"price":9000000000000.01,"status":"FILLED","filled_quantity":0.00000002,"average_price":9000000000000.01,"error_message":null',
    )
    const [maker] = JSON.parse((await ask('GET', '/orders?account=seller')).text) as Record<string, unknown>[]
    t.match(maker, { status: 'PARTIALLY_FILLED', filled_quantity: 2e-8 })
    await ask('DELETE', `/orders/${String(maker?.['order_id'])}`)
  })

  await t.test('P1.13 a thousand POSTs at once each get their stored report', async (t) => {
    const bodies = Array.from({ length: 1_000 }, (_, index) =>
      limitOrder(
        `load${index % 10}`,
        index % 2 === 0 ? 'buy' : 'sell',
        '0.01',
        String(1_000 + (index % 5)),
        `,"clOrdId":"c${index}"`,
      ),
    )
    const answers = await Promise.all(bodies.map((body) => ask('POST', '/orders', body)))
    t.ok(answers.every(({ status }) => status === 200))
    t.equal(new Set(answers.map(idOf)).size, 1_000)
    const stored = new Map<string, { clOrdId: string | undefined; status: string; cumQty: unknown }>()
    for await (const { data, srcSeq } of readStream(nats, 'EXECUTIONS', 1, await lastOf('EXECUTIONS')))
      for (const { orderId, clOrdId, ordStatus, cumQty } of decodeExecution(data).reports)
        if (orderId === `o-${srcSeq}`) stored.set(orderId, { clOrdId, status: ordStatus, cumQty })
    const words: Record<string, string> = { New: 'NEW', PartiallyFilled: 'PARTIALLY_FILLED', Filled: 'FILLED' }
    answers.forEach((answer, index) => {
      const report = stored.get(idOf(answer))
      if (report?.clOrdId !== `c${index}`) t.fail(`${idOf(answer)} is not the order of c${index}`)
      if (words[report?.status ?? ''] !== answer.json['status'] || report?.cumQty !== answer.json['filled_quantity'])
        t.fail(`${idOf(answer)}: ${JSON.stringify(report)} is not ${answer.text}`)
    })
    t.ok(answers.some(({ json }) => json['status'] === 'FILLED'))
    t.ok(answers.some(({ json }) => json['status'] === 'NEW'))
  })

  await t.test('P1.13 business rejects are 200 with error_message', async (t) => {
    for (const [body, status, message] of [
      [limitOrder('rejects', 'buy', '1', '100.001'), 'REJECTED', /^PRICE_OFF_TICK: .*0\.01/],
      [limitOrder('rejects', 'buy', '1000', '45000'), 'RISK_REJECTED', /^RISK_MAX_ORDER_VALUE: .*1000000.*45000000/],
      [limitOrder('rejects', 'buy', '1e300', '1'), 'REJECTED', /^QUANTITY_OUT_OF_RANGE: /],
    ] as const) {
      const answer = await ask('POST', '/orders', body)
      t.equal(answer.status, 200)
      t.match(answer.json, { account: 'rejects', side: 'BUY', status, filled_quantity: 0, error_message: message })
      t.same((await ask('GET', `/orders/${idOf(answer)}`)).json, answer.json)
    }
  })

  await t.test('P1.13 a duplicate clOrdId is answered with the first order', async (t) => {
    const body = limitOrder('twice', 'buy', '1', '10', ',"cl_ord_id":"mine"')
    const first = await ask('POST', '/orders', body)
    const second = await ask('POST', '/orders', body)
    t.equal(second.status, 200)
    t.same(second.json, first.json)
    await ask('DELETE', `/orders/${idOf(first)}`)
    t.match((await ask('POST', '/orders', body)).json, { order_id: idOf(first), status: 'CANCELLED' })
    const [, number = ''] = idOf(first).split('-')
    t.match((await ask('GET', `/orders/o-${Number(number) + 1}`)).json, {
      status: 'REJECTED',
      error_message: /^DUPLICATE_CL_ORD_ID/,
    })
  })

  await t.test('P3.19 an Idempotency-Key is the clOrdId of a POST', async (t) => {
    const post = (key: string, more = '', quantity = '1') =>
      ask('POST', '/orders', limitOrder('keys', 'buy', quantity, '10', more), {
        'content-type': 'application/json',
        'idempotency-key': key,
      })
    const first = await post('a "key" \\ of 1')
    t.equal(first.status, 200)
    t.same((await post('a "key" \\ of 1')).json, first.json, 'sent again it is the first order')
    t.same((await post('in both', ',"cl_ord_id":"in both"')).status, 200)
    t.same((await post('over null', ',"clOrdId":null')).status, 200)
    const before = await lastOf('ORDERS')
    t.match(await post('one', ',"cl_ord_id":"other"'), {
      status: 400,
      json: { error: 'INVALID_FIELD', fields: [{ field: 'clOrdId', problem: /Idempotency-Key/ }] },
    })
    for (const key of ['', 'x'.repeat(65), 'caf\u00e9', 'tab\there'])
      t.match(await post(key), { status: 400, json: { fields: [{ field: 'Idempotency-Key' }] } }, JSON.stringify(key))
    t.match(await post('good', '', '-1'), { status: 400, json: { fields: [{ field: 'quantity' }] } })
    t.equal(await lastOf('ORDERS'), before, 'nothing is published')
    const named = new Set<string | undefined>()
    for await (const { data } of readStream(nats, 'EXECUTIONS', 1, await lastOf('EXECUTIONS')))
      for (const { account, clOrdId, execType } of decodeExecution(data).reports)
        if (account === 'keys' && execType === 'New') named.add(clOrdId)
    t.same([...named], ['a "key" \\ of 1', 'in both', 'over null'])
  })

  await t.test('P1.13 DELETE', async (t) => {
    const id = idOf(await ask('POST', '/orders', limitOrder('deletes', 'buy', '1', '10')))
    const foreign = await ask('DELETE', `/orders/${id}?account=other`)
    t.equal(foreign.status, 200)
    t.match(foreign.json, { order_id: id, status: 'NEW', error_message: /^ORDER_NOT_OWNED/ })
    t.match((await ask('DELETE', `/orders/${id}`, '')).json, { status: 'CANCELLED', error_message: null })
    const again = await ask('DELETE', `/orders/${id}`)
    t.equal(again.status, 200)
    t.match(again.json, { order_id: id, account: 'deletes', status: 'CANCELLED', error_message: /^ORDER_CLOSED/ })
    const unknown = await ask('DELETE', '/orders/o-999999')
    t.equal(unknown.status, 404)
    t.match(unknown.json, { error: 'ORDER_UNKNOWN' })
    const before = await lastOf('ORDERS')
    t.equal((await ask('DELETE', '/orders/none')).status, 404)
    t.match((await ask('DELETE', '/orders/o-1?account=%2a')).json, {
      error: 'INVALID_FIELD',
      fields: [{ field: 'account' }],
    })
    t.equal(await lastOf('ORDERS'), before, 'these published nothing')
  })

  await t.test('P1.13 PATCH', async (t) => {
    const id = idOf(await ask('POST', '/orders', limitOrder('patches', 'buy', '2', '10').replace('BTCUSDT', 'SOLUSDT')))
    const path = `/orders/${id}`
    const replaced = await ask('PATCH', path, ' { "price" : 11.50, "quantity":1.5,"clOrdId":"p1" } ')
    t.equal(replaced.status, 200)
    t.match(replaced.json, { order_id: id, status: 'NEW', price: 11.5, quantity: 1.5, error_message: null })
    await ask('POST', '/orders', limitOrder('patches2', 'sell', '1', '11.5').replace('BTCUSDT', 'SOLUSDT'))
    const below = await ask('PATCH', path, '{"quantity":0.5}')
    t.equal(below.status, 200)
    t.match(below.json, {
      status: 'PARTIALLY_FILLED',
      quantity: 1.5,
      filled_quantity: 1,
      error_message: /^ORDER_QUANTITY_BELOW_FILLED: /,
    })
    const before = await lastOf('ORDERS')
    for (const [body, field] of [
      ['{}', 'quantity'],
      ['{ }', 'quantity'],
      ['{"quantity":-1}', 'quantity'],
      ['{"quantity":1,"orderId":"o-1"}', 'orderId'],
      ['{"quantity":1,"order_id":"o-1"}', 'orderId'],
      ['{"quantity":1,"origClOrdId":"x"}', 'origClOrdId'],
    ] as const) {
      const answer = await ask('PATCH', path, body)
      t.equal(answer.status, 400, body)
      t.match(answer.json, { error: 'INVALID_FIELD', fields: [{ field }] }, body)
    }
    for (const body of ['', '[]', '{"quantity":1', 'x', '{,}'])
      t.match(await ask('PATCH', path, body), { status: 400, json: { error: 'INVALID_MESSAGE' } }, body)
    t.equal(await lastOf('ORDERS'), before, 'these published nothing')
    t.equal((await ask('PATCH', '/orders/o-999999', '{"price":1}')).status, 404)
    t.match((await ask('DELETE', path)).json, { status: 'CANCELLED', filled_quantity: 1, average_price: 11.5 })
    t.match((await ask('PATCH', path, '{"price":9}')).json, { status: 'CANCELLED', error_message: /^ORDER_CLOSED/ })
  })

  await t.test('P1.13 400 names every bad field, and nothing is published', async (t) => {
    const before = await lastOf('ORDERS')
    const answer = await ask(
      'POST',
      '/orders',
      '{"account":"a b","symbol":"BTC/USD","side":"hold","type":"limit","order_type":"MARKET","quantity":-1,"price":"x","timeInForce":"GTD"}',
    )
    t.equal(answer.status, 400)
    t.equal(answer.json['error'], 'INVALID_FIELD')
    const named = (answer.json['fields'] as { field: string; problem: string }[]).map(({ field }) => field)
    t.same(named.sort(), ['account', 'expireAt', 'ordType', 'price', 'quantity', 'side', 'symbol'])
    t.match(answer.json['message'], /side must be one of BUY SELL/)
    const empty = await ask('POST', '/orders', '{}')
    t.same((empty.json['fields'] as { field: string }[]).map(({ field }) => field).sort(), [
      'ordType',
      'quantity',
      'side',
      'symbol',
    ])
    for (const body of [
      '',
      '{',
      'null',
      '[]',
      '"x"',
      new Uint8Array([0x7b, 0xff, 0x7d]),
      '['.repeat(20) + ']'.repeat(20),
    ])
      t.match(await ask('POST', '/orders', body), { status: 400, json: { error: 'INVALID_MESSAGE' } })
    t.match(await ask('POST', '/orders'), { status: 400, json: { error: 'INVALID_MESSAGE' } })
    t.equal(await lastOf('ORDERS'), before)
  })

  await t.test('P1.13 404, 413, 415', async (t) => {
    for (const path of ['/orders/o-999999', '/orders/o-0', '/orders/nonsense', '/orders/%2e'])
      t.match(await ask('GET', path), { status: 404, json: { error: 'ORDER_UNKNOWN' } }, path)
    t.match(await ask('GET', '/nothing'), { status: 404, json: { error: 'ROUTE_UNKNOWN' } })
    t.match(await ask('PUT', '/orders', '{}'), { status: 404, json: { error: 'ROUTE_UNKNOWN' } })
    const before = await lastOf('ORDERS')
    const padded = (bytes: number) => limitOrder('a', 'buy', '1', '1').padEnd(bytes)
    for (const bytes of [16_385, 16_384])
      t.match(await ask('POST', '/orders', padded(bytes)), {
        status: 413,
        json: { error: 'BODY_TOO_LARGE', message: /16384 bytes/ },
      })
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      t.match(await ask('POST', '/orders', limitOrder('a', 'buy', '1', '1'), { 'content-type': type }), {
        status: 415,
        json: { error: 'MEDIA_TYPE', message: /application\/json/ },
      })
    t.equal(await lastOf('ORDERS'), before, 'nothing is published')
    t.equal((await ask('POST', '/orders', padded(16_000))).status, 200)
  })

  await t.test('P1.13 a traceparent reaches the reports', async (t) => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const id = idOf(
      await ask('POST', '/orders', limitOrder('traced', 'buy', '1', '1'), {
        'content-type': 'application/json; charset=utf-8',
        traceparent,
      }),
    )
    const stored = await nats.jsm.streams.getMessage('EXECUTIONS', { seq: await lastOf('EXECUTIONS') })
    t.match(stored?.json(), { reports: [{ orderId: id, traceparent }] })
  })

  await t.test('P1.13 lists, positions and the book', async (t) => {
    const a = idOf(await ask('POST', '/orders', limitOrder('lists', 'buy', '1', '20')))
    const b = idOf(await ask('POST', '/orders', limitOrder('lists', 'buy', '0.5', '20.01')))
    const gone = idOf(await ask('POST', '/orders', limitOrder('lists', 'buy', '0.5', '20.02')))
    await ask('DELETE', `/orders/${gone}`)
    const list = async (query: string) => {
      const { status, text } = await ask('GET', `/orders${query}`)
      t.equal(status, 200)
      return (JSON.parse(text) as Record<string, unknown>[]).map(({ order_id: id }) => id)
    }
    t.same(await list('?account=lists&active_only=true'), [a, b])
    t.same(await list('?account=lists'), [a, b, gone])
    t.same(await list('?account=nobody'), [])
    t.ok((await list('?active_only=1')).includes(a))
    t.ok(!(await list('?account=&active_only=1')).includes(gone))
    t.ok((await list('')).includes(gone))
    for (const [query, field] of [
      ['?account=*', 'account'],
      ['?account=a&account=b', 'account'],
      ['?active_only=maybe', 'active_only'],
    ] as const)
      t.match(await ask('GET', `/orders${query}`), { status: 400, json: { fields: [{ field }] } }, query)

    const sell = '{"account":"taker","symbol":"ETHUSDT","side":"sell","type":"limit","quantity":3,"price":2500.5}'
    await ask('POST', '/orders', sell)
    await ask('POST', '/orders', sell.replace('taker', 'taker2').replace('2500.5', '2500'))
    await ask(
      'POST',
      '/orders',
      sell.replace('taker', 'lists').replace('sell', 'buy').replace('2500.5', '2400').replace('3', '0.00000001'),
    )
    await ask(
      'POST',
      '/orders',
      sell.replace('taker', 'lists').replace('sell', 'buy').replace('2500.5', '2500').replace('3', '1'),
    )
    const book = await ask('GET', '/book/ethusdt')
    t.equal(book.status, 200)
    t.match(
      book.text,
      /^\{"symbol":"ETHUSDT","seq":\d+,"bids":\[\[2400,0\.00000001\]\],"asks":\[\[2500,2\],\[2500\.5,3\]\]\}$/,
    )
    t.match((await ask('GET', '/book/ETHUSDT?depth=1')).json, { asks: [[2500, 2]] })
    t.match((await ask('GET', '/book/UNSEEN')).json, { symbol: 'UNSEEN', bids: [], asks: [] })
    for (const path of ['/book/a*', '/book/X?depth=0', '/book/X?depth=1001', '/book/X?depth=a'])
      t.equal((await ask('GET', path)).status, 400, path)
    for (const depth of ['-1', 'all', '1e9', ''])
      t.match((await nats.connection.request('query.book.ETHUSDT', depth)).string(), /"bids":\[\],"asks":\[\]/, depth)

    const positions = await until('the position', async () => {
      const found = await ask('GET', '/positions/lists')
      t.equal(found.status, 200)
      // The sums of the account are stored right after its positions.
      return (found.json['positions'] as unknown[]).length > 0 && found.json['aggregate'] !== null && found
    })
    const record = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions.lists.ETHUSDT' })
    t.match(record?.json(), { quantity: 1, avgPx: 2500 })
    t.match(positions.text, `"positions":[${record?.string()}]`, 'the JSON of POSITIONS')
    t.match(positions.json, { account: 'lists', aggregate: { account: 'lists', openPositions: 1 } })
    t.same((await ask('GET', '/positions/nobody')).json, { account: 'nobody', positions: [], aggregate: null })
    t.match((await ask('GET', '/positions/_venue')).json, { aggregate: { account: '_venue' } })
    t.equal((await ask('GET', '/positions/a.b')).status, 400)
  })

  await t.test('P1.13 health, metrics and stats', async (t) => {
    await until('health', async () => (await ask('GET', '/health')).json['status'] === 'healthy')
    t.match((await ask('GET', '/health')).json, {
      service: 'gateway',
      checks: { nats: 'connected', redis: null, lag: { messages: 0 }, latency_ms: { p50: Number } },
    })
    t.equal((await ask('GET', '/health/ready')).status, 200)
    const metrics = (await ask('GET', '/metrics')).text
    t.match(metrics, /oms_orders_total\{status="NEW",source="http",worker="gateway"\} \d\d/)
    t.match(metrics, /oms_order_latency_seconds_count\{worker="gateway",source="http"\} 1\d\d\d/)
    t.match(metrics, /oms_active_orders\{worker="gateway"\} \d+/)
    t.match((await ask('GET', '/stats')).json, {
      in_flight: 0,
      orders: { NEW: Number, FILLED: Number },
      open_orders: Number,
      uptime_seconds: Number,
      orders_per_second: {},
    })
  })

  await t.test('P1.13 a door that was started again knows the orders', async (t) => {
    const open = idOf(await ask('POST', '/orders', limitOrder('again', 'buy', '1', '5')))
    const cancelled = idOf(await ask('POST', '/orders', limitOrder('again', 'buy', '2', '5')))
    await ask('DELETE', `/orders/${cancelled}`)
    await gateway.stop()
    const other = asker((await startGateway('door')).ports.gateway)
    t.match((await other('GET', `/orders/${open}`)).json, { status: 'NEW', quantity: 1 })
    t.match((await other('GET', `/orders/${cancelled}`)).json, { status: 'CANCELLED', quantity: 2 })
    t.match((await other('DELETE', `/orders/${open}`)).json, { status: 'CANCELLED' })
  })
})

void t.test('P1.13 the matcher counts all commands', async (t) => {
  const { nats, startChain } = await startDoor(t, { isAlone: true })
  const chain = await startChain()
  await nats.js.publish('orders.new', limitOrder('a', 'buy', '1', '5'))
  await nats.js.publish('orders.new', limitOrder('a', 'sell', '1', '5'))
  await nats.js.publish('orders.new', 'x')
  await nats.js.publish('orders.mass_cancel', '{"account":"a"}')
  const ask = asker(chain.ports['oms-matcher'])
  const metrics = await until('all four', async () => {
    const { text } = await ask('GET', '/metrics')
    return text.includes('oms_order_latency_seconds_count{worker="oms-matcher",source="orders"} 4') && text
  })
  for (const status of ['NEW', 'FILLED', 'REJECTED', 'NONE'])
    t.match(metrics, `oms_orders_total{status="${status}",source="orders",worker="oms-matcher"} 1`)
  t.match(metrics, 'oms_active_orders{worker="oms-matcher"} 0')
})

void t.test('P1.13 202 while nobody answers; GET never 404, at any door; the report comes later', async (t) => {
  const { ask, startGateway, startChain, gateway } = await startDoor(t, {
    isAlone: true,
    env: { ORDER_WAIT_MS: '1000', HTTP_IN_FLIGHT_MAX: '3' },
  })
  const other = asker((await startGateway('other')).ports.gateway)
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => ask('POST', '/orders', limitOrder('late', 'buy', '0.10', '45000.0'))),
  )
  const taken = answers.filter(({ status }) => status === 202)
  t.equal(taken.length, 3)
  for (const { json } of taken)
    t.match(json, {
      account: 'late',
      symbol: 'BTCUSDT',
      side: 'BUY',
      quantity: 0.1,
      price: 45000,
      status: 'PENDING_NEW',
      filled_quantity: 0,
      error_message: null,
    })
  const refused = answers.filter(({ status }) => status === 429)
  t.equal(refused.length, 2)
  for (const answer of refused) t.match(answer, { retryAfter: '1', json: { error: 'OVERLOADED' } })

  for (const door of [ask, other])
    t.match(await door('GET', '/orders/o-1'), { status: 200, json: { status: 'PENDING_NEW', quantity: 0.1 } })
  t.match(await ask('DELETE', '/orders/o-1'), { status: 202, json: { order_id: 'o-1', status: 'PENDING_NEW' } })
  t.match(await ask('GET', '/orders/o-4'), { status: 404 }, 'the cancel is no order')
  t.match(await ask('GET', '/book/BTCUSDT'), { status: 503, retryAfter: '1', json: { error: 'SYSTEM_UNAVAILABLE' } })

  await startChain()
  await until('the reports', async () => (await ask('GET', '/orders/o-3')).json['status'] === 'NEW')
  await until('the reports', async () => (await other('GET', '/orders/o-1')).json['status'] === 'CANCELLED')
  await gateway.stop()
})

void t.test('P1.13 a door that closes still answers those who wait', async (t) => {
  const { ask, gateway } = await startDoor(t, { isAlone: true })
  const waiting = ask('POST', '/orders', limitOrder('late', 'buy', '1', '10'))
  await until('the order is in', async () => (await ask('GET', '/stats')).json['in_flight'] === 1)
  const startedMs = Date.now()
  await gateway.stop()
  t.match(await waiting, { status: 202, json: { status: 'PENDING_NEW' } })
  t.ok(Date.now() - startedMs < 4_000)
})

void t.test('P1.13 503 while the streams are too full for orders; cancels pass', async (t) => {
  const { ask, nats } = await startDoor(t, { env: { STORAGE_REFUSE_PERCENT: '2' } })
  const id = (await ask('POST', '/orders', limitOrder('full', 'buy', '1', '10'))).json['order_id']
  const { max_bytes: bytesMax } = (await nats.jsm.streams.info('ORDERS')).config
  const filler = 'x'.repeat(16_000)
  for (let sent = 0; sent < bytesMax * 0.03; sent += filler.length) await nats.js.publish('orders.new', filler)
  const refused = await until('a refusal', async () => {
    const answer = await ask('POST', '/orders', limitOrder('full', 'buy', '1', '10'))
    return answer.text.includes('"message":"stream') && answer
  })
  t.match(refused, {
    status: 503,
    retryAfter: '5',
    json: { error: 'SYSTEM_STORAGE', message: /stream ORDERS is \d+\.\d % full/ },
  })
  t.match(await ask('PATCH', `/orders/${String(id)}`, '{"price":9}'), { status: 503 })
  t.match(await ask('DELETE', `/orders/${String(id)}`), { status: 200, json: { status: 'CANCELLED' } })
})

void t.test('P1.13 503 when the stream refuses, or is not there', async (t) => {
  const { ask, nats } = await startDoor(t, { isAlone: true, env: { ORDER_WAIT_MS: '500' } })
  await ask('POST', '/orders', limitOrder('full', 'buy', '1', '10'))
  const post = () => ask('POST', '/orders', limitOrder('full', 'buy', '1', '10'))
  const setRoom = (bytes: number) => nats.jsm.streams.update('ORDERS', { max_bytes: bytes })
  const { config } = await nats.jsm.streams.info('ORDERS')
  const refused = { status: 503, retryAfter: '5', json: { error: 'SYSTEM_STORAGE' } }
  const first = await until('a refusal before the door has seen it', async () => {
    const { bytes } = (await nats.jsm.streams.info('ORDERS')).state
    await setRoom(bytes + 10)
    const answer = await post()
    if (!answer.text.includes('% full')) return answer
    // The door, which looks once a second, did so just now.
    await setRoom(config.max_bytes)
    await until('it to see room again', async () => (await post()).status === 202)
    return undefined
  })
  t.match(first, { ...refused, json: { message: /ORDERS refused the command/ } })
  await until('the door sees it', async () => (await post()).text.includes('% full'))
  t.match(await post(), refused)
  await nats.jsm.streams.delete('ORDERS')
  t.match(await ask('DELETE', '/orders/o-1'), { status: 503, retryAfter: '1', json: { error: 'SYSTEM_UNAVAILABLE' } })
})

void t.test('P1.13 a silent server: the door does not know, says so, and never sends twice', async (t) => {
  const { ask, nats, server } = await startDoor(t, { env: { ORDER_WAIT_MS: '7500' } })
  await ask('POST', '/orders', limitOrder('silent', 'buy', '1', '10'))
  await pause(server)
  const waiting = ask('POST', '/orders', limitOrder('silent', 'buy', '1', '11'))
  // Longer than one publish waits for its ack: the command is sent again, and both copies reach the server.
  await wait(3_500)
  server.kill('SIGCONT')
  t.match(await waiting, { status: 200, json: { order_id: 'o-2', status: 'NEW', price: 11 } })
  t.equal((await nats.jsm.streams.info('ORDERS')).state.last_seq, 2)

  await pause(server)
  const lost = await ask('POST', '/orders', limitOrder('silent', 'buy', '1', '12', ',"clOrdId":"once"'))
  server.kill('SIGCONT')
  t.match(lost, {
    status: 503,
    retryAfter: '1',
    json: { error: 'SYSTEM_UNRESOLVED', message: /may have.*clOrdId \(once\)/ },
  })
  await until('the server has it', async () => (await nats.jsm.streams.info('ORDERS')).state.last_seq >= 3)
  t.match(
    await ask('POST', '/orders', limitOrder('silent', 'buy', '1', '12', ',"clOrdId":"once"')),
    { status: 200, json: { order_id: 'o-3', status: 'NEW', price: 12 } },
    'sent again with its clOrdId it is the same order',
  )
})

void t.test('P1.13 503 at once while NATS is away; the door works again when it is back', async (t) => {
  const { ask, server } = await startDoor(t)
  await ask('POST', '/orders', limitOrder('away', 'buy', '1', '10'))
  const { pid } = server
  server.kill('SIGKILL')
  await until('nats-server to run again', () => server.pid !== undefined && server.pid !== pid)
  await until(
    'an order gets through again',
    async () => (await ask('POST', '/orders', limitOrder('away', 'buy', '1', '10', ',"clOrdId":"x"'))).status === 200,
    30_000,
  )
  t.match(await ask('GET', '/orders/o-1'), { status: 200 })
  await server.stop(2_000)
  const startedMs = Date.now()
  await until('the door notices', async () => (await ask('GET', '/positions/away')).status === 503)
  t.match(await ask('POST', '/orders', limitOrder('away', 'buy', '1', '10')), {
    status: 503,
    retryAfter: '1',
    json: { error: 'SYSTEM_UNAVAILABLE', message: /disconnected/ },
  })
  t.ok(Date.now() - startedMs < 2_000, 'at once')
  t.match(await ask('GET', '/orders/o-1'), { status: 200 }, 'known orders are still there')
  t.match(await ask('GET', '/orders/o-9999'), { status: 503 })
  t.match(await ask('GET', '/orders?account=away'), { status: 503 })
  t.match(await ask('GET', '/book/BTCUSDT'), { status: 503 })
  await until('health says so', async () => (await ask('GET', '/health')).status === 503)
})

void t.test('P1.13 the door needs the permissions of its user and no more', async (t) => {
  const server = await startSecuredNats(t)
  await ensureStreams(await connectTestNats(t, server.url('admin')), 512 * 2 ** 20)
  for (const worker of ['pnl-updater', 'oms-matcher', 'risk-gate'] as const)
    await startTestWorkers(t, server.url(worker), { workers: [worker] })
  const { ports } = await startTestWorkers(t, server.url('gateway'), { workers: ['gateway'] })
  const ask = asker(ports.gateway)
  t.match(await ask('POST', '/orders', limitOrder('a', 'buy', '1', '10')), { status: 200, json: { status: 'NEW' } })
  await ask('POST', '/orders', limitOrder('b', 'sell', '0.5', '10'))
  t.match((await ask('PATCH', '/orders/o-1', '{"price":9}')).json, { price: 9, error_message: null })
  t.equal((await ask('GET', '/orders?account=a')).status, 200)
  t.equal((await ask('GET', '/orders/o-99')).status, 404)
  t.match((await ask('GET', '/book/BTCUSDT')).json, { bids: [[9, 0.5]], asks: [] })
  await until('the position', async () => (await ask('GET', '/positions/a')).json['aggregate'])
  t.match((await ask('DELETE', '/orders/o-1')).json, { status: 'CANCELLED' })
  await until('health', async () => (await ask('GET', '/health')).json['status'] === 'healthy')
  t.same(server.violations(), [])
})
