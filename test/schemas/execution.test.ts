import t from 'tap'
import { utf8FromText } from '../../src/base/json.ts'
import {
  averagePriceText,
  decodeExecution,
  encodeExecutions,
  encodeReport,
  orderIdOf,
  orderNumberOf,
  reportsPerMessageMax,
  type OrderTerms,
  type ReportValue,
} from '../../src/schemas/execution.ts'
import { instrumentFrom, type InstrumentDefinition } from '../../src/schemas/instrument.ts'

const definition: InstrumentDefinition = {
  symbol: 'BTCUSDT',
  tick: '0.01',
  lot: '0.00000001',
  quoteScale: 8,
  makerFeeRate: '0.0008',
  takerFeeRate: '0.0012',
  collarBps: 500,
}
const btc = instrumentFrom(definition)
const transactTime = '2026-11-22T09:30:00.000001Z'

const order: OrderTerms = {
  orderNumber: 7,
  account: 'alice',
  symbol: 'BTCUSDT',
  side: 'BUY',
  ordType: 'STOP_LIMIT',
  timeInForce: 'GTC',
  clOrdId: 'my "first"',
  quantityLots: 50_000_000,
  priceTicks: 4_500_050,
  stopTicks: 4_490_000,
  traceparent: '00-1-2-01',
}

const none: ReportValue = {
  execType: 'New',
  ordStatus: 'New',
  order: undefined,
  clOrdId: undefined,
  origClOrdId: undefined,
  lastLots: 0,
  lastTicks: 0,
  leavesLots: 0,
  cumLots: 0,
  cumCost: 0,
  liquidity: undefined,
  fee: 0,
  reason: undefined,
  text: undefined,
  echo: undefined,
  traceparent: undefined,
}

/** What a reader of EXECUTIONS sees of a report, with the names in their order. */
function written(report: Partial<ReportValue>, instrument = btc): [string, unknown][] {
  const encoded = encodeReport({ ...none, ...report }, '12-1', 'o-99', transactTime, instrument)
  const [body = ''] = encodeExecutions(12, 'BTCUSDT', 1, [encoded])
  return Object.entries(decodeExecution(utf8FromText(body)).reports[0] ?? {})
}

void t.test('P1.07 every field of a report, named and ordered as FIX 4.4 in camelCase', (t) => {
  const report = written({
    execType: 'Trade',
    ordStatus: 'PartiallyFilled',
    order,
    origClOrdId: 'older',
    lastLots: 20_000_000,
    lastTicks: 4_500_000,
    leavesLots: 30_000_000,
    cumLots: 20_000_000,
    cumCost: 20_000_000 * 4_500_000,
    liquidity: 'TAKER',
    fee: 1_080_000_000,
    reason: 'ORDER_CLOSED',
    text: 'a\nb',
  })
  t.same(report, [
    ['execId', '12-1'],
    ['orderId', 'o-7'],
    ['clOrdId', 'my "first"'],
    ['origClOrdId', 'older'],
    ['account', 'alice'],
    ['symbol', 'BTCUSDT'],
    ['side', 'BUY'],
    ['ordType', 'STOP_LIMIT'],
    ['timeInForce', 'GTC'],
    ['execType', 'Trade'],
    ['ordStatus', 'PartiallyFilled'],
    ['orderQty', 0.5],
    ['price', 45_000.5],
    ['stopPrice', 44_900],
    ['lastQty', 0.2],
    ['lastPx', 45_000],
    ['leavesQty', 0.3],
    ['cumQty', 0.2],
    ['avgPx', 45_000],
    ['liquidity', 'TAKER'],
    ['fee', 10.8],
    ['ordRejReason', 'ORDER_CLOSED'],
    ['text', 'a\nb'],
    ['transactTime', transactTime],
    ['traceparent', '00-1-2-01'],
  ])
  t.end()
})

void t.test('P1.07 fields that do not apply are absent', (t) => {
  const plain = { ...order, clOrdId: undefined, priceTicks: undefined, stopTicks: undefined, traceparent: undefined }
  t.same(
    written({ order: plain, leavesLots: 50_000_000 }).map(([name]) => name),
    [
      ...['execId', 'orderId', 'account', 'symbol', 'side', 'ordType', 'timeInForce', 'execType', 'ordStatus'],
      ...['orderQty', 'leavesQty', 'cumQty', 'transactTime'],
    ],
  )
  t.match(Object.fromEntries(written({ order, clOrdId: 'of the cancel', traceparent: 'of the cancel' })), {
    clOrdId: 'of the cancel',
    traceparent: 'of the cancel',
  })
  t.end()
})

void t.test(
  'P1.20 a command that was refused before it met an order: its own words, as far as they were readable',
  (t) => {
    const refused = {
      execType: 'Rejected',
      ordStatus: 'Rejected',
      reason: 'INVALID_FIELD',
      text: 'side is missing',
    } as const
    t.same(Object.fromEntries(written({ ...refused, echo: {} })), {
      execId: '12-1',
      orderId: 'o-99',
      execType: 'Rejected',
      ordStatus: 'Rejected',
      leavesQty: 0,
      cumQty: 0,
      ordRejReason: 'INVALID_FIELD',
      text: 'side is missing',
      transactTime,
    })
    const echo = {
      orderId: 'given "id"',
      refOrderId: 'o-3',
      account: 'alice',
      symbol: 'BTCUSDT',
      side: 'SELL',
      ordType: 'LIMIT',
      timeInForce: 'DAY',
      quantity: '0.5',
      price: '45000',
      stopPrice: '1',
    } as const
    t.same(
      Object.fromEntries(written({ ...refused, execType: 'CancelRejected', clOrdId: 'c', origClOrdId: 'o', echo })),
      {
        execId: '12-1',
        orderId: 'given "id"',
        clOrdId: 'c',
        origClOrdId: 'o',
        refOrderId: 'o-3',
        account: 'alice',
        symbol: 'BTCUSDT',
        side: 'SELL',
        ordType: 'LIMIT',
        timeInForce: 'DAY',
        execType: 'CancelRejected',
        ordStatus: 'Rejected',
        orderQty: 0.5,
        price: 45_000,
        stopPrice: 1,
        ordRejReason: 'INVALID_FIELD',
        text: 'side is missing',
        transactTime,
      },
      'a refused cancel has no quantities of its own',
    )
    t.end()
  },
)

