import fc from 'fast-check'
import { isDeepStrictEqual } from 'node:util'
import { deserialize, serialize } from 'node:v8'
import t from 'tap'
import { parseDecimal } from '../../src/base/decimal.ts'
import { utf8FromText } from '../../src/base/json.ts'
import { add, multiply, share, subtract } from '../../src/domain/money.ts'
import type { Fill } from '../../src/domain/fill.ts'
import { Portfolio } from '../../src/domain/portfolio.ts'
import type { PortfolioState } from '../../src/domain/portfolio-state.ts'
import { instrumentFrom } from '../../src/schemas/instrument.ts'
import type { PerformanceState } from '../../src/schemas/performance.ts'
import {
  decodeAccountPosition,
  decodePosition,
  encodeAccountPosition,
  encodePosition,
  type AccountState,
  type PositionState,
} from '../../src/schemas/position.ts'

/** An exact rational, in lowest terms with a positive denominator. */
class Fraction {
  readonly numerator: bigint
  readonly denominator: bigint

  constructor(numerator: bigint, denominator = 1n) {
    let [a, b] = [numerator < 0n ? -numerator : numerator, denominator]
    while (b !== 0n) [a, b] = [b, a % b]
    this.numerator = numerator / a
    this.denominator = denominator / a
  }

  static of(text: number | string): Fraction {
    const match = /^(-?)(\d+)\.?(\d*)(?:e-(\d+))?$/.exec(String(text))
    if (!match) throw new Error(`not a decimal: ${text}`)
    const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
    return new Fraction(BigInt(`${sign}${whole}${fraction}`), 10n ** (BigInt(fraction.length) + BigInt(exponent)))
  }

  plus(other: Fraction): Fraction {
    return new Fraction(
      this.numerator * other.denominator + other.numerator * this.denominator,
      this.denominator * other.denominator,
    )
  }

  minus(other: Fraction): Fraction {
    return this.plus(other.times(new Fraction(-1n)))
  }

  times(other: Fraction): Fraction {
    return new Fraction(this.numerator * other.numerator, this.denominator * other.denominator)
  }

  over(other: Fraction): Fraction {
    const sign = other.numerator < 0n ? -1n : 1n
    return this.times(new Fraction(sign * other.denominator, sign * other.numerator))
  }

  sign(): number {
    return this.numerator > 0n ? 1 : this.numerator < 0n ? -1 : 0
  }

  isAbove(other: Fraction): boolean {
    return this.minus(other).sign() > 0
  }

  /** The nearest multiple of a step, the even one of two. */
  rounded(step: Fraction): Fraction {
    const steps = this.over(step)
    const floor =
      (steps.numerator - (((steps.numerator % steps.denominator) + steps.denominator) % steps.denominator)) /
      steps.denominator
    const above = steps.minus(new Fraction(floor)).minus(new Fraction(1n, 2n)).sign()
    const up = above > 0 || (above === 0 && floor % 2n !== 0n)
    return new Fraction(up ? floor + 1n : floor).times(step)
  }

  toString(): string {
    return `${this.numerator}/${this.denominator}`
  }
}

const zero = new Fraction(0n)
const sum = (values: Iterable<Fraction>): Fraction => [...values].reduce((total, value) => total.plus(value), zero)

const rates = { makerFeeRate: '0', takerFeeRate: '0', collarBps: 500 }
const instruments = [
  { symbol: 'PLAIN', tick: '0.01', lot: '0.00000001', quoteScale: 8, ...rates },
  { symbol: 'NICKEL', tick: '0.05', lot: '1', quoteScale: 2, ...rates },
  { symbol: 'FINE', tick: '0.000000001', lot: '0.000000003', quoteScale: 12, ...rates },
  { symbol: 'COARSE', tick: '25', lot: '10', quoteScale: 0, ...rates },
].map(instrumentFrom)
const accounts = ['alice', 'bob', 'carol']

