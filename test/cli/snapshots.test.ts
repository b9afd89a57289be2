import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startClient } from '../support/client.ts'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const order = { account: 'a', symbol: 'BTCUSDT', ordType: 'LIMIT', price: 44_000 }

void t.test('P4.01 P4.03 P4.05 snapshots, trim and replay-risk by hand', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const
  await startTestWorkers(t, server.url, { workers })
  const client = await startClient(t, nats)
  const send = async (body: object) => client.answerTo(await client.send('orders.new', { ...order, ...body }))
  const cli = (...args: readonly string[]) => runCli([...args, '--nats', server.url])
  const json = async (...args: readonly string[]) =>
    JSON.parse((await cli(...args, '--json')).stdout) as Record<string, unknown>

  t.match(await cli('snapshots'), { code: 0, stdout: 'no snapshots yet\n' })
  await send({ side: 'BUY', quantity: 2 })
  await send({ side: 'SELL', quantity: 1, account: 'b' })
  await send({ side: 'BUY', quantity: 3, price: 43_999.001 })

  const all = await json('replay-risk')
  t.match(all, { ok: true, fromRisk: 1, decisions: 3, changed: 0, changes: [] })
  const limits = join(tempDir(t), 'limits.json')
  const tight = { maxQuantity: 1, maxOrderValue: 1e6, maxPosition: 1e7, maxOpenOrders: 1e4, maxGrossExposure: 1e9 }
  writeFileSync(limits, JSON.stringify({ default: tight, accounts: {}, symbols: {} }))
  t.match(await json('replay-risk', '--limits', limits), {
    ...{ ok: true, decisions: 3, changed: 1, byReason: { 'passed → RISK_MAX_QUANTITY': 1 } },
    changes: [{ orderId: 'o-1', recorded: 'passed', again: 'RISK_MAX_QUANTITY', text: /limit 1, actual 2/ }],
  })
  t.match(await cli('replay-risk', '--limits', join(tempDir(t), 'none.json')), { code: 64, stderr: /CONFIG_INVALID/ })
  // Decided under another definition of a day, an order of today comes out otherwise.
  await send({ side: 'BUY', quantity: 1, timeInForce: 'DAY' })
  const otherwise = await runCli(['replay-risk', '--nats', server.url], { DAY_END_UTC: '00:01' })
  t.match(otherwise, { code: 1, stdout: /1 come out otherwise/ })

  const taken = await cli('snapshots', '--take')
  t.equal(taken.code, 0, taken.stderr)
  for (const worker of workers.slice(0, 3)) t.match(taken.stdout, new RegExp(`^${worker} `, 'm'))
  t.match(await cli('snapshots', '--take'), { code: 0, stderr: /oms-matcher: nothing has come since the last one/ })
  t.match((await json('snapshots')).snapshots, [
    { worker: 'risk-gate', inSeq: 4, followedSequence: Number },
    { worker: 'oms-matcher', logicVersion: 1 },
    { worker: 'pnl-updater', sha256: /^[0-9a-f]{64}$/ },
  ])

  const plan = await json('trim', '--dry-run')
  t.match(plan, { dryRun: true, streams: [{ stream: 'ORDERS', removedMessages: 3 }, { stream: 'RISK' }] })
  t.equal((await nats.jsm.streams.info('ORDERS')).state.messages, 4, 'a dry run removes nothing')
  // No sink is there to say what it has.
  t.match((await json('trim')).streams, [
    { stream: 'ORDERS', removedMessages: 3, neededBy: null },
    { stream: 'RISK' },
    { stream: 'EXECUTIONS', removedMessages: 0, neededBy: 'execution-sink' },
  ])
  t.equal((await nats.jsm.streams.info('ORDERS')).state.first_seq, 4)
  t.match(await json('replay-risk'), { ok: true, decisions: 0 }, 'what follows from the snapshot on')
  await send({ side: 'SELL', quantity: 1, account: 'b' })
  t.match(await json('replay-risk'), { ok: true, decisions: 1, changed: 0 })
})
