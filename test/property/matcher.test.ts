import { isDeepStrictEqual } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import t, { type Test } from 'tap'
import type { Exact } from '../../src/base/decimal.ts'
import type { ReportValue } from '../../src/schemas/execution.ts'
import type { RiskRecord } from '../../src/schemas/risk.ts'
import { Matcher } from '../../src/domain/matcher.ts'
import { stpModes } from '../../src/schemas/enums.ts'
import { instruments, randomRecords } from './commands.ts'
import { NaiveBook } from './naive-book.ts'

const fixedSeeds = [1, 2, 5, 7, 9, 13, 24, 26, 30]
const recordsPerSeed = 20_000
/** Of a shrunk stream the last so many records are printed. */
const shownMax = 40

/** A report by what EXECUTIONS would say of it; of a text of the matcher's own only that there is one. */
function plain(report: ReportValue, record: RiskRecord): Record<string, unknown> {
  const { order, echo, reason, text, lastLots } = report
  return {
    execType: report.execType,
    ordStatus: report.ordStatus,
    ...(order
      ? {
          orderNumber: order.orderNumber,
          account: order.account,
          symbol: order.symbol,
          side: order.side,
          ordType: order.ordType,
          timeInForce: order.timeInForce,
          quantityLots: order.quantityLots,
          priceTicks: order.priceTicks,
          stopTicks: order.stopTicks,
          ownClOrdId: order.clOrdId,
        }
      : { ...echo, origClOrdId: undefined }),
    clOrdId: report.clOrdId ?? order?.clOrdId,
    origClOrdId: report.origClOrdId,
    lastLots,
    lastTicks: lastLots > 0 ? report.lastTicks : 0,
    leavesLots: report.leavesLots,
    cumLots: report.cumLots,
    cumCost: BigInt(report.cumCost),
    liquidity: report.liquidity,
    fee: BigInt(report.fee),
    reason,
    text: record.type === 'reject' ? text : undefined,
    explained: reason === undefined || (text !== undefined && text !== ''),
    traceparent: report.traceparent ?? order?.traceparent,
  }
}

interface Difference {
  /** Index of the record at which the books first differ. */
  readonly index: number
  readonly expected: unknown
  readonly actual: unknown
}

/**
 * Feeds both books; every 1,000th record is preceded by changed fees. Invariants are checked after each of the first
 * 5,000 records, when books are small, then after every 10th.
 */
function firstDifference(records: readonly RiskRecord[], seen?: Map<string, number>): Difference | undefined {
  const naive = new NaiveBook()
  let matcher = new Matcher()
  for (const definition of instruments) {
    naive.define(definition)
    matcher.define(definition)
  }
  for (const [index, record] of records.entries()) {
    const changed = record.cmdSeq % 1_000 === 0 ? instruments[(record.cmdSeq / 1_000) % instruments.length] : undefined
    const fees = changed && { ...changed, makerFeeRate: '0.0003', takerFeeRate: '0.00075' }
    if (fees) naive.define(fees)
    // Goes on from a snapshot now and then.
    if (record.cmdSeq % 487 === 0) {
      const saved = savedCopy(matcher.save())
      const loaded = new Matcher()
      loaded.load(saved)
      const [actual, expected] = [loaded, matcher].map((of) => [of.stateHash(), of.openCount])
      if (!isDeepStrictEqual(actual, expected)) return { index, expected, actual }
      if (!isDeepStrictEqual(loaded.save(), saved)) return { index, expected: 'the same snapshot', actual: 'another' }
      matcher = loaded
    }
    const expected: Record<string, unknown>[] = naive.apply(record).map((report) => plain(report, record))
    let actual: unknown
    try {
      if (fees) matcher.define(fees)
      actual = matcher.apply(record).map((report) => plain(report, record))
      if (index < 5_000 || index % 10 === 0 || index === records.length - 1) matcher.checkInvariants()
    } catch (error) {
      return { index, expected, actual: error }
    }
    if (!isDeepStrictEqual(actual, expected)) return { index, expected, actual }
    for (const levels of levelsToCompare(index, records.length)) {
      for (const { symbol } of instruments) {
        const expected = market(naive, symbol, levels)
        const actual = market(matcher, symbol, levels)
        if (!isDeepStrictEqual(actual, expected)) return { index, expected, actual }
        if (seen && expected.bids.length > 150) count(seen, 'more than 150 levels')
      }
    }
    if (seen) for (const label of labels(record, expected)) count(seen, label)
  }
  if (seen) for (const [what, times] of naive.seen) seen.set(what, (seen.get(what) ?? 0) + times)
  return undefined
}