type Event =
  | ({ readonly type: 'fill' } & Fill)
  | { readonly type: 'mark'; readonly symbol: string; readonly ticks: number }
  | { readonly type: 'refresh' }
  /** So many minutes of stream time pass. */
  | { readonly type: 'minutes'; readonly count: number }

const unitsOf = (symbol: string) => {
  const instrument = instruments.find((known) => known.symbol === symbol)
  if (!instrument) throw new Error(symbol)
  const { tick, lot, quoteScale } = instrument.definition
  return {
    instrument,
    tick: Fraction.of(tick),
    lot: Fraction.of(lot),
    cent: new Fraction(1n, 10n ** BigInt(quoteScale)),
  }
}

/** A position from the fills alone, in quote currency: side by side with an unsigned cost, a flip as two fills. */
function naivePosition(events: readonly Event[], account: string, symbol: string) {
  const { tick, lot, cent } = unitsOf(symbol)
  let side = 'BUY'
  let [quantity, cost, realized, fees, cash] = [zero, zero, zero, zero, zero]
  let [mark, evaluatedMark] = [zero, zero]
  let traceparent: string | undefined
  for (const event of events) {
    if (event.type === 'refresh' || event.type === 'minutes') evaluatedMark = mark
    else if (event.symbol !== symbol) continue
    else mark = Fraction.of(event.ticks).times(tick)
    if (event.type !== 'fill' || event.account !== account) continue
    evaluatedMark = mark
    traceparent = event.traceparent
    const price = mark
    let rest = Fraction.of(event.lots).times(lot)
    const fee = new Fraction(BigInt(event.fee)).times(cent)
    fees = fees.plus(fee)
    const value = price.times(rest)
    cash = (event.side === 'BUY' ? cash.minus(value) : cash.plus(value)).minus(fee)
    if (quantity.sign() > 0 && event.side !== side) {
      const closed = rest.isAbove(quantity) ? quantity : rest
      const taken = cost.times(closed).over(quantity).rounded(tick.times(lot))
      const gain = closed.times(price).minus(taken)
      realized = side === 'BUY' ? realized.plus(gain) : realized.minus(gain)
      cost = cost.minus(taken)
      quantity = quantity.minus(closed)
      rest = rest.minus(closed)
    }
    if (rest.sign() > 0) {
      side = event.side
      quantity = quantity.plus(rest)
      cost = cost.plus(rest.times(price))
    }
  }
  const gain = evaluatedMark.times(quantity).minus(cost)
  return {
    quantity: side === 'BUY' ? quantity : zero.minus(quantity),
    avgPx: quantity.sign() === 0 ? undefined : cost.over(quantity),
    realized,
    unrealized: side === 'BUY' ? gain : zero.minus(gain),
    fees,
    cash,
    traceparent,
  }
}

function naiveAccount(events: readonly Event[], account: string, startingCash: Fraction) {
  const positions = instruments.map(({ symbol }) => naivePosition(events, account, symbol))
  const realized = sum(positions.map((position) => position.realized))
  const unrealized = sum(positions.map((position) => position.unrealized))
  const fees = sum(positions.map((position) => position.fees))
  const cash = sum(positions.map((position) => position.cash))
  const equity = startingCash.plus(realized).minus(fees).plus(unrealized)
  const openPositions = positions.filter(({ quantity }) => quantity.sign() !== 0).length
  return { realized, unrealized, fees, cash, equity, openPositions }
}

/** Every closing fill and every snapshot, kept one by one; the Sharpe ratio by its textbook formula. */
class NaivePerformance {
  trades = 0
  readonly closings: Fraction[] = []
  readonly equities: Fraction[]

  constructor(startingEquity: Fraction) {
    this.equities = [startingEquity]
  }

  /** @param event a fill of the account, the last of `events` */
  fill(events: readonly Event[], { account, symbol, side }: Fill): void {
    const before = naivePosition(events.slice(0, -1), account, symbol)
    const after = naivePosition(events, account, symbol)
    this.trades += 1
    const sign = before.quantity.sign()
    if (sign !== 0 && sign > 0 !== (side === 'BUY')) this.closings.push(after.realized.minus(before.realized))
  }

