import fc from 'fast-check'
import t from 'tap'
import { type ComparedTrade, TapeComparison, toleranceMs } from '../../src/cli/replay-compare.ts'
import type { FlowRow } from '../../src/cli/replay-file.ts'
import type { Side } from '../../src/schemas/enums.ts'

const order = (id: string, timeMs: number, side: Side, price: string): FlowRow => ({
  line: 0,
  timeMs,
  event: 'new',
  id,
  side,
  price,
  size: '1',
})
const cancel = (id: string, timeMs: number): FlowRow => ({ ...order(id, timeMs, 'BUY', ''), event: 'cancel' })
const print = (timeMs: number, price: string, size: string): FlowRow => ({
  ...order('t', timeMs, 'BUY', price),
  event: 'trade',
  side: undefined,
  size,
})

function compared(rows: readonly FlowRow[], own: readonly ComparedTrade[]) {
  const comparison = new TapeComparison()
  for (const row of rows) comparison.row(row)
  for (const trade of own) comparison.traded(trade)
  return comparison.result()
}

void t.test('P2.02 reproduced: the same price and size, 5 s apart at most, each used once', (t) => {
  const tape = [print(10_000, '2', '1'), print(10_000, '2', '1'), print(30_000, '2', '1')]
  const at = (timeMs: number, price = '2', size = '1') => ({ timeMs, price, size })
  const reproduced = (...own: ComparedTrade[]) => compared(tape, own).reproduced
  t.equal(reproduced(), 0)
  t.equal(reproduced(at(5_000)), 1, 'both bounds are included')
  t.equal(reproduced(at(15_000)), 1)
  t.equal(reproduced(at(4_999), at(15_001), at(24_999), at(35_001)), 0)
  t.equal(reproduced(at(10_000), at(10_000), at(10_000)), 2, 'each once')
  t.equal(reproduced(at(10_000, '2.1'), at(10_000, '2', '0.9')), 0)
  t.match(compared(tape, [at(10_000), at(90_000)]), { trades: 2, tape: 3, reproduced: 1, notOnTape: 1 })
  t.end()
})

void t.test('P2.02 no other choice of pairs would reproduce more', (t) => {
  /** Tries every choice. */
  function most(own: readonly number[], tape: readonly number[]): number {
    const [first, ...rest] = tape
    if (first === undefined) return 0
    let best = most(own, rest)
    own.forEach((time, index) => {
      if (Math.abs(time - first) <= toleranceMs) best = Math.max(best, 1 + most(own.toSpliced(index, 1), rest))
    })
    return best
  }
  const times = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 6 })
  fc.assert(
    fc.property(times, times, (own, tape) => {
      const inMs = (seconds: readonly number[]) => seconds.map((second) => second * 1_000)
      const result = compared(
        inMs(tape).map((timeMs) => print(timeMs, '1', '1')),
        inMs(own).map((timeMs) => ({ timeMs, price: '1', size: '1' })),
      )
      return (
        result.reproduced === most(inMs(own), inMs(tape)) &&
        result.reproduced + result.notOnTape === own.length &&
        result.reproduced + Object.values(result.unreproduced).reduce((sum, count) => sum + count) === tape.length
      )
    }),
    { numRuns: 300 },
  )
  t.end()
})

void t.test('P2.02 what was not reproduced is counted by its cause', (t) => {
  const book = [order('m', 0, 'BUY', '100'), order('x', 60_000, 'SELL', '99')]
  const cause = (rows: readonly FlowRow[], own: readonly ComparedTrade[] = []) =>
    Object.entries(compared(rows, own).unreproduced)
      .filter(([, count]) => count > 0)
      .map(([name]) => name)
  const trade = print(60_100, '100', '1')
  t.same(cause([...book, trade]), ['notTraded'])
  t.same(cause([...book, trade], [{ timeMs: 60_000, price: '100', size: '0.5' }]), ['otherSize'])
  t.same(cause([...book, trade], [{ timeMs: 60_000, price: '99', size: '1' }]), ['otherPrice'])
  t.same(cause([...book, trade], [{ timeMs: 70_000, price: '99', size: '1' }]), ['notTraded'])
  t.same(cause([trade]), ['restedBeforeFile'])
  t.same(cause([order('taker', 60_000, 'SELL', '100'), trade]), ['restedBeforeFile'], 'a taker alone is no maker')
  t.same(cause([order('m', 0, 'BUY', '100'), trade]), ['restedBeforeFile'], 'nobody came to take')
  t.same(cause([book[0] as FlowRow, cancel('m', 50_000), book[1] as FlowRow, trade]), ['restedBeforeFile'])
  t.same(cause([book[0] as FlowRow, cancel('m', 59_000), book[1] as FlowRow, trade]), ['notTraded'])
  t.end()
})
