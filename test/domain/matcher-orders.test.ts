import t from 'tap'
import type { Exact } from '../../src/base/decimal.ts'
import { Matcher } from '../../src/domain/matcher.ts'
import type { Side, StpMode } from '../../src/schemas/enums.ts'
import type { ReportValue } from '../../src/schemas/execution.ts'
import type { InstrumentDefinition } from '../../src/schemas/instrument.ts'
import type { NewRecord, ReplaceRecord, RiskRecord } from '../../src/schemas/risk.ts'

/** A stop at 100 is protected at 105 (buy) or 95 (sell). */
const definition: InstrumentDefinition = {
  symbol: 'ABC',
  tick: '1',
  lot: '1',
  quoteScale: 2,
  makerFeeRate: '0',
  takerFeeRate: '0',
  collarBps: 500,
}

/** What a row gives; cmdSeq and srcSeq are its place in the list, from 1. */
type Step = RiskRecord extends infer R
  ? R extends RiskRecord
    ? Omit<R, 'cmdSeq' | 'srcSeq' | 'timeUs'>
    : never
  : never

type More = Partial<NewRecord>

const order = (account: string, side: Side, quantityLots: number, more: More): Step => ({
  type: 'new',
  account,
  symbol: 'ABC',
  side,
  ordType: 'LIMIT',
  timeInForce: 'GTC',
  quantityLots,
  ...more,
})
const buy = (account: string, lots: number, priceTicks: number, more: More = {}) =>
  order(account, 'BUY', lots, { priceTicks, ...more })
const sell = (account: string, lots: number, priceTicks: number, more: More = {}) =>
  order(account, 'SELL', lots, { priceTicks, ...more })
const stop = (account: string, side: Side, lots: number, stopTicks: number, more: More = {}) =>
  order(account, side, lots, { ordType: 'STOP', stopTicks, ...more })
const stopLimit = (account: string, side: Side, lots: number, stopTicks: number, priceTicks: number, more: More = {}) =>
  order(account, side, lots, { ordType: 'STOP_LIMIT', stopTicks, priceTicks, ...more })
/** `stopTicks`: where the gate would start it. */
const trailing = (account: string, side: Side, lots: number, trailingTicks: number, stopTicks: number) =>
  order(account, side, lots, { ordType: 'TRAILING_STOP', trailingTicks, stopTicks })
const replace = (target: number, change: Partial<ReplaceRecord>): Step => ({ type: 'replace', target, ...change })
/** Two records: one lot changes hands at this price. */
const trade = (priceTicks: number): Step[] => [sell('maker', 1, priceTicks), buy('taker', 1, priceTicks)]
/** Two records: after them the account holds so much, bought at 100. */
const long = (account: string, lots: number): Step[] => [sell('maker', lots, 100), buy(account, lots, 100)]

