import fc from 'fast-check'
import t from 'tap'
import { rfc3339FromUs } from '../../src/base/clock.ts'
import { PriceHistory } from '../../src/domain/price-history.ts'
import { HistoricalSimulation } from '../../src/domain/value-at-risk.ts'
import type { ExecutionMessage } from '../../src/schemas/execution.ts'

interface Trade {
  readonly second: number
  readonly symbol: string
  readonly price: number
}

const startUs = 1_790_000_010_000_000

function messageAt(second: number, reports: readonly object[]): ExecutionMessage {
  const transactTime = rfc3339FromUs(startUs + second * 1_000_000)
  return { cmdSeq: 1, transactTime, reports } as unknown as ExecutionMessage
}

/** @param endSecond when the last message came */
function historyOf(trades: readonly Trade[], endSecond: number): PriceHistory {
  let history = new PriceHistory()
  for (const [at, { second, symbol, price }] of trades.entries()) {
    history.take(messageAt(second, [{ symbol, lastPx: price }]))
    if (at !== Math.floor(trades.length / 2)) continue
    // Goes on from a snapshot.
    const loaded = new PriceHistory()
    loaded.load(structuredClone(history.save()))
    t.same(loaded.save(), history.save())
    history = loaded
  }
  history.take(messageAt(endSecond, []))
  return history
}

/** As the contract has it, from all trades at once and without a thought for speed. */
function naiveVar(
  trades: readonly Trade[],
  endSecond: number,
  positions: readonly { symbol: string; value: number }[],
  confidence: 95 | 99,
): number | null {
  const intervalOf = (second: number) => Math.floor((startUs / 1e6 + second) / 30)
  const end = intervalOf(endSecond)
  const priceAt = (symbol: string, interval: number) =>
    trades.filter((trade) => trade.symbol === symbol && intervalOf(trade.second) <= interval).at(-1)?.price
  const losses: number[] = []
  for (let interval = end - 1; interval > end - 1 - 500; interval -= 1) {
    let loss = 0
    for (const { symbol, value } of positions) {
      const now = priceAt(symbol, interval)
      const before = priceAt(symbol, interval - 1)
      if (now === undefined || before === undefined) return finish(losses, confidence)
      loss -= (value * (now - before)) / before
    }
    losses.push(loss)
  }
  return finish(losses, confidence)
}

function finish(losses: readonly number[], confidence: 95 | 99): number | null {
  if (losses.length < 30) return null
  // The smallest gain that at least 5 % (1 %) of all gains are not above.
  const gains = losses.map((loss) => -loss).sort((a, b) => a - b)
  const quantile = gains.find(
    (gain) => gains.filter((other) => other <= gain).length * 100 >= (100 - confidence) * gains.length,
  )
  return Math.max(0, -(quantile ?? 0))
}

const close = (actual: number, expected: number) =>
  Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected))

void t.test('P2.04 VaR of hand-made histories', (t) => {
  // 100, 101, 99.99, 101.9898, …: +1 % and −1 % in turn, one a 30 s interval.
  const trades: Trade[] = []
  let price = 100
  for (let n = 0; n <= 40; n += 1) {
    trades.push({ second: n * 30, symbol: 'S', price })
    price *= n % 2 === 0 ? 1.01 : 0.99
  }
  const simulate = (last: number) => new HistoricalSimulation(historyOf(trades.slice(0, last + 1), last * 30))
  t.equal(simulate(30).valueAtRisk([{ symbol: 'S', value: 1_000 }]), null, '29 returns are over')
  const var30 = simulate(31).valueAtRisk([{ symbol: 'S', value: 1_000 }])
  t.ok(var30 && close(var30.var95, 10) && close(var30.var99, 10), 'one percent of 1,000')
  const short = simulate(40).valueAtRisk([{ symbol: 'S', value: -500 }])
  t.ok(short && close(short.var95, 5) && close(short.var99, 5), 'a short position loses when the price rises')
  t.same(simulate(40).valueAtRisk([]), { var95: 0, var99: 0 }, 'nothing held, nothing at risk')
  t.equal(simulate(40).valueAtRisk([{ symbol: 'T', value: 1 }]), null, 'no price at all')
  const hedged = simulate(40).valueAtRisk([
    { symbol: 'S', value: 1_000 },
    { symbol: 'T', value: 1 },
  ])
  t.equal(hedged, null, 'the shortest history decides')
  t.end()
})

