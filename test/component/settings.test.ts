import { Agent, request } from 'node:http'
import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { startProxy } from '../support/proxy.ts'
import { textFromUtf8 } from '../../src/base/json.ts'
import { readStream } from '../../src/runtime/reader.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import type { RiskMessage } from '../../src/schemas/risk.ts'
import { asker, limitOrder, startDoor } from '../support/gateway.ts'
import { healthAt, startTestValkey, untilHealth } from '../support/health.ts'
import { settled, startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const order = limitOrder('a', 'buy', '0.1', '45000')

/** nats-server with the streams, and orders that nobody has looked at. */
async function startWithOrders(t: Test, count: number, bodyOf: (number: number) => string = () => order) {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await (await startTestWorkers(t, server.url, { workers: ['risk-gate'] })).stop()
  for (let number = 1; number <= count; number += 1) await nats.js.publish('orders.new', bodyOf(number))
  return { server, nats }
}

/** Of how many commands each message of RISK holds the decisions. */
async function batchesOf(nats: Nats): Promise<number[]> {
  const { last_seq: last } = (await nats.jsm.streams.info('RISK')).state
  const sizes: number[] = []
  for await (const { data } of readStream(nats, 'RISK', 1, last)) {
    const { records } = JSON.parse(textFromUtf8(data)) as RiskMessage
    const size = records.filter(({ srcSeq }) => srcSeq > 0).length
    if (size > 0) sizes.push(size)
  }
  return sizes
}

void t.test('P2.07 BATCH_MAX: messages in a batch at most', async (t) => {
  for (const batchMax of [7, 30]) {
    const { server, nats } = await startWithOrders(t, 100)
    // Nothing closes a batch before it is full but the end of the stream.
    const env = { BATCH_MAX: String(batchMax), BATCH_WAIT_MS: '60000' }
    await startTestWorkers(t, server.url, { workers: ['risk-gate'], env })
    const sizes = await until('all to be decided', async () => {
      const now = await batchesOf(nats)
      return now.reduce((sum, size) => sum + size, 0) === 100 && now
    })
    t.equal(Math.max(...sizes), batchMax)
    // The first has the limits in it too.
    t.ok(sizes.length <= Math.ceil(100 / batchMax) + 1, `as full as can be: ${sizes.join(' ')}`)
  }
})

void t.test('P2.07 BATCH_WAIT_MS: how long a batch stays open that more messages could fill', async (t) => {
  const { server, nats } = await startWithOrders(t, 5, (number) =>
    limitOrder('a', 'buy', '0.1', '45000', `,"clOrdId":"order ${number}"`),
  )
  const proxy = await startProxy(t, server.port)
  // Two messages arrive whole, and that there are more; those are held back.
  const held = proxy.holdAfter('"order 3"')
  const env = { BATCH_MAX: '10', BATCH_WAIT_MS: '2000', LEASE_MS: '60000' }
  await startTestWorkers(t, proxy.url, { workers: ['risk-gate'], env })
  await held
  const heldMs = Date.now()
  t.same(await batchesOf(nats), [])
  const first = await until('the first batch', async () => {
    const sizes = await batchesOf(nats)
    return sizes.length > 0 && sizes
  })
  const waitedMs = Date.now() - heldMs
  t.same(first, [2])
  t.ok(waitedMs > 1_800 && waitedMs < 5_200, `${waitedMs} ms`)
  proxy.open()
  await until('the others', async () => (await batchesOf(nats)).length > 1)
  t.same(await batchesOf(nats), [2, 3], 'at once, since no more are pending')
})

void t.test('P2.07 ASYNC_MODE: 202 right after the publish ack, GET shows what came of it', async (t) => {
  const { ask, startChain, nats } = await startDoor(t, { isAlone: true, env: { ASYNC_MODE: 'true' } })
  // Nobody decides: whatever waited for a report would take ORDER_WAIT_MS, 5 s.
  const startedMs = Date.now()
  const pending = { status: 202, json: { order_id: 'o-1', account: 'a', price: 45000, status: 'PENDING_NEW' } }
  t.match(await ask('POST', '/orders', order), pending)
  t.match(await ask('GET', '/orders/o-1'), { ...pending, status: 200 })
  t.match(await ask('PATCH', '/orders/o-1', '{"price":44000}'), { ...pending, status: 202 })
  t.match(await ask('PATCH', '/orders/o-99', '{"price":44000}'), { status: 404 })
  t.match(await ask('POST', '/orders', '{"symbol":"BTCUSDT"}'), { status: 400 })
  t.ok(Date.now() - startedMs < 4_000, `${Date.now() - startedMs} ms`)
  t.equal((await nats.jsm.streams.info('ORDERS')).state.last_seq, 3)
  await startChain()
  await until('the report', async () => (await ask('GET', '/orders/o-1')).json['status'] === 'NEW')
  await until('the replace', async () => (await ask('GET', '/orders/o-1')).json['price'] === 44000)
  t.match(await ask('DELETE', '/orders/o-1'), { status: 202, json: { order_id: 'o-1', price: 44000 } })
  await until('the cancel', async () => (await ask('GET', '/orders/o-1')).json['status'] === 'CANCELLED')
})

void t.test('P2.07 CONNECTION_POOL_SIZE: connections that a process keeps', async (t) => {
  const server = await startTestNats(t)
  const valkey = await startTestValkey(t)
  const env = { CONNECTION_POOL_SIZE: '5', REDIS_URL: valkey.url }
  const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
  const { ports } = await startTestWorkers(t, server.url, { workers, env })
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const get = (port: number | undefined, path: string) =>
    new Promise<{ status: number | undefined; connection: string | undefined }>((resolve, reject) => {
      const sent = request({ port, path, agent, host: '127.0.0.1' }, (response) => {
        response.resume()
        response.once('end', () => resolve({ status: response.statusCode, connection: response.headers.connection }))
      })
      sent.once('error', reject)
      sent.end()
    })
  const keptCount = () => Object.values(agent.freeSockets).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0)

  const few = await Promise.all(Array.from({ length: 5 }, () => get(ports.gateway, '/stats')))
  t.same(new Set(few.map(({ connection }) => connection)), new Set(['keep-alive']))
  await until('five to be kept', () => keptCount() === 5)
  const many = await Promise.all(
    Array.from({ length: 40 }, (_, index) => get(index % 2 ? ports.gateway : ports.tape, '/health/live')),
  )
  t.same(new Set(many.map(({ status }) => status)), new Set([200]), 'all are served')
  t.ok(many.filter(({ connection }) => connection === 'close').length >= 30)
  await until('all others to be gone', () => keptCount() <= 5)
  t.ok(keptCount() > 0, 'over all ports of the process')
  t.ok((await healthAt(ports.gateway)).body.checks.active_connections <= 6)

  const redis = new Redis(valkey.url)
  t.teardown(() => redis.disconnect())
  await asker(ports.gateway)('POST', '/orders', order)
  await untilHealth('Redis', ports['pnl-updater'], ({ body }) => body.checks.redis === 'connected')
  const clients =
    String(await redis.call('CLIENT', 'LIST'))
      .trim()
      .split('\n').length - 1
  t.ok(clients >= 1 && clients <= 5, `${clients} connections to Redis`)
})

