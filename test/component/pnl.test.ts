import { headers as createHeaders } from '@nats-io/transport-node'
import { Ajv } from 'ajv'
import { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { Portfolio } from '../../src/domain/portfolio.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { decodeExecution, type ExecutionReport } from '../../src/schemas/execution.ts'
import { accountSnapshotSchema } from '../../src/schemas/performance.ts'
import { createPnlUpdater } from '../../src/workers/pnl-updater.ts'
import { asker, type Ask, limitOrder } from '../support/gateway.ts'
import { startTestValkey } from '../support/health.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

/** The body of a record in POSITIONS, without the sequence up to which it was true. */
async function stored(nats: Nats, subject: string): Promise<string | undefined> {
  const message = await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: subject }).catch(() => null)
  return message ? timeless(message.string()) : undefined
}
const timeless = (text: string) => text.replaceAll(/,"asOf":\d+/g, '').replaceAll(/"as_of(_time)?":("[^"]*"|\d+),/g, '')

async function trade(nats: Nats, buyer: string, seller: string, quantity: string, price: string): Promise<void> {
  await nats.js.publish('orders.new', limitOrder(seller, 'sell', quantity, price))
  await nats.js.publish('orders.new', limitOrder(buyer, 'buy', quantity, price))
}

void t.test('P2.06 the routes of the pnl-updater, the same figures after a restart and from a stand-by', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const env = { STARTING_CASH: '1000' }
  const chain = await startTestWorkers(t, server.url, { env })
  const ask = asker(chain.ports['pnl-updater'])
  const empty = await until('the pnl-updater to be active', async () => {
    const answer = await ask('GET', '/snapshot')
    return answer.status === 200 && answer
  })
  t.match(empty, { json: { as_of_time: null, accounts: [], next: null } })
  t.match(empty.json['totals'], {
    accounts: 0,
    equity: 0,
    trades: 0,
    win_rate: null,
    profit_factor: null,
    sharpe: null,
  })

  // alice wins 500 and then loses 200 before fees; bob the other way round.
  await trade(nats, 'alice', 'bob', '1', '45000')
  await trade(nats, 'bob', 'alice', '0.5', '46000')
  await trade(nats, 'bob', 'alice', '0.2', '44000')
  await nats.js.publish('orders.new', limitOrder('carol', 'buy', '0.1', '44000').replace('BTCUSDT', 'ETHUSDT'))
  await nats.js.publish('orders.new', limitOrder('alice', 'sell', '0.1', '44000').replace('BTCUSDT', 'ETHUSDT'))
  await settled(nats)
  const { last_seq: executions } = (await nats.jsm.streams.info('EXECUTIONS')).state
  await until('all of it', async () => (await ask('GET', '/stats')).json['as_of'] === executions)

  const { json: page } = await ask('GET', '/snapshot')
  const accounts = page['accounts'] as Record<string, unknown>[]
  t.same(
    accounts.map(({ account }) => account),
    ['alice', 'bob', 'carol'],
  )
  const [alice, bob] = accounts
  t.match(alice, { trades: 4, closing_trades: 2, wins: 1, losses: 1, win_rate: 0.5, profit_factor: 2.5 })
  t.match(alice, { realized_pnl: 300, open_positions: 2, sharpe: null })
  t.match(bob, { trades: 3, closing_trades: 2, wins: 1, losses: 1, profit_factor: 0.4, realized_pnl: -300 })
  const valid = new Ajv().compile(accountSnapshotSchema)
  for (const account of accounts) t.ok(valid(account), JSON.stringify(valid.errors))
  const totals = page['totals'] as Record<string, number>
  const sumOf = (name: string) => accounts.reduce((sum, account) => sum + Number(account[name]), 0)
  for (const name of ['equity', 'realized_pnl', 'unrealized_pnl', 'fees', 'cash', 'trades', 'wins', 'open_positions'])
    t.ok(Math.abs((totals[name] ?? Number.NaN) - sumOf(name)) < 1e-6, `${name} adds up`)
  t.match(totals, { accounts: 3, symbols: 2, trades: 8, closing_trades: 4, win_rate: 0.5 })
  t.equal(page['as_of'], executions)
  t.match(page['as_of_time'], /^2\d{3}-.*Z$/)
  t.match((await ask('GET', '/stats')).json, {
    watermark: executions,
    fills: 8,
    closing_fills: 4,
    accounts: 3,
    symbols: 2,
    open_positions: 4,
    latency_ms: {},
  })

  await samePositions(t, nats, ask)
  for (const [path, field] of [
    ['/positions?limit=0', 'limit'],
    ['/positions?limit=10001', 'limit'],
    ['/positions?symbol=%2A', 'symbol'],
    ['/positions?account=a.b', 'account'],
    ['/positions?account=a&account=b', 'account'],
    ['/positions?after=nobody', 'after'],
    ['/positions/a.b', 'account'],
    ['/snapshot?account=_venue', 'account'],
  ] as const)
    t.match(await ask('GET', path), { status: 400, json: { error: 'INVALID_FIELD', fields: [{ field }] } }, path)

  const before = timeless((await ask('GET', '/snapshot')).text)
  const standBy = await startTestWorkers(t, server.url, { env, workers: ['pnl-updater'], instance: 'stand-by' })
  const askStandBy = asker(standBy.ports['pnl-updater'])
  for (const path of ['/positions', '/positions/alice', '/snapshot', '/stats'])
    t.match(await askStandBy('GET', path), {
      status: 503,
      retryAfter: '1',
      json: { error: 'SYSTEM_UNAVAILABLE', message: /stand-by/ },
    })
  await chain.stop()
  await until('the take-over', async () => (await askStandBy('GET', '/snapshot')).status === 200)
  t.equal(timeless((await askStandBy('GET', '/snapshot')).text), before)
  await samePositions(t, nats, askStandBy)
})

