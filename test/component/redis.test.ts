import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { createLog } from '../../src/runtime/log.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { readLatest } from '../../src/runtime/reader.ts'
import { type OrderHash, RedisProjection } from '../../src/runtime/redis.ts'
import { freePort } from '../../src/local/ports.ts'
import { startTestValkey, untilHealth } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { settled, startFlow } from '../support/processes.ts'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const dayS = 86_400

function connectRedis(t: Test, url: string): Redis {
  const redis = new Redis(url)
  redis.on('error', () => undefined)
  t.teardown(() => redis.disconnect())
  return redis
}

/** Sends commands in order. @returns their sequences in ORDERS */
async function send(nats: Nats, ...commands: [kind: string, body: object][]): Promise<number[]> {
  const sequences: number[] = []
  for (const [kind, body] of commands)
    sequences.push((await nats.js.publish(`orders.${kind}`, JSON.stringify(body))).seq)
  return sequences
}

const limit = (account: string, side: string, quantity: number, price: number, symbol = 'BTCUSDT') =>
  ['new', { account, symbol, side, type: 'LIMIT', quantity, price }] as [string, object]

/** The bodies in POSITIONS, by account and symbol. */
async function positionsOf(nats: Nats): Promise<Record<string, Record<string, string>>> {
  const bodies: Record<string, Record<string, string>> = {}
  for (const [subject, { data }] of await readLatest(nats, 'POSITIONS', 'positions.>')) {
    const [, account = '', symbol] = subject.split('.')
    if (symbol !== undefined) (bodies[account] ??= {})[symbol] = Buffer.from(data).toString()
  }
  return bodies
}

/** Waits until the hashes hold what POSITIONS holds, to the byte but for `asOf`, up to which it has stayed true. */
async function untilPositionsAgree(t: Test, nats: Nats, redis: Redis, isAsOfTheSame = false): Promise<void> {
  await settled(nats)
  const text = (json: string) => (isAsOfTheSame ? json : json.replace(/"asOf":\d+/, '"asOf":0'))
  const comparable = (bodies: Record<string, Record<string, string>>) =>
    Object.entries(bodies)
      .map(([account, symbols]) => [
        account,
        Object.entries(symbols)
          .map(([symbol, json]) => [symbol, text(json)])
          .sort(),
      ])
      .sort()
  let expected: unknown[][] = []
  let found: unknown[][] = []
  await until('positions in Redis', async () => {
    expected = comparable(await positionsOf(nats))
    const hashes: Record<string, Record<string, string>> = {}
    for (const [account] of expected) hashes[String(account)] = await redis.hgetall(`position:${String(account)}`)
    found = comparable(hashes)
    return JSON.stringify(found) === JSON.stringify(expected)
  }).catch(() => undefined)
  t.same(found, expected, 'position:{account} is what POSITIONS holds')
}

