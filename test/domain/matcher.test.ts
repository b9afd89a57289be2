import fc from 'fast-check'
import t from 'tap'
import type { Exact } from '../../src/base/decimal.ts'
import { feeOf } from '../../src/domain/fees.ts'
import { Matcher } from '../../src/domain/matcher.ts'
import type { Side } from '../../src/schemas/enums.ts'
import type { ReportValue } from '../../src/schemas/execution.ts'
import { instrumentFrom, type InstrumentDefinition } from '../../src/schemas/instrument.ts'
import type { MassCancelRecord, NewRecord, RejectRecord, ReplaceRecord, RiskRecord } from '../../src/schemas/risk.ts'

/** A tick × lot is worth 0.05; a fill of 10 lots at 100 ticks costs the maker 0.05 and the taker 0.10. */
const definition: InstrumentDefinition = {
  symbol: 'ABC',
  tick: '0.5',
  lot: '0.1',
  quoteScale: 2,
  makerFeeRate: '0.001',
  takerFeeRate: '0.002',
  collarBps: 500,
}

/** What a row gives; cmdSeq and srcSeq are its place in the list, from 1. */
type Step = RiskRecord extends infer R
  ? R extends RiskRecord
    ? Omit<R, 'cmdSeq' | 'srcSeq' | 'timeUs'>
    : never
  : never

const limit = (side: Side, quantityLots: number, priceTicks: number, more: Partial<NewRecord> = {}): Step => ({
  type: 'new',
  account: 'alice',
  symbol: 'ABC',
  side,
  ordType: 'LIMIT',
  timeInForce: 'GTC',
  quantityLots,
  priceTicks,
  ...more,
})
const market = (side: Side, quantityLots: number, protectionTicks: number, more: Partial<NewRecord> = {}): Step => ({
  type: 'new',
  account: 'alice',
  symbol: 'ABC',
  side,
  ordType: 'MARKET',
  timeInForce: 'GTC',
  quantityLots,
  protectionTicks,
  ...more,
})
const cancel = (target: number, more = {}): Step => ({ type: 'cancel', target, ...more })
const replace = (target: number, change: Partial<ReplaceRecord>): Step => ({ type: 'replace', target, ...change })
const massCancel = (of: Partial<MassCancelRecord>): Step => ({ type: 'massCancel', ...of })
const expire = (target: number): Step => ({ type: 'expire', target })
const reject = (of: Pick<RejectRecord, 'kind' | 'reason' | 'echo'> & Partial<RejectRecord>): Step => ({
  type: 'reject',
  text: 'why',
  ...of,
})

function newMatcher(): Matcher {
  const matcher = new Matcher()
  matcher.define(definition)
  matcher.define({ ...definition, symbol: 'XYZ' })
  return matcher
}

/** Every field of a report that is not undefined or 0, as one line. */
function lineOf(report: ReportValue): string {
  const { order, echo, ...fields } = report
  const parts = [`${report.execType}/${report.ordStatus}`]
  if (order) parts.push(`#${order.orderNumber} ${order.side} ${order.quantityLots}@${String(order.priceTicks)}`)
  for (const [name, value] of Object.entries({ ...fields, execType: undefined, ordStatus: undefined }))
    if (value !== undefined && value !== 0) parts.push(`${name}=${String(value)}`)
  if (echo) parts.push(`echo=${JSON.stringify(echo)}`)
  return parts.join(' ')
}

/** Applies the steps, checking invariants after each. @returns the lines of the last one */
function play(matcher: Matcher, steps: readonly Step[]): string[] {
  let lines: string[] = []
  steps.forEach((step, index) => {
    const record = { ...step, cmdSeq: index + 1, srcSeq: index + 1, timeUs: 1_790_000_000_000_000 + index }
    lines = matcher.apply(record).map(lineOf)
    matcher.checkInvariants()
  })
  return lines
}

interface Row {
  readonly name: string
  /** The last one is what the row is about. */
  readonly steps: readonly Step[]
  readonly reports: readonly string[]
  /** The book afterwards, best first. */
  readonly bids?: readonly (readonly [number, Exact])[]
  readonly asks?: readonly (readonly [number, Exact])[]
}