  figures() {
    const wins = this.closings.filter((gain) => gain.sign() > 0)
    const losses = this.closings.filter((gain) => gain.sign() < 0)
    return {
      trades: this.trades,
      closings: this.closings.length,
      wins: wins.length,
      losses: losses.length,
      grossProfit: text(sum(wins)),
      grossLoss: text(zero.minus(sum(losses))),
    }
  }

  sharpe(): number | null {
    const changes = this.equities.slice(1).map((equity, index) => equity.minus(this.equities[index] ?? zero))
    if (changes.length < 2) return null
    const mean = sum(changes).over(Fraction.of(changes.length))
    const squares = changes.map((change) => change.minus(mean).times(change.minus(mean)))
    const variance = sum(squares).over(Fraction.of(changes.length - 1))
    if (variance.sign() === 0) return null
    const { numerator, denominator } = mean.times(mean).over(variance)
    return mean.sign() * Math.sqrt((Number(numerator) / Number(denominator)) * 365 * 24 * 60)
  }
}

function samePerformance(actual: PerformanceState | undefined, expected: NaivePerformance, name: string): void {
  if (!actual) throw new Error(`${name} has no performance`)
  const { trades, closingTrades, wins, losses, grossProfit, grossLoss } = actual
  equal(
    JSON.stringify({
      trades,
      closings: closingTrades,
      wins,
      losses,
      grossProfit: e18(grossProfit),
      grossLoss: e18(grossLoss),
    }),
    JSON.stringify(expected.figures()),
    `${name} closing fills`,
  )
  const [sharpe, exact] = [actual.sharpe, expected.sharpe()]
  const isNear = sharpe !== null && exact !== null && Math.abs(sharpe - exact) <= 1e-9 * Math.abs(exact)
  if (!isNear) equal(sharpe, exact, `${name} Sharpe`)
}

const text = (value: Fraction | undefined): string => String(value)
const counted = (count: number | bigint, unit: Fraction): string => text(new Fraction(BigInt(count)).times(unit))
const e18 = (amount: bigint): string => text(new Fraction(amount, 10n ** 18n))
const onWire = (value: number | string | undefined): string | undefined =>
  value === undefined ? undefined : text(Fraction.of(value))

function samePosition(actual: PositionState, events: readonly Event[]): void {
  const { account, symbol } = actual
  const { tick, lot, cent } = unitsOf(symbol)
  const expected = naivePosition(events, account, symbol)
  const value = tick.times(lot)
  const name = `${account} ${symbol}`
  equal(counted(actual.quantityLots, lot), text(expected.quantity), `${name} quantity`)
  equal(counted(actual.realizedPnl, value), text(expected.realized), `${name} realized`)
  equal(counted(actual.unrealizedPnl, value), text(expected.unrealized), `${name} unrealized`)
  equal(counted(actual.fees, cent), text(expected.fees), `${name} fees`)
  const avgPx = expected.avgPx && counted(actual.cost, value.over(expected.quantity))
  equal(avgPx, expected.avgPx && text(expected.avgPx), `${name} average cost`)
  if (!expected.avgPx) equal(actual.cost, 0, `${name} cost when flat`)
  equal(actual.traceparent, expected.traceparent, `${name} traceparent`)

  const record = decodePosition(utf8FromText(encodePosition(actual, 7)))
  equal(onWire(record.quantity), text(expected.quantity), `${name} quantity on the wire`)
  equal(onWire(record.avgPx), expected.avgPx && text(expected.avgPx.rounded(cent)), `${name} avgPx on the wire`)
  equal(onWire(record.realizedPnl), text(expected.realized.rounded(cent)), `${name} realizedPnl on the wire`)
  equal(onWire(record.unrealizedPnl), text(expected.unrealized.rounded(cent)), `${name} unrealizedPnl on the wire`)
  equal(onWire(record.fees), text(expected.fees), `${name} fees on the wire`)
  equal(record.traceparent, expected.traceparent, `${name} traceparent on the wire`)
}