void t.test('P1.12 Redis holds positions and orders, set if newer', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const valkey = await startTestValkey(t)
  const redis = connectRedis(t, valkey.url)
  const startChain = () => startTestWorkers(t, server.url, { env: { REDIS_URL: valkey.url } })
  let workers = await startChain()
  let orderIds: string[] = []

  await t.test('P1.12 positions, orders and sets of open orders', async (t) => {
    orderIds = (
      await send(
        nats,
        limit('maker', 'SELL', 3, 45_000),
        limit('maker', 'SELL', 1, 46_000),
        limit('taker', 'BUY', 2, 45_000),
        limit('taker', 'BUY', 1, 40_000),
        limit('taker', 'BUY', 1, 30_000, 'ETHUSDT'),
        limit('taker', 'BUY', 2e6, 45_000),
      )
    ).map((sequence) => `o-${sequence}`)
    const [partly = '', resting = '', filled = '', open = '', , refused = ''] = orderIds
    await send(nats, ['cancel', { orderId: open, account: 'taker' }])
    await untilPositionsAgree(t, nats, redis, true)
    t.match(JSON.parse((await redis.hget('position:taker', 'BTCUSDT')) ?? ''), {
      account: 'taker',
      symbol: 'BTCUSDT',
      quantity: 2,
      avgPx: 45_000,
      realizedPnl: 0,
      unrealizedPnl: Number,
      fees: Number,
      asOf: Number,
    })
    await until('the last order', () => redis.hget(`order:${open}`, 'status').then((status) => status === 'CANCELLED'))
    t.match(await redis.hgetall(`order:${partly}`), {
      orderId: partly,
      account: 'maker',
      symbol: 'BTCUSDT',
      side: 'SELL',
      quantity: '3',
      price: '45000',
      status: 'PARTIALLY_FILLED',
      filledQuantity: '2',
      averagePrice: '45000',
      asOf: /^\d+$/,
    })
    t.match(await redis.hgetall(`order:${filled}`), { status: 'FILLED', filledQuantity: '2' })
    t.match(await redis.hgetall(`order:${refused}`), { status: 'RISK_REJECTED', errorMessage: /^RISK_/ })
    t.same((await redis.smembers('account:maker:orders')).sort(), [partly, resting].sort())
    t.same(await redis.smembers('account:taker:orders'), [orderIds[4]])
    for (const ended of [filled, open, refused]) {
      const seconds = await redis.ttl(`order:${ended}`)
      t.ok(seconds > dayS - 60 && seconds <= dayS, `${ended} expires in ${seconds} s`)
    }
    for (const kept of [`order:${partly}`, 'position:taker', 'account:taker:orders'])
      t.equal(await redis.ttl(kept), -1, `${kept} stays`)
    await until('the probe', () => redis.exists('health:pnl-updater').then((count) => count === 1))
  })

  await t.test('P1.12 an older record never overwrites a newer one, whatever is replayed', async (t) => {
    await workers.stop()
    const [partly = '', resting = '', , , open = ''] = orderIds
    const newer = '{"account":"taker","symbol":"BTCUSDT","quantity":7,"asOf":1000000}'
    await redis.hset('position:taker', 'BTCUSDT', newer)
    await redis.hset('position:maker', 'BTCUSDT', '{"account":"maker","symbol":"BTCUSDT","quantity":7,"asOf":1}')
    await redis.hset(`order:${resting}`, { status: 'newer', asOf: '1000000' })
    await redis.hset(`order:${partly}`, { status: 'older', asOf: '1' })
    // One whose number nobody can read counts as older.
    await redis.hset(`order:${open}`, { status: 'unreadable', asOf: 'x' })
    workers = await startChain()
    await until('the older ones to be replaced', async () => {
      const { quantity } = JSON.parse((await redis.hget('position:maker', 'BTCUSDT')) ?? '{}') as { quantity?: number }
      const statuses = await Promise.all([partly, open].map((id) => redis.hget(`order:${id}`, 'status')))
      return quantity === -2 && statuses.join() === 'PARTIALLY_FILLED,NEW'
    })
    t.equal(await redis.hget('position:taker', 'BTCUSDT'), newer)
    t.equal(await redis.hget(`order:${resting}`, 'status'), 'newer')
  })

  await t.test('P1.12 orders that ended while pnl-updater was killed or Redis away end in Redis too', async (t) => {
    const port = workers.ports['pnl-updater']
    valkey.kill('SIGSTOP')
    await untilHealth('Redis to be missed', port, ({ body }) => body.checks.redis === 'disconnected')
    const [open = '', partly = ''] = [orderIds[4], orderIds[0]]
    await send(nats, ['cancel', { orderId: open, account: 'taker' }])
    await settled(nats)
    valkey.kill('SIGCONT')
    await until('it to end', () => redis.hget(`order:${open}`, 'status').then((status) => status === 'CANCELLED'))
    t.same(await redis.smembers('account:taker:orders'), [])
    t.ok((await redis.ttl(`order:${open}`)) > 0)

    await workers.stop()
    const withoutRedis = await startTestWorkers(t, server.url)
    await send(nats, ['cancel', { orderId: partly, account: 'maker' }])
    await settled(nats)
    await withoutRedis.stop()
    workers = await startChain()
    await until('it to end', () => redis.hget(`order:${partly}`, 'status').then((status) => status === 'CANCELLED'))
    t.same(await redis.smembers('account:maker:orders'), [orderIds[1]])
  })

  await t.test('P1.12 Redis emptied: what changes comes at once, all of it with the next connection', async (t) => {
    await redis.flushall()
    await send(nats, limit('maker', 'SELL', 1, 50_000, 'ETHUSDT'), limit('third', 'BUY', 1, 50_000, 'ETHUSDT'))
    await until('the new position', () => redis.hexists('position:third', 'ETHUSDT').then(Boolean))
    t.equal(await redis.hexists('position:taker', 'BTCUSDT'), 0, 'what has not changed is missing, not different')
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await until('the old ones', () => redis.hexists('position:taker', 'BTCUSDT').then(Boolean))
    await untilPositionsAgree(t, nats, redis)
  })
})