/** As a snapshot comes back from the server. */
function savedCopy<T>(state: T): T {
  return deserialize(serialize(state)) as T
}

/** The best levels after every 10th record; all after every 100th and the last. */
function levelsToCompare(index: number, records: number): number[] {
  if (index % 100 === 0 || index === records - 1) return [3, Number.MAX_SAFE_INTEGER]
  return index % 10 === 0 ? [3] : []
}

function count(seen: Map<string, number>, label: string): void {
  seen.set(label, (seen.get(label) ?? 0) + 1)
}

function market(book: NaiveBook | Matcher, symbol: string, levels: number) {
  const { bids, asks } = book.depth(symbol, levels)
  const exact = (side: readonly [number, Exact][]) => side.map(([ticks, lots]) => [ticks, BigInt(lots)])
  return { bids: exact(bids), asks: exact(asks), lastTradeTicks: book.lastTradeTicks(symbol) }
}

/** The cases that a record has shown; `wanted` says which must come up, so that the generator stays worth its time. */
function labels(record: RiskRecord, reports: readonly Record<string, unknown>[]): string[] {
  const [first] = reports
  const last = reports.at(-1)
  const found = reports.map(({ execType, reason, ordStatus }) => `${String(execType)} ${String(reason ?? ordStatus)}`)
  const trades = reports.filter(({ execType }) => execType === 'Trade').length
  if (record.type === 'new' && record.timeInForce === 'FOK')
    found.push(trades > 0 ? 'FOK filled' : `FOK unfilled ${record.ordType}`)
  if (record.type === 'new' && record.ordType === 'MARKET' && last?.['execType'] === 'Expired' && trades > 0)
    found.push('MARKET cut at its protection')
  if (first?.['execType'] === 'Replaced') found.push(trades > 0 ? 'Replaced and taking' : 'Replaced and resting')
  if (record.type === 'massCancel') found.push(`massCancel of ${Math.min(reports.length, 2)}`)
  if (record.type === 'expire') found.push(`expire of ${reports.length}`)
  if (record.type === 'reject')
    found.push(`reject ${record.kind} ${first?.['orderNumber'] === undefined ? '' : 'open'}`)
  if (trades > 8) found.push('sweep')
  if (reports.some(({ cumCost }) => (cumCost as bigint) > 2n ** 53n)) found.push('cost beyond 2^53')
  return found
}

const wanted = [
  ...['New New', 'Trade PartiallyFilled', 'Trade Filled', 'Expired Expired', 'Canceled Canceled'],
  ...['Replaced New', 'Replaced PartiallyFilled', 'Rejected ORDER_WOULD_TAKE', 'ReplaceRejected ORDER_WOULD_TAKE'],
  ...['CancelRejected ORDER_CLOSED', 'ReplaceRejected ORDER_CLOSED', 'ReplaceRejected ORDER_QUANTITY_BELOW_FILLED'],
  ...['FOK filled', 'FOK unfilled LIMIT', 'FOK unfilled MARKET', 'MARKET cut at its protection', 'sweep'],
  ...[
    'Replaced and taking',
    'Replaced and resting',
    'massCancel of 0',
    'massCancel of 2',
    'expire of 0',
    'expire of 1',
  ],
  ...['reject new ', 'reject cancel ', 'reject cancel open', 'reject replace ', 'reject replace open'],
  ...[
    'reject mass_cancel ',
    'CancelRejected ORDER_NOT_OWNED',
    'CancelRejected ACCOUNT_MISMATCH',
    'cost beyond 2^53',
    'more than 150 levels',
  ],
  ...['Triggered New', 'Rejected ORDER_NOT_REDUCING', 'Rejected INVALID_FIELD', 'ReplaceRejected INVALID_FIELD'],
  // What the naive book itself has seen come about.
  ...['STOP', 'STOP_LIMIT', 'TRAILING_STOP'].map((ordType) => `${ordType} triggered by a trade`),
  ...['STOP through at once', 'STOP_LIMIT through at once', 'trailing stop moved'],
  ...['several stops in one round', 'stops triggered by stops', 'a waiting stop gets another stop price'],
  ...['next peak', 'an iceberg made smaller', 'FOK filled: next peak', 'FOK failed: next peak'],
  ...stpModes.map((mode) => `self-trade ${mode}`),
  ...stpModes.map((mode) => `FOK failed: self-trade ${mode}`),
  ...['FOK filled: self-trade NONE', 'FOK filled: self-trade EXPIRE_MAKER'],
  ...['reduceOnly taker cut', 'reduceOnly maker cut', 'reduceOnly maker met when flat'],
  'reduceOnly stop triggered when flat',
  ...['FOK failed: more than the position', 'FOK filled: reduceOnly maker cut', 'FOK failed: reduceOnly maker cut'],
]