const rows: readonly Row[] = [
  {
    name: 'a LIMIT that meets nobody rests',
    steps: [limit('BUY', 10, 100, { clOrdId: 'c1', traceparent: 't1' })],
    reports: ['New/New #1 BUY 10@100 leavesLots=10 traceparent=t1'],
    bids: [[100, 10]],
  },
  {
    name: 'DAY and GTD rest too',
    steps: [
      limit('SELL', 1, 101, { timeInForce: 'DAY', expireUs: 5 }),
      limit('SELL', 2, 101, { timeInForce: 'GTD', expireUs: 5 }),
    ],
    reports: ['New/New #2 SELL 2@101 leavesLots=2'],
    asks: [[101, 3]],
  },
  {
    name: 'a taker gets the maker’s price; both are reported, taker first, each with its own fee and traceparent',
    steps: [limit('SELL', 10, 100, { traceparent: 'm' }), limit('BUY', 10, 104, { traceparent: 't' })],
    reports: [
      'New/New #2 BUY 10@104 leavesLots=10 traceparent=t',
      'Trade/Filled #2 BUY 10@104 lastLots=10 lastTicks=100 cumLots=10 cumCost=1000 liquidity=TAKER fee=10 traceparent=t',
      'Trade/Filled #1 SELL 10@100 lastLots=10 lastTicks=100 cumLots=10 cumCost=1000 liquidity=MAKER fee=5',
    ],
  },
  {
    name: 'best price first, then oldest first; the rest of the taker rests',
    steps: [
      limit('SELL', 10, 101),
      limit('SELL', 10, 100),
      limit('SELL', 10, 100),
      limit('SELL', 10, 102),
      limit('BUY', 35, 101),
    ],
    reports: [
      'New/New #5 BUY 35@101 leavesLots=35',
      'Trade/PartiallyFilled #5 BUY 35@101 lastLots=10 lastTicks=100 leavesLots=25 cumLots=10 cumCost=1000 liquidity=TAKER fee=10',
      'Trade/Filled #2 SELL 10@100 lastLots=10 lastTicks=100 cumLots=10 cumCost=1000 liquidity=MAKER fee=5',
      'Trade/PartiallyFilled #5 BUY 35@101 lastLots=10 lastTicks=100 leavesLots=15 cumLots=20 cumCost=2000 liquidity=TAKER fee=10',
      'Trade/Filled #3 SELL 10@100 lastLots=10 lastTicks=100 cumLots=10 cumCost=1000 liquidity=MAKER fee=5',
      'Trade/PartiallyFilled #5 BUY 35@101 lastLots=10 lastTicks=101 leavesLots=5 cumLots=30 cumCost=3010 liquidity=TAKER fee=10',
      'Trade/Filled #1 SELL 10@101 lastLots=10 lastTicks=101 cumLots=10 cumCost=1010 liquidity=MAKER fee=5',
    ],
    bids: [[101, 5]],
    asks: [[102, 10]],
  },
  {
    name: 'a SELL walks down the bids',
    steps: [limit('BUY', 10, 99), limit('BUY', 10, 100), limit('SELL', 15, 99)],
    reports: [
      'New/New #3 SELL 15@99 leavesLots=15',
      'Trade/PartiallyFilled #3 SELL 15@99 lastLots=10 lastTicks=100 leavesLots=5 cumLots=10 cumCost=1000 liquidity=TAKER fee=10',
      'Trade/Filled #2 BUY 10@100 lastLots=10 lastTicks=100 cumLots=10 cumCost=1000 liquidity=MAKER fee=5',
      'Trade/Filled #3 SELL 15@99 lastLots=5 lastTicks=99 cumLots=15 cumCost=1495 liquidity=TAKER fee=5',
      'Trade/PartiallyFilled #1 BUY 10@99 lastLots=5 lastTicks=99 leavesLots=5 cumLots=5 cumCost=495 liquidity=MAKER fee=2',
    ],
    bids: [[99, 5]],
  },
  {
    name: 'a maker filled in part keeps its place',
    steps: [limit('SELL', 10, 100), limit('SELL', 10, 100), limit('BUY', 4, 100), limit('BUY', 6, 100)],
    reports: [
      'New/New #4 BUY 6@100 leavesLots=6',
      'Trade/Filled #4 BUY 6@100 lastLots=6 lastTicks=100 cumLots=6 cumCost=600 liquidity=TAKER fee=6',
      'Trade/Filled #1 SELL 10@100 lastLots=6 lastTicks=100 cumLots=10 cumCost=1000 liquidity=MAKER fee=3',
    ],
    asks: [[100, 10]],
  },
  {
    name: 'symbols do not meet',
    steps: [limit('SELL', 10, 100, { symbol: 'XYZ' }), limit('BUY', 10, 100)],
    reports: ['New/New #2 BUY 10@100 leavesLots=10'],
    bids: [[100, 10]],
  },
  {
    name: 'what an IOC leaves expires',
    steps: [limit('SELL', 4, 100), limit('BUY', 10, 100, { timeInForce: 'IOC', traceparent: 't' })],
    reports: [
      'New/New #2 BUY 10@100 leavesLots=10 traceparent=t',
      'Trade/PartiallyFilled #2 BUY 10@100 lastLots=4 lastTicks=100 leavesLots=6 cumLots=4 cumCost=400 liquidity=TAKER fee=4 traceparent=t',
      'Trade/Filled #1 SELL 4@100 lastLots=4 lastTicks=100 cumLots=4 cumCost=400 liquidity=MAKER fee=2',
      'Expired/Expired #2 BUY 10@100 cumLots=4 cumCost=400 traceparent=t',
    ],
  },
  {
    name: 'an IOC that meets nobody expires',
    steps: [limit('BUY', 10, 100, { timeInForce: 'IOC' })],
    reports: ['New/New #1 BUY 10@100 leavesLots=10', 'Expired/Expired #1 BUY 10@100'],
  },
  {
    name: 'a FOK one lot short does not trade at all',
    steps: [
      limit('SELL', 4, 100),
      limit('SELL', 5, 101),
      limit('SELL', 5, 102),
      limit('BUY', 10, 101, { timeInForce: 'FOK' }),
    ],
    reports: ['New/New #4 BUY 10@101 leavesLots=10', 'Expired/Expired #4 BUY 10@101'],
    asks: [
      [100, 4],
      [101, 5],
      [102, 5],
    ],
  },
  {
    name: 'a FOK that fits exactly fills',
    steps: [limit('SELL', 4, 100), limit('SELL', 6, 101), limit('BUY', 10, 101, { timeInForce: 'FOK' })],
    reports: [
      'New/New #3 BUY 10@101 leavesLots=10',
      'Trade/PartiallyFilled #3 BUY 10@101 lastLots=4 lastTicks=100 leavesLots=6 cumLots=4 cumCost=400 liquidity=TAKER fee=4',
      'Trade/Filled #1 SELL 4@100 lastLots=4 lastTicks=100 cumLots=4 cumCost=400 liquidity=MAKER fee=2',
      'Trade/Filled #3 BUY 10@101 lastLots=6 lastTicks=101 cumLots=10 cumCost=1006 liquidity=TAKER fee=6',
      'Trade/Filled #2 SELL 6@101 lastLots=6 lastTicks=101 cumLots=6 cumCost=606 liquidity=MAKER fee=3',
    ],
  },
  {
    name: 'a MARKET trades up to its protection, not through it, and the rest expires although it says GTC',
    steps: [limit('SELL', 4, 100), limit('SELL', 4, 105), limit('SELL', 4, 106), market('BUY', 10, 105)],
    reports: [
      'New/New #4 BUY 10@undefined leavesLots=10',
      'Trade/PartiallyFilled #4 BUY 10@undefined lastLots=4 lastTicks=100 leavesLots=6 cumLots=4 cumCost=400 liquidity=TAKER fee=4',
      'Trade/Filled #1 SELL 4@100 lastLots=4 lastTicks=100 cumLots=4 cumCost=400 liquidity=MAKER fee=2',
      'Trade/PartiallyFilled #4 BUY 10@undefined lastLots=4 lastTicks=105 leavesLots=2 cumLots=8 cumCost=820 liquidity=TAKER fee=4',
      'Trade/Filled #2 SELL 4@105 lastLots=4 lastTicks=105 cumLots=4 cumCost=420 liquidity=MAKER fee=2',
      'Expired/Expired #4 BUY 10@undefined cumLots=8 cumCost=820',
    ],
    asks: [[106, 4]],
  },
  {
    name: 'a MARKET SELL is protected from below',
    steps: [limit('BUY', 4, 94), market('SELL', 4, 95)],
    reports: ['New/New #2 SELL 4@undefined leavesLots=4', 'Expired/Expired #2 SELL 4@undefined'],
    bids: [[94, 4]],
  },
  {
    name: 'a MARKET FOK that its protection leaves short does not trade',
    steps: [limit('SELL', 4, 100), limit('SELL', 4, 106), market('BUY', 8, 105, { timeInForce: 'FOK' })],
    reports: ['New/New #3 BUY 8@undefined leavesLots=8', 'Expired/Expired #3 BUY 8@undefined'],
    asks: [
      [100, 4],
      [106, 4],
    ],
  },
  {
    name: 'a postOnly that would take is rejected by one report',
    steps: [limit('SELL', 4, 100), limit('BUY', 4, 101, { postOnly: true, clOrdId: 'p', traceparent: 't' })],
    reports: [
      'Rejected/Rejected #2 BUY 4@101 clOrdId=p reason=ORDER_WOULD_TAKE text=postOnly BUY at 50.5 would take the opposing 50 traceparent=t',
    ],
    asks: [[100, 4]],
  },
  {
    name: 'a postOnly that does not reach the other side rests',
    steps: [limit('SELL', 4, 100), limit('BUY', 4, 99, { postOnly: true })],
    reports: ['New/New #2 BUY 4@99 leavesLots=4'],
    bids: [[99, 4]],
    asks: [[100, 4]],
  },
  {
    name: 'a cancel with its own clOrdId names the order’s as origClOrdId',
    steps: [limit('BUY', 10, 100, { clOrdId: 'c1', traceparent: 'o' }), cancel(1, { clOrdId: 'c2', traceparent: 't' })],
    reports: ['Canceled/Canceled #1 BUY 10@100 clOrdId=c2 origClOrdId=c1 traceparent=t'],
  },
  {
    name: 'a cancel without a clOrdId reports the order’s; what was filled stays',
    steps: [limit('BUY', 10, 100, { clOrdId: 'c1' }), limit('SELL', 4, 100), cancel(1)],
    reports: ['Canceled/Canceled #1 BUY 10@100 clOrdId=c1 cumLots=4 cumCost=400'],
  },
  {
    name: 'a cancel in the middle of a level leaves its neighbours in order',
    steps: [limit('SELL', 1, 100), limit('SELL', 2, 100), limit('SELL', 3, 100), cancel(2), market('BUY', 4, 100)],
    reports: [
      'New/New #5 BUY 4@undefined leavesLots=4',
      'Trade/PartiallyFilled #5 BUY 4@undefined lastLots=1 lastTicks=100 leavesLots=3 cumLots=1 cumCost=100 liquidity=TAKER fee=1',
      'Trade/Filled #1 SELL 1@100 lastLots=1 lastTicks=100 cumLots=1 cumCost=100 liquidity=MAKER',
      'Trade/Filled #5 BUY 4@undefined lastLots=3 lastTicks=100 cumLots=4 cumCost=400 liquidity=TAKER fee=3',
      'Trade/Filled #3 SELL 3@100 lastLots=3 lastTicks=100 cumLots=3 cumCost=300 liquidity=MAKER fee=2',
    ],
  },
  {
    name: 'a cancel of a filled order says so',
    steps: [
      limit('BUY', 1, 100),
      limit('SELL', 1, 100),
      cancel(1, { clOrdId: 'c', origClOrdId: 'o', traceparent: 't' }),
    ],
    reports: [
      'CancelRejected/Filled clOrdId=c origClOrdId=o reason=ORDER_CLOSED text=order o-1 is not open: Filled traceparent=t echo={"orderId":"o-1"}',
    ],
  },
  {
    name: 'a cancel of a taker that was filled says so',
    steps: [limit('BUY', 1, 100), limit('SELL', 1, 100), cancel(2)],
    reports: ['CancelRejected/Filled reason=ORDER_CLOSED text=order o-2 is not open: Filled echo={"orderId":"o-2"}'],
  },
  {
    name: 'a second cancel of an order finds it canceled',
    steps: [limit('BUY', 1, 100), cancel(1), cancel(1)],
    reports: [
      'CancelRejected/Canceled reason=ORDER_CLOSED text=order o-1 is not open: Canceled echo={"orderId":"o-1"}',
    ],
  },
  {
    name: 'a cancel of an expired order says so',
    steps: [market('BUY', 1, 100), cancel(1)],
    reports: ['CancelRejected/Expired reason=ORDER_CLOSED text=order o-1 is not open: Expired echo={"orderId":"o-1"}'],
  },
  {
    name: 'a cancel of an order nobody remembers',
    steps: [limit('BUY', 1, 100), cancel(1), cancel(1 + 2 ** 17)],
    reports: [
      'CancelRejected/Rejected reason=ORDER_CLOSED text=order o-131073 is not open echo={"orderId":"o-131073"}',
    ],
  },
  {
    name: 'less quantity at the same price keeps priority',
    steps: [
      limit('SELL', 10, 100, { clOrdId: 'a' }),
      limit('SELL', 10, 100),
      replace(1, { quantityLots: 5, clOrdId: 'b', traceparent: 't' }),
    ],
    reports: ['Replaced/New #1 SELL 5@100 clOrdId=b origClOrdId=a leavesLots=5 traceparent=t'],
    asks: [[100, 15]],
  },
  {
    name: 'after less quantity it is still met first, under its new clOrdId',
    steps: [
      limit('SELL', 10, 100, { clOrdId: 'a' }),
      limit('SELL', 10, 100),
      replace(1, { quantityLots: 5, clOrdId: 'b' }),
      limit('BUY', 2, 100),
      cancel(1),
    ],
    reports: ['Canceled/Canceled #1 SELL 5@100 clOrdId=b cumLots=2 cumCost=200'],
    asks: [[100, 10]],
  },
  {
    name: 'more quantity loses priority',
    steps: [
      limit('SELL', 10, 100),
      limit('SELL', 10, 100),
      replace(1, { quantityLots: 11, priceTicks: 100 }),
      limit('BUY', 1, 100),
    ],
    reports: [
      'New/New #4 BUY 1@100 leavesLots=1',
      'Trade/Filled #4 BUY 1@100 lastLots=1 lastTicks=100 cumLots=1 cumCost=100 liquidity=TAKER fee=1',
      'Trade/PartiallyFilled #2 SELL 10@100 lastLots=1 lastTicks=100 leavesLots=9 cumLots=1 cumCost=100 liquidity=MAKER',
    ],
    asks: [[100, 20]],
  },
  {
    name: 'the same quantity at the same price loses priority',
    steps: [
      limit('SELL', 10, 100),
      limit('SELL', 10, 100),
      replace(1, { expireUs: 7 }),
      limit('BUY', 10, 100),
      cancel(2),
    ],
    reports: ['CancelRejected/Filled reason=ORDER_CLOSED text=order o-2 is not open: Filled echo={"orderId":"o-2"}'],
    asks: [[100, 10]],
  },
  {
    name: 'a new price moves the order',
    steps: [limit('SELL', 10, 100), limit('SELL', 10, 101), replace(1, { priceTicks: 101, quantityLots: 4 })],
    reports: ['Replaced/New #1 SELL 4@101 leavesLots=4'],
    asks: [[101, 14]],
  },
  {
    name: 'a replaced order may take at its new price; quantity is the total',
    steps: [
      limit('BUY', 10, 100, { traceparent: 'o' }),
      limit('SELL', 4, 100),
      limit('SELL', 5, 102, { traceparent: 'm' }),
      replace(1, { quantityLots: 12, priceTicks: 103, clOrdId: 'r', traceparent: 't' }),
    ],
    reports: [
      'Replaced/PartiallyFilled #1 BUY 12@103 clOrdId=r leavesLots=8 cumLots=4 cumCost=400 traceparent=t',
      'Trade/PartiallyFilled #1 BUY 12@103 lastLots=5 lastTicks=102 leavesLots=3 cumLots=9 cumCost=910 liquidity=TAKER fee=5 traceparent=t',
      'Trade/Filled #3 SELL 5@102 lastLots=5 lastTicks=102 cumLots=5 cumCost=510 liquidity=MAKER fee=3',
    ],
    bids: [[103, 3]],
  },
  {
    name: 'a replaced order that is filled as a taker is closed',
    steps: [limit('BUY', 4, 100), limit('SELL', 4, 101), replace(1, { priceTicks: 101 })],
    reports: [
      'Replaced/New #1 BUY 4@101 leavesLots=4',
      'Trade/Filled #1 BUY 4@101 lastLots=4 lastTicks=101 cumLots=4 cumCost=404 liquidity=TAKER fee=4',
      'Trade/Filled #2 SELL 4@101 lastLots=4 lastTicks=101 cumLots=4 cumCost=404 liquidity=MAKER fee=2',
    ],
  },
  {
    name: 'a total that is no more than what is filled is refused',
    steps: [
      limit('BUY', 10, 100, { clOrdId: 'a' }),
      limit('SELL', 4, 100),
      replace(1, { quantityLots: 4, clOrdId: 'b', traceparent: 't' }),
    ],
    reports: [
      'ReplaceRejected/PartiallyFilled #1 BUY 10@100 clOrdId=b origClOrdId=a leavesLots=6 cumLots=4 cumCost=400 reason=ORDER_QUANTITY_BELOW_FILLED text=quantity 0.4 must be more than the 0.4 filled traceparent=t',
    ],
    bids: [[100, 6]],
  },
  {
    name: 'one lot more than what is filled is accepted',
    steps: [limit('BUY', 10, 100), limit('SELL', 4, 100), replace(1, { quantityLots: 5 })],
    reports: ['Replaced/PartiallyFilled #1 BUY 5@100 leavesLots=1 cumLots=4 cumCost=400'],
    bids: [[100, 1]],
  },
  {
    name: 'a postOnly is not replaced into taking',
    steps: [limit('SELL', 4, 100), limit('BUY', 4, 98, { postOnly: true }), replace(2, { priceTicks: 100 })],
    reports: [
      'ReplaceRejected/New #2 BUY 4@98 leavesLots=4 reason=ORDER_WOULD_TAKE text=postOnly BUY at 50 would take the opposing 50',
    ],
    bids: [[98, 4]],
    asks: [[100, 4]],
  },
  {
    name: 'a replace of a closed order is refused',
    steps: [limit('BUY', 4, 100), cancel(1), replace(1, { priceTicks: 101, clOrdId: 'b', origClOrdId: 'a' })],
    reports: [
      'ReplaceRejected/Canceled clOrdId=b origClOrdId=a reason=ORDER_CLOSED text=order o-1 is not open: Canceled echo={"orderId":"o-1"}',
    ],
  },
  {
    name: 'a mass cancel of an account, in numeric order although a replace changed priorities',
    steps: [
      limit('BUY', 4, 100, { clOrdId: 'a' }),
      limit('BUY', 4, 100, { account: 'bob' }),
      limit('SELL', 4, 110, { symbol: 'XYZ' }),
      replace(1, { quantityLots: 5 }),
      massCancel({ account: 'alice', clOrdId: 'm', traceparent: 't' }),
    ],
    reports: [
      'Canceled/Canceled #1 BUY 5@100 clOrdId=m origClOrdId=a traceparent=t',
      'Canceled/Canceled #3 SELL 4@110 clOrdId=m traceparent=t',
    ],
    bids: [[100, 4]],
  },
  {
    name: 'a mass cancel of one side of one symbol',
    steps: [
      limit('BUY', 4, 100),
      limit('SELL', 4, 110),
      limit('BUY', 4, 100, { symbol: 'XYZ' }),
      massCancel({ account: 'alice', symbol: 'ABC', side: 'BUY' }),
    ],
    reports: ['Canceled/Canceled #1 BUY 4@100'],
    asks: [[110, 4]],
  },
  {
    name: 'a mass cancel of a symbol for all accounts sorts over both sides',
    steps: [
      limit('SELL', 4, 110, { account: 'bob' }),
      limit('BUY', 4, 100),
      limit('BUY', 4, 100, { symbol: 'XYZ' }),
      massCancel({ symbol: 'ABC' }),
    ],
    reports: ['Canceled/Canceled #1 SELL 4@110', 'Canceled/Canceled #2 BUY 4@100'],
  },
  {
    name: 'a mass cancel of everything',
    steps: [limit('BUY', 4, 100, { symbol: 'XYZ' }), limit('SELL', 4, 110, { account: 'bob' }), massCancel({})],
    reports: ['Canceled/Canceled #1 BUY 4@100', 'Canceled/Canceled #2 SELL 4@110'],
  },
  {
    name: 'a mass cancel that meets nothing has no report',
    steps: [limit('BUY', 4, 100), massCancel({ account: 'bob' })],
    reports: [],
    bids: [[100, 4]],
  },
  {
    name: 'a mass cancel of an unknown symbol has no report',
    steps: [limit('BUY', 4, 100), massCancel({ symbol: 'NONE' })],
    reports: [],
    bids: [[100, 4]],
  },
  {
    name: 'an order whose time has come expires under its own names',
    steps: [limit('BUY', 10, 100, { clOrdId: 'a', traceparent: 'o' }), limit('SELL', 4, 100), expire(1)],
    reports: ['Expired/Expired #1 BUY 10@100 cumLots=4 cumCost=400'],
  },
  { name: 'an expiry that comes too late has no report', steps: [market('BUY', 1, 100), expire(1)], reports: [] },
  {
    name: 'changed limits have no report',
    steps: [{ type: 'limits', revision: 3, key: 'default', limits: null }],
    reports: [],
  },
  {
    name: 'a refused order is echoed',
    steps: [
      reject({
        kind: 'new',
        reason: 'DUPLICATE_CL_ORD_ID',
        echo: { refOrderId: 'o-7', quantity: '1' },
        clOrdId: 'c',
        traceparent: 't',
      }),
    ],
    reports: [
      'Rejected/Rejected clOrdId=c reason=DUPLICATE_CL_ORD_ID text=why traceparent=t echo={"refOrderId":"o-7","quantity":"1"}',
    ],
  },
  {
    name: 'a refused cancel shows the open order it names',
    steps: [
      limit('BUY', 10, 100, { clOrdId: 'a' }),
      limit('SELL', 4, 100),
      reject({ kind: 'cancel', reason: 'INVALID_FIELD', echo: { orderId: 'o-1' }, clOrdId: 'c' }),
    ],
    reports: [
      'CancelRejected/PartiallyFilled #1 BUY 10@100 clOrdId=c origClOrdId=a leavesLots=6 cumLots=4 cumCost=400 reason=INVALID_FIELD text=why',
    ],
    bids: [[100, 6]],
  },
  {
    name: 'a refused replace shows the open order it names',
    steps: [
      limit('BUY', 10, 100, { clOrdId: 'a' }),
      reject({ kind: 'replace', reason: 'RISK_MAX_QUANTITY', echo: { orderId: 'o-1' } }),
    ],
    reports: ['ReplaceRejected/New #1 BUY 10@100 clOrdId=a leavesLots=10 reason=RISK_MAX_QUANTITY text=why'],
    bids: [[100, 10]],
  },
  {
    name: 'and so it does to its own account',
    steps: [
      limit('BUY', 10, 100),
      reject({ kind: 'cancel', reason: 'INVALID_FIELD', echo: { orderId: 'o-1', account: 'alice' } }),
    ],
    reports: ['CancelRejected/New #1 BUY 10@100 leavesLots=10 reason=INVALID_FIELD text=why'],
    bids: [[100, 10]],
  },
  ...(['ORDER_NOT_OWNED', 'ACCOUNT_MISMATCH', 'INVALID_FIELD', 'SYSTEM_STORAGE'] as const).map((reason): Row => ({
    name: `a replace refused as ${reason} does not show the order to another account`,
    steps: [limit('BUY', 10, 100), reject({ kind: 'replace', reason, echo: { orderId: 'o-1', account: 'bob' } })],
    reports: [`ReplaceRejected/Rejected reason=${reason} text=why echo={"orderId":"o-1","account":"bob"}`],
    bids: [[100, 10]],
  })),
  {
    name: 'a cancel refused as closed says how the order ended',
    steps: [
      limit('BUY', 10, 100),
      cancel(1),
      reject({ kind: 'cancel', reason: 'ORDER_CLOSED', echo: { orderId: 'o-1', origClOrdId: 'a' } }),
    ],
    reports: [
      'CancelRejected/Canceled origClOrdId=a reason=ORDER_CLOSED text=why echo={"orderId":"o-1","origClOrdId":"a"}',
    ],
  },
  {
    name: 'a cancel refused for another reason does not',
    steps: [
      limit('BUY', 10, 100),
      cancel(1),
      reject({ kind: 'cancel', reason: 'ORDER_NOT_OWNED', echo: { orderId: 'o-1' } }),
    ],
    reports: ['CancelRejected/Rejected reason=ORDER_NOT_OWNED text=why echo={"orderId":"o-1"}'],
  },
  {
    name: 'a refused mass cancel',
    steps: [reject({ kind: 'mass_cancel', reason: 'INVALID_FIELD', echo: { account: 'alice' } })],
    reports: ['CancelRejected/Rejected reason=INVALID_FIELD text=why echo={"account":"alice"}'],
  },
]