void t.test(
  'P1.04 No Redis: the pipeline runs on, health is degraded, and Redis is filled when it comes',
  async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    const port = await freePort()
    const url = `redis://127.0.0.1:${port}`
    const { ports } = await startTestWorkers(t, server.url, { env: { REDIS_URL: url } })
    await untilHealth(
      'health without Redis',
      ports['pnl-updater'],
      ({ code, body }) => code === 200 && body.status === 'degraded' && body.reason === 'Redis disconnected',
    )
    await send(nats, limit('maker', 'SELL', 3, 45_000), limit('taker', 'BUY', 2, 45_000))
    await settled(nats)
    t.equal(Object.keys(await positionsOf(nats)).length, 2, 'positions are in POSITIONS')

    const valkey = await startTestValkey(t, { port })
    const redis = connectRedis(t, valkey.url)
    await untilHealth('health with Redis', ports['pnl-updater'], ({ body }) => body.status === 'healthy')
    await untilPositionsAgree(t, nats, redis)
    t.same(await redis.smembers('account:maker:orders'), ['o-1'])
    t.equal(await redis.hget('order:o-2', 'status'), 'FILLED', 'ended orders as well')

    // Redis hangs in the middle of it.
    const publisher = new AckedPublisher(nats.connection)
    t.teardown(() => publisher.close())
    const burst = async (count: number) => {
      const startedMs = performance.now()
      await Promise.all(
        Array.from({ length: count }, (_, index) =>
          publisher.request(
            'orders.new',
            JSON.stringify(limit(`a${index % 10}`, index % 2 ? 'BUY' : 'SELL', 1, 45_000)[1]),
          ),
        ),
      )
      await settled(nats)
      return performance.now() - startedMs
    }
    await burst(2_000)
    const withRedisMs = await burst(2_000)
    valkey.kill('SIGSTOP')
    // A machine that stands still for a second makes one of them longer, whatever Redis does.
    let withoutRedisMs = Infinity
    const boundMs = 3 * withRedisMs + 500
    for (let left = 3; left > 0 && withoutRedisMs >= boundMs; left -= 1) withoutRedisMs = await burst(2_000)
    t.ok(withoutRedisMs < boundMs, `${withoutRedisMs.toFixed(0)} ms, with Redis ${withRedisMs.toFixed(0)} ms`)
    await untilHealth(
      'the hung Redis to be noticed',
      ports['pnl-updater'],
      ({ body }) => body.status === 'degraded',
      5_000,
    )
    valkey.kill('SIGCONT')
    await untilHealth('it to be back', ports['pnl-updater'], ({ body }) => body.status === 'healthy', 5_000)
    await untilPositionsAgree(t, nats, redis)
  },
)