function sameAccount(
  actual: AccountState,
  expected: ReturnType<typeof naiveAccount>,
  highWaterMark: Fraction,
  startingCash: Fraction,
): void {
  const drawdown = highWaterMark.minus(expected.equity)
  const name = actual.account
  equal(e18(actual.realizedPnl), text(expected.realized), `${name} realized`)
  equal(e18(actual.unrealizedPnl), text(expected.unrealized), `${name} unrealized`)
  equal(e18(actual.fees), text(expected.fees), `${name} fees`)
  equal(e18(actual.cash), text(expected.cash), `${name} cash`)
  equal(e18(actual.equity), text(expected.equity), `${name} equity`)
  equal(e18(actual.highWaterMark), text(highWaterMark), `${name} high-water mark`)
  equal(e18(actual.drawdown), text(drawdown), `${name} drawdown`)
  equal(actual.openPositions, expected.openPositions, `${name} open positions`)

  const record = decodeAccountPosition(utf8FromText(encodeAccountPosition(actual, 7)))
  const cent = Fraction.of('0.00000001')
  const percent =
    startingCash.sign() > 0 ? drawdown.over(highWaterMark).times(Fraction.of(100)).rounded(cent) : undefined
  equal(onWire(record.equity), text(expected.equity.rounded(cent)), `${name} equity on the wire`)
  equal(onWire(record.drawdown), text(drawdown.rounded(cent)), `${name} drawdown on the wire`)
  equal(onWire(record.drawdownPercent), percent && text(percent), `${name} drawdownPercent on the wire`)
}