for (const { name, steps, reports, bids = [], asks = [] } of rows)
  void t.test(`P1.11 ${name}`, (t) => {
    const matcher = newMatcher()
    t.strictSame(play(matcher, steps), reports)
    t.strictSame(matcher.depth('ABC', 10), { bids, asks })
    t.end()
  })

void t.test('P1.11 open orders, last trade and depth can be asked for', (t) => {
  const matcher = newMatcher()
  t.equal(matcher.lastTradeTicks('ABC'), undefined)
  play(matcher, [
    limit('BUY', 1, 98),
    limit('BUY', 1, 99),
    limit('BUY', 5, 100),
    limit('BUY', 1, 100, { account: 'bob' }),
    limit('BUY', 2, 100),
    limit('SELL', 2, 100, { account: 'bob' }),
  ])
  t.strictSame(
    Array.from(matcher.openOrdersOf('alice'), ({ orderNumber }) => orderNumber),
    [1, 2, 3, 5],
  )
  t.strictSame([...matcher.openOrdersOf('carol')], [])
  t.equal(matcher.order(3)?.leavesLots, 3)
  t.equal(matcher.order(6), undefined, 'a filled order is not open')
  t.equal(matcher.lastTradeTicks('ABC'), 100)
  t.strictSame(matcher.depth('ABC', 2), {
    bids: [
      [100, 6],
      [99, 1],
    ],
    asks: [],
  })
  t.strictSame(matcher.depth('NONE', 2), { bids: [], asks: [] })
  t.equal(matcher.instrument('ABC')?.symbol, 'ABC')
  t.equal(matcher.instrument('NONE'), undefined)
  t.end()
})