void t.test('P2.07 CACHE_ENABLED: whether Redis is written', async (t) => {
  for (const isEnabled of [true, false]) {
    const server = await startTestNats(t)
    const valkey = await startTestValkey(t)
    const env = { REDIS_URL: valkey.url, CACHE_ENABLED: String(isEnabled) }
    const { ports } = await startTestWorkers(t, server.url, { env })
    const nats = await connectTestNats(t, server.url)
    const redis = new Redis(valkey.url)
    t.teardown(() => redis.disconnect())
    await untilHealth(
      'pnl-updater',
      ports['pnl-updater'],
      ({ code, body }) => code === 200 && body.status === 'healthy',
    )
    await nats.js.publish('orders.new', order)
    await settled(nats)
    if (isEnabled) await until('the order', async () => (await redis.exists('order:o-1')) === 1)
    else t.same(await redis.keys('[op]*'), [])
    const { redis: said } = (await healthAt(ports['pnl-updater'])).body.checks
    t.equal(said, isEnabled ? 'connected' : null)
  }
})

void t.test('P2.07 NATS_URL, REDIS_URL: the servers that workers use', async (t) => {
  const [used, other] = [await startTestNats(t), await startTestNats(t)]
  const [usedRedis, otherRedis] = [await startTestValkey(t), await startTestValkey(t)]
  await startTestWorkers(t, used.url, { workers: ['pnl-updater'], env: { REDIS_URL: usedRedis.url } })
  const connectionsOf = async (monitorPort: number) => {
    const answer = await fetch(`http://127.0.0.1:${monitorPort}/connz`)
    return ((await answer.json()) as { connections: { name: string }[] }).connections.map(({ name }) => name)
  }
  t.same(await connectionsOf(used.monitorPort), ['pnl-updater'])
  t.same(await connectionsOf(other.monitorPort), [])
  const keysOf = async (url: string) => {
    const redis = new Redis(url)
    const keys = await redis.keys('*')
    redis.disconnect()
    return keys
  }
  await until('a probe in Redis', async () => (await keysOf(usedRedis.url)).includes('health:pnl-updater'))
  t.same(await keysOf(otherRedis.url), [])
})

