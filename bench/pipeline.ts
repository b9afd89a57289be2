import { setTimeout as sleep } from 'node:timers/promises'
import type { Layout } from '../src/cli/stack-layout.ts'
import { startGenerator } from './generator.ts'
import type { LoadOutcome, LoadSpec } from './load-generator.ts'
import { type Usage, watchProcesses } from './processes.ts'
import { figuresByName, percentileFigures, ratioByRound, ratioOf, type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'
import { startBareChain, startPipeline, type System } from './systems.ts'

/** `idle`: nothing is sent; a number: commands a second, open loop; `max`: as fast as they are stored. */
export type LoadLevel = 'idle' | number | 'max'

export interface ChainOptions {
  readonly layouts: readonly Layout[]
  readonly rounds: number
  readonly loads: readonly LoadLevel[]
  /** Commands of a round at `max`. */
  readonly orders: number
  /** Length of a round at any other load. */
  readonly seconds: number
}

/** Sent before anything is measured, at full speed: what is compiled and cached then is so in a stack that runs. */
export const warmUpOrders = 10_000
/** What a load has left behind is done by then. */
export const settleMs = 300

type SystemName = 'pipeline' | 'chain-bare'
const starts: Readonly<Record<SystemName, (session: Session, layout: Layout) => Promise<System>>> = {
  'chain-bare': startBareChain,
  pipeline: startPipeline,
}

/** Rounds of the whole pipeline, at `max` in turn with the bare chain of the same layout. */
export async function pipelineBench(session: Session, options: ChainOptions): Promise<Row[]> {
  return chainBench(session, ['chain-bare', 'pipeline'], options)
}

export async function bareChainBench(session: Session, options: ChainOptions): Promise<Row[]> {
  return chainBench(session, ['chain-bare'], options)
}

async function chainBench(session: Session, systems: readonly SystemName[], options: ChainOptions): Promise<Row[]> {
  const { layouts, rounds, loads } = options
  const measured = new Map<string, Round[]>()
  const of = (...key: readonly (string | number)[]): Round[] => {
    const found = measured.get(key.join()) ?? []
    measured.set(key.join(), found)
    return found
  }
  const loadsOf = (system: SystemName) =>
    system === 'chain-bare' && systems.length > 1 ? loads.filter((load) => load === 'max') : loads
  for (let round = 1; round <= rounds; round += 1)
    for (const layout of layouts)
      for (const name of systems) {
        if (loadsOf(name).length === 0) continue
        const label = `${name} ${layout}, round ${round} of ${rounds}`
        for (const [load, figures] of await measure(session, name, layout, loadsOf(name), { ...options, round, label }))
          of(name, layout, load).push(figures)
      }
  return layouts.flatMap((layout) =>
    systems.flatMap((scenario) =>
      loadsOf(scenario).map((load) => {
        const unit = unitOf(load, scenario)
        const [rounds, bare] = [of(scenario, layout, load), of('chain-bare', layout, load)]
        if (scenario === 'chain-bare' || load !== 'max')
          return rowOf({ scenario, layout, load: loadText(load) }, unit, rounds)
        const what = { scenario, layout, load, ratioToBareChain: ratioOf(rounds, bare, unit) }
        return rowOf(what, unit, ratioByRound(rounds, bare, unit))
      }),
    ),
  )
}

function unitOf(load: LoadLevel, scenario: SystemName): string {
  if (load === 'max') return 'ordersPerSecond'
  if (load === 'idle') return 'rssMb'
  return scenario === 'pipeline' ? 'reportP50Ms' : 'positionP50Ms'
}

export function loadText(load: LoadLevel): string {
  return typeof load === 'number' ? `${load}/s` : load
}

/** All loads on one system that is started for it. */
async function measure(
  session: Session,
  name: SystemName,
  layout: Layout,
  loads: readonly LoadLevel[],
  { orders, seconds, round, label }: ChainOptions & { round: number; label: string },
): Promise<[LoadLevel, Round][]> {
  session.onProgress(`${label}: start`)
  const system = await starts[name](session, layout)
  const figures: [LoadLevel, Round][] = []
  if (loads.includes('idle')) {
    session.onProgress(`${label}: idle`)
    const watched = watchProcesses(system.processes)
    await sleep(Math.min(seconds, 5) * 1_000, undefined, { signal: session.signal })
    figures.push(['idle', usageFigures(watched())])
  }
  const generator = await startGenerator(system.target)
  const stopGenerator = session.own(() => generator.stop())
  const run = async (load: LoadSpec, what: string): Promise<Round> => {
    session.onProgress(`${label}: ${what}`, 0)
    await generator.prepare(load)
    await sleep(settleMs)
    const watched = watchProcesses(system.processes)
    const outcome = await generator.run(load, (finished) =>
      session.onProgress(`${label}: ${what}`, finished / load.count),
    )
    return { ...outcomeFigures(outcome, name), ...usageFigures(watched()) }
  }
  const active = loads.filter((load) => load !== 'idle')
  if (active.length > 0) {
    await run({ run: round * 100, count: Math.min(warmUpOrders, orders), ratePerSecond: 'max' }, 'warm-up')
    for (const [index, ratePerSecond] of active.entries()) {
      const count = ratePerSecond === 'max' ? orders : ratePerSecond * seconds
      const spec: LoadSpec = { run: round * 100 + index + 1, count, ratePerSecond }
      figures.push([ratePerSecond, await run(spec, loadText(ratePerSecond))])
    }
  }
  await stopGenerator()
  await system.stop()
  return figures
}

export function outcomeFigures(outcome: LoadOutcome, name: SystemName): Round {
  return {
    ordersPerSecond: outcome.ordersPerSecond,
    // What comes out of a bare chain has passed as many hops as a position.
    ...(name === 'pipeline' ? percentileFigures('report', outcome.reportMs) : {}),
    ...percentileFigures('position', outcome.positionMs),
    ackP50Ms: outcome.ackMs.p50,
    backlogMax: outcome.backlogMax,
    generatorLateP50Ms: outcome.lateMs.p50,
    generatorLateP99Ms: outcome.lateMs.p99,
    generatorCpuUs: outcome.generatorCpuUs,
    generatorCpuPercent: (outcome.generatorCpuUs * outcome.sent) / outcome.seconds / 1e4,
  }
}

export function usageFigures(usage: Usage): Round {
  return {
    cpuPercent: usage.cpuPercentTotal,
    rssMb: usage.rssMbTotal,
    ...figuresByName('cpuPercent', usage.cpuPercent),
    ...figuresByName('rssMb', usage.rssMb),
  }
}