void t.test('P1.11 a redefinition changes fees from then on, and never the units', (t) => {
  const matcher = newMatcher()
  matcher.define({ ...definition, takerFeeRate: '0.004', collarBps: 100 })
  const [, taker = ''] = play(matcher, [limit('BUY', 10, 100), limit('SELL', 10, 100)])
  t.match(taker, / fee=20$/)
  for (const change of [{ tick: '0.25' }, { lot: '0.01' }, { quoteScale: 3 }])
    t.throws(() => matcher.define({ ...definition, ...change }), /cannot change/)
  t.end()
})

void t.test('P1.11 sums beyond 2^53 stay exact', (t) => {
  const matcher = newMatcher()
  const ticks = 9e15 - 1
  const lines = play(matcher, [
    limit('SELL', 9e15, ticks),
    limit('SELL', 9e15 - 1, ticks),
    limit('BUY', 9e15, ticks, { timeInForce: 'FOK' }),
    limit('SELL', 2, ticks),
    limit('BUY', 9e15 - 2, ticks),
  ])
  t.match(lines[1], `cumCost=${(9n * 10n ** 15n - 2n) * (9n * 10n ** 15n - 1n)} `)
  t.strictSame(matcher.depth('ABC', 1).asks, [[ticks, 3]])
  play(matcher, [])
  for (const srcSeq of [6, 7]) matcher.apply({ ...limit('SELL', 9e15, ticks), cmdSeq: srcSeq, srcSeq, timeUs: 0 })
  matcher.checkInvariants()
  t.strictSame(matcher.depth('ABC', 1).asks, [[ticks, 18_000_000_000_000_003n]])
  t.end()
})