void t.test('P2.07 LOG_LEVEL: least level that is logged', async (t) => {
  const server = await startTestNats(t)
  const levelsAt = async (level: string) => {
    const child = await startWorkerChild(t, server.url, ['tape'], { env: { LOG_LEVEL: level } })
    await untilHealth('tape', child.ports.tape, ({ code }) => code === 200)
    await child.stop(5_000)
    const lines = readFileSync(child.logFile, 'utf8').trim().split('\n').filter(Boolean)
    return new Set(lines.map((line) => (JSON.parse(line) as { level: number }).level))
  }
  const info = await levelsAt('info')
  t.ok(info.has(30), `pino's number of info: ${[...info].join(' ')}`)
  t.same([...(await levelsAt('silent'))], [])
  t.same([...(await levelsAt('error'))], [])
})

void t.test('P2.07 HTTP_HOST: the address of the doors', async (t) => {
  const server = await startTestNats(t)
  // Only Linux has all of 127.0.0.0/8 without further ado.
  const host = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1'
  const { ports } = await startTestWorkers(t, server.url, { workers: ['tape'], env: { HTTP_HOST: host } })
  t.equal((await fetch(`http://${host}:${ports.tape}/health/live`)).status, 200)
  if (host !== '127.0.0.1') await t.rejects(healthAt(ports.tape), 'and no other')
})

void t.test('P2.07 ORDER_WAIT_MS: how long a request waits for its report', async (t) => {
  // Less than the ack of the command takes: it is waited for all the same.
  for (const waitMs of [1, 200, 1_200]) {
    const { ask } = await startDoor(t, { isAlone: true, env: { ORDER_WAIT_MS: String(waitMs) } })
    const tookMs: number[] = []
    // A machine that stands still for a second makes one of them longer.
    while (tookMs.length < 3 && !tookMs.some((ms) => ms < waitMs + 900)) {
      const startedMs = Date.now()
      t.match(await ask('POST', '/orders', order), { status: 202, json: { status: 'PENDING_NEW' } })
      tookMs.push(Date.now() - startedMs)
    }
    const leastMs = Math.min(...tookMs)
    t.ok(leastMs >= waitMs - 5 && leastMs < waitMs + 900, `${leastMs} ms`)
  }
})

void t.test('P2.07 HTTP_IN_FLIGHT_MAX: commands that may wait for their reports', async (t) => {
  const env = { HTTP_IN_FLIGHT_MAX: '4', ORDER_WAIT_MS: '1500' }
  const { ask } = await startDoor(t, { isAlone: true, env })
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask('POST', '/orders', order)))
  const count = (wanted: number) => answers.filter(({ status }) => status === wanted).length
  t.same([count(202), count(429)], [4, 6])
})

void t.test('P2.07 DAY_END_UTC: when DAY orders expire', async (t) => {
  const day = limitOrder('a', 'buy', '0.1', '45000', ',"timeInForce":"DAY"')
  for (const [setting, minutes] of [
    ['24:00', 0],
    ['17:30', 17 * 60 + 30],
  ] as const) {
    const { server, nats } = await startWithOrders(t, 1, () => day)
    await startTestWorkers(t, server.url, { workers: ['risk-gate'], env: { DAY_END_UTC: setting } })
    const [record] = await until('the decision', async () => {
      const { last_seq: last } = (await nats.jsm.streams.info('RISK')).state
      for await (const { data } of readStream(nats, 'RISK', 1, last)) {
        const { records } = JSON.parse(textFromUtf8(data)) as RiskMessage
        if (records.some(({ type }) => type === 'new')) return records.filter(({ type }) => type === 'new')
      }
      return undefined
    })
    const { expireUs = 0, timeUs = 0 } = record?.type === 'new' ? record : {}
    const dayUs = 86_400e6
    t.equal(expireUs % dayUs, minutes * 60e6, setting)
    t.ok(expireUs > timeUs && expireUs <= timeUs + dayUs)
  }
})

void t.test('P2.07 CLORDID_MEMORY: names of ended orders that are not free again', async (t) => {
  for (const memory of [1, 3]) {
    const { ask } = await startDoor(t, { env: { CLORDID_MEMORY: String(memory) } })
    const post = (name: string) =>
      ask('POST', '/orders', limitOrder('a', 'buy', '0.1', '45000', `,"clOrdId":"${name}"`))
    for (const [index, name] of ['x', 'y', 'z'].entries()) {
      t.match(await post(name), { json: { order_id: `o-${2 * index + 1}`, status: 'NEW' } })
      await ask('DELETE', `/orders/o-${2 * index + 1}`)
    }
    t.match((await post('z')).json, { order_id: 'o-5' }, 'the last is remembered')
    t.match((await post('x')).json, memory === 1 ? { order_id: 'o-8', status: 'NEW' } : { order_id: 'o-1' })
  }
})

