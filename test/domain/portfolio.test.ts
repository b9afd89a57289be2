import { Ajv } from 'ajv'
import t from 'tap'
import { BugError } from '../../src/base/assert.ts'
import { parseDecimal } from '../../src/base/decimal.ts'
import { utf8FromText } from '../../src/base/json.ts'
import { fillOf, type Fill } from '../../src/domain/fill.ts'
import { Portfolio } from '../../src/domain/portfolio.ts'
import type { Side } from '../../src/schemas/enums.ts'
import {
  decodeExecution,
  encodeExecutions,
  encodeReport,
  type ExecutionReport,
  type ReportValue,
} from '../../src/schemas/execution.ts'
import { instrumentFrom, type Instrument } from '../../src/schemas/instrument.ts'
import {
  accountPositionSchema,
  decodeAccountPosition,
  decodePosition,
  decodePositionEpoch,
  decodeWatermark,
  encodeAccountPosition,
  encodePosition,
  encodePositionEpoch,
  encodeWatermark,
  positionEpochSchema,
  positionSchema,
  watermarkSchema,
  type AccountPositionRecord,
  type PositionRecord,
} from '../../src/schemas/position.ts'

function instrument(symbol: string, tick: string, lot: string, quoteScale: number): Instrument {
  const rates = { makerFeeRate: '0.0008', takerFeeRate: '0.0012', collarBps: 500 }
  return instrumentFrom({ symbol, tick, lot, quoteScale, ...rates })
}
/** One tick × lot is one unit of money, so that the rows below read as counts. */
const unit = instrument('UNIT', '1', '1', 8)
const coin = instrument('COIN', '0.01', '0.00000001', 8)

const fill = (side: Side, lots: number, ticks: number, fee = 0, { symbol } = unit, account = 'a'): Fill => ({
  account,
  symbol,
  side,
  lots,
  ticks,
  fee,
  traceparent: undefined,
})

function recordOf(portfolio: Portfolio, symbol = 'UNIT', account = 'a'): PositionRecord {
  const position = portfolio.position(account, symbol)
  if (!position) throw new Error(`${account} has no position in ${symbol}`)
  return decodePosition(utf8FromText(encodePosition(position, 1)))
}

function totalsOf(portfolio: Portfolio, account = 'a'): AccountPositionRecord {
  const state = portfolio.account(account)
  if (!state) throw new Error(`no account ${account}`)
  return decodeAccountPosition(utf8FromText(encodeAccountPosition(state, 1)))
}

type Row = [
  rule: string,
  fills: [side: Side, lots: number, ticks: number][],
  expected: [quantity: number, cost: number, realizedPnl: number, unrealizedPnl: number],
]
const rows: Row[] = [
  ['opening adds quantity × price', [['BUY', 3, 10]], [3, 30, 0, 0]],
  [
    'adding to a long averages',
    [
      ['BUY', 1, 10],
      ['BUY', 3, 14],
    ],
    [4, 52, 0, 4],
  ],
  ['a short has a negative cost', [['SELL', 3, 10]], [-3, -30, 0, 0]],
  [
    'adding to a short averages',
    [
      ['SELL', 1, 10],
      ['SELL', 1, 14],
    ],
    [-2, -24, 0, -4],
  ],
  [
    'a reducing sale realises against the average',
    [
      ['BUY', 4, 10],
      ['SELL', 1, 13],
    ],
    [3, 30, 3, 9],
  ],
  [
    'a reducing purchase realises against the average',
    [
      ['SELL', 4, 10],
      ['BUY', 1, 13],
    ],
    [-3, -30, -3, -9],
  ],
  [
    'the cost taken is rounded: 31 / 3 is 10',
    [
      ['BUY', 2, 10],
      ['BUY', 1, 11],
      ['SELL', 1, 10],
    ],
    [2, 21, 0, -1],
  ],
  [
    'the cost taken is rounded: 32 / 3 is 11',
    [
      ['BUY', 2, 11],
      ['BUY', 1, 10],
      ['SELL', 1, 10],
    ],
    [2, 21, -1, -1],
  ],
  [
    'a tie goes to the even cost: 21 / 2 is 10',
    [
      ['BUY', 1, 10],
      ['BUY', 1, 11],
      ['SELL', 1, 10],
    ],
    [1, 11, 0, -1],
  ],
  [
    'a tie goes to the even cost: 23 / 2 is 12',
    [
      ['BUY', 1, 11],
      ['BUY', 1, 12],
      ['SELL', 1, 10],
    ],
    [1, 11, -2, -1],
  ],
  [
    'a tie of a short too: -21 / 2 is -10',
    [
      ['SELL', 1, 10],
      ['SELL', 1, 11],
      ['BUY', 1, 10],
    ],
    [-1, -11, 0, 1],
  ],
  [
    'the last lot takes the rest',
    [
      ['BUY', 2, 10],
      ['BUY', 1, 11],
      ['SELL', 2, 10],
      ['SELL', 1, 10],
    ],
    [0, 0, -1, 0],
  ],
  [
    'a fill through zero closes a long and opens a short',
    [
      ['BUY', 3, 10],
      ['SELL', 5, 12],
    ],
    [-2, -24, 6, 0],
  ],
  [
    'a fill through zero closes a short and opens a long',
    [
      ['SELL', 3, 10],
      ['BUY', 5, 12],
    ],
    [2, 24, -6, 0],
  ],
  [
    'a flat position opens anew',
    [
      ['BUY', 1, 10],
      ['SELL', 1, 12],
      ['SELL', 1, 9],
    ],
    [-1, -9, 2, 0],
  ],
  [
    'realised accumulates over round trips',
    [
      ['BUY', 1, 10],
      ['SELL', 1, 12],
      ['SELL', 1, 9],
      ['BUY', 1, 4],
    ],
    [0, 0, 7, 0],
  ],
]