void t.test('P1.11 records that the gate never lets through are bugs', (t) => {
  const bugs: [string, Step][] = [
    ['an unknown symbol', limit('BUY', 1, 1, { symbol: 'NONE' })],
    ['a STOP without its stop price', limit('BUY', 1, 1, { ordType: 'STOP', protectionTicks: 1 })],
    ['a TRAILING_STOP without an offset', limit('BUY', 2, 1, { ordType: 'TRAILING_STOP', stopTicks: 1 })],
    ['a MARKET without protection', limit('BUY', 1, 1, { ordType: 'MARKET' })],
  ]
  for (const [name, step] of bugs) t.throws(() => play(newMatcher(), [step]), { name: 'BugError' }, name)
  const matcher = newMatcher()
  play(matcher, [limit('BUY', 1, 100)])
  t.throws(() => play(matcher, [limit('BUY', 1, 100)]), { name: 'BugError' }, 'an order number that is open')
  t.end()
})

/** Records over few orders, prices and accounts, so that everything meets. */
const steps = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(
          fc.constantFrom<Side>('BUY', 'SELL'),
          fc.integer({ min: 1, max: 9 }),
          fc.integer({ min: 1, max: 400 }),
          fc.constantFrom('alice', 'bob'),
        )
        .map(([side, lots, ticks, account]) => limit(side, lots, ticks, { account })),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom<Side>('BUY', 'SELL'), fc.integer({ min: 1, max: 9 }))
        .map(([side, lots]) => market(side, lots, side === 'BUY' ? 400 : 1)),
    },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 300 }).map((target) => cancel(target)) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 9 }))
        .map(([target, quantityLots]) => replace(target, { quantityLots })),
    },
  ),
  { maxLength: 600, size: 'max' },
)

