import type { FlowShape } from '../src/cli/order-flow.ts'
import type { Layout } from '../src/cli/stack-layout.ts'
import { startGenerator } from './generator.ts'
import type { LoadSpec } from './load-generator.ts'
import { outcomeFigures, usageFigures, warmUpOrders } from './pipeline.ts'
import { watchProcesses } from './processes.ts'
import { ratioByRound, ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'
import { startPipeline } from './systems.ts'

export interface FlatOptions {
  readonly layout: Layout
  readonly rounds: number
  readonly ratePerSecond: number
  readonly seconds: number
  /** Of the large side of each pair. */
  readonly accounts: number
  readonly symbols: number
}

interface Variant {
  readonly load: string
  readonly shape: FlowShape
}

/**
 * Order to report at a fixed rate with few accounts and many, one symbol and many, in turn, each on a stack of its own
 * that has seen as many orders as there are accounts or symbols. The ratio is that of the many to the few.
 */
export async function flatBench(session: Session, options: FlatOptions): Promise<Row[]> {
  const variant = (accounts: number, symbols: number, load: string): Variant => ({ load, shape: { accounts, symbols } })
  const pairs = [
    [variant(10, 5, '10 accounts'), variant(options.accounts, 5, `${options.accounts} accounts`)],
    [variant(12, 1, '1 symbol'), variant(12, options.symbols, `${options.symbols} symbols`)],
  ] as const
  const measured = new Map<string, Round[]>()
  for (let round = 1; round <= options.rounds; round += 1)
    for (const { load, shape } of pairs.flat()) {
      session.onProgress(`flat, ${load}, round ${round} of ${options.rounds}`)
      const figures = await measure(session, shape, round, options)
      measured.set(load, [...(measured.get(load) ?? []), figures])
    }
  const { layout } = options
  const unit = 'reportP50Ms'
  return pairs.flatMap(([few, many]) => {
    const [fewRounds, manyRounds] = [measured.get(few.load) ?? [], measured.get(many.load) ?? []]
    const what = { scenario: 'flat', layout, load: many.load, ratioToPeer: ratioOf(manyRounds, fewRounds, unit) }
    return [
      rowOf({ scenario: 'flat', layout, load: few.load }, unit, fewRounds),
      rowOf({ ...what, note: `the peer is ${few.load}` }, unit, ratioByRound(manyRounds, fewRounds, unit)),
    ]
  })
}

async function measure(session: Session, shape: FlowShape, seed: number, options: FlatOptions): Promise<Round> {
  const { layout, ratePerSecond, seconds } = options
  const stack = await startPipeline(session, layout)
  const generator = await startGenerator(stack.target)
  const stopGenerator = session.own(() => generator.stop())
  const run = async (spec: LoadSpec) => {
    await generator.prepare(spec)
    return generator.run(spec)
  }
  const opening = Math.max(warmUpOrders, shape.accounts, shape.symbols)
  await run({ run: seed * 10, count: opening, ratePerSecond: 'max', shape })
  const stopWatching = watchProcesses(stack.processes)
  const outcome = await run({ run: seed * 10 + 1, count: ratePerSecond * seconds, ratePerSecond, shape })
  const figures = { ...outcomeFigures(outcome, 'pipeline'), ...usageFigures(stopWatching()) }
  await stopGenerator()
  await stack.stop()
  return figures
}