void t.test('P1.12 the projection alone', async (t) => {
  const valkey = await startTestValkey(t)
  const redis = connectRedis(t, valkey.url)
  let returns = 0
  const open = new Set<string>()
  const projection = new RedisProjection(valkey.url, createLog('test', 'silent'), () => ({
    projectAll: () => (returns += 1),
    isActive: true,
    isOpen: (orderId) => open.has(orderId),
    asOf: 30_000,
  }))
  t.teardown(() => projection.close())
  await until('it to connect', () => projection.isUp)
  t.equal(returns, 1)
  const order = (id: number, asOf: number, status = 'FILLED') => ({ orderId: `o-${id}`, account: 'a', status, asOf })

  await t.test('P1.12 a key that Redis refuses is named and holds nothing else up', async (t) => {
    await redis.set('order:o-1', 'not a hash')
    projection.setOrder(order(1, 1), false)
    projection.setOrder(order(2, 2), false)
    projection.setPosition('a', 'X', '{"asOf":2}', 2)
    await until('the others', async () => (await redis.exists('order:o-2', 'position:a')) === 2)
    await until('the refusal', () => projection.problem !== undefined)
    t.match(projection.problem, /^Redis refuses writes: .*WRONGTYPE/)
    t.equal(projection.isUp, true)
    await redis.del('order:o-1')
    await until('all to be well', () => projection.problem === undefined)
    t.equal(await redis.hget('order:o-1', 'status'), 'FILLED')
  })

  await t.test('P1.12 texts of clients come through as they are', async (t) => {
    const clOrdId = 'ü"\\\u001f\u0000😀'
    projection.setOrder({ ...order(7, 1), clOrdId } as OrderHash, false)
    projection.setOrder({ ...order(8, 1), clOrdId: 'half \ud83d' } as OrderHash, false)
    await until('the order', () => redis.exists('order:o-8').then(Boolean))
    t.equal(await redis.hget('order:o-7', 'clOrdId'), clOrdId)
    t.equal(await redis.hget('order:o-8', 'clOrdId'), 'half \ufffd')
  })

  await t.test('P1.12 the set of an account is made again by the records that are there already', async (t) => {
    open.add('o-3')
    const setOpen = () => projection.setOrder(order(3, 5, 'NEW'), true)
    setOpen()
    await until('the order', () => redis.exists('order:o-3').then(Boolean))
    await redis.del('account:a:orders')
    await redis.hset('order:o-3', 'mine', 'kept')
    setOpen()
    await until('the set', async () => (await redis.smembers('account:a:orders')).join() === 'o-3')
    t.equal(await redis.hget('order:o-3', 'mine'), 'kept')

    open.clear()
    const end = () => projection.setOrder(order(3, 6), false)
    end()
    await until('its end', () => redis.ttl('order:o-3').then((seconds) => seconds > 0))
    await redis.expire('order:o-3', 100)
    await redis.sadd('account:a:orders', 'o-3')
    end()
    await until('the set to be right', () => redis.exists('account:a:orders').then((count) => count === 0))
    t.ok((await redis.ttl('order:o-3')) <= 100, 'an ended order is not kept for longer')
    setOpen()
    projection.setOrder(order(4, 7), false)
    await until('the next', () => redis.exists('order:o-4').then(Boolean))
    t.equal(await redis.exists('account:a:orders'), 0, 'an older record changes nothing')
  })

  await t.test('P1.12 an order whose end is dropped does not stay open in Redis', async (t) => {
    open.add('o-9').add('o-10').add('o-11')
    projection.setOrder(order(9, 10, 'NEW'), true)
    projection.setOrder(order(10, 10, 'NEW'), true)
    projection.setOrder(order(11, 40_000, 'NEW'), true)
    await until('the orders', () => redis.scard('account:a:orders').then((count) => count === 3))
    open.delete('o-9')
    open.delete('o-11')
    projection.setOrder(order(9, 11), false)
    for (let id = 100; id <= 10_100; id += 1) projection.setOrder(order(id, 12), false)
    await until('the others', () => projection.pending === 0)
    await until('it to go', () => redis.exists('order:o-9').then((count) => count === 0))
    t.same((await redis.smembers('account:a:orders')).sort(), ['o-10', 'o-11'], 'but for what is newer than we know')
    t.equal(await redis.hget('order:o-11', 'status'), 'NEW')
    t.equal(await redis.hget('order:o-10', 'status'), 'NEW')
    t.equal(projection.problem, undefined)
  })

  await t.test('P1.12 what waits for a hung Redis is bounded, and dropped when it counts as away', async (t) => {
    await pause(valkey)
    for (let asOf = 1; asOf <= 50_000; asOf += 1) {
      projection.setPosition('a', `S${asOf % 7}`, `{"asOf":${asOf}}`, asOf)
      projection.setOrder(order(asOf, asOf), false)
    }
    t.ok(projection.pending <= 10_007, `${projection.pending} records wait`)
    const sinceMs = Date.now()
    await until('it to count as away', () => !projection.isUp)
    t.ok(Date.now() - sinceMs < 3_000)
    t.equal(projection.problem, 'Redis disconnected')
    projection.setPosition('a', 'S1', '{"asOf":60000}', 60_000)
    t.equal(projection.pending, 0)
    t.equal(returns, 1)
    valkey.kill('SIGCONT')
    await until('it to be back', () => projection.isUp)
    t.equal(returns, 2, 'everything is to be projected again')
    t.equal(projection.problem, undefined)
  })
})