function equal(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${String(actual)}, expected ${String(expected)}`)
}

const units = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 9 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 9e15 }) },
  { weight: 1, arbitrary: fc.integer({ min: 9e15 - 3, max: 9e15 }) },
)
const symbol = fc.constantFrom(...instruments.map((instrument) => instrument.symbol))
const fee = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 1_000n }), fc.bigInt({ min: 0n, max: 10n ** 20n }))
const trade = fc.record({
  type: fc.constant('trade' as const),
  symbol,
  buyer: fc.constantFrom(...accounts),
  seller: fc.constantFrom(...accounts),
  /** Beyond what the buyer holds: 0 closes a short to the last lot, more flips it. */
  beyondHeld: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined, freq: 3 }),
  lots: units,
  ticks: units,
  fees: fc.tuple(fee, fee),
})
const step = fc.oneof(
  { weight: 6, arbitrary: trade },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('mark' as const), symbol, ticks: units }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('refresh' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('minutes' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
)

void t.test(
  'P1.12 P1.21 P2.06 P4.01 positions and performance are what exact rationals say, and quantity, cash and fees sum to zero',
  (t) => {
    const seen = {
      flips: 0,
      bigQuantities: 0,
      bigCosts: 0,
      flats: 0,
      drawdowns: 0,
      sharpes: 0,
      losses: 0,
      snapshots: 0,
    }
    const property = fc.property(
      fc.array(step, { minLength: 1, maxLength: 30, size: 'max' }),
      fc.constantFrom('0', '1000.5', '90000000000'),
      (steps, startingCashText) => {
        const startingCash = Fraction.of(startingCashText)
        const cashDecimal = parseDecimal(startingCashText) ?? { mantissa: -1n, scale: 0 }
        let portfolio = new Portfolio({ startingCash: cashDecimal })
        const events: Event[] = []
        const highWaterMarks = new Map(accounts.map((account) => [account, startingCash]))
        const published = new Map<string, string>()
        let minute = 29_000_000
        portfolio.advance(minute)
        const performances = new Map<string, NaivePerformance>()
        const total = new NaivePerformance(zero)
        let totalPeak = zero
        const pnlOf = (account: string) => naiveAccount(events, account, zero).equity
        const totalPnl = () => sum(accounts.map(pnlOf))

        const happens = (event: Event) => {
          if (event.type === 'refresh') portfolio.refreshMarks()
          else if (event.type === 'mark') portfolio.mark(event.symbol, event.ticks)
          else if (event.type === 'minutes') portfolio.advance((minute += event.count))
          else portfolio.fill(event, unitsOf(event.symbol).instrument)
          events.push(event)
          if (event.type === 'minutes') {
            for (const [account, { equities }] of performances)
              for (let count = 0; count < event.count; count += 1) equities.push(startingCash.plus(pnlOf(account)))
            if (performances.size > 0)
              for (let count = 0; count < event.count; count += 1) total.equities.push(totalPnl())
            if (totalPnl().isAbove(totalPeak)) totalPeak = totalPnl()
          }
          if (event.type === 'fill') {
            const performance = performances.get(event.account) ?? new NaivePerformance(startingCash)
            performances.set(event.account, performance)
            performance.fill(events, event)
            total.fill(events, event)
          }
          // Equity moves only where it is evaluated: at an account's own fills and at a refresh.
          for (const account of accounts) {
            const { equity } = naiveAccount(events, account, startingCash)
            if (equity.isAbove(highWaterMarks.get(account) ?? zero)) highWaterMarks.set(account, equity)
          }
        }

        for (const [at, step] of steps.entries()) {
          if (step.type === 'trade') {
            const { symbol, buyer, seller, ticks, fees } = step
            const short = portfolio.position(buyer, symbol)?.quantityLots ?? 0
            const lots =
              step.beyondHeld !== undefined && short < 0 && short > -9e15 ? Number(-short) + step.beyondHeld : step.lots
            if (short < 0 && lots > -short) seen.flips += 1
            happens({
              type: 'fill',
              account: buyer,
              symbol,
              side: 'BUY',
              lots: Math.min(lots, 9e15),
              ticks,
              fee: fees[0],
              traceparent: `taker-${events.length}`,
            })
            happens({
              type: 'fill',
              account: seller,
              symbol,
              side: 'SELL',
              lots: Math.min(lots, 9e15),
              ticks,
              fee: fees[1],
              traceparent: events.length % 3 === 0 ? undefined : `maker-${events.length}`,
            })
          } else happens(step)

          const feesPaid: Fraction[] = []
          for (const account of accounts) {
            const expected = naiveAccount(events, account, startingCash)
            feesPaid.push(expected.fees)
            const state = portfolio.account(account)
            if (!state) continue
            sameAccount(state, expected, highWaterMarks.get(account) ?? zero, startingCash)
            const performance = portfolio.recordOf(account)
            samePerformance(performance, performances.get(account) ?? total, account)
            if (performance?.sharpe) seen.sharpes += 1
            if (performance?.losses) seen.losses += 1
            if (state.drawdown > 0n) seen.drawdowns += 1
            for (const position of portfolio.positionsOf(account)) {
              samePosition(position, events)
              if (typeof position.quantityLots === 'bigint') seen.bigQuantities += 1
              if (typeof position.cost === 'bigint') seen.bigCosts += 1
              if (position.quantityLots === 0) seen.flats += 1
            }
          }

          const totals = portfolio.totals()
          equal(totals.accounts, performances.size, 'accounts')
          samePerformance(totals.record, total, 'total')
          if (step.type === 'minutes' || step.type === 'refresh') {
            const states = accounts.map((account) => naiveAccount(events, account, zero))
            const startedWith = Fraction.of(performances.size).times(startingCash)
            const pnl = totalPnl()
            equal(e18(totals.realizedPnl), text(sum(states.map(({ realized }) => realized))), 'total realized')
            equal(e18(totals.unrealizedPnl), text(sum(states.map(({ unrealized }) => unrealized))), 'total unrealized')
            equal(e18(totals.fees), text(sum(states.map((state) => state.fees))), 'total fees')
            equal(e18(totals.cash), text(sum(states.map((state) => state.cash))), 'total cash')
            equal(e18(totals.equity), text(startedWith.plus(pnl)), 'total equity')
            const peak = pnl.isAbove(totalPeak) ? pnl : totalPeak
            equal(e18(totals.drawdown), text(peak.minus(pnl)), 'total drawdown')
            equal(
              totals.openPositions,
              states.reduce((count, state) => count + state.openPositions, 0),
              'total open',
            )
          }

          const venue = portfolio.account('_venue')
          equal(venue && e18(venue.fees), text(zero.minus(sum(feesPaid))), 'fees of the venue')
          equal(venue && e18(venue.cash), text(sum(feesPaid)), 'cash of the venue')
          const { quantityBySymbol, cash, fees } = portfolio.conservation()
          for (const [symbol, quantity] of quantityBySymbol) equal(quantity, 0, `sum of quantities in ${symbol}`)
          equal(cash, 0n, 'sum of cash')
          equal(fees, 0n, 'sum of fees')

          const { positions, accounts: changedAccounts } = portfolio.takeChanged()
          equal(
            new Set([...positions, ...changedAccounts]).size,
            positions.length + changedAccounts.length,
            'each once',
          )
          for (const position of positions)
            published.set(`${position.account}.${position.symbol}`, encodePosition(position, 7))
          for (const account of changedAccounts) published.set(account.account, encodeAccountPosition(account, 7))
          for (const name of portfolio.accounts()) {
            const state = portfolio.account(name)
            if (state && (name !== '_venue' || state.cash > 0n))
              equal(published.get(name), encodeAccountPosition(state, 7), `${name} as last taken`)
            for (const position of portfolio.positionsOf(name))
              equal(published.get(`${name}.${position.symbol}`), encodePosition(position, 7), `${name} as last taken`)
          }
          // Goes on from a snapshot.
          if (at % 3 === 2) {
            const saved = deserialize(serialize(portfolio.save())) as PortfolioState
            portfolio = new Portfolio({ startingCash: cashDecimal })
            portfolio.load(saved)
            equal(isDeepStrictEqual(portfolio.save(), saved), true, 'a loaded snapshot is the same')
            seen.snapshots += 1
          }
        }

        const replayed = new Portfolio()
        for (const event of events) if (event.type === 'fill') replayed.fill(event, unitsOf(event.symbol).instrument)
        equal(replayed.stateHash(), portfolio.stateHash(), 'the hash, whatever the marks')
      },
    )
    t.doesNotThrow(() => fc.assert(property, { numRuns: 150 }))
    for (const [what, times] of Object.entries(seen)) t.ok(times > 0, `the runs had ${what}`)
    t.end()
  },
)

void t.test('P1.12 arithmetic on exact whole numbers is that of bigint, in normal form', (t) => {
  const normal = (value: bigint) =>
    value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
  const whole = fc
    .oneof(
      fc.bigInt({ min: -20n, max: 20n }),
      fc.bigInt({ min: -(2n ** 54n), max: 2n ** 54n }),
      fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }),
      fc.bigInt({ min: -(10n ** 32n), max: 10n ** 32n }),
    )
    .map(normal)
  const positive = fc.oneof(
    fc.bigInt({ min: 2n, max: 20n }),
    fc.bigInt({ min: 2n, max: 2n ** 30n }),
    fc.bigInt({ min: 2n, max: 2n ** 52n }),
    fc.bigInt({ min: 2n, max: 2n ** 60n }),
  )
  const property = fc.property(whole, whole, positive, positive, (a, b, first, second) => {
    equal(add(a, b), normal(BigInt(a) + BigInt(b)), 'sum')
    equal(subtract(a, b), normal(BigInt(a) - BigInt(b)), 'difference')
    equal(multiply(a, b), normal(BigInt(a) * BigInt(b)), 'product')
    const [part, all] = first < second ? [first, second] : [second, first + 1n]
    const expected = new Fraction(BigInt(a)).times(new Fraction(part, all)).rounded(new Fraction(1n))
    equal(share(a, normal(part), normal(all)), normal(expected.numerator), 'share')
    for (const result of [add(a, b), subtract(a, b), multiply(a, b), share(a, normal(part), normal(all))])
      equal(Object.is(result, -0), false, 'minus zero')
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 3_000 }))
  t.end()
})