/** What the routes say is what POSITIONS holds, page by page too. */
async function samePositions(t: Test, nats: Nats, ask: Ask): Promise<void> {
  const bodies = async (path: string) => {
    const { text, json } = await ask('GET', path)
    const { positions, next } = json as { positions: { account: string; symbol: string }[]; next: string | null }
    const inside = /"positions":\[(.*)\],/.exec(timeless(text))?.[1] ?? ''
    return { keys: positions.map(({ account, symbol }) => `${account}.${symbol}`), inside, next }
  }
  const all = await bodies('/positions')
  t.same(all.keys, ['alice.BTCUSDT', 'alice.ETHUSDT', 'bob.BTCUSDT', 'carol.ETHUSDT'])
  t.equal(all.next, null)
  const records = await Promise.all(all.keys.map((key) => stored(nats, `positions.${key}`)))
  t.equal(all.inside, records.join(','), 'as in POSITIONS')
  const pages: string[] = []
  let after = ''
  do {
    const page = await bodies(`/positions?limit=1${after}`)
    pages.push(page.inside)
    after = page.next === null ? '' : `&after=${page.next}`
  } while (after !== '')
  t.same(pages, records, 'one a page')
  t.same((await bodies('/positions?symbol=ETHUSDT')).keys, ['alice.ETHUSDT', 'carol.ETHUSDT'])
  t.same((await bodies('/positions?account=alice')).keys, ['alice.BTCUSDT', 'alice.ETHUSDT'])
  t.same((await bodies('/positions?account=carol&symbol=BTCUSDT')).keys, [])
  const { text } = await ask('GET', '/positions/alice')
  const sums = await stored(nats, 'positions.alice')
  t.equal(timeless(text), `{"account":"alice","positions":[${records.slice(0, 2).join(',')}],"aggregate":${sums}}`)
  t.equal((await ask('GET', '/positions/nobody')).text, '{"account":"nobody","positions":[],"aggregate":null}')
}

