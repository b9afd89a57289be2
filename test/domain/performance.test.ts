import t from 'tap'
import { Performance } from '../../src/domain/performance.ts'
import type { Fill } from '../../src/domain/fill.ts'
import { Portfolio } from '../../src/domain/portfolio.ts'
import type { Side } from '../../src/schemas/enums.ts'
import { instrumentFrom } from '../../src/schemas/instrument.ts'

const rates = { makerFeeRate: '0', takerFeeRate: '0', collarBps: 500 }
const unit = instrumentFrom({ symbol: 'UNIT', tick: '1', lot: '1', quoteScale: 0, ...rates })
const fill = (account: string, side: Side, lots: number, ticks: number, fee = 0): Fill => ({
  account,
  symbol: 'UNIT',
  side,
  lots,
  ticks,
  fee,
  traceparent: undefined,
})
const e18 = 10n ** 18n

void t.test('P2.06 a win is a closing fill that realised something before fees', (t) => {
  const portfolio = new Portfolio()
  const book = (...fills: [Side, lots: number, ticks: number][]) => {
    for (const [side, lots, ticks] of fills) portfolio.fill(fill('a', side, lots, ticks, 1_000), unit)
  }
  const counts = () => {
    const { trades, closingTrades, wins, losses, grossProfit, grossLoss } = portfolio.recordOf('a') ?? {}
    return { trades, closingTrades, wins, losses, grossProfit, grossLoss }
  }
  book(['BUY', 3, 10], ['BUY', 1, 10])
  const none = { closingTrades: 0, wins: 0, losses: 0, grossProfit: 0n, grossLoss: 0n }
  t.same(counts(), { trades: 2, ...none }, 'what opens is neither')
  book(['SELL', 1, 12])
  t.same(counts(), { trades: 3, ...none, closingTrades: 1, wins: 1, grossProfit: 2n * e18 }, 'though fees ate it')
  book(['SELL', 1, 10])
  t.same(counts(), { trades: 4, ...none, closingTrades: 2, wins: 1, grossProfit: 2n * e18 }, 'even is neither')
  book(['SELL', 5, 9])
  const turned = { trades: 5, closingTrades: 3, wins: 1, losses: 1, grossProfit: 2n * e18, grossLoss: 2n * e18 }
  t.same(counts(), turned, 'one that turns the position closes what there was')
  book(['BUY', 1, 8])
  t.same(counts(), { ...turned, trades: 6, closingTrades: 4, wins: 2, grossProfit: 3n * e18 }, 'a short wins below')
  t.end()
})

void t.test('P2.06 Sharpe is mean / deviation of the changes of each minute, a year of them', (t) => {
  const of = (...equities: bigint[]) => {
    const performance = new Performance(100, 0n)
    for (const [index, equity] of equities.entries()) performance.snapshot(101 + index, equity)
    return performance.sharpe
  }
  t.equal(of(), null, 'nothing yet')
  t.equal(of(5n), null, 'one change has no deviation')
  t.equal(of(5n, 10n, 15n), null, 'changes that are the same have none')
  t.equal(of(0n, 0n), null)
  // Changes 1, 3: mean 2, sample deviation √2.
  t.ok(Math.abs((of(1n, 4n) ?? 0) - Math.SQRT2 * Math.sqrt(525_600)) < 1e-9)
  t.ok((of(-1n, -4n) ?? 0) < 0)
  t.equal(of(1n, 4n), of(10n ** 40n, 4n * 10n ** 40n), 'whatever the unit')
  const big = 10n ** 38n
  t.ok(Math.abs((of(big + 1n, 2n * big + 4n) ?? 0) / (Number(big) * Math.sqrt(525_600)) / Math.SQRT1_2 - 1) < 1e-9)

  const idle = new Performance(100, 0n)
  idle.snapshot(101, 3n)
  idle.snapshot(105, 3n)
  t.equal(idle.sharpe, of(3n, 3n, 3n, 3n, 3n), 'idle minutes count')
  idle.snapshot(104, 1_000n)
  t.equal(idle.sharpe, of(3n, 3n, 3n, 3n, 3n), 'a minute that has passed stays as it is')
  t.end()
})

void t.test('P2.06 snapshots are taken as minutes begin, all at the marks of then', (t) => {
  const portfolio = new Portfolio()
  portfolio.advance(1_000)
  portfolio.fill(fill('a', 'BUY', 1, 10), unit)
  portfolio.fill(fill('b', 'SELL', 1, 10), unit)
  portfolio.mark('UNIT', 11)
  t.equal(portfolio.recordOf('a')?.sharpe, null)
  portfolio.advance(1_001)
  portfolio.mark('UNIT', 14)
  portfolio.advance(Number.NaN)
  portfolio.advance(1_000)
  portfolio.advance(1_002)
  const expected = Math.SQRT2 * Math.sqrt(525_600)
  t.ok(Math.abs((portfolio.recordOf('a')?.sharpe ?? 0) - expected) < 1e-9, 'changes 1, 3')
  t.ok(Math.abs((portfolio.recordOf('b')?.sharpe ?? 0) + expected) < 1e-9)
  t.equal(portfolio.totals().record.sharpe, null, 'what one wins the other loses')
  t.equal(portfolio.recordOf('nobody'), undefined)
  t.end()
})
