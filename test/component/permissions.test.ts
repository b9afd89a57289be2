import { join } from 'node:path'
import t from 'tap'
import type { SinkName } from '../../src/runtime/flush-limits.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { startSecuredNats, type UserName } from '../support/secured-nats.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { connectTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

/** The gate last: only it may seed the limits. */
const chain = ['tape', 'pnl-updater', 'oms-matcher', 'risk-gate'] as const
const workers = [...chain, 'gateway'] as const
const sinkNames = ['tick-sink', 'alt-sink', 'execution-sink'] as const satisfies readonly SinkName[]

void t.test('P1.06 each worker does its work with the permissions of its user, and has no others', async (t) => {
  const server = await startSecuredNats(t)
  const admin = await connectTestNats(t, server.url('admin'))
  await ensureStreams(admin, 512 * 2 ** 20)
  const gateway = await connectTestNats(t, server.url('gateway'))

  const restart = async () => {
    const started: Awaited<ReturnType<typeof startTestWorkers>>[] = []
    for (const worker of workers)
      started.push(await startTestWorkers(t, server.url(worker), { workers: [worker], instance: worker }))
    const stop = async () => {
      for (const worker of started) await worker.stop()
    }
    return { stop, ask: asker(started.at(-1)?.ports.gateway) }
  }
  const trade = async (side: string, account: string) => {
    const order = { account, symbol: 'BTCUSDT', side, ordType: 'LIMIT', quantity: 1, price: 45_000 }
    await gateway.js.publish('orders.new', JSON.stringify(order))
  }
  const quantityOf = async (account: string) => {
    const subject = `positions.${account}.BTCUSDT`
    const found = await gateway.jsm.streams.getMessage('POSITIONS', { last_by_subj: subject }).catch(() => null)
    return found?.json<{ quantity: number }>().quantity
  }

  await t.test('the chain works, from an order to a position and a tick', async (t) => {
    const { stop, ask } = await restart()
    await trade('SELL', 'maker')
    await trade('BUY', 'taker')
    // Unreadable: the gate writes it to the DLQ.
    await gateway.js.publish('orders.new', '{')
    await until('the position', async () => (await quantityOf('taker')) === 1)
    t.equal(await quantityOf('maker'), -1)
    const ticks = async () => (await admin.jsm.streams.info('TICKS')).state.messages
    await until('the tick', async () => (await ticks()) === 1)
    const deadLetters = async () => (await admin.jsm.streams.info('DLQ')).state.messages
    await until('the dead letter', async () => (await deadLetters()) === 1)
    const posted = await ask('POST', '/orders', limitOrder('maker', 'buy', '1', '40000'))
    t.match(posted, { status: 200, json: { order_id: 'o-4', status: 'NEW' } })
    t.match(await ask('GET', '/book/BTCUSDT'), { status: 200, json: { bids: [[40_000, 1]] } })
    t.match(await ask('GET', '/positions/taker'), { status: 200, text: '"quantity":1' })
    t.match(await ask('DELETE', '/orders/o-4'), { status: 200, json: { status: 'CANCELLED' } })
    const probes = await admin.jsm.streams.info('KV_HEALTH', { subjects_filter: '>' })
    const probed = Object.keys(probes.state.subjects ?? {}).map((subject) => subject.split('.')[2])
    t.same([...new Set(probed)].sort(), [...workers].sort(), 'each has written a probe')
    await stop()
  })

  await t.test('and after a restart, with everything recovered', async (t) => {
    const limits = await admin.kvm.open('LIMITS')
    await limits.put('account.blocked', JSON.stringify({ blocked: true }))
    const { stop, ask } = await restart()
    await trade('SELL', 'taker')
    await trade('BUY', 'maker')
    await until('the position', async () => (await quantityOf('taker')) === 0)
    t.match(await ask('GET', '/orders/o-2'), { status: 200, json: { status: 'FILLED' } })
    t.match(await ask('GET', '/orders/o-99'), { status: 404 })
    t.match(await ask('GET', '/orders?account=maker&active_only=true'), { status: 200, text: '[]' })
    const leases = await admin.kvm.open('LEASES')
    for (const worker of chain) t.equal((await leases.get(worker))?.operation, 'PUT', `${worker} holds its lease`)
    await stop()
    for (const worker of chain) t.equal((await leases.get(worker))?.operation, 'DEL', `${worker} gave it back`)
    t.same(server.violations(), [], 'the server has refused nothing that a worker does')
  })

  await t.test('P2.03 a stateless check reads limits and prices', async (t) => {
    const replica = await startTestWorkers(t, server.url('risk-check'), {
      workers: ['risk-check'],
      env: { REDIS_URL: 'redis://127.0.0.1:1', RISK_FAIL_MODE: 'open', RISK_TIMEOUT_MS: '1000' },
    })
    const check = () => asker(replica.ports['risk-check'])('POST', '/check', limitOrder('blocked', 'buy', '1', '45000'))
    t.match((await check()).json, { reason: 'RISK_SYMBOL_BLOCKED', warnings: [String, /^positions of blocked/] })
    const limits = await admin.kvm.open('LIMITS')
    await limits.delete('account.blocked')
    const passed = await until('the limits', async () => {
      const { json } = await check()
      return json['approved'] === true && json
    })
    t.match(passed, { warnings: [/^positions of blocked/, /^open orders/] }, 'limits and the last price were found')
    await replica.stop()
    t.same(server.violations(), [])
  })

  await t.test('P3.07 sinks commit, write dead letters and go on after a restart', async (t) => {
    const lake = join(tempDir(t), 'lake')
    const start = (worker: SinkName) =>
      startTestWorkers(t, server.url(worker), { workers: [worker], instance: worker, env: { LAKE_URI: lake } })
    const inputs = { 'tick-sink': 'TICKS', 'alt-sink': 'ALT', 'execution-sink': 'EXECUTIONS' } as const
    for (let round = 0; round < 2; round += 1) {
      await admin.js.publish('alt.norm.news', '{"event_ts":1795339800,"source":"wire","title":"A"}')
      await admin.js.publish('alt.norm.news', 'unreadable')
      await admin.js.publish('market.tick.V.A', '{"event_ts":1795339800,"price":1}')
      for (const sink of sinkNames) {
        const running = await start(sink)
        t.equal((await asker(running.ports[sink])('POST', '/flush')).status, 200)
        const { last_seq: last } = (await admin.jsm.streams.info(inputs[sink])).state
        t.equal((await asker(running.ports[sink])('GET', '/stats')).json['stream_seq'], last, `${sink}, round ${round}`)
        await running.stop()
      }
    }
    const letters = await admin.jsm.streams.info('DLQ', { subjects_filter: 'dlq.alt-sink.>' })
    t.equal(Object.keys(letters.state.subjects ?? {}).length, 2)
    t.same(server.violations(), [])
  })

  await t.test('what is not its own the server refuses', async (t) => {
    const foreign: readonly (readonly [UserName, readonly string[]])[] = [
      [
        'gateway',
        ['risk.decisions', 'w.executions.BTCUSDT', 'w.positions.a.BTCUSDT', 'executions.BTCUSDT', '$KV.LIMITS.default'],
      ],
      ['risk-gate', ['orders.new', 'w.executions.BTCUSDT', '$KV.LEASES.tape', 'dlq.tape.EXECUTIONS.1']],
      [
        'risk-check',
        ['orders.new', 'risk.decisions', '$KV.LIMITS.default', 'market.tick.T2026.BTCUSDT', 'risk.alert.a'],
      ],
      ['oms-matcher', ['orders.new', 'risk.decisions', 'w.positions.a', '$KV.LIMITS.default', '_INBOX.x']],
      ['pnl-updater', ['w.executions.BTCUSDT', 'market.tick.T2026.BTCUSDT', '$JS.API.STREAM.DELETE.POSITIONS']],
      [
        'tape',
        [
          'w.executions.BTCUSDT',
          'market.tick.BINANCE.BTCUSDT',
          'orders.new',
          '$JS.API.CONSUMER.DELETE.EXECUTIONS.pnl-updater',
        ],
      ],
      ...sinkNames.map((sink) => {
        const other = sinkNames.find((name) => name !== sink)
        return [
          sink,
          [
            ...[
              'orders.new',
              'risk.decisions',
              'w.executions.BTCUSDT',
              'w.positions.a',
              'market.tick.V.A',
              'alt.norm.a',
            ],
            ...[`dlq.${other}.TICKS.1`, `$KV.LEASES.${other}`, '$KV.LIMITS.default', 'query.order.o-1'],
            ...['TICKS', 'ALT', 'EXECUTIONS'].map((stream) => `$JS.API.CONSUMER.DELETE.${stream}.${other}`),
            ...['TICKS', 'ALT', 'EXECUTIONS', 'DLQ'].map((stream) => `$JS.API.STREAM.PURGE.${stream}`),
          ],
        ] as const
      }),
    ]
    const api = [
      ...['CREATE', 'UPDATE', 'DELETE', 'PURGE'].map((action) => `$JS.API.STREAM.${action}.RISK`),
      '$JS.API.STREAM.MSG.DELETE.EXECUTIONS',
      'w.anything',
    ]
    let seen = 0
    for (const [user, subjects] of foreign) {
      const nats = await connectTestNats(t, server.url(user))
      for (const subject of [...subjects, ...api]) nats.connection.publish(subject)
      await nats.connection.flush()
      const expected = [...subjects, ...api].map((subject) => `${user} Publish ${subject}`)
      await until(`the refusals of ${user}`, () => server.violations().length >= seen + expected.length)
      t.same(server.violations().slice(seen), expected)
      seen += expected.length
    }
    const tape = await connectTestNats(t, server.url('tape'))
    tape.connection.subscribe('>')
    tape.connection.subscribe('executions.>')
    await until('the refusals', () => server.violations().length >= seen + 2)
    t.same(server.violations().slice(seen), ['tape Subscription >', 'tape Subscription executions.>'])
  })
})
