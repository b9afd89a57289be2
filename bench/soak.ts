import type { Layout } from '../src/cli/stack-layout.ts'
import { startGenerator } from './generator.ts'
import { changePercent, isOutsideNoise } from './noise.ts'
import { loadText, outcomeFigures, usageFigures, warmUpOrders } from './pipeline.ts'
import { watchProcesses } from './processes.ts'
import { type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'
import { spreadOf } from './statistics.ts'
import { startPipeline } from './systems.ts'

export interface SoakOptions {
  readonly layout: Layout
  readonly ratePerSecond: number
  readonly seconds: number
  readonly intervalSeconds: number
}

/** Looked at for growth: if one of them is larger in the last third than ever in the middle one, something piles up. */
const watched = ['rssMb', 'reportP50Ms', 'reportP99Ms', 'backlogMax'] as const

/** One stack under a fixed rate for long; memory, backlog and latency of every interval, and whether they grow. */
export async function soakBench(session: Session, options: SoakOptions): Promise<Row[]> {
  const { layout, ratePerSecond, intervalSeconds } = options
  session.onProgress(`soak ${layout}: start`)
  const stack = await startPipeline(session, layout)
  const generator = await startGenerator(stack.target)
  const stopGenerator = session.own(() => generator.stop())
  const intervals = Math.max(3, Math.round(options.seconds / intervalSeconds))
  const warmUp = { run: 1, count: warmUpOrders, ratePerSecond: 'max' } as const
  await generator.prepare(warmUp)
  await generator.run(warmUp)
  const rounds: Round[] = []
  for (let index = 0; index < intervals; index += 1) {
    const spec = { run: index + 2, count: Math.ceil(ratePerSecond * intervalSeconds), ratePerSecond }
    await generator.prepare(spec)
    const stopWatching = watchProcesses(stack.processes)
    const outcome = await generator.run(spec, (finished) =>
      session.onProgress(`soak ${layout}, ${loadText(ratePerSecond)}`, (index + finished / spec.count) / intervals),
    )
    rounds.push({ ...outcomeFigures(outcome, 'pipeline'), ...usageFigures(stopWatching()) })
  }
  await stopGenerator()
  await stack.stop()
  const names = Object.keys(rounds[0] ?? {})
  const series = Object.fromEntries(names.map((name) => [name, rounds.map((round) => round[name] ?? 0)]))
  const note = growthText(series)
  return [{ ...rowOf({ scenario: 'soak', layout, load: loadText(ratePerSecond), note }, 'rssMb', rounds), series }]
}

/** Says what grows, by the middle and the last third of each series; the first third warms up. */
export function growthText(series: Readonly<Record<string, readonly number[]>>): string {
  const grown = watched.flatMap((name) => {
    const values = series[name] ?? []
    const third = Math.floor(values.length / 3)
    const [middle, last] = [spreadOf(values.slice(third, 2 * third)), spreadOf(values.slice(2 * third))]
    const isLarger = last.median > middle.median && isOutsideNoise(middle, last)
    return isLarger ? [`${name} by ${changePercent(middle, last).toFixed(0)} %`] : []
  })
  return grown.length === 0 ? 'no growth' : `grows: ${grown.join(', ')}`
}