void t.test('P1.12 the rules of a position', (t) => {
  for (const [rule, fills, expected] of rows) {
    const portfolio = new Portfolio()
    for (const [side, lots, ticks] of fills) portfolio.fill(fill(side, lots, ticks), unit)
    const position = portfolio.position('a', 'UNIT')
    const actual = position && [position.quantityLots, position.cost, position.realizedPnl, position.unrealizedPnl]
    t.strictSame(actual, expected, rule)
  }
  t.end()
})

void t.test('P1.12 quantities, costs and fees beyond 2^53 stay exact', (t) => {
  const portfolio = new Portfolio()
  portfolio.fill(fill('BUY', 9e15, 9e15), unit)
  portfolio.fill({ ...fill('BUY', 9e15 - 1, 9e15), fee: 10n ** 30n + 1n }, unit)
  t.hasStrict(recordOf(portfolio), { quantity: '17999999999999999', avgPx: '9000000000000000' })
  t.hasStrict(recordOf(portfolio), { fees: '10000000000000000000000.00000001' })
  portfolio.fill(fill('SELL', 9e15, 9e15 - 1), unit)
  t.hasStrict(recordOf(portfolio), { quantity: '8999999999999999', avgPx: '9000000000000000' })
  t.hasStrict(recordOf(portfolio), { realizedPnl: '-9000000000000000', unrealizedPnl: '-8999999999999999' })
  portfolio.fill(fill('SELL', 9e15 - 1, 9e15), unit)
  t.hasStrict(recordOf(portfolio), { quantity: 0, realizedPnl: '-9000000000000000', unrealizedPnl: 0 })
  t.hasStrict(totalsOf(portfolio, '_venue'), { fees: '-10000000000000000000000.00000001' })

  portfolio.fill(fill('SELL', 9e15, 3, 0, unit, 'short'), unit)
  portfolio.fill(fill('SELL', 3, 5, 0, unit, 'short'), unit)
  t.hasStrict(recordOf(portfolio, 'UNIT', 'short'), { quantity: '-9000000000000003', avgPx: 3 })
  t.end()
})

void t.test('P1.12 equity, high-water mark and drawdown follow realised, fees and marks', (t) => {
  const portfolio = new Portfolio({ startingCash: parseDecimal('200') ?? { mantissa: 0n, scale: 0 } })
  portfolio.fill(fill('BUY', 10, 10, 300_000_000), unit)
  t.hasStrict(totalsOf(portfolio), { fees: 3, cash: -103, equity: 197, highWaterMark: 200, drawdown: 3 })
  t.hasStrict(totalsOf(portfolio), { drawdownPercent: 1.5, openPositions: 1 })
  t.hasStrict(totalsOf(portfolio, '_venue'), { fees: -3, cash: 3, equity: 3, highWaterMark: 3, drawdown: 0 })
  portfolio.mark('UNIT', 12)
  t.hasStrict(totalsOf(portfolio), { unrealizedPnl: 0, equity: 197 }, 'a mark is taken')
  portfolio.refreshMarks()
  t.hasStrict(totalsOf(portfolio), {
    unrealizedPnl: 20,
    equity: 217,
    highWaterMark: 217,
    drawdown: 0,
    drawdownPercent: 0,
  })
  portfolio.fill(fill('SELL', 10, 11), unit)
  t.hasStrict(totalsOf(portfolio), { realizedPnl: 10, unrealizedPnl: 0, cash: 7, equity: 207, openPositions: 0 })
  t.hasStrict(totalsOf(portfolio), { highWaterMark: 217, drawdown: 10, drawdownPercent: 4.60829493 })
  t.end()
})