void t.test('P2.04 what happens once in fifty intervals is in VaR 99 and not in VaR 95', (t) => {
  const trades = Array.from({ length: 102 }, (_, n) => ({
    second: n * 30,
    symbol: 'S',
    price: n >= 50 ? (n >= 70 ? 81 : 90) : 100,
  }))
  const simulation = new HistoricalSimulation(historyOf(trades, 101 * 30))
  const result = simulation.valueAtRisk([{ symbol: 'S', value: 1_000 }])
  t.ok(result && result.var95 === 0 && close(result.var99, 100), JSON.stringify(result))
  t.end()
})

void t.test('P2.04 prices are carried forward, sampled at the last trade of an interval, 500 returns at most', (t) => {
  const history = historyOf(
    [
      { second: 0, symbol: 'S', price: 100 },
      { second: 29, symbol: 'S', price: 200 },
      { second: 95, symbol: 'S', price: 300 },
      { second: 125, symbol: 'S', price: 5 },
    ],
    125,
  )
  t.same([...history.returnsOf('S')], [0, 0, 0.5], '200, 200, 200, 300; the last interval is not over')
  t.equal(history.countOf('S'), 3)
  const long = Array.from({ length: 2_000 }, (_, n) => ({ second: n * 30, symbol: 'S', price: 1 + (n % 7) }))
  const capped = historyOf(long, 2_000 * 30)
  t.equal(capped.countOf('S'), 500)
  const expected = long.slice(1_500).map(({ price }, index) => price / (long[1_499 + index]?.price ?? 0) - 1)
  t.same([...capped.returnsOf('S')], expected)
  const idle = historyOf([{ second: 0, symbol: 'S', price: 3 }], 86_400)
  t.same([...idle.returnsOf('S')], new Array(500).fill(0))
  t.end()
})

void t.test('P2.04 VaR agrees with a naive computation', (t) => {
  const symbols = ['A', 'B', 'C']
  const trade = fc.record({
    gap: fc.integer({ min: 0, max: 90 }),
    symbol: fc.constantFrom(...symbols),
    price: fc.integer({ min: 1, max: 1_000 }),
  })
  const position = fc.record({
    symbol: fc.constantFrom(...symbols),
    value: fc.integer({ min: -1_000_000, max: 1_000_000 }).filter((value) => value !== 0),
  })
  let known = 0
  fc.assert(
    fc.property(
      fc.array(trade, { maxLength: 150, minLength: 1, size: 'max' }),
      fc.uniqueArray(position, { selector: ({ symbol }) => symbol, minLength: 1 }),
      fc.integer({ min: 0, max: 2_000 }),
      (steps, positions, rest) => {
        let second = 0
        const trades = steps.map(({ gap, symbol, price }) => ({ second: (second += gap), symbol, price }))
        const history = historyOf(trades, second + rest)
        const actual = new HistoricalSimulation(history).valueAtRisk(positions)
        for (const confidence of [95, 99] as const) {
          const expected = naiveVar(trades, second + rest, positions, confidence)
          if (expected === null) return actual === null
          known += 1
          const got = confidence === 95 ? actual?.var95 : actual?.var99
          if (got === undefined || !close(got, expected)) return false
        }
        return true
      },
    ),
    { numRuns: 150 },
  )
  t.ok(known > 50, `${known} figures were compared`)
  t.end()
})