/** Drops records as long as the books still differ (delta debugging), for at most 10 s. */
function shrink(records: readonly RiskRecord[]): readonly RiskRecord[] {
  const deadlineMs = performance.now() + 10_000
  let kept = records
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let start = kept.length - size; start > -size && performance.now() < deadlineMs; start -= size) {
      const fewer = kept.filter((_, index) => index < start || index >= start + size)
      const difference = firstDifference(fewer)
      if (difference) {
        kept = fewer.slice(0, difference.index + 1)
        start = Math.min(start, kept.length)
      }
    }
  }
  return kept
}

function sameBooks(t: Test, seed: number, count: number, seen?: Map<string, number>): void {
  const records = randomRecords(seed, count)
  const difference = firstDifference(records, seen)
  if (!difference) {
    t.pass(`seed ${seed}: ${count} records`)
    return
  }
  const short = shrink(records.slice(0, difference.index + 1))
  t.fail(`seed ${seed}: the books differ at record ${difference.index + 1}`, {
    again: `SEED=${seed} COMMANDS=${difference.index + 1} npx tap test/property/matcher.test.ts`,
    shrunk: short.slice(-shownMax).map((record) => JSON.stringify(record)),
    shrunkRecords: short.length,
    ...firstDifference(short),
  })
}

/** Folds records as a worker reads them: decoded anew, in batches that bring their definitions along. */
function hashesOf(records: readonly RiskRecord[], batchMax: number): string[] {
  const matcher = new Matcher()
  const hashes: string[] = []
  for (let start = 0; start < records.length; start += batchMax) {
    for (const definition of instruments) matcher.define(definition)
    const batch = JSON.parse(JSON.stringify(records.slice(start, start + batchMax))) as RiskRecord[]
    for (const record of batch) {
      matcher.apply(record)
      if (record.cmdSeq % 2_500 === 0) hashes.push(matcher.stateHash())
    }
  }
  return hashes
}

const { SEED, COMMANDS } = process.env
if (SEED !== undefined) {
  void t.test(`P2.01 P1.21 P4.01 the matcher reports what a naive book reports, seed ${SEED}`, (t) => {
    sameBooks(t, Number(SEED), Number(COMMANDS ?? recordsPerSeed))
    t.end()
  })
} else {
  void t.test('P2.01 P1.21 P4.01 the matcher reports what a naive book reports', (t) => {
    const seen = new Map<string, number>()
    for (const seed of fixedSeeds) sameBooks(t, seed, recordsPerSeed, seen)
    for (const label of wanted) t.ok((seen.get(label) ?? 0) >= 20, `${label}: ${seen.get(label) ?? 0} times`)
    t.end()
  })
  void t.test('P2.01 P1.21 P4.01 the matcher reports what a naive book reports, on a seed of today', (t) => {
    const seed = Math.floor(Math.random() * 2 ** 32)
    t.comment(`SEED=${seed}`)
    sameBooks(t, seed, recordsPerSeed)
    t.end()
  })
}

void t.test('P2.01 replaying the records gives the same state hash, however they are split into batches', (t) => {
  for (const seed of fixedSeeds.slice(0, 3)) {
    const records = randomRecords(seed, recordsPerSeed)
    const hashes = hashesOf(records, records.length)
    t.equal(new Set(hashes).size, recordsPerSeed / 2_500, 'the state is another each time')
    for (const batchMax of [1, 7, 10, 999]) t.strictSame(hashesOf(records, batchMax), hashes, `batches of ${batchMax}`)
  }
  t.end()
})