void t.test('P1.11 equal records give equal reports and an equal state hash', (t) => {
  fc.assert(
    fc.property(steps, (list) => {
      const [one, other] = [newMatcher(), newMatcher()]
      return play(one, list).join() === play(other, list).join() && one.stateHash() === other.stateHash()
    }),
    { numRuns: 30 },
  )
  t.end()
})

void t.test('P1.11 the hash tells states apart', (t) => {
  const base = [limit('BUY', 10, 100, { clOrdId: 'a' }), limit('BUY', 10, 100)]
  const states: Record<string, readonly Step[]> = {
    empty: [],
    base,
    price: [limit('BUY', 10, 99, { clOrdId: 'a' }), limit('BUY', 10, 100)],
    quantity: [limit('BUY', 11, 100, { clOrdId: 'a' }), limit('BUY', 10, 100)],
    account: [limit('BUY', 10, 100, { clOrdId: 'a', account: 'bob' }), limit('BUY', 10, 100)],
    clOrdId: [limit('BUY', 10, 100, { clOrdId: 'b' }), limit('BUY', 10, 100)],
    traceparent: [limit('BUY', 10, 100, { clOrdId: 'a', traceparent: 't' }), limit('BUY', 10, 100)],
    postOnly: [limit('BUY', 10, 100, { clOrdId: 'a', postOnly: true }), limit('BUY', 10, 100)],
    expiry: [limit('BUY', 10, 100, { clOrdId: 'a', expireUs: 9 }), limit('BUY', 10, 100)],
    'expiry replaced': [...base, replace(1, { quantityLots: 9, expireUs: 9 })],
    'quantity replaced': [...base, replace(1, { quantityLots: 9 })],
    priority: [...base, replace(1, { quantityLots: 10 })],
    filled: [...base, market('SELL', 1, 1)],
    canceled: [...base, limit('BUY', 1, 1), cancel(3)],
    expired: [...base, limit('BUY', 1, 1), expire(3)],
  }
  const hashes = new Map(
    Object.entries(states).map(([name, list]) => {
      const matcher = newMatcher()
      play(matcher, list)
      return [matcher.stateHash(), name]
    }),
  )
  t.strictSame([...hashes.values()], Object.keys(states))
  const cheaper = newMatcher()
  cheaper.define({ ...definition, makerFeeRate: '0' })
  t.not(cheaper.stateHash(), newMatcher().stateHash(), 'fees')
  t.end()
})