void t.test('P2.07 STARTING_CASH: what an account begins with', async (t) => {
  const { ask } = await startDoor(t, { env: { STARTING_CASH: '1000.5' } })
  await ask('POST', '/orders', limitOrder('seller', 'sell', '0.1', '100'))
  await ask('POST', '/orders', limitOrder('buyer', 'buy', '0.1', '100'))
  const sums = await until(
    'the position',
    async () => (await ask('GET', '/positions/buyer')).json['aggregate'] ?? undefined,
  )
  // Less 0.12 % of 10 for the taker.
  t.match(sums, { equity: 1000.488, highWaterMark: 1000.5 })
})

void t.test('P2.07 LAG_DEGRADED_MS, LAG_UNHEALTHY_MS: ages of the oldest unanswered message', async (t) => {
  const { server, nats } = await startWithOrders(t, 0)
  const env = { LAG_DEGRADED_MS: '700', LAG_UNHEALTHY_MS: '5000' }
  const { ports } = await startTestWorkers(t, server.url, { workers: ['risk-gate'], env })
  await untilHealth('the gate', ports['risk-gate'], ({ body }) => body.status === 'healthy')
  // The gate decides and cannot write it down: RISK takes nothing.
  const { messages } = (await nats.jsm.streams.info('RISK')).state
  await nats.jsm.streams.update('RISK', { max_msgs: messages })
  await nats.js.publish('orders.new', order)
  const reasonOf = (status: string) =>
    until(status, async () => {
      const { body } = await healthAt(ports['risk-gate'])
      const lag = body.reasons.find((reason) => reason.startsWith('lag of'))
      return body.status === status && lag !== undefined && lag
    })
  const ageIn = (reason: string) => Number(/oldest ([\d.]+) s/.exec(reason)?.[1])
  const degraded = ageIn(await reasonOf('degraded'))
  t.ok(degraded >= 0.7 && degraded < 5, `degraded with the oldest ${degraded} s old`)
  const unhealthy = ageIn(await reasonOf('unhealthy'))
  t.ok(unhealthy >= 4.9, `unhealthy with the oldest ${unhealthy} s old`)
})

void t.test('P2.07 LEASE_MS: silence after which a stand-by takes over', async (t) => {
  for (const leaseMs of [1_000, 4_000]) {
    const server = await startTestNats(t)
    const env = { LEASE_MS: String(leaseMs) }
    const active = await startWorkerChild(t, server.url, ['tape'], { instance: 'active', env })
    const isActive = (port: number | undefined) => healthAt(port, '/health/ready').then(({ code }) => code === 200)
    await until('the active one', () => isActive(active.ports.tape))
    const standBy = await startTestWorkers(t, server.url, { workers: ['tape'], instance: 'stand-by', env })
    await untilHealth('the stand-by', standBy.ports.tape, ({ body }) => /stand-by/.test(body.reason ?? ''))
    active.kill('SIGSTOP')
    const silentMs = Date.now()
    await until('the take-over', () => isActive(standBy.ports.tape))
    const tookMs = Date.now() - silentMs
    // Started again it would be a stand-by in its turn.
    await active.stop(0)
    await standBy.stop()
    t.ok(tookMs > leaseMs * 0.5 && tookMs < leaseMs + 2_500, `${tookMs} ms`)
  }
})

void t.test('P2.07 STREAMS_MAX_BYTES: room of all streams together', async (t) => {
  const server = await startTestNats(t)
  const room = 300 * 2 ** 20
  await startTestWorkers(t, server.url, { workers: ['tape'], env: { STREAMS_MAX_BYTES: String(room) } })
  const nats = await connectTestNats(t, server.url)
  let reserved = 0
  for await (const { config } of nats.jsm.streams.list()) reserved += config.max_bytes
  t.ok(reserved > room / 2 && reserved <= room, `${reserved} bytes are reserved`)
})

void t.test('P2.07 STORAGE_REFUSE_PERCENT: fill level at which new orders are refused', async (t) => {
  for (const [percent, status] of [
    [1, 503],
    [95, 200],
  ]) {
    const { ask, nats } = await startDoor(t, { env: { STORAGE_REFUSE_PERCENT: String(percent) } })
    const { max_bytes: bytesMax } = (await nats.jsm.streams.info('ORDERS')).config
    const filler = 'x'.repeat(16_000)
    for (let sent = 0; sent < bytesMax * 0.02; sent += filler.length) await nats.js.publish('orders.new', filler)
    const seen = () =>
      until('the level to be seen', async () => {
        const storage = (await ask('GET', '/health')).json['checks'] as {
          storage: Record<string, { used_percent: number }>
        }
        return (storage.storage['ORDERS']?.used_percent ?? 0) > 1.5
      })
    await seen()
    t.equal((await ask('POST', '/orders', order)).status, status, `${percent} %`)
  }
})