void t.test('P1.12 drawdown has no percent without startingCash', (t) => {
  const portfolio = new Portfolio()
  portfolio.fill(fill('BUY', 1, 10, 100_000_000), unit)
  t.hasStrict(totalsOf(portfolio), { equity: -1, highWaterMark: 0, drawdown: 1 })
  t.notOk('drawdownPercent' in totalsOf(portfolio))
  t.end()
})

void t.test('P1.12 all marks that moved are evaluated together', (t) => {
  const portfolio = new Portfolio()
  const other = instrument('OTHER', '1', '1', 8)
  portfolio.fill(fill('BUY', 1, 10), unit)
  portfolio.fill(fill('BUY', 1, 10, 0, other), other)
  portfolio.mark('UNIT', 15)
  portfolio.mark('OTHER', 5)
  portfolio.refreshMarks()
  t.hasStrict(totalsOf(portfolio), { equity: 0, highWaterMark: 0 }, 'no high-water mark between two symbols')
  t.end()
})

void t.test("P1.12 a fill marks its symbol for the other holders' next evaluation", (t) => {
  const portfolio = new Portfolio()
  portfolio.fill(fill('BUY', 2, 10), unit)
  portfolio.takeChanged()
  portfolio.fill(fill('BUY', 1, 13, 0, unit, 'b'), unit)
  const names = () => portfolio.takeChanged().accounts.map(({ account }) => account)
  t.strictSame(names(), ['b'])
  portfolio.refreshMarks()
  t.hasStrict(recordOf(portfolio), { unrealizedPnl: 6 })
  t.strictSame(names(), ['a'])
  portfolio.refreshMarks()
  t.strictSame(portfolio.takeChanged(), { positions: [], accounts: [] }, 'nothing moved')
  t.end()
})

void t.test('P2.13 what a mark moves is revalued and handed out in slices, what a fill changes at once', (t) => {
  const portfolio = new Portfolio()
  for (const account of ['a', 'b', 'c']) portfolio.fill(fill('BUY', 1, 10, 0, unit, account), unit)
  portfolio.takeChanged()
  const revalued = () => ['a', 'b', 'c'].filter((name) => portfolio.position(name, 'UNIT')?.unrealizedPnl !== 0)
  const taken = (max: number) => {
    const { positions, accounts } = portfolio.takeChanged(max)
    t.strictSame(
      accounts.map(({ account }) => account),
      positions.map(({ account }) => account),
      'with their accounts',
    )
    return positions.map(({ account }) => account)
  }
  portfolio.mark('UNIT', 15)
  portfolio.refreshMarks(2)
  t.strictSame(revalued(), ['a', 'b'])
  t.strictSame(taken(1), ['a'])
  portfolio.refreshMarks(2)
  t.strictSame(revalued(), ['a', 'b', 'c'])
  portfolio.fill(fill('BUY', 1, 15, 0, unit, 'c'), unit)
  t.strictSame(taken(0), ['c'], 'of a fill')
  t.strictSame(taken(5), ['b'], 'and c not again')

  portfolio.mark('UNIT', 20)
  portfolio.refreshMarks(1)
  portfolio.mark('UNIT', 15)
  portfolio.refreshMarks()
  t.strictSame(revalued(), ['a', 'b', 'c'], 'a mark that moves in between is seen by those who were first, too')
  t.strictSame(portfolio.takeChanged(0), { positions: [], accounts: [] })
  t.end()
})

void t.test('P1.12 a mark of a symbol nobody traded is no state', (t) => {
  const portfolio = new Portfolio()
  portfolio.mark('NOBODY', 5)
  portfolio.refreshMarks()
  t.strictSame(portfolio.takeChanged(), { positions: [], accounts: [] })
  t.end()
})

