import { Redis } from 'ioredis'
import t from 'tap'
import { Ajv } from 'ajv'
import {
  riskAlertsSchema,
  riskMetricsSchema,
  riskPortfolioSchema,
  riskStatsSchema,
  riskAlertEventSchema,
} from '../../src/schemas/risk-service.ts'
import { Gate } from '../../src/domain/gate.ts'
import { PriceHistory } from '../../src/domain/price-history.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { decodeCommand } from '../../src/schemas/command.ts'
import { RiskMonitor } from '../../src/workers/risk-monitor.ts'
import { asker, limitOrder } from '../support/gateway.ts'
import { startTestValkey } from '../support/health.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

const ajv = new Ajv({ formats: { 'date-time': true }, allowUnionTypes: true, strictTypes: false })
const fits = (schema: object, value: unknown) => ajv.validate(schema, value) || ajv.errorsText()

void t.test('P2.04 the gate tells what the accounts risk', async (t) => {
  const server = await startTestNats(t)
  const valkey = await startTestValkey(t)
  const redis = new Redis(valkey.url)
  t.teardown(() => redis.disconnect())
  const nats = await connectTestNats(t, server.url)
  const env = { REDIS_URL: valkey.url }
  let workers = await startTestWorkers(t, server.url, { env })
  let ask = asker(workers.ports['risk-gate'])
  const limits = await nats.kvm.open('LIMITS')
  await limits.put('account.a', JSON.stringify({ maxPosition: 10 }))
  const events: Record<string, unknown>[] = []
  nats.connection.subscribe('risk.alert.*', {
    callback: (_error, message) => {
      events.push({ subject: message.subject, ...message.json<Record<string, unknown>>() })
    },
  })
  await until('the gate', async () => (await ask('GET', '/stats')).json['phase'] === 'active')

  await t.test('P2.04 the first round is in Redis right after the start, for 60 s', async (t) => {
    const json = await until('the metrics', async () => (await redis.get('risk:metrics:current')) ?? undefined)
    t.match(JSON.parse(json), { total: { gross_exposure: 0, concentration: null, var_95: null }, accounts: [] })
    t.equal(fits(riskMetricsSchema, JSON.parse(json)), true)
    const seconds = await redis.ttl('risk:metrics:current')
    t.ok(seconds > 50 && seconds <= 60, `expires in ${seconds} s`)
  })

  await t.test('P2.04 the portfolio of an account, as of now', async (t) => {
    await nats.js.publish('orders.new', limitOrder('b', 'sell', '20', '45000'))
    await nats.js.publish('orders.new', limitOrder('a', 'buy', '8.5', '45000'))
    await nats.js.publish('orders.new', limitOrder('a', 'buy', '1', '40000'))
    await settled(nats)
    const { json } = await until('the fill', async () => {
      const answer = await ask('GET', '/risk/portfolio?account=a')
      return answer.json['gross_exposure'] === 382_500 && answer.json['open_orders'] === 1 && answer
    })
    t.match(json, {
      account: 'a',
      net_exposure: 382_500,
      worst_case_exposure: 422_500,
      drawdown: Number,
      concentration: 1,
      var_95: null,
      positions: [{ symbol: 'BTCUSDT', quantity: 8.5, mark_price: 45_000, value: 382_500 }],
      limits: [
        { limit: 'maxPosition', symbol: 'BTCUSDT', source: 'account a', used: 9.5, limit_value: 10, used_percent: 95 },
        {},
        {},
      ],
    })
    t.equal(fits(riskPortfolioSchema, json), true)
    t.match((await ask('GET', '/risk/portfolio?account=nobody')).json, {
      account: 'nobody',
      gross_exposure: 0,
      positions: [],
    })
    t.match(await ask('GET', '/risk/portfolio?account=no%20body'), { status: 400, json: { error: 'INVALID_FIELD' } })
  })

  await t.test('P2.04 alerts: within a second, at /risk/alerts and on risk.alert.<account>', async (t) => {
    const raised = await until('the event', () => events.find(({ event }) => event === 'raised'))
    t.match(raised, {
      subject: 'risk.alert.a',
      account: 'a',
      level: 'critical',
      limit: 'maxPosition',
      used: 9.5,
      limit_value: 10,
    })
    const { subject, ...event } = raised
    t.equal(fits(riskAlertEventSchema, event), true, String(subject))
    const { json } = await ask('GET', '/risk/alerts')
    t.match(json, { alerts: [{ account: 'a', level: 'critical', used_percent: 95 }], truncated: false })
    t.equal(fits(riskAlertsSchema, json), true)
    await nats.js.publish('orders.cancel', '{"orderId":"o-3"}')
    t.match(await until('the next', () => events.find(({ event }) => event === 'changed')), {
      level: 'warn',
      used: 8.5,
    })
    await nats.js.publish('orders.new', limitOrder('a', 'sell', '4', '40000'))
    await nats.js.publish('orders.new', limitOrder('b', 'buy', '4', '40000'))
    t.match(await until('the end', () => events.find(({ event }) => event === 'cleared')), { account: 'a' })
    t.same((await ask('GET', '/risk/alerts')).json['alerts'], [])
    const stats = await ask('GET', '/stats')
    t.match(stats.json, {
      phase: 'active',
      accounts: 2,
      alerts: { warn: 0, critical: 0 },
      metrics: { computed_at: String },
    })
    t.equal(fits(riskStatsSchema, stats.json), true)
  })

  await t.test('P2.04 after a restart: totals, drawdown from POSITIONS, gauges; a stand-by answers 503', async (t) => {
    await settled(nats)
    await workers.stop()
    workers = await startTestWorkers(t, server.url, { env })
    ask = asker(workers.ports['risk-gate'])
    const answer = await until('the totals', async () => {
      const found = await ask('GET', '/risk/portfolio')
      return found.status === 200 && found.json['accounts_count'] === 2 && found
    })
    t.equal(fits(riskMetricsSchema, answer.json), true)
    const { total, accounts } = answer.json as { total: Record<string, number>; accounts: Record<string, unknown>[] }
    const position = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions.a' })
    const drawdown = position?.json<{ drawdown: number }>().drawdown ?? -1
    t.ok(drawdown > 0, 'fees were paid')
    t.equal(accounts.find(({ account }) => account === 'a')?.['drawdown'], drawdown)
    t.ok((total['drawdown'] ?? 0) >= drawdown)
    const { text } = await ask('GET', '/metrics')
    t.match(text, /^risk_gross_exposure\{worker="risk-gate"\} \d+/m)
    t.match(text, /^risk_account_drawdown\{account="a",worker="risk-gate"\} \d/m)
    t.notMatch(text, /^risk_var_95\{/m, 'no sample without a value')
    t.match(text, /^risk_alerts\{level="warn",worker="risk-gate"\} 0/m)
    t.match(text, /^risk_checks_total\{reason="none",worker="risk-gate"\} 0/m)
    const standBy = await startTestWorkers(t, server.url, { workers: ['risk-gate'], instance: 'stand-by' })
    const askStandBy = asker(standBy.ports['risk-gate'])
    for (const path of ['/risk/portfolio', '/risk/portfolio?account=a', '/risk/alerts'])
      t.match(await askStandBy('GET', path), { status: 503, json: { error: 'SYSTEM_UNAVAILABLE' } })
    t.match((await askStandBy('GET', '/stats')).json, { phase: 'waiting' })
    await standBy.stop()
  })
})

void t.test('P2.07 PRECOMPUTE_METRICS false: nothing in Redis, figures when they are asked for', async (t) => {
  const server = await startTestNats(t)
  const valkey = await startTestValkey(t)
  const redis = new Redis(valkey.url)
  t.teardown(() => redis.disconnect())
  const nats = await connectTestNats(t, server.url)
  const workers = await startTestWorkers(t, server.url, { env: { REDIS_URL: valkey.url, PRECOMPUTE_METRICS: 'false' } })
  const ask = asker(workers.ports['risk-gate'])
  await nats.js.publish('orders.new', limitOrder('b', 'sell', '1', '45000'))
  await nats.js.publish('orders.new', limitOrder('a', 'buy', '1', '45000'))
  await until('the figures', async () => {
    const { json } = await ask('GET', '/risk/portfolio')
    return (json['total'] as { gross_exposure?: number } | undefined)?.gross_exposure === 90_000
  })
  t.equal(await redis.get('risk:metrics:current'), null)
})

void t.test('P2.04 a round over many accounts lets the gate go on in between', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await ensureStreams(nats, 512 * 2 ** 20)
  const gate = new Gate({ instruments: { default: {}, instruments: {} }, dayEndUs: 86_400_000_000 })
  const accounts = 30_000
  for (let srcSeq = 1; srcSeq <= accounts; srcSeq += 1) {
    const decoded = decodeCommand('new', Buffer.from(limitOrder(`a${srcSeq}`, 'buy', '1', '100')))
    gate.decide({ srcSeq, timeUs: srcSeq, kind: 'new', decoded })
  }
  const monitor = new RiskMonitor({
    gate,
    history: new PriceHistory(),
    nats,
    isPrecomputing: false,
    nowMs: () => Date.now(),
    store: () => Promise.resolve(),
    onFatal: (error) => t.fail(error.message),
    onProblem: (error) => t.fail(String(error)),
  })
  let turns = 0
  let isOver = false
  const count = () => {
    turns += 1
    if (!isOver) setImmediate(count)
  }
  setImmediate(count)
  const { json } = await monitor.totals()
  isOver = true
  const { total, accounts_count: counted } = JSON.parse(json) as { total: object; accounts_count: number }
  t.equal(counted, accounts)
  t.match(total, { worst_case_exposure: 100 * accounts, open_orders: accounts })
  t.ok(turns > 5, `${turns} turns of the loop`)
  monitor.stop()
})