const minuteMs = 60_000

/** A pnl-updater without streams, whose clock is set by hand. */
function startPnl() {
  const portfolio = new Portfolio()
  let nowMs = 0
  let sequence = 0
  const pnl = createPnlUpdater({
    portfolio,
    decode: ({ data }) => decodeExecution(data),
    instruments: { default: { takerFeeRate: '0', makerFeeRate: '0' }, instruments: {} },
    projection: { positions: () => undefined, orders: () => undefined },
    markIntervalMs: 0,
    nowMs: () => nowMs,
  })
  const report = (account: string, side: 'BUY' | 'SELL', lastQty: number, lastPx: number): ExecutionReport => ({
    ...{ execId: 'x', transactTime: 'x', execType: 'Trade', ordStatus: 'PartiallyFilled', orderId: `o-${sequence}` },
    ...{ account, symbol: 'X', side, orderQty: 100, lastQty, lastPx, cumQty: lastQty, fee: 0 },
  })
  const handle = (body: object) => {
    sequence += 1
    const data = Buffer.from(JSON.stringify(body))
    const none = {
      subject: '',
      timeUs: 0,
      pending: 0,
      traceparent: undefined,
      srcSeq: undefined,
      position: { inSeq: 0, inIndex: 0 },
      logicVersion: 1,
    }
    pnl.fold.handle([{ ...none, sequence, data }], false)
  }
  return {
    epoch: () => handle({ epoch: sequence, reports: [] }),
    /** a buys from b. */
    trade: (atMs: number, quantity: number, price: number) => {
      const transactTime = new Date(atMs).toISOString()
      const reports = [report('a', 'BUY', quantity, price), report('b', 'SELL', quantity, price)]
      handle({ cmdSeq: sequence, transactTime, reports })
    },
    idle: (atMs: number) => {
      nowMs = atMs
      pnl.fold.handle([], false)
    },
    figures: () => ['a', 'b'].map((account) => portfolio.recordOf(account)?.sharpe),
  }
}

void t.test('P2.06 equity is taken each minute of stream time; replay takes the same, and none twice', (t) => {
  const startMs = Date.UTC(2026, 0, 1)
  const trades = [
    [0.5, 1, 100],
    [0.7, 1, 110],
    [1.2, 1, 90],
    [4.1, 2, 95],
    [4.9, 3, 99],
    [7.0, 1, 101],
  ] as const
  const replayed = startPnl()
  replayed.epoch()
  for (const [minute, quantity, price] of trades) replayed.trade(startMs + minute * minuteMs, quantity, price)
  const live = startPnl()
  let idleMs = startMs + 0.4 * minuteMs
  live.epoch()
  for (const [minute, quantity, price] of trades) {
    const atMs = startMs + minute * minuteMs
    // The fills arrive two seconds after their commands, between ticks of the clock.
    for (; idleMs < atMs + 2_000; idleMs += 500) live.idle(idleMs)
    live.trade(atMs, quantity, price)
  }
  const [a, b] = replayed.figures()
  t.type(a, 'number')
  t.same(live.figures(), [a, b])
  t.equal(a, -(b ?? 0))
  // Equity of a at the end of minutes 0 to 6: 10, -30, -30, -30, 5, 5, 5.
  const changes = [10, -40, 0, 0, 35, 0, 0]
  const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length
  const variance = changes.reduce((sum, change) => sum + (change - mean) ** 2, 0) / (changes.length - 1)
  t.ok(Math.abs((a ?? 0) - (mean / Math.sqrt(variance)) * Math.sqrt(525_600)) < 1e-9)
  replayed.idle(startMs + 60 * minuteMs)
  live.idle(startMs + 60 * minuteMs)
  t.same(live.figures(), replayed.figures())
  t.not(live.figures()[0], a, 'idle minutes count')
  t.end()
})

const traces = Array.from({ length: 4 }, (_, n) => `00-0af7651916cd43dd8448eb211c80319${n}-b7ad6b7169203331-01`)