void t.test('P1.07 large numbers reach the reader exactly, without exponent or trailing zeros', (t) => {
  const large = { ...order, quantityLots: 8_999_999_999_999_999, priceTicks: 8_999_999_999_999_999 }
  const lots = 8_999_999_999_999_999
  const fields = Object.fromEntries(
    written({
      execType: 'Trade',
      order: large,
      lastLots: lots,
      lastTicks: lots,
      leavesLots: 1,
      cumLots: lots,
      cumCost: BigInt(lots) * BigInt(lots),
      liquidity: 'MAKER',
      fee: 123_456_789_012_345_678_901n,
    }),
  )
  t.match(fields, {
    orderQty: '89999999.99999999',
    price: '89999999999999.99',
    lastQty: '89999999.99999999',
    lastPx: '89999999999999.99',
    leavesQty: 0.00000001,
    cumQty: '89999999.99999999',
    avgPx: '89999999999999.99',
    fee: '1234567890123.45678901',
  })
  const encoded = encodeReport({ ...none, order: large, leavesLots: 1 }, '1-1', 'o-1', transactTime, btc)
  t.match(encoded, '"leavesQty":0.00000001,')
  t.end()
})

void t.test('P1.07 the average price is half-even at the quote scale', (t) => {
  const coarse = instrumentFrom({ ...definition, quoteScale: 2, tick: '0.01', lot: '1' })
  const rows: readonly (readonly [cost: number | bigint, lots: number, text: string])[] = [
    [300, 3, '1'],
    [201, 2, '1'],
    [203, 2, '1.02'],
    [100, 3, '0.33'],
    [200, 3, '0.67'],
    [300n, 3, '1'],
    [90_000_000_000_000_005n, 9, '100000000000000.01'],
  ]
  for (const [cost, lots, text] of rows) t.equal(averagePriceText(cost, lots, coarse), text, `${cost} / ${lots}`)
  t.end()
})

void t.test('P1.07 reports of one record: one message, or parts of at most 1,000 reports and below 1 MiB', (t) => {
  const one = (index: number, text = '') =>
    encodeReport({ ...none, order, text: text === '' ? undefined : text }, `12-${index}`, 'o-1', transactTime, btc)
  const decodeAll = (bodies: string[]) => bodies.map((body) => decodeExecution(utf8FromText(body)))

  t.same(decodeAll(encodeExecutions(12, 'BTCUSDT', 1, [])), [
    { cmdSeq: 12, symbol: 'BTCUSDT', transactTime: '1970-01-01T00:00:00.000001Z', reports: [] },
  ])
  t.notOk('symbol' in (decodeAll(encodeExecutions(12, undefined, 1, [one(1)]))[0] ?? {}))

  const sizes = (count: number) => {
    const reports = Array.from({ length: count }, (_, index) => one(index + 1))
    const messages = decodeAll(encodeExecutions(12, 'BTCUSDT', 1, reports))
    t.same(
      messages.flatMap((message) => message.reports.map(({ execId }) => execId)),
      reports.map((_, index) => `12-${index + 1}`),
      'every report once, in order',
    )
    return messages.map(({ part, reports: { length } }) => [part, length])
  }
  t.same(sizes(1), [[undefined, 1]])
  t.same(sizes(reportsPerMessageMax), [[undefined, 1_000]])
  t.same(sizes(reportsPerMessageMax + 1), [
    ['1/2', 1_000],
    ['2/2', 1],
  ])
  t.same(sizes(2_500), [
    ['1/3', 1_000],
    ['2/3', 1_000],
    ['3/3', 500],
  ])

  const long = Array.from({ length: 200 }, (_, index) => one(index + 1, 'é'.repeat(4_000)))
  const bodies = encodeExecutions(12, 'BTCUSDT', 1, long)
  t.equal(bodies.length, 2, 'parts by bytes, not by characters')
  for (const body of bodies) t.ok(Buffer.byteLength(body) < 2 ** 20 - 4_096, 'with room for headers')
  t.same(
    decodeAll(bodies).map(({ part }) => part),
    ['1/2', '2/2'],
  )
  t.equal(decodeAll(bodies).flatMap(({ reports }) => reports).length, 200)
  t.end()
})

void t.test('P1.07 an orderId is o- and the sequence in ORDERS', (t) => {
  for (const orderNumber of [1, 12, Number.MAX_SAFE_INTEGER])
    t.equal(orderNumberOf(orderIdOf(orderNumber)), orderNumber)
  for (const text of ['', 'o-', 'o-0', 'o-00', 'o-1.5', 'o--1', 'x-1', 'o-1\n', 'o-99999999999999999'])
    t.equal(orderNumberOf(text), undefined)
  t.end()
})
