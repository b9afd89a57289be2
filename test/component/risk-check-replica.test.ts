import { createServer, type AddressInfo, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { freePort } from '../../src/local/ports.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { healthAt, startTestValkey, untilHealth } from '../support/health.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const openOrdersText = /^open orders are not counted/

/** A server that takes connections and never says a word. */
async function startHungServer(t: Test): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `redis://127.0.0.1:${(server.address() as AddressInfo).port}`
}

void t.test('P2.03 the stateless check', async (t) => {
  const server = await startTestNats(t)
  const valkey = await startTestValkey(t)
  const redis = new Redis(valkey.url)
  t.teardown(() => redis.disconnect())
  const nats = await connectTestNats(t, server.url)
  const gate = asker((await startTestWorkers(t, server.url, { env: { REDIS_URL: valkey.url } })).ports['risk-gate'])
  const limits = await nats.kvm.open('LIMITS')
  await limits.put('account.a', JSON.stringify({ maxPosition: 10, maxGrossExposure: 600_000 }))
  let replicas = 0
  const startReplica = async (env: Record<string, string> = {}) => {
    const replica = await startTestWorkers(t, server.url, {
      workers: ['risk-check'],
      instance: `replica-${(replicas += 1)}`,
      env: { REDIS_URL: valkey.url, RISK_TIMEOUT_MS: '1000', ...env },
    })
    const port = replica.ports['risk-check']
    const ask = asker(port)
    const check = async (account: string, side: string, quantity: string, price = '45000', more = '') =>
      (await ask('POST', '/check', limitOrder(account, side, quantity, price, more))).json
    // Before it is connected to Redis, every position is unknown.
    if (!env['REDIS_URL']) await untilHealth('the replica to be healthy', port, ({ body }) => body.status === 'healthy')
    return { stop: () => replica.stop(), ask, check, port }
  }
  await nats.js.publish('orders.new', limitOrder('b', 'sell', '4', '45000'))
  await nats.js.publish('orders.new', limitOrder('a', 'buy', '4', '45000'))
  await settled(nats)
  await until('the position', () => redis.hget('position:a', 'BTCUSDT'))

  await t.test('P2.03 answers as the gate does, from positions in Redis and limits in KV', async (t) => {
    const { check, ask, stop } = await startReplica()
    t.strictSame(await check('a', 'buy', '0.5'), {
      approved: true,
      risk_level: 'LOW',
      reason: null,
      warnings: ['open orders are not counted: this answer is made without the state of the gate'],
      fast_path: false,
    })
    for (const [side, quantity, price] of [
      ['buy', '5', '45000'],
      ['buy', '7', '45000'],
      ['sell', '13', '45000'],
      ['sell', '4', '45000'],
      ['buy', '3', '200000'],
      ['buy', '0.000000001', '45000'],
      ['buy', '1', '0.001'],
      ['buy', '1e7', '1'],
      ['buy', '9', '200000'],
    ] as const) {
      const order = limitOrder('a', side, quantity, price)
      const said = (await ask('POST', '/check', order)).json
      const expected = (await gate('POST', '/check', order)).json
      t.strictSame({ ...said, warnings: [] }, { ...expected, warnings: [] }, order)
    }
    const market = '{"account":"a","symbol":"BTCUSDT","side":"buy","type":"market","quantity":0.5}'
    t.match((await ask('POST', '/check', market)).json, { approved: true, warnings: [openOrdersText] })
    t.match(await ask('POST', '/check', '{"symbol":"X"}'), { status: 400, json: { error: 'INVALID_FIELD' } })
    t.match((await ask('GET', '/stats')).json, {
      checks: { approved: Number },
      cached: { limits: Number, positions: 1 },
    })
    t.match(
      (await ask('GET', '/metrics')).text,
      /^risk_checks_total\{reason="RISK_MAX_QUANTITY",worker="risk-check"\} 1/m,
    )
    await stop()
  })

  await t.test('P2.03 a halt and a changed limit count at once, though limits are kept for 60 s', async (t) => {
    const { check, stop } = await startReplica()
    t.match(await check('a', 'buy', '1'), { approved: true })
    await limits.put('halt.symbol.BTCUSDT', '{"halted":true}')
    const halted = await until('the halt', async () => {
      const answer = await check('a', 'buy', '1')
      return answer['approved'] === false && answer
    })
    t.match(halted, { reason: 'RISK_HALTED', warnings: [/symbol BTCUSDT is halted/] })
    t.match(await check('a', 'sell', '4'), { approved: true }, 'it reduces the position')
    await limits.delete('halt.symbol.BTCUSDT')
    await until('the end of the halt', async () => (await check('a', 'buy', '1'))['approved'])
    await limits.put('account.a', JSON.stringify({ maxPosition: 4 }))
    await until('the limit', async () => (await check('a', 'buy', '1'))['reason'] === 'RISK_MAX_POSITION')
    await limits.put('account.a', JSON.stringify({ maxPosition: 10, maxGrossExposure: 600_000 }))
    await until('the limit', async () => (await check('a', 'buy', '1'))['approved'])
    await stop()
  })

  await t.test('P2.03 positions are kept for a second', async (t) => {
    const { check, stop } = await startReplica()
    t.match(await check('a', 'buy', '1'), { approved: true })
    const startedMs = Date.now()
    const kept = await redis.hget('position:a', 'BTCUSDT')
    await redis.hset('position:a', 'BTCUSDT', String(kept).replace('"quantity":4', '"quantity":9.5'))
    const next = await check('a', 'buy', '1')
    if (Date.now() - startedMs < 900) t.match(next, { approved: true }, 'as it was')
    await until('the new position', async () => (await check('a', 'buy', '1'))['reason'] === 'RISK_MAX_POSITION')
    t.ok(Date.now() - startedMs < 2_500, `after ${Date.now() - startedMs} ms`)
    await redis.hset('position:a', 'BTCUSDT', String(kept))
    await stop()
  })

  await t.test(
    'P2.03 a market order is protected from the last own trade, wherever a position is marked',
    async (t) => {
      const { ask, stop } = await startReplica()
      const kept = String(await redis.hget('position:a', 'BTCUSDT'))
      // As by ticks of another venue, at 60,000.
      await redis.hset('position:a', 'BTCUSDT', kept.replace(/"unrealizedPnl":[^,]*/, '"unrealizedPnl":60000'))
      const revision = await limits.put('account.a', JSON.stringify({ maxPosition: 10, maxOrderValue: 25_000 }))
      await until(
        'the gate to know',
        async () => Number((await gate('GET', '/stats')).json['limits_revision']) >= revision,
      )
      const market = '{"account":"a","symbol":"BTCUSDT","side":"buy","type":"market","quantity":0.5}'
      t.match((await gate('POST', '/check', market)).json, { approved: true })
      t.match((await ask('POST', '/check', market)).json, { approved: true })
      await limits.put('account.a', JSON.stringify({ maxPosition: 10, maxGrossExposure: 600_000 }))
      await redis.hset('position:a', 'BTCUSDT', kept)
      await stop()
    },
  )

  for (const mode of ['closed', 'open'])
    await t.test(`P2.03 RISK_FAIL_MODE ${mode}: a missing position is unknown, not flat`, async (t) => {
      const { check, stop } = await startReplica({ RISK_FAIL_MODE: mode })
      const expected =
        mode === 'open'
          ? { approved: true, reason: null }
          : { approved: false, reason: 'RISK_STATE_UNKNOWN', risk_level: 'HIGH' }
      t.match(await check('nobody', 'buy', '1'), {
        ...expected,
        warnings: [/position of nobody in BTCUSDT is unknown, not flat/],
      })
      const other = '{"account":"a","symbol":"ETHUSDT","side":"buy","type":"limit","quantity":1,"price":2500}'
      const ask = (await startReplica({ RISK_FAIL_MODE: mode })).ask
      t.match((await ask('POST', '/check', other)).json, {
        ...expected,
        warnings: [/position of a in ETHUSDT is unknown/],
      })
      t.match(
        await check('nobody', 'buy', '11', '1e6'),
        { approved: false, reason: 'RISK_MAX_ORDER_VALUE' },
        'a no stays a no',
      )
      await stop()
    })

  const redisUrls = {
    hangs: (t: Test) => startHungServer(t),
    'is gone': async () => `redis://127.0.0.1:${await freePort()}`,
  }
  for (const [what, urlOf] of Object.entries(redisUrls))
    for (const mode of ['closed', 'open'])
      await t.test(`P2.03 RISK_FAIL_MODE ${mode}, and Redis ${what}`, async (t) => {
        const url = await urlOf(t)
        const { check, port, stop } = await startReplica({ REDIS_URL: url, RISK_FAIL_MODE: mode })
        const startedMs = Date.now()
        const answer = await check('a', 'buy', '1')
        t.ok(Date.now() - startedMs < 2_000, 'and soon')
        if (mode === 'open')
          t.match(answer, { approved: true, reason: null, warnings: [/^positions of a are unknown/] })
        else
          t.match(answer, { approved: false, reason: 'RISK_STATE_UNKNOWN', warnings: [/^positions of a are unknown/] })
        t.match(await check('a', 'buy', '0.001'), {
          approved: true,
          fast_path: true,
          warnings: [/worth less than 100/],
        })
        t.match(await check('a', 'buy', '1e7', '1'), { approved: false, reason: 'RISK_MAX_QUANTITY', fast_path: true })
        await untilHealth('degraded', port, ({ code, body }) => code === 200 && body.status === 'degraded')
        t.match((await healthAt(port)).body, {
          service: 'risk-check',
          checks: { redis: 'disconnected' },
          reason: /Redis/,
        })
        await stop()
      })

  await t.test('P2.07 RISK_TIMEOUT_MS: how long a connected Redis that stops answering is waited for', async (t) => {
    const { check, port, stop } = await startReplica({ RISK_TIMEOUT_MS: '50', RISK_FAIL_MODE: 'open' })
    await until('the limits', async () => String((await check('a', 'buy', '1'))['warnings']).startsWith('open orders'))
    process.kill(valkey.pid ?? 0, 'SIGSTOP')
    try {
      const slow = await until('a look-up', async () => {
        const startedMs = performance.now()
        const answer = await check('a', 'buy', '1')
        const ms = performance.now() - startedMs
        // The machine may make one of them wait for longer.
        return String(answer['warnings']).includes('no answer within 50 ms') && ms < 500 && { answer, ms }
      })
      t.match(slow.answer, { approved: true })
      t.ok(slow.ms >= 45, `${slow.ms} ms`)
      await untilHealth('degraded', port, ({ body }) => body.status === 'degraded')
    } finally {
      process.kill(valkey.pid ?? 0, 'SIGCONT')
    }
    await untilHealth('healthy again', port, ({ body }) => body.status === 'healthy')
    await stop()
  })

  await t.test('P2.07 CACHE_TTL: how long limits are kept', async (t) => {
    const asked: string[] = []
    const spy = nats.connection.subscribe('$JS.API.STREAM.MSG.GET.KV_LIMITS', {
      callback: (_error, message) => {
        asked.push(message.json<{ last_by_subj: string }>().last_by_subj.replace('$KV.LIMITS.', ''))
      },
    })
    const { check, stop } = await startReplica({ CACHE_TTL: '3' })
    const startedMs = Date.now()
    t.match(await check('a', 'buy', '1'), { approved: true })
    const all = ['account.a', 'default', 'halt.account.a', 'halt.all', 'halt.symbol.BTCUSDT', 'symbol.BTCUSDT']
    await until('all to be asked for', () => asked.length === all.length)
    t.same(asked.sort(), all)
    t.match(await check('a', 'buy', '1'), { approved: true })
    t.equal(asked.length, 6, 'kept')
    await until('the next look-up', async () => {
      await check('a', 'buy', '1')
      return asked.length > 6
    })
    const ms = Date.now() - startedMs
    t.ok(ms >= 2_950 && ms < 5_000, `after ${ms} ms`)
    spy.unsubscribe()
    await stop()
  })

  await t.test('P2.07 FAST_PATH_ENABLED false: no answer without the portfolio', async (t) => {
    const url = await startHungServer(t)
    const { check, stop } = await startReplica({ REDIS_URL: url, FAST_PATH_ENABLED: 'false' })
    t.match(await check('a', 'buy', '0.001'), { approved: false, reason: 'RISK_STATE_UNKNOWN', fast_path: false })
    t.match(await check('a', 'buy', '1e7', '1'), { approved: false, reason: 'RISK_MAX_QUANTITY', fast_path: false })
    await stop()
  })

  await t.test('P2.03 without a Redis to read it does not start', async (t) => {
    const starting = startTestWorkers(t, server.url, { workers: ['risk-check'], env: { REDIS_URL: '' } })
    await t.rejects(starting, { code: 'CONFIG_INVALID' })
  })
})