void t.test('P1.11 levels far apart and many: insertion and removal anywhere keep the book sorted', (t) => {
  const matcher = newMatcher()
  let srcSeq = 0
  const apply = (step: Step) => matcher.apply({ ...step, cmdSeq: (srcSeq += 1), srcSeq, timeUs: 0 })
  // 7,919 is prime: every price from 1 to 5,000 comes once, all over the place.
  for (let count = 1; count <= 5_000; count += 1) apply(limit('SELL', 1, 1 + ((count * 7_919) % 5_000)))
  matcher.checkInvariants()
  t.strictSame(
    matcher.depth('ABC', 6_000).asks.map(([ticks]) => ticks),
    Array.from({ length: 5_000 }, (_, index) => 1 + index),
  )
  for (let target = 1; target <= 5_000; target += 1) if (target % 10 > 0) apply(cancel(target))
  matcher.checkInvariants()
  t.equal(matcher.depth('ABC', 6_000).asks.length, 500)
  // All of the worst prices go; a worse one than any that is left comes.
  for (const [ticks] of matcher.depth('ABC', 6_000).asks.slice(100))
    for (const { orderNumber, priceTicks } of matcher.openOrdersOf('alice'))
      if (priceTicks === ticks) apply(cancel(orderNumber))
  apply(limit('SELL', 1, 5_000))
  matcher.checkInvariants()
  t.strictSame(matcher.depth('ABC', 6_000).asks.at(-1), [5_000, 1])
  apply(market('BUY', 100, 5_000))
  t.strictSame(matcher.depth('ABC', 9).asks.length, 1)
  apply(massCancel({}))
  matcher.checkInvariants()
  t.strictSame(matcher.depth('ABC', 9), { bids: [], asks: [] })
  t.end()
})