void t.test('P1.12 what changed is handed out once, in the order of its first change', (t) => {
  const portfolio = new Portfolio()
  portfolio.fill(fill('BUY', 1, 10, 1, unit, 'b'), unit)
  portfolio.fill(fill('SELL', 1, 10, 1, unit, 'a'), unit)
  portfolio.fill(fill('BUY', 1, 10, 1, unit, 'b'), unit)
  const { positions, accounts } = portfolio.takeChanged()
  t.strictSame(
    positions.map(({ account, symbol }) => `${account}.${symbol}`),
    ['b.UNIT', 'a.UNIT'],
  )
  t.strictSame(accounts.map(({ account }) => account).sort(), ['_venue', 'a', 'b'])
  t.strictSame(portfolio.takeChanged(), { positions: [], accounts: [] })
  t.strictSame([...portfolio.accounts()].sort(), ['_venue', 'a', 'b'])
  t.strictSame(
    [...portfolio.positionsOf('b')].map(({ quantityLots }) => quantityLots),
    [2],
  )
  t.strictSame([...portfolio.positionsOf('nobody')], [])
  t.equal(portfolio.position('nobody', 'UNIT'), undefined)
  t.equal(portfolio.account('nobody'), undefined)
  t.end()
})

void t.test('P1.21 quantity, cash and fees sum to zero, and one side of a trade alone does not', (t) => {
  const portfolio = new Portfolio()
  portfolio.fill(fill('BUY', 3, 10, 7), unit)
  t.strictSame(portfolio.conservation().quantityBySymbol.get('UNIT'), 3)
  t.equal(portfolio.conservation().cash, -30n * 10n ** 18n)
  portfolio.fill(fill('SELL', 3, 10, 5, unit, 'b'), unit)
  portfolio.fill(fill('SELL', 100, 250, 11, coin), coin)
  portfolio.fill(fill('BUY', 100, 250, 0, coin, 'b'), coin)
  t.strictSame(
    [...portfolio.conservation().quantityBySymbol],
    [
      ['UNIT', 0],
      ['COIN', 0],
    ],
  )
  t.equal(portfolio.conservation().cash, 0n)
  t.equal(portfolio.conservation().fees, 0n)
  t.hasStrict(totalsOf(portfolio, '_venue'), { fees: -0.00000023, cash: 0.00000023, openPositions: 0, drawdown: 0 })
  t.end()
})

void t.test('P1.12 the state hash tells of fills, neither of marks nor of the order of accounts and symbols', (t) => {
  const fills = [fill('BUY', 3, 10, 7), fill('SELL', 3, 10, 5, unit, 'b'), fill('BUY', 1, 10, 0, coin, 'b')]
  const folded = (list: readonly Fill[]) => {
    const portfolio = new Portfolio()
    for (const each of list) portfolio.fill(each, each.symbol === 'UNIT' ? unit : coin)
    return portfolio
  }
  const portfolio = folded(fills)
  const hash = portfolio.stateHash()
  portfolio.mark('UNIT', 12)
  portfolio.refreshMarks()
  t.equal(portfolio.stateHash(), hash)
  t.equal(folded([...fills].reverse()).stateHash(), hash)
  for (const [what, change] of Object.entries({ lots: 4, ticks: 11, fee: 8, account: 'A', side: 'SELL' }))
    t.not(folded([{ ...fill('BUY', 3, 10, 7), [what]: change }, ...fills.slice(1)]).stateHash(), hash, what)
  const closedAt = (ticks: number) => folded([...fills, fill('SELL', 3, ticks)]).stateHash()
  t.not(closedAt(12), closedAt(13), 'realised')
  t.end()
})

void t.test('P1.12 a fill outside the bounds is a bug', (t) => {
  const portfolio = new Portfolio()
  const good = fill('BUY', 1, 1)
  const wrong = [
    { lots: 0 },
    { lots: 1.5 },
    { lots: 9e15 + 2 },
    { ticks: 0 },
    { ticks: NaN },
    { account: '_venue' },
    { symbol: 'COIN' },
  ]
  for (const change of wrong)
    t.throws(() => portfolio.fill({ ...good, ...change }, unit), BugError, JSON.stringify(change))
  portfolio.fill(good, unit)
  for (const [tick, lot, quoteScale] of [
    ['0.1', '1', 8],
    ['1', '0.1', 8],
    ['1', '1', 2],
  ] as const)
    t.throws(() => portfolio.fill(good, instrument('UNIT', tick, lot, quoteScale)), /cannot change/)
  t.doesNotThrow(() => portfolio.fill(good, instrument('UNIT', '1.0', '1', 8)), 'the same definition, read again')
  t.throws(() => new Portfolio({ startingCash: { mantissa: -1n, scale: 0 } }), BugError)
  t.end()
})

