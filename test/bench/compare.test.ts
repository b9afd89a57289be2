import t from 'tap'
import { compareResults } from '../../bench/compare.ts'
import { isOutsideNoise } from '../../bench/noise.ts'
import type { Results } from '../../bench/results.ts'
import type { Row } from '../../bench/rows.ts'
import { growthText } from '../../bench/soak.ts'
import { median, spreadOf } from '../../bench/statistics.ts'
import { Latencies } from '../../src/cli/latencies.ts'

const spread = (min: number, middle: number, max: number) => ({ min, median: middle, max })

function resultsOf(rows: readonly Row[], cpu = 'x'): Results {
  return {
    date: '2026-01-02T03:04:05.000Z',
    command: '',
    machine: { cpu, cores: 2, memoryGb: 8, system: 'Linux' },
    versions: { node: '24', natsServer: '2', valkey: '9', revision: 'abc' },
    rows,
  }
}

function rowOf(rounds: number, rate: Row['figures'][string], figures: Row['figures'] = {}): Row {
  return { scenario: 'pipeline', layout: 'compact', load: 'max', rounds, unit: 'ordersPerSecond', ...rate, figures }
}

void t.test('P2.12 noise is what rounds of one run differ by', (t) => {
  t.notOk(isOutsideNoise(spread(90, 100, 110), spread(109, 120, 130)), 'ranges overlap')
  t.ok(isOutsideNoise(spread(90, 100, 110), spread(111, 120, 130)), 'ranges do not overlap')
  t.ok(isOutsideNoise(spread(111, 120, 130), spread(90, 100, 110)))
  t.notOk(isOutsideNoise(spread(99, 100, 101), spread(102, 103, 104)), 'apart, but by little')
  t.end()
})

void t.test('P2.12 compare marks only what is outside the noise, and knows what is better', (t) => {
  const before = resultsOf([
    rowOf(3, spread(9_000, 10_000, 11_000), {
      reportP50Ms: spread(0.9, 1, 1.1),
      reportP99Ms: spread(8, 9, 10),
      generatorCpuUs: spread(4, 4, 4),
      rssMb: spread(500, 500, 500),
    }),
  ])
  const after = resultsOf([
    rowOf(3, spread(12_000, 13_000, 14_000), {
      reportP50Ms: spread(1.4, 1.5, 1.6),
      reportP99Ms: spread(9, 11, 12),
      generatorCpuUs: spread(6, 6, 6),
      rssMb: spread(500, 500, 500),
    }),
    { ...rowOf(3, spread(1, 1, 1)), scenario: 'new' },
  ])
  t.same(
    compareResults(before, after).map(({ figure, changePercent, verdict }) => [figure, changePercent, verdict]),
    [
      ['ordersPerSecond', 30, 'better'],
      ['reportP50Ms', 50, 'worse'],
      ['reportP99Ms', 22.2, 'same'],
      ['generatorCpuUs', 50, 'changed'],
      ['rssMb', 0, 'same'],
    ],
  )
  t.end()
})

void t.test('P2.12 compare says nothing of single rounds, and of two machines only the ratios', (t) => {
  const [slow, fast] = [spread(1, 1, 1), spread(2, 2, 2)]
  const verdicts = (before: Results, after: Results) =>
    compareResults(before, after).map(({ figure, verdict }) => [figure, verdict])
  t.same(verdicts(resultsOf([rowOf(1, slow)]), resultsOf([rowOf(5, fast)])), [['ordersPerSecond', 'tooFewRounds']])
  t.same(
    verdicts(
      resultsOf([rowOf(3, slow, { ratioByRound: slow })], 'x'),
      resultsOf([rowOf(3, fast, { ratioByRound: fast })], 'y'),
    ),
    [['ratioByRound', 'better']],
  )
  t.end()
})

void t.test('P2.12 a soak grows when its last third lies above its middle one', (t) => {
  const steady = [300, 420, 400, 410, 405, 415, 398, 412, 407]
  t.equal(growthText({ rssMb: steady }), 'no growth')
  t.equal(growthText({ rssMb: [100, 200, 300, 400, 410, 405, 480, 490, 485] }), 'grows: rssMb by 20 %')
  t.equal(growthText({ rssMb: [500, 500, 500, 400, 410, 405, 300, 310, 305] }), 'no growth', 'it shrinks')
  t.equal(growthText({ rssMb: steady, backlogMax: [5, 5, 5, 5, 6, 5, 50, 60, 70] }), 'grows: backlogMax by 1100 %')
  t.end()
})

void t.test('P2.12 statistics: medians, spreads, percentiles to P99.9', (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.same(spreadOf([12_345.6, 0.123456, 5]), { median: 5, min: 0.1235, max: 12_346 })
  const latencies = new Latencies()
  for (let ms = 1; ms <= 1_000; ms += 1) latencies.add(ms)
  const { p50, p90, p99, p999, max } = latencies.percentilesMs()
  for (const [actual, expected] of [
    [p50, 500],
    [p90, 900],
    [p99, 990],
    [p999, 999],
    [max, 1_000],
  ] as const)
    t.ok(Math.abs(actual - expected) / expected < 0.002, `${actual} ms`)
  t.end()
})