void t.test('P1.11 fees are exact: half-even of the rational product', (t) => {
  const lots = fc.oneof(fc.integer({ min: 1, max: 1e4 }), fc.double({ min: 1, max: 9e15, noNaN: true }).map(Math.floor))
  const unit = fc.tuple(fc.integer({ min: 1, max: 9_999 }), fc.integer({ min: 0, max: 9 }))
  const rate = fc.tuple(fc.integer({ min: 0, max: 99 }), fc.integer({ min: 2, max: 9 }))
  const text = ([mantissa, scale]: [number, number]) =>
    scale === 0
      ? String(mantissa)
      : `${Math.floor(mantissa / 10 ** scale)}.${String(mantissa % 10 ** scale).padStart(scale, '0')}`
  const seen = { number: 0, bigint: 0, half: 0 }
  fc.assert(
    fc.property(
      lots,
      lots,
      unit,
      unit,
      rate,
      fc.integer({ min: 0, max: 12 }),
      (lots, ticks, tick, lot, rate, quoteScale) => {
        const instrument = instrumentFrom({
          ...definition,
          tick: text(tick),
          lot: text(lot),
          takerFeeRate: text(rate),
          quoteScale,
        })
        const dividend =
          2n *
          BigInt(lots) *
          BigInt(ticks) *
          BigInt(tick[0]) *
          BigInt(lot[0]) *
          BigInt(rate[0]) *
          10n ** BigInt(quoteScale)
        const divisor = 10n ** BigInt(tick[1] + lot[1] + rate[1])
        const fee = feeOf(lots, ticks, instrument, 'TAKER')
        // |2 × product − 2 × fee × divisor| ≤ divisor, and even when it is just that.
        const off = dividend - 2n * BigInt(fee) * divisor
        const distance = off < 0n ? -off : off
        seen[typeof fee as 'number' | 'bigint'] += 1
        if (distance === divisor) seen.half += 1
        t.equal(typeof fee, BigInt(fee) <= Number.MAX_SAFE_INTEGER ? 'number' : 'bigint')
        return distance < divisor || (distance === divisor && BigInt(fee) % 2n === 0n)
      },
    ),
    { numRuns: 5_000 },
  )
  t.ok(seen.number > 500 && seen.bigint > 500 && seen.half > 5, JSON.stringify(seen))
  t.end()
})

const feeRows: readonly [
  lots: number,
  ticks: number,
  change: Partial<InstrumentDefinition>,
  fee: Exact,
  name: string,
][] = [
  [10, 100, {}, 10, 'plain'],
  [5, 100, { takerFeeRate: '0.001' }, 2, '2.5 cents to the even 2'],
  [15, 100, { takerFeeRate: '0.001' }, 8, '7.5 cents to the even 8'],
  [1, 1, {}, 0, 'less than half a cent'],
  [9e15, 9e15, { takerFeeRate: '0' }, 0, 'no fee on anything'],
  [9e15, 9e15, {}, (81n * 10n ** 30n) / 100n, 'beyond a double'],
  [
    100_000_000,
    10_000_000,
    { tick: '0.01', lot: '0.00000001', quoteScale: 8, takerFeeRate: '0.0012' },
    12_000_000_000,
    '1 BTC at 100,000',
  ],
  [3, 7, { quoteScale: 12 }, 2_100_000_000, 'finer than the product'],
]
for (const [lots, ticks, change, fee, name] of feeRows)
  void t.test(`P1.11 fee: ${name}`, (t) => {
    t.equal(feeOf(lots, ticks, instrumentFrom({ ...definition, ...change }), 'TAKER'), fee)
    t.end()
  })
