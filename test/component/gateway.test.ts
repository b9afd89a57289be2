import t from 'tap'
import { startTestNats, startTestWorkers } from '../support/stack.ts'

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const

t.test('P1.13 POST /orders answers with the stored report', async (t) => {
  const server = await startTestNats(t)
  const { ports } = await startTestWorkers(t, server.url, { workers: chain })
  const base = `http://127.0.0.1:${ports.gateway}`
  const body =
    '{"account":"test_account","symbol":"BTCUSDT","side":"buy","type":"limit","order_type":"LIMIT","quantity":0.1,"price":45000.0}'
  const response = await fetch(`${base}/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  t.equal(response.status, 200)
  t.equal(
    await response.text(),
    '{"order_id":"o-1","account":"test_account","symbol":"BTCUSDT","side":"BUY","quantity":0.1,"price":45000,"status":"NEW","filled_quantity":0,"average_price":null,"error_message":null}',
  )
  const got = await fetch(`${base}/orders/o-1`)
  t.match(await got.json(), { order_id: 'o-1', status: 'NEW' })
})
