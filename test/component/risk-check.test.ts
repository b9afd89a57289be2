import t from 'tap'
import { startDoor, asker, limitOrder } from '../support/gateway.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const

void t.test('P2.03 POST /check at the gate', async (t) => {
  const server = await startTestNats(t)
  const workers = await startTestWorkers(t, server.url, { workers: chain })
  const nats = await connectTestNats(t, server.url)
  const ask = asker(workers.ports['risk-gate'])
  const limits = await nats.kvm.open('LIMITS')
  await limits.put('account.small', JSON.stringify({ maxPosition: 10, maxOrderValue: 400_000, maxOpenOrders: 3 }))
  await until('the gate', async () => (await ask('POST', '/check', limitOrder('a', 'buy', '1', '1'))).status === 200)
  const check = async (account: string, side: string, quantity: string, price: string, more = '') =>
    (await ask('POST', '/check', limitOrder(account, side, quantity, price, more))).json
  await until('the limits', async () => (await check('small', 'buy', '11', '45000'))['approved'] === false)

  await t.test('P2.03 approved, with a level by the tightest limit', async (t) => {
    t.strictSame(await check('small', 'buy', '0.1', '45000'), {
      approved: true,
      risk_level: 'LOW',
      reason: null,
      warnings: [],
      fast_path: false,
    })
    t.match(await check('small', 'buy', '5', '45000'), { approved: true, risk_level: 'MEDIUM', warnings: [] })
    t.match(await check('small', 'buy', '8.5', '45000'), {
      approved: true,
      risk_level: 'HIGH',
      warnings: [/^RISK_MAX_ORDER_VALUE would be used to 95 %/],
    })
    t.match(await check('small', 'buy', '9', '45000'), {
      approved: false,
      risk_level: 'HIGH',
      reason: 'RISK_MAX_ORDER_VALUE',
      warnings: [/limit 400000, actual 405000/],
      fast_path: true,
    })
    t.match(await check('small', 'buy', '10.5', '100'), { reason: 'RISK_MAX_POSITION', fast_path: false })
    t.match(await check('small', 'buy', '0.00001', '45000'), { approved: true, fast_path: true })
  })

  await t.test('P2.03 refuses what the gate refuses before it looks at limits', async (t) => {
    t.match(await check('a', 'buy', '1', '0.001'), { approved: false, reason: 'PRICE_OFF_TICK', risk_level: 'HIGH' })
    await nats.js.publish('orders.new', limitOrder('a', 'buy', '1', '1', ',"cl_ord_id":"once"'))
    const again = () => check('a', 'buy', '1', '1', ',"clOrdId":"once"')
    await until('the first', async () => (await again())['reason'] === 'DUPLICATE_CL_ORD_ID')
  })

  await t.test('P2.03 takes any spelling; what is wrong is named, field by field, as at the door', async (t) => {
    const body = '{"symbol":"btcusdt","side":"BUY","order_type":"limit","quantity":"1e-3","price":45000.00}'
    t.match(await ask('POST', '/check', body), { status: 200, json: { approved: true } })
    t.match(await ask('POST', '/check', '{"symbol":"BTCUSDT","side":"up","type":"LIMIT","quantity":-1,"price":1}'), {
      status: 400,
      json: { error: 'INVALID_FIELD', fields: [{ field: 'side' }, { field: 'quantity' }] },
    })
    t.match(await ask('POST', '/check', '{'), { status: 400, json: { error: 'INVALID_MESSAGE' } })
    t.match(await ask('POST', '/check'), { status: 400, json: { error: 'INVALID_MESSAGE' } })
    t.match(await ask('POST', '/check', 'x'.repeat(20_000)), { status: 413, json: { error: 'BODY_TOO_LARGE' } })
    t.match(await ask('POST', '/check', '{}', { 'content-type': 'text/plain' }), { status: 415 })
    t.match(await ask('GET', '/check'), { status: 404, json: { error: 'ROUTE_UNKNOWN' } })
  })

  await t.test('P2.03 publishes and holds nothing', async (t) => {
    const before = (await nats.jsm.streams.info('ORDERS')).state.last_seq
    for (let n = 0; n < 10; n += 1) t.match(await check('small', 'buy', '4', '45000'), { approved: true })
    t.equal((await nats.jsm.streams.info('ORDERS')).state.last_seq, before)
  })

  await t.test('P2.03 says what the gate then does, order after order', async (t) => {
    let seed = 7
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
    let refused = 0
    for (let n = 0; n < 60; n += 1) {
      const account = `r${random(2)}`
      if (n < 2) await limits.put(`account.r${n}`, JSON.stringify({ maxPosition: 6, maxOpenOrders: 4 }))
      const side = random(2) === 0 ? 'buy' : 'sell'
      const order = limitOrder(account, side, String(1 + random(3)), String(45_000 + random(5)), ',"tif":"GTC"')
      const said = (await ask('POST', '/check', order)).json
      const { seq } = await nats.js.publish('orders.new', order)
      const report = await until(`the answer to ${seq}`, async () => {
        const last = await nats.jsm.streams.getMessage('EXECUTIONS', { last_by_subj: 'executions.BTCUSDT' })
        const message = last?.json<{ reports: { orderId: string; ordRejReason?: string }[] }>()
        const { executions_seq: seen } = (await ask('GET', '/stats')).json as { executions_seq: number }
        if (!last || seen < last.seq) return undefined
        return message?.reports.find(({ orderId }) => orderId === `o-${seq}`)
      })
      if (n >= 2) t.equal(said['reason'], report.ordRejReason ?? null, order)
      if (report.ordRejReason !== undefined) refused += 1
    }
    t.ok(refused > 5 && refused < 55, `${refused} of 60 were refused`)
  })

  await t.test('P2.03 a stand-by knows nothing yet: 503', async (t) => {
    const standBy = await startTestWorkers(t, server.url, { workers: ['risk-gate'], instance: 'stand-by' })
    const answer = await asker(standBy.ports['risk-gate'])('POST', '/check', limitOrder('a', 'buy', '1', '1'))
    t.match(answer, { status: 503, json: { error: 'SYSTEM_UNAVAILABLE' }, retryAfter: '1' })
    await standBy.stop()
  })
})

void t.test('P2.07 FAST_PATH_ENABLED false: no answer is given without the portfolio', async (t) => {
  const { startChain } = await startDoor(t, { isAlone: true, env: { FAST_PATH_ENABLED: 'false' } })
  const workers = await startChain()
  const ask = asker(workers.ports['risk-gate'])
  await until('the gate', async () => (await ask('POST', '/check', limitOrder('a', 'buy', '1', '1'))).status === 200)
  t.match((await ask('POST', '/check', limitOrder('a', 'buy', '0.001', '1'))).json, {
    approved: true,
    fast_path: false,
  })
  t.match((await ask('POST', '/check', limitOrder('a', 'buy', '1e7', '1'))).json, {
    reason: 'RISK_MAX_QUANTITY',
    fast_path: false,
  })
})