const trade: ReportValue = {
  execType: 'Trade',
  ordStatus: 'Filled',
  order: {
    orderNumber: 7,
    account: 'alice',
    symbol: 'COIN',
    side: 'SELL',
    ordType: 'LIMIT',
    timeInForce: 'GTC',
    clOrdId: undefined,
    quantityLots: 9e15 - 1,
    priceTicks: 6_000_001,
    stopTicks: undefined,
    traceparent: undefined,
  },
  clOrdId: undefined,
  origClOrdId: undefined,
  lastLots: 9e15 - 1,
  lastTicks: 6_000_001,
  leavesLots: 0,
  cumLots: 9e15 - 1,
  cumCost: BigInt(9e15 - 1) * 6_000_001n,
  liquidity: 'TAKER',
  fee: 0,
  reason: undefined,
  text: undefined,
  echo: undefined,
  traceparent: undefined,
}

function reportOf(value: ReportValue) {
  const json = encodeReport(value, '5-1', 'o-7', '2026-01-01T00:00:00.000000Z', coin)
  const [body = ''] = encodeExecutions(5, 'COIN', 0, [json])
  const [report] = decodeExecution(utf8FromText(body)).reports
  if (!report) throw new Error('no report')
  return report
}

void t.test('P1.12 fillOf reads back exactly what the matcher reported', (t) => {
  const side = { account: 'alice', symbol: 'COIN', side: 'SELL', traceparent: undefined }
  for (const fee of [
    0,
    1,
    12_345,
    2 ** 49 - 1,
    2 ** 49,
    9e15,
    9_007_199_254_740_993n,
    10n ** 17n,
    10n ** 24n,
    10n ** 30n + 1n,
  ])
    t.strictSame(
      fillOf(reportOf({ ...trade, fee }), coin),
      { ...side, lots: 9e15 - 1, ticks: 6_000_001, fee },
      `a fee of ${fee}`,
    )
  t.strictSame(
    fillOf(reportOf({ ...trade, lastLots: 1, lastTicks: 1 }), coin),
    { ...side, lots: 1, ticks: 1, fee: 0 },
    'the smallest',
  )
  t.equal(fillOf(reportOf({ ...trade, traceparent: '00-"' }), coin).traceparent, '00-"', 'P2.09')
  t.end()
})

void t.test('P1.12 fillOf refuses what is no complete Trade of the instrument', (t) => {
  const report = reportOf(trade)
  t.throws(() => fillOf({ ...report, execType: 'New' }, coin), BugError)
  t.throws(() => fillOf(report, unit), BugError)
  t.throws(() => fillOf({ ...report, fee: '0.000000001' }, coin), BugError)
  for (const name of ['account', 'symbol', 'side', 'lastQty', 'lastPx', 'fee'] as const) {
    const rest = Object.fromEntries(Object.entries(report).filter(([key]) => key !== name))
    t.throws(() => fillOf(rest as unknown as ExecutionReport, coin), BugError, `without ${name}`)
  }
  t.end()
})