void t.test(
  'P2.09 a traceparent comes back on reports and positions, from a body, a NATS header and HTTP',
  async (t) => {
    const server = await startTestNats(t)
    const valkey = await startTestValkey(t)
    const env = { REDIS_URL: valkey.url }
    const workers = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape', 'gateway'] as const
    const { ports } = await startTestWorkers(t, server.url, { env, workers })
    const nats = await connectTestNats(t, server.url)
    const door = asker(ports.gateway)
    const [byBody = '', byHeader = '', byHttp = '', ofCancel = ''] = traces

    const headers = createHeaders()
    headers.set('traceparent', byHeader)
    const publish = (kind: string, body: string) => nats.js.publish(`orders.${kind}`, body, { headers })
    await nats.js.publish('orders.new', limitOrder('maker', 'sell', '2', '45000', `,"traceparent":"${byBody}"`))
    await publish('new', limitOrder('first', 'buy', '0.5', '45000'))
    await door('POST', '/orders', limitOrder('second', 'buy', '0.5', '45000'), {
      'content-type': 'application/json',
      traceparent: byHttp,
    })
    await publish('cancel', `{"orderId":"o-1","account":"maker","traceparent":"${ofCancel}"}`)
    await settled(nats)

    const reports: ExecutionReport[] = []
    const last = (await nats.jsm.streams.info('EXECUTIONS')).state.last_seq
    for (let seq = 1; seq <= last; seq += 1) {
      const message = await nats.jsm.streams.getMessage('EXECUTIONS', { seq })
      if (message) reports.push(...decodeExecution(message.data).reports)
    }
    t.same(
      reports.map(({ account, execType, traceparent }) => [account, execType, traceparent]),
      [
        ['maker', 'New', byBody],
        ['first', 'New', byHeader],
        ['first', 'Trade', byHeader],
        ['maker', 'Trade', byBody],
        ['second', 'New', byHttp],
        ['second', 'Trade', byHttp],
        ['maker', 'Trade', byBody],
        ['maker', 'Canceled', ofCancel],
      ],
      'the maker of a trade has its own order’s',
    )
    const risk = await nats.jsm.streams.getMessage('RISK', { last_by_subj: 'risk.decisions' })
    t.match(risk?.string(), ofCancel, 'it is part of the log of record')

    const redis = new Redis(valkey.url)
    t.teardown(() => redis.disconnect())
    const expected = { maker: byBody, first: byHeader, second: byHttp }
    for (const [account, traceparent] of Object.entries(expected)) {
      const record = await until('the position', () => stored(nats, `positions.${account}.BTCUSDT`))
      t.equal((JSON.parse(record) as { traceparent?: string }).traceparent, traceparent, `${account} in POSITIONS`)
      await until('Redis', async () => (await redis.hget(`position:${account}`, 'BTCUSDT'))?.includes(traceparent))
      const { json } = await door('GET', `/positions/${account}`)
      t.match(json['positions'], [{ traceparent }])
    }

    await nats.js.publish('orders.new', limitOrder('maker', 'sell', '0.5', '45000'))
    await publish('new', limitOrder('first', 'buy', '0.5', '45000', `,"traceparent":"${byBody}"`))
    await until('the next fills', async () => (await stored(nats, 'positions.first.BTCUSDT'))?.includes(byBody))
    await settled(nats)
    t.notMatch(await stored(nats, 'positions.maker.BTCUSDT'), 'traceparent', 'that of the last fill only')
    t.notMatch((await nats.jsm.streams.getMessage('POSITIONS', { last_by_subj: 'positions.maker' }))?.string(), 'trace')
    const refused = limitOrder('first', 'buy', '0.5', '45000', ',"traceparent":5')
    t.match(await door('POST', '/orders', refused), { status: 400, json: { fields: [{ field: 'traceparent' }] } })
  },
)
