import t from 'tap'
import { Portfolio } from '../../src/domain/portfolio.ts'
import type { InputMessage } from '../../src/runtime/reader.ts'
import { decodeExecution, type ExecutionReport } from '../../src/schemas/execution.ts'
import type { InstrumentsConfig } from '../../src/schemas/instrument.ts'
import { createPnlUpdater } from '../../src/workers/pnl-updater.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'

void t.test('P1.12 ticks mark positions; what is no tick is passed over, also after a restart', async (t) => {
  const server = await startTestNats(t)
  const workers = await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const order = { symbol: 'BTCUSDT', ordType: 'LIMIT', price: 45_000 }
  await nats.js.publish('orders.new.m', JSON.stringify({ ...order, side: 'SELL', quantity: 1 }))
  await nats.js.publish('orders.new.a', JSON.stringify({ ...order, side: 'BUY', quantity: 0.5 }))
  const unrealized = async () => {
    const query = { last_by_subj: 'positions.a.BTCUSDT' }
    const stored = await nats.jsm.streams.getMessage('POSITIONS', query).catch(() => null)
    return stored?.json<{ unrealizedPnl: number }>().unrealizedPnl
  }
  await until('the position', async () => (await unrealized()) === 0)
  const bad = [
    'not JSON',
    'null',
    '[]',
    '{"symbol":5,"price":1}',
    '{"symbol":"BTCUSDT","price":"dear"}',
    '{"symbol":"BTCUSDT","price":-1}',
  ]
  for (const [index, body] of bad.entries()) await nats.js.publish(`market.tick.X.S${index}`, body)
  await nats.js.publish('market.tick.X.BTCUSDT', '{"symbol":"BTCUSDT","price":45100.004}')
  await until('the mark, to the nearest tick', async () => (await unrealized()) === 50)
  await workers.stop()
  await startTestWorkers(t, server.url)
  await nats.js.publish('market.tick.X.BTCUSDT', '{"symbol":"BTCUSDT","price":45200}')
  await until('the mark after the restart', async () => (await unrealized()) === 100)
})

/** A pnl-updater without streams: its portfolio, what it projected, and inputs for it. */
function startPnl(instruments: InstrumentsConfig) {
  const portfolio = new Portfolio()
  const projected: string[] = []
  const pnl = createPnlUpdater({
    portfolio,
    decode: ({ data }) => decodeExecution(data),
    instruments,
    projection: {
      positions: (records) => projected.push(...records.map(({ account, symbol }) => `${account} ${symbol}`)),
      orders: (views) => projected.push(...views.map(({ orderId, status }) => `${orderId} ${status}`)),
    },
    markIntervalMs: 0,
    nowMs: () => 1,
  })
  const input = (sequence: number, body: object): InputMessage => ({
    sequence,
    subject: '',
    timeUs: 0,
    data: Buffer.from(JSON.stringify(body)),
    pending: 0,
    traceparent: undefined,
    srcSeq: undefined,
    position: { inSeq: 0, inIndex: 0 },
    logicVersion: 1,
  })
  let sequence = 0
  return {
    pnl,
    projected,
    replayTrade: (symbol: string, account = 'a') => {
      sequence += 1
      const trade: Partial<ExecutionReport> = { execType: 'Trade', ordStatus: 'PartiallyFilled', account, symbol }
      const numbers = { side: 'BUY', orderQty: 2, lastQty: 1, lastPx: 100, cumQty: 1, fee: 0 } as const
      const report = { execId: 'x', transactTime: 'x', orderId: `o-${sequence}`, ...trade, ...numbers }
      pnl.fold.handle([input(sequence, { cmdSeq: sequence, transactTime: 'x', reports: [report] })], true)
    },
    tick: (symbol: string, price: unknown, venue = 'X') =>
      pnl.mark({ ...input(1, { symbol, price }), subject: `market.tick.${venue}.${symbol}` }),
    unrealized: (symbol: string) => {
      portfolio.refreshMarks()
      return portfolio.position('a', symbol)?.unrealizedPnl
    },
  }
}

void t.test('P1.12 what has traded is counted and marked, also when the configuration becomes strict', (t) => {
  const { pnl, replayTrade, tick, unrealized } = startPnl({ strict: true, default: {}, instruments: { BTCUSDT: {} } })
  replayTrade('FOO')
  replayTrade('BTCUSDT')
  pnl.activated()
  tick('FOO', 101)
  t.equal(unrealized('FOO'), 1e10, 'one more, in cents × 1e-8')
  tick('BAR', 101)
  t.equal(unrealized('BAR'), undefined)
  t.end()
})

void t.test('P1.12 ticks from before recovery is over count after it; a flood of symbols is not kept', (t) => {
  const { pnl, replayTrade, tick, unrealized } = startPnl({ default: {}, instruments: {} })
  tick('FLOODED', 101)
  for (let n = 0; n < 10_000; n += 1) {
    tick(`S${n}`, 101)
    tick(`no symbol ${n}`, 101)
  }
  for (const symbol of ['FLOODED', 'S0', 'S9999']) replayTrade(symbol)
  pnl.activated()
  t.equal(unrealized('S0'), 1e10)
  t.equal(unrealized('S9999'), 1e10)
  t.equal(unrealized('FLOODED'), 0, 'only the last 10,000 are kept')
  t.end()
})

void t.test('P1.12 nothing is projected before recovery is over: an order may look open that has ended', (t) => {
  const { pnl, projected, replayTrade } = startPnl({ default: {}, instruments: {} })
  replayTrade('FOO')
  pnl.projectAll()
  t.strictSame(projected, [])
  pnl.activated()
  t.strictSame(projected, ['a FOO', 'o-1 PARTIALLY_FILLED'])
  t.end()
})

void t.test('P1.12 the echo of an own trade never marks: the fill has, and a later one may have since', (t) => {
  const { pnl, replayTrade, tick, unrealized } = startPnl({ default: {}, instruments: {} })
  replayTrade('FOO')
  replayTrade('BAR')
  tick('FOO', 105)
  tick('FOO', 90, 'T2026')
  tick('BAR', 90, 'T2026')
  tick('BAR', 105)
  pnl.activated()
  t.equal(unrealized('FOO'), 0, 'an own trade came after the 105')
  t.equal(unrealized('BAR'), 5e10)
  tick('BAR', 90, 'T2026')
  t.equal(unrealized('BAR'), 5e10)
  t.end()
})

void t.test('P2.13 positions that only a mark moves are stored in idle moments, a few in each', (t) => {
  const { pnl, replayTrade, tick } = startPnl({ default: {}, instruments: {} })
  const idle = () => pnl.fold.handle([], false)
  const storedPositions = () =>
    (pnl.fold.takeOutputs?.() ?? []).map(({ subject }) => subject).filter((subject) => /\.(FOO|BAR)$/.test(subject))
  for (let n = 0; n < 120; n += 1) replayTrade('FOO', `a${n}`)
  pnl.activated()
  t.equal(storedPositions().length, 120, 'what fills changed, at once')
  tick('FOO', 101)
  idle()
  const first = storedPositions()
  t.equal(first.length, 50)
  t.strictSame(storedPositions(), [], 'no more before the next idle moment')
  replayTrade('BAR', 'a119')
  t.strictSame(storedPositions(), ['w.positions.a119.BAR'], 'but for fills')
  idle()
  const second = storedPositions()
  idle()
  const all = [...first, ...second, ...storedPositions()]
  t.equal(new Set(all).size, all.length, 'each once')
  t.equal(all.length, 120)
  t.end()
})