/** What a report says of its order: `Trade #7 BUY 2@100 leaves 3`. */
function lineOf({ execType, order, lastLots, lastTicks, leavesLots, reason, text }: ReportValue): string {
  const fill = lastLots > 0 ? ` ${lastLots}@${lastTicks}` : ''
  const why = reason === undefined ? '' : ` ${reason}: ${text ?? ''}`
  return `${execType} #${order?.orderNumber ?? '-'} ${order?.side ?? ''}${fill} leaves ${leavesLots}${why}`
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

const stops: readonly Row[] = [
  {
    name: 'a stop waits outside the book',
    steps: [...trade(100), stop('a', 'BUY', 5, 101)],
    reports: ['New #3 BUY leaves 5'],
  },
  {
    name: 'before any trade nothing is through',
    steps: [sell('m', 5, 100), stop('a', 'BUY', 5, 1)],
    reports: ['New #2 BUY leaves 5'],
    asks: [[100, 5]],
  },
  {
    name: 'a buy STOP triggers at its price, takes like a MARKET up to the collar; the rest expires',
    steps: [stop('a', 'BUY', 9, 100), sell('m', 2, 105), sell('m', 2, 106), ...trade(100)],
    reports: [
      'New #5 BUY leaves 1',
      'Trade #5 BUY 1@100 leaves 0',
      'Trade #4 SELL 1@100 leaves 0',
      'Triggered #1 BUY leaves 9',
      'Trade #1 BUY 2@105 leaves 7',
      'Trade #2 SELL 2@105 leaves 0',
      'Expired #1 BUY leaves 0',
    ],
    asks: [[106, 2]],
  },
  {
    name: 'a sell STOP triggers at its price, and is protected at 95',
    steps: [stop('a', 'SELL', 9, 100), buy('m', 2, 95), buy('m', 2, 94), ...trade(100)],
    reports: [
      'New #5 BUY leaves 1',
      'Trade #5 BUY 1@100 leaves 0',
      'Trade #4 SELL 1@100 leaves 0',
      'Triggered #1 SELL leaves 9',
      'Trade #1 SELL 2@95 leaves 7',
      'Trade #2 BUY 2@95 leaves 0',
      'Expired #1 SELL leaves 0',
    ],
    bids: [[94, 2]],
  },
  {
    name: 'a FOK STOP that cannot fill expires whole at its trigger',
    steps: [stop('a', 'BUY', 9, 100, { timeInForce: 'FOK' }), sell('m', 8, 101), ...trade(100)],
    reports: [
      'New #4 BUY leaves 1',
      'Trade #4 BUY 1@100 leaves 0',
      'Trade #3 SELL 1@100 leaves 0',
      'Triggered #1 BUY leaves 9',
      'Expired #1 BUY leaves 0',
    ],
    asks: [[101, 8]],
  },
  {
    name: 'any trade of a record triggers, not only its last',
    steps: [stop('a', 'SELL', 1, 99), buy('m', 1, 101), buy('m', 1, 99), buy('m', 1, 97), sell('t', 2, 99)],
    reports: [
      'New #5 SELL leaves 2',
      'Trade #5 SELL 1@101 leaves 1',
      'Trade #2 BUY 1@101 leaves 0',
      'Trade #5 SELL 1@99 leaves 0',
      'Trade #3 BUY 1@99 leaves 0',
      'Triggered #1 SELL leaves 1',
      'Trade #1 SELL 1@97 leaves 0',
      'Trade #4 BUY 1@97 leaves 0',
    ],
  },
  {
    name: 'already through at entry: triggers at once',
    steps: [...trade(100), sell('m', 1, 101), stop('a', 'BUY', 1, 100)],
    reports: [
      'New #4 BUY leaves 1',
      'Triggered #4 BUY leaves 1',
      'Trade #4 BUY 1@101 leaves 0',
      'Trade #3 SELL 1@101 leaves 0',
    ],
  },
  {
    name: 'a STOP_LIMIT rests with time priority from its trigger',
    steps: [stopLimit('a', 'BUY', 2, 100, 99), buy('m', 3, 99), ...trade(100), sell('t', 4, 99)],
    reports: [
      'New #5 SELL leaves 4',
      'Trade #5 SELL 3@99 leaves 1',
      'Trade #2 BUY 3@99 leaves 0',
      'Trade #5 SELL 1@99 leaves 0',
      'Trade #1 BUY 1@99 leaves 1',
    ],
    bids: [[99, 1]],
  },
  {
    name: 'an IOC STOP_LIMIT waits, and expires at its trigger',
    steps: [stopLimit('a', 'BUY', 2, 100, 99, { timeInForce: 'IOC' }), ...trade(100)],
    reports: [
      'New #3 BUY leaves 1',
      'Trade #3 BUY 1@100 leaves 0',
      'Trade #2 SELL 1@100 leaves 0',
      'Triggered #1 BUY leaves 2',
      'Expired #1 BUY leaves 0',
    ],
  },
  {
    name: 'rounds: all triggered so far by number, then those that these trigger, whatever their number',
    steps: [
      stop('a', 'BUY', 1, 102),
      stop('a', 'BUY', 1, 101),
      stop('a', 'BUY', 1, 101),
      ...[102, 102, 102].map((ticks) => sell('m', 1, ticks)),
      ...trade(101),
    ],
    reports: [
      'New #8 BUY leaves 1',
      'Trade #8 BUY 1@101 leaves 0',
      'Trade #7 SELL 1@101 leaves 0',
      'Triggered #2 BUY leaves 1',
      'Trade #2 BUY 1@102 leaves 0',
      'Trade #4 SELL 1@102 leaves 0',
      'Triggered #3 BUY leaves 1',
      'Trade #3 BUY 1@102 leaves 0',
      'Trade #5 SELL 1@102 leaves 0',
      'Triggered #1 BUY leaves 1',
      'Trade #1 BUY 1@102 leaves 0',
      'Trade #6 SELL 1@102 leaves 0',
    ],
  },
  {
    name: 'the taker is done before its stops begin',
    steps: [stop('a', 'SELL', 1, 100), buy('m', 1, 100), buy('m', 1, 99), sell('t', 2, 98)],
    reports: [
      'New #4 SELL leaves 2',
      'Trade #4 SELL 1@100 leaves 1',
      'Trade #2 BUY 1@100 leaves 0',
      'Trade #4 SELL 1@99 leaves 0',
      'Trade #3 BUY 1@99 leaves 0',
      'Triggered #1 SELL leaves 1',
      'Expired #1 SELL leaves 0',
    ],
  },
  {
    name: 'a waiting stop is cancelled',
    steps: [stop('a', 'BUY', 5, 101), { type: 'cancel', target: 1 }],
    reports: ['Canceled #1 BUY leaves 0'],
  },
  {
    name: 'a waiting TRAILING_STOP is mass-cancelled with the rest of its symbol',
    steps: [buy('a', 1, 90), trailing('b', 'SELL', 5, 10, 90), { type: 'massCancel', symbol: 'ABC' }],
    reports: ['Canceled #1 BUY leaves 0', 'Canceled #2 SELL leaves 0'],
  },
  {
    name: 'a waiting stop expires',
    steps: [stop('a', 'BUY', 5, 101, { timeInForce: 'DAY', expireUs: 5 }), { type: 'expire', target: 1 }],
    reports: ['Expired #1 BUY leaves 0'],
  },
  {
    name: 'a replaced stop price that a trade is through triggers at once',
    steps: [...trade(100), sell('m', 2, 103), stop('a', 'BUY', 2, 110), replace(4, { stopTicks: 100 })],
    reports: [
      'Replaced #4 BUY leaves 2',
      'Triggered #4 BUY leaves 2',
      'Trade #4 BUY 2@103 leaves 0',
      'Trade #3 SELL 2@103 leaves 0',
    ],
  },
  {
    name: 'a replaced stop price that is not reached waits',
    steps: [...trade(100), stop('a', 'BUY', 2, 110), replace(3, { stopTicks: 101, quantityLots: 7 })],
    reports: ['Replaced #3 BUY leaves 7'],
  },
  {
    name: 'after its trigger a stop price is refused',
    steps: [...trade(100), stopLimit('a', 'BUY', 2, 100, 99), replace(3, { stopTicks: 101 })],
    reports: [
      'ReplaceRejected #3 BUY leaves 2 INVALID_FIELD: stopPrice 101: the STOP_LIMIT has been triggered already',
    ],
    bids: [[99, 2]],
  },
  {
    name: 'the stop price of a TRAILING_STOP is refused',
    steps: [trailing('a', 'BUY', 2, 5, 100), replace(1, { stopTicks: 101 })],
    reports: ['ReplaceRejected #1 BUY leaves 2 INVALID_FIELD: stopPrice 101: the TRAILING_STOP follows the market'],
  },
  {
    name: 'a LIMIT has no stop price to replace',
    steps: [buy('a', 2, 100), replace(1, { stopTicks: 101 })],
    reports: ['ReplaceRejected #1 BUY leaves 2 INVALID_FIELD: stopPrice 101: the LIMIT has none'],
    bids: [[100, 2]],
  },
  {
    name: 'a TRAILING_STOP follows up, never back, and triggers where the best trade brought it',
    steps: [
      ...trade(100),
      trailing('a', 'SELL', 1, 5, 1),
      ...trade(110),
      ...trade(106),
      buy('m', 1, 100),
      ...trade(105),
    ],
    reports: [
      'New #10 BUY leaves 1',
      'Trade #10 BUY 1@105 leaves 0',
      'Trade #9 SELL 1@105 leaves 0',
      'Triggered #3 SELL leaves 1',
      'Trade #3 SELL 1@100 leaves 0',
      'Trade #8 BUY 1@100 leaves 0',
    ],
  },
  {
    name: 'a TRAILING_STOP before any trade starts where the gate put it',
    steps: [trailing('a', 'BUY', 1, 5, 105), ...trade(105)],
    reports: [
      'New #3 BUY leaves 1',
      'Trade #3 BUY 1@105 leaves 0',
      'Trade #2 SELL 1@105 leaves 0',
      'Triggered #1 BUY leaves 1',
      'Expired #1 BUY leaves 0',
    ],
  },
  {
    name: 'a replaced quantity leaves a TRAILING_STOP where it is',
    steps: [
      ...trade(100),
      trailing('a', 'SELL', 1, 5, 1),
      ...trade(110),
      replace(3, { quantityLots: 4 }),
      ...trade(105),
    ],
    reports: [
      'New #8 BUY leaves 1',
      'Trade #8 BUY 1@105 leaves 0',
      'Trade #7 SELL 1@105 leaves 0',
      'Triggered #3 SELL leaves 4',
      'Expired #3 SELL leaves 0',
    ],
  },
]

const icebergs: readonly Row[] = [
  {
    name: 'the book shows the peak, reports the whole',
    steps: [sell('a', 10, 100, { displayLots: 3 })],
    reports: ['New #1 SELL leaves 10'],
    asks: [[100, 3]],
  },
  {
    name: 'the next peak goes to the back of its level',
    steps: [sell('a', 10, 100, { displayLots: 3 }), sell('m', 2, 100), buy('t', 3, 100), buy('t', 3, 100)],
    reports: [
      'New #4 BUY leaves 3',
      'Trade #4 BUY 2@100 leaves 1',
      'Trade #2 SELL 2@100 leaves 0',
      'Trade #4 BUY 1@100 leaves 0',
      'Trade #1 SELL 1@100 leaves 6',
    ],
    asks: [[100, 2]],
  },
  {
    name: 'the same taker meets it again',
    steps: [sell('a', 7, 100, { displayLots: 3 }), buy('t', 8, 100)],
    reports: [
      'New #2 BUY leaves 8',
      'Trade #2 BUY 3@100 leaves 5',
      'Trade #1 SELL 3@100 leaves 4',
      'Trade #2 BUY 3@100 leaves 2',
      'Trade #1 SELL 3@100 leaves 1',
      'Trade #2 BUY 1@100 leaves 1',
      'Trade #1 SELL 1@100 leaves 0',
    ],
    bids: [[100, 1]],
  },
  {
    name: 'a FOK counts what is hidden',
    steps: [sell('a', 4, 100, { displayLots: 3 }), buy('t', 4, 100, { timeInForce: 'FOK' })],
    reports: [
      'New #2 BUY leaves 4',
      'Trade #2 BUY 3@100 leaves 1',
      'Trade #1 SELL 3@100 leaves 1',
      'Trade #2 BUY 1@100 leaves 0',
      'Trade #1 SELL 1@100 leaves 0',
    ],
  },
  {
    name: 'it takes with its whole quantity, then shows a peak of the rest',
    steps: [sell('m', 5, 100), buy('a', 12, 100, { displayLots: 3 })],
    reports: ['New #2 BUY leaves 12', 'Trade #2 BUY 5@100 leaves 7', 'Trade #1 SELL 5@100 leaves 0'],
    bids: [[100, 3]],
  },
  {
    name: 'a displayed quantity of at least the quantity is a plain order',
    steps: [sell('a', 5, 100, { displayLots: 5 }), replace(1, { quantityLots: 9 })],
    reports: ['Replaced #1 SELL leaves 9'],
    asks: [[100, 9]],
  },
  {
    name: 'made smaller it keeps its place and what it shows',
    steps: [
      sell('a', 10, 100, { displayLots: 3 }),
      sell('m', 1, 100),
      buy('t', 1, 100),
      replace(1, { quantityLots: 4 }),
      buy('t', 3, 100),
    ],
    reports: [
      'New #5 BUY leaves 3',
      'Trade #5 BUY 2@100 leaves 1',
      'Trade #1 SELL 2@100 leaves 1',
      'Trade #5 BUY 1@100 leaves 0',
      'Trade #2 SELL 1@100 leaves 0',
    ],
    asks: [[100, 1]],
  },
  {
    name: 'made larger it goes to the back with a fresh peak',
    steps: [
      sell('a', 10, 100, { displayLots: 3 }),
      sell('m', 1, 100),
      buy('t', 1, 100),
      replace(1, { quantityLots: 12 }),
      buy('t', 1, 100),
    ],
    reports: ['New #5 BUY leaves 1', 'Trade #5 BUY 1@100 leaves 0', 'Trade #2 SELL 1@100 leaves 0'],
    asks: [[100, 3]],
  },
  {
    name: 'a triggered STOP_LIMIT may be one',
    steps: [stopLimit('a', 'BUY', 9, 100, 99, { displayLots: 2 }), ...trade(100)],
    reports: [
      'New #3 BUY leaves 1',
      'Trade #3 BUY 1@100 leaves 0',
      'Trade #2 SELL 1@100 leaves 0',
      'Triggered #1 BUY leaves 9',
    ],
    bids: [[99, 2]],
  },
  {
    name: 'more than 10,000 peaks are refused',
    steps: [sell('a', 20_001, 100, { displayLots: 2 })],
    reports: ['Rejected #1 SELL leaves 0 INVALID_FIELD: displayQuantity 2 is less than 1/10000 of the quantity 20001'],
  },
  {
    name: 'also when it is replaced',
    steps: [sell('a', 20_000, 100, { displayLots: 2 }), replace(1, { quantityLots: 20_001 })],
    reports: [
      'ReplaceRejected #1 SELL leaves 20000 INVALID_FIELD: displayQuantity 2 is less than 1/10000 of the quantity 20001',
    ],
    asks: [[100, 2]],
  },
]

const own = (stpMode: StpMode, more: More = {}) => [
  sell('m', 1, 100),
  sell('a', 2, 100),
  sell('m', 3, 101),
  buy('a', 4, 101, { stpMode, ...more }),
]

const selfTrades: readonly Row[] = [
  {
    name: 'NONE: an account may trade with itself',
    steps: own('NONE'),
    reports: [
      'New #4 BUY leaves 4',
      'Trade #4 BUY 1@100 leaves 3',
      'Trade #1 SELL 1@100 leaves 0',
      'Trade #4 BUY 2@100 leaves 1',
      'Trade #2 SELL 2@100 leaves 0',
      'Trade #4 BUY 1@101 leaves 0',
      'Trade #3 SELL 1@101 leaves 2',
    ],
    asks: [[101, 2]],
  },
  {
    name: 'EXPIRE_TAKER: the rest of the taker goes, the maker stays',
    steps: own('EXPIRE_TAKER'),
    reports: [
      'New #4 BUY leaves 4',
      'Trade #4 BUY 1@100 leaves 3',
      'Trade #1 SELL 1@100 leaves 0',
      'Expired #4 BUY leaves 0',
    ],
    asks: [
      [100, 2],
      [101, 3],
    ],
  },
  {
    name: 'EXPIRE_MAKER: the whole maker goes, the taker goes on',
    steps: own('EXPIRE_MAKER'),
    reports: [
      'New #4 BUY leaves 4',
      'Trade #4 BUY 1@100 leaves 3',
      'Trade #1 SELL 1@100 leaves 0',
      'Expired #2 SELL leaves 0',
      'Trade #4 BUY 3@101 leaves 0',
      'Trade #3 SELL 3@101 leaves 0',
    ],
  },
  {
    name: 'EXPIRE_BOTH: both go',
    steps: own('EXPIRE_BOTH'),
    reports: [
      'New #4 BUY leaves 4',
      'Trade #4 BUY 1@100 leaves 3',
      'Trade #1 SELL 1@100 leaves 0',
      'Expired #2 SELL leaves 0',
      'Expired #4 BUY leaves 0',
    ],
    asks: [[101, 3]],
  },
  {
    name: 'a FOK under EXPIRE_MAKER counts no own makers',
    steps: own('EXPIRE_MAKER', { timeInForce: 'FOK', quantityLots: 5 }),
    reports: ['New #4 BUY leaves 5', 'Expired #4 BUY leaves 0'],
    asks: [
      [100, 3],
      [101, 3],
    ],
  },
  {
    name: 'a FOK under EXPIRE_TAKER must fill before the first own order',
    steps: own('EXPIRE_TAKER', { timeInForce: 'FOK', quantityLots: 2 }),
    reports: ['New #4 BUY leaves 2', 'Expired #4 BUY leaves 0'],
    asks: [
      [100, 3],
      [101, 3],
    ],
  },
  {
    name: 'a failed FOK under EXPIRE_BOTH leaves the own maker',
    steps: own('EXPIRE_BOTH', { timeInForce: 'FOK', quantityLots: 2 }),
    reports: ['New #4 BUY leaves 2', 'Expired #4 BUY leaves 0'],
    asks: [
      [100, 3],
      [101, 3],
    ],
  },
  {
    name: 'a postOnly that meets only own orders would take',
    steps: [sell('a', 2, 100), buy('a', 2, 100, { postOnly: true, stpMode: 'EXPIRE_MAKER' })],
    reports: ['Rejected #2 BUY leaves 0 ORDER_WOULD_TAKE: postOnly BUY at 100 would take the opposing 100'],
    asks: [[100, 2]],
  },
  {
    name: 'the maker’s mode does not matter',
    steps: [sell('a', 2, 100, { stpMode: 'EXPIRE_BOTH' }), buy('a', 2, 100)],
    reports: ['New #2 BUY leaves 2', 'Trade #2 BUY 2@100 leaves 0', 'Trade #1 SELL 2@100 leaves 0'],
  },
]

const reduceOnly: More = { reduceOnly: true }

const reducing: readonly Row[] = [
  {
    name: 'flat: refused',
    steps: [sell('a', 5, 100, reduceOnly)],
    reports: ['Rejected #1 SELL leaves 0 ORDER_NOT_REDUCING: reduceOnly SELL: the position of ABC is 0'],
  },
  {
    name: 'of the position’s side: refused',
    steps: [...long('a', 5), buy('a', 1, 90, reduceOnly)],
    reports: ['Rejected #3 BUY leaves 0 ORDER_NOT_REDUCING: reduceOnly BUY: the position of ABC is 5'],
  },
  {
    name: 'a taker is cut to the position, its rest expires',
    steps: [...long('a', 5), buy('m', 9, 100), sell('a', 7, 100, reduceOnly)],
    reports: [
      'New #4 SELL leaves 7',
      'Trade #4 SELL 5@100 leaves 2',
      'Trade #3 BUY 5@100 leaves 4',
      'Expired #4 SELL leaves 0',
    ],
    bids: [[100, 4]],
  },
  {
    name: 'a maker is cut to the position, its rest expires, the taker goes on',
    steps: [...long('a', 5), sell('a', 7, 100, reduceOnly), sell('m', 1, 100), buy('t', 6, 100)],
    reports: [
      'New #5 BUY leaves 6',
      'Trade #5 BUY 5@100 leaves 1',
      'Trade #3 SELL 5@100 leaves 2',
      'Expired #3 SELL leaves 0',
      'Trade #5 BUY 1@100 leaves 0',
      'Trade #4 SELL 1@100 leaves 0',
    ],
  },
  {
    name: 'a maker met when flat expires, the taker goes on',
    steps: [...long('a', 5), sell('a', 5, 101, reduceOnly), sell('a', 5, 100), buy('t', 5, 100), buy('t', 2, 101)],
    reports: ['New #6 BUY leaves 2', 'Expired #3 SELL leaves 0'],
    bids: [[101, 2]],
  },
  {
    name: 'a replaced order that meets another when flat expires',
    steps: [
      ...long('a', 5),
      sell('a', 5, 101, reduceOnly),
      sell('a', 5, 100),
      buy('t', 5, 100),
      buy('m', 1, 99),
      replace(3, { priceTicks: 99 }),
    ],
    reports: ['Replaced #3 SELL leaves 5', 'Expired #3 SELL leaves 0'],
    bids: [[99, 1]],
  },
  {
    name: 'a FOK of more than the position cannot fill',
    steps: [...long('a', 5), buy('m', 9, 100), sell('a', 6, 100, { ...reduceOnly, timeInForce: 'FOK' })],
    reports: ['New #4 SELL leaves 6', 'Expired #4 SELL leaves 0'],
    bids: [[100, 9]],
  },
  {
    name: 'a FOK counts of a reduceOnly maker only what its position has',
    steps: [...long('a', 5), sell('a', 7, 100, reduceOnly), buy('t', 6, 100, { timeInForce: 'FOK' })],
    reports: ['New #4 BUY leaves 6', 'Expired #4 BUY leaves 0'],
    asks: [[100, 7]],
  },
  {
    name: 'two orders of an account share its position',
    steps: [
      ...long('a', 5),
      sell('a', 4, 100, reduceOnly),
      sell('a', 4, 101, reduceOnly),
      buy('t', 6, 101, { timeInForce: 'FOK' }),
    ],
    reports: ['New #5 BUY leaves 6', 'Expired #5 BUY leaves 0'],
    asks: [
      [100, 4],
      [101, 4],
    ],
  },
  {
    name: 'a trade with its own account cuts it all the same',
    steps: [...long('a', 5), buy('a', 9, 100), sell('a', 7, 100, reduceOnly)],
    reports: [
      'New #4 SELL leaves 7',
      'Trade #4 SELL 5@100 leaves 2',
      'Trade #3 BUY 5@100 leaves 4',
      'Expired #4 SELL leaves 0',
    ],
    bids: [[100, 4]],
  },
  {
    name: 'a stop is refused when flat at entry',
    steps: [stop('a', 'SELL', 5, 100, reduceOnly)],
    reports: ['Rejected #1 SELL leaves 0 ORDER_NOT_REDUCING: reduceOnly SELL: the position of ABC is 0'],
  },
  {
    name: 'a stop that is flat at its trigger expires',
    steps: [
      ...long('a', 5),
      stop('a', 'SELL', 5, 90, reduceOnly),
      buy('m', 5, 99),
      sell('a', 5, 99),
      buy('m', 9, 88),
      ...trade(90),
    ],
    reports: [
      'New #8 BUY leaves 1',
      'Trade #8 BUY 1@90 leaves 0',
      'Trade #7 SELL 1@90 leaves 0',
      'Triggered #3 SELL leaves 5',
      'Expired #3 SELL leaves 0',
    ],
    bids: [[88, 9]],
  },
]

for (const [group, rows] of Object.entries({ stops, icebergs, 'self-trade': selfTrades, reduceOnly: reducing })) {
  void t.test(`P2.01 ${group}`, (t) => {
    for (const { name, steps, reports, bids = [], asks = [] } of rows) {
      const matcher = new Matcher()
      matcher.define(definition)
      t.strictSame(play(matcher, steps), reports, name)
      t.strictSame(matcher.depth('ABC', 9), { bids, asks }, `${name}: the book`)
    }
    t.end()
  })
}

void t.test('P2.01 a stop price in reports is the current one', (t) => {
  const matcher = new Matcher()
  matcher.define(definition)
  play(matcher, [...trade(100), trailing('a', 'SELL', 1, 5, 1), ...trade(110)])
  t.equal(matcher.order(3)?.stopTicks, 105)
  const cancel = { type: 'cancel', cmdSeq: 9, srcSeq: 9, timeUs: 9, target: 3 } as const
  t.equal(matcher.apply(cancel)[0]?.order?.stopTicks, 105, 'also when it ends')
  t.end()
})

void t.test('P2.01 trails that a price overtakes become one; each stop keeps its own offset', (t) => {
  const matcher = new Matcher()
  matcher.define(definition)
  const steps = [100, 98, 96, 94].flatMap((ticks) => [...trade(ticks), trailing('a', 'SELL', 1, 20, 1)])
  play(matcher, [...steps, ...trade(97), ...trade(120)])
  t.strictSame(
    [3, 6, 9, 12].map((orderNumber) => matcher.order(orderNumber)?.stopTicks),
    [100, 100, 100, 100],
  )
  t.end()
})

void t.test('P2.01 the state hash tells apart what later reports depend on', (t) => {
  const states: Record<string, readonly Step[]> = {
    'two of one price': [buy('a', 9, 100), buy('b', 9, 100)],
    iceberg: [buy('a', 9, 100, { displayLots: 4 }), buy('b', 9, 100)],
    'another peak': [buy('a', 9, 100, { displayLots: 5 }), buy('b', 9, 100)],
    reduceOnly: [...long('a', 5), sell('a', 5, 101, reduceOnly)],
    'not reduceOnly': [...long('a', 5), sell('a', 5, 101)],
    'of another who holds': [...long('b', 5), sell('a', 5, 101)],
    'self-trade mode': [buy('a', 9, 100, { stpMode: 'EXPIRE_BOTH' }), buy('b', 9, 100)],
    stop: [stop('a', 'SELL', 5, 90)],
    'another stop price': [stop('a', 'SELL', 5, 91)],
    'a trailing stop': [trailing('a', 'SELL', 5, 10, 90)],
    'another offset': [trailing('a', 'SELL', 5, 11, 90)],
    'one that has moved': [...trade(100), trailing('a', 'SELL', 5, 10, 90), ...trade(101), ...trade(100)],
    'one that has not': [...trade(100), trailing('a', 'SELL', 5, 10, 90), ...trade(100), ...trade(100)],
    'triggered and resting': [...trade(100), stopLimit('a', 'SELL', 5, 100, 102)],
    'a waiting STOP_LIMIT': [...trade(100), stopLimit('a', 'SELL', 5, 99, 102)],
  }
  const hashes = new Map(
    Object.entries(states).map(([name, steps]) => {
      const matcher = new Matcher()
      matcher.define(definition)
      play(matcher, steps)
      return [matcher.stateHash(), name]
    }),
  )
  t.strictSame([...hashes.values()], Object.keys(states))
  t.end()
})