void t.test('P1.12 the records of POSITIONS: plain decimals, rounded half to even, read back as written', (t) => {
  const portfolio = new Portfolio()
  // One tick × lot is 10^-10: 50 of them, and 150, lie halfway between two of the eight decimals.
  portfolio.fill(fill('BUY', 1, 15, 1, coin), coin)
  portfolio.fill(fill('SELL', 1, 65, 100_000_000, coin), coin)
  const position = portfolio.position('a', 'COIN')
  const account = portfolio.account('a')
  if (!position || !account) throw new Error('no state')
  const flat =
    '{"account":"a","symbol":"COIN","quantity":0,"realizedPnl":0,"unrealizedPnl":0,"fees":1.00000001,"asOf":42}'
  t.equal(encodePosition(position, 42), flat, 'half of 1e-8 is rounded to the even 0; a flat position has no avgPx')
  portfolio.fill(fill('BUY', 1, 15, 0, coin), coin)
  portfolio.fill(fill('SELL', 1, 115, 0, coin), coin)
  t.equal(
    encodePosition(position, 42),
    flat.replace('"realizedPnl":0', '"realizedPnl":0.00000002'),
    '1.5e-8 to the even 2e-8',
  )
  portfolio.fill(fill('BUY', 1, 165, 0, coin), coin)
  portfolio.fill(fill('SELL', 1, 15, 0, coin), coin)

  portfolio.fill(fill('SELL', 300_000_000, 1_000_001, 0, coin), coin)
  portfolio.fill(fill('SELL', 1, 6_000_002, 0, coin), coin)
  const short = encodePosition(position, 43)
  t.equal(
    short,
    '{"account":"a","symbol":"COIN","quantity":-3.00000001,"avgPx":10000.01016667,"realizedPnl":0,"unrealizedPnl":-150000.03,"fees":1.00000001,"asOf":43}',
  )
  t.strictSame(JSON.parse(short), decodePosition(utf8FromText(short)))
  const totals = encodeAccountPosition(account, 43)
  t.equal(
    totals,
    '{"account":"a","realizedPnl":0,"unrealizedPnl":-150000.03,"fees":1.00000001,"cash":29999.03059999,"equity":-150001.03000001,"highWaterMark":0,"drawdown":150001.03000001,"openPositions":1,"asOf":43}',
  )
  t.strictSame(JSON.parse(totals), decodeAccountPosition(utf8FromText(totals)))
  t.strictSame(decodeWatermark(utf8FromText(encodeWatermark(99))), { executionsSeq: 99 })
  t.strictSame(decodePositionEpoch(utf8FromText(encodePositionEpoch(3))), { epoch: 3 })

  const ajv = new Ajv()
  const venue = portfolio.account('_venue')
  t.ok(ajv.validate(positionSchema, JSON.parse(flat)), 'schema of a flat position')
  t.ok(ajv.validate(positionSchema, JSON.parse(short)), 'schema of a position')
  t.ok(ajv.validate(accountPositionSchema, JSON.parse(totals)), 'schema of an account')
  t.ok(venue && ajv.validate(accountPositionSchema, JSON.parse(encodeAccountPosition(venue, 1))), 'of the venue')
  t.ok(ajv.validate(watermarkSchema, JSON.parse(encodeWatermark(99))))
  t.ok(ajv.validate(positionEpochSchema, JSON.parse(encodePositionEpoch(3))))
  t.notOk(ajv.validate(positionSchema, { ...(JSON.parse(flat) as object), account: '_epoch' }))
  t.end()
})

const prices: [tick: string, lot: string, quoteScale: number, fills: [number, number][], avgPx: string][] = [
  [
    '0.01',
    '0.00000001',
    8,
    [
      [1, 100],
      [2, 101],
    ],
    '1.00666667',
  ],
  [
    '0.01',
    '0.00000001',
    2,
    [
      [1, 100],
      [1, 101],
    ],
    '1',
  ],
  [
    '0.01',
    '0.00000001',
    2,
    [
      [1, 101],
      [1, 102],
    ],
    '1.02',
  ],
  [
    '0.05',
    '1',
    2,
    [
      [1, 1],
      [1, 2],
    ],
    '0.08',
  ],
  [
    '25',
    '10',
    0,
    [
      [1, 1],
      [1, 2],
    ],
    '38',
  ],
  ['0.000000001', '0.000000001', 8, [[7, 25]], '0.00000002'],
  [
    '0.01',
    '1',
    2,
    [
      [9e15, 100],
      [9e15, 101],
    ],
    '1',
  ],
]

void t.test('P1.12 avgPx is the quotient of integers, half-even at quoteScale, on both sides', (t) => {
  for (const [tick, lot, quoteScale, fills, avgPx] of prices)
    for (const side of ['BUY', 'SELL'] as const) {
      const portfolio = new Portfolio()
      const traded = instrument('UNIT', tick, lot, quoteScale)
      for (const [lots, ticks] of fills) portfolio.fill(fill(side, lots, ticks), traded)
      const position = portfolio.position('a', 'UNIT')
      const json = position ? encodePosition(position, 1) : ''
      t.equal(/"avgPx":([^,]+)/.exec(json)?.[1], avgPx, `${side} ${JSON.stringify(fills)} at tick ${tick}`)
    }
  t.end()
})