void t.test('P4.04 Redis emptied in full flight is filled again by itself, and by rebuild redis', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const valkey = await startTestValkey(t)
  const env = { REDIS_URL: valkey.url }
  await startTestWorkers(t, server.url, { workers: ['risk-gate', 'oms-matcher', 'pnl-updater'], env })
  const redis = connectRedis(t, valkey.url)
  const flow = startFlow(t, nats, { seed: 5, ratePerSecond: 200 })
  const isProbed = () => redis.exists('health:pnl-updater')
  await until('positions', async () => (await redis.keys('position:*')).length > 5 && (await isProbed()) > 0)
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  await redis.flushall()
  await until('the probe after it', async () => (await isProbed()) > 0)
  await flow.stop()
  await untilPositionsAgree(t, nats, redis)
  const orders = (await redis.keys('order:*')).sort()
  t.ok(orders.length > 50, `${orders.length} orders`)

  const [key = ''] = await redis.keys('position:*')
  const [symbol = '', json = ''] = Object.entries(await redis.hgetall(key))[0] ?? []
  await redis.hset(key, symbol, json.replace(/"fees":[^,]+/, '"fees":123456'))
  await redis.hset(orders[0] ?? '', 'status', 'LOST')
  await redis.hset('position:nobody', 'BTCUSDT', json)
  const rebuilt = await runCli(['rebuild', 'redis', '--nats', server.url, '--redis', valkey.url, '--json'])
  t.equal(rebuilt.code, 0, rebuilt.stderr)
  t.match(JSON.parse(rebuilt.stdout), { positions: Number, orders: orders.length })
  await untilPositionsAgree(t, nats, redis)
  t.same((await redis.keys('order:*')).sort(), orders)
  t.not((await redis.hgetall(orders[0] ?? ''))['status'], 'LOST')
  t.notOk(await redis.exists('position:nobody'))
  const verified = await runCli(['verify', '--nats', server.url, '--redis', valkey.url, '--no-tables'])
  t.equal(verified.code, 0, verified.stdout)
  t.match(await runCli(['rebuild', 'redis', '--nats', server.url, '--redis', 'redis://127.0.0.1:1']), { code: 69 })
})
