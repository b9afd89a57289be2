import t from 'tap'
import { runCli, startCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

interface TailDocument {
  time: string
  stream: string
  seq: number
  subject: string
  message: { reports?: { orderId: string }[] } | string
}

void t.test('P1.05 `tail` prints what happens, a line each', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const send = (account: string, body: object) =>
    nats.js.publish(
      `orders.new.${account}`,
      JSON.stringify({ symbol: 'BTCUSDT', type: 'limit', price: 45000, ...body }),
    )
  await send('early', { side: 'buy', quantity: 0.1, price: 100 })

  const consumers = async () => (await nats.jsm.consumers.list('EXECUTIONS').next()).length
  await until('the first report', async () => (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq === 2)
  // Those of the gate, the pnl-updater and the tape.
  await until('the workers', async () => (await consumers()) === 3)

  const fresh = startCli(t, ['tail'], env)
  const all = startCli(t, ['tail', 'all', '--since', '10m'], env)
  const json = startCli(t, ['tail', 'orders', 'executions', '--json', '--account', 'taker', '--since', '10m'], env)
  await until('they listen', async () => (await consumers()) === 6)
  await send('maker', { side: 'sell', quantity: '0.00000003' })
  await send('taker', { side: 'buy', quantity: '0.00000002', clOrdId: 'x' })
  await nats.js.publish('orders.new.taker', 'buy one bitcoin')

  const words = (lines: readonly string[]) => lines.map((line) => line.replace(/^\S+ +/, '').replace(/ +/g, ' '))
  await until('the reports', () => fresh.lines.length >= 5)
  t.match(fresh.lines[0], /^\d\d:\d\d:\d\d\.\d{3} {2}EXEC {2}\d+ {2}o-2 /)
  t.same(words(fresh.lines), [
    'EXEC 3 o-2 BTCUSDT SELL New LIMIT 0.00000003 @ 45000 GTC → New (maker)',
    'EXEC 4 o-3 BTCUSDT BUY New LIMIT 0.00000002 @ 45000 GTC as x → New (taker)',
    'EXEC 4 o-3 BTCUSDT BUY Trade 0.00000002 @ 45000 → Filled (taker)',
    'EXEC 4 o-2 BTCUSDT SELL Trade 0.00000002 @ 45000 → PartiallyFilled (maker)',
    'EXEC 5 o-4 Rejected INVALID_MESSAGE: not JSON in UTF-8: Unexpected token \'b\', "buy one bitcoin" is not valid JSON',
  ])

  const expected = [
    'ORDER 1 new BTCUSDT BUY LIMIT 0.1 @ 100 (early)',
    'ORDER 3 new BTCUSDT BUY LIMIT 0.00000002 @ 45000 (taker)',
    'EXEC 1 a new oms-matcher has taken over',
    'EXEC 4 o-3 BTCUSDT BUY Trade 0.00000002 @ 45000 → Filled (taker)',
    'TICK 1 BTCUSDT buy 0.00000002 @ 45000 (T2026)',
  ]
  for (const line of expected) await until(line, () => words(all.lines).includes(line))
  for (const pattern of [
    /^ORDER 4 unreadable new: /,
    /^RISK \d+ o-3 BTCUSDT BUY passed LIMIT 2 lots @ 4500000 ticks \(taker\)$/,
    /^RISK \d+ limits default set \(revision \d+\)$/,
    /^POS \d+ taker BTCUSDT 0\.00000002 @ 45000, realised 0, unrealised 0, fees /,
    /^POS \d+ taker equity /,
    /^DLQ 1 risk-gate cannot read ORDERS 4: INVALID_MESSAGE: not JSON/,
  ])
    await until(String(pattern), () => words(all.lines).some((line) => pattern.test(line)))

  await until('the documents', () => json.lines.length >= 3)
  const documents = json.lines.map((line) => JSON.parse(line) as TailDocument)
  const orders = documents.filter(({ stream }) => stream === 'ORDERS')
  const executions = documents.filter(({ stream }) => stream === 'EXECUTIONS')
  t.same(
    orders.map(({ seq, subject }) => [seq, subject]),
    [
      [3, 'orders.new.taker'],
      [4, 'orders.new.taker'],
    ],
  )
  t.equal(orders[1]?.message, 'buy one bitcoin')
  t.same(
    executions.map(({ seq }) => seq),
    [4],
    'the report on what nobody can read names no account',
  )
  t.match(executions[0], { subject: 'executions.BTCUSDT', message: { reports: [{ orderId: 'o-3' }] } })
  t.match(executions[0]?.time, /^\d{4}-\d\d-\d\dT.*Z$/)
  t.match(json.lines.join('\n'), '"lastQty":0.00000002,', 'numbers as they are stored')

  for (const cli of [fresh, all, json]) {
    t.equal(await cli.interrupt(), 130)
    t.equal(cli.stderr(), '')
  }
  t.equal(await consumers(), 3, 'no consumer is left behind')

  const wrong = await runCli(['tail', 'trades'], env)
  t.equal(wrong.code, 64)
  t.match(wrong.stderr, /no stream trades; there are orders, risk/)
})

void t.test('P2.11 `tail` says what no worker of ours wrote, and goes on', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url }
  t.equal((await runCli(['streams', '--apply'], env)).code, 0)
  const nats = await connectTestNats(t, server.url)
  const cli = startCli(t, ['tail', 'all', '--since', '10m'], env)
  await nats.js.publish('w.executions.BTCUSDT', '{"reports":[]}')
  await nats.js.publish('w.executions.BTCUSDT', 'hello')
  await nats.js.publish('risk.decisions', '{}')
  await nats.js.publish('w.positions.alice.BTCUSDT', 'hello')
  await nats.js.publish('w.executions._epoch', '{"epoch":1,"reports":[]}')
  for (const pattern of [
    /EXEC +1 {2}message 1 of EXECUTIONS was not written by a worker: it has no cmdSeq/,
    /EXEC +2 {2}message 2 of EXECUTIONS was not written by a worker/,
    /RISK +1 {2}message 1 of RISK was not written by a worker: it has no records/,
    /POS +1 {2}message 1 of POSITIONS was not written by a worker/,
    /EXEC +3 {2}a new oms-matcher has taken over/,
  ])
    await until(String(pattern), () => cli.lines.some((line) => pattern.test(line)))
  t.equal(await cli.interrupt(), 130)
  t.equal(cli.stderr(), '')
})
