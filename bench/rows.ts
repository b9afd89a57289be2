import { percentileNames, type Percentiles } from '../src/cli/latencies.ts'
import type { Layout } from '../src/cli/stack-layout.ts'
import { median, rounded, type Spread, spreadOf } from './statistics.ts'

/** One line of results: one scenario in one layout under one load, over all rounds. */
export interface Row extends Spread {
  readonly scenario: string
  readonly layout?: Layout
  /** What tells rows of a scenario apart: `max`, `1000/s`, `50 connections`, … */
  readonly load?: string
  readonly rounds: number
  /** Of median, min and max. */
  readonly unit: string
  /** Every other figure, its unit last in the name. */
  readonly figures: Readonly<Record<string, Spread>>
  /** Median throughput over that of the bare chain of the same layout, measured in turn with it. */
  readonly ratioToBareChain?: number
  /** Median over that of whom it is compared with. */
  readonly ratioToPeer?: number
  readonly note?: string
  /** Figures over time, where rounds followed each other on one system. */
  readonly series?: Readonly<Record<string, readonly number[]>>
}

/** What one round gave: figures by name. */
export type Round = Readonly<Record<string, number>>

/** @param unit which figure of the rounds is the row's own */
export function rowOf(
  what: Pick<Row, 'scenario' | 'layout' | 'load' | 'ratioToBareChain' | 'ratioToPeer' | 'note'>,
  unit: string,
  rounds: readonly Round[],
): Row {
  const names = Object.keys(rounds[0] ?? {})
  const spread = (name: string) => spreadOf(rounds.map((round) => round[name] ?? 0))
  const figures = names.filter((name) => name !== unit).map((name): [string, Spread] => [name, spread(name)])
  return { ...what, rounds: rounds.length, ...spread(unit), unit, figures: Object.fromEntries(figures) }
}

/** The same ratio for each round, of rounds that were run in turn: how far it moves. */
export function ratioByRound(ours: readonly Round[], others: readonly Round[], name: string): Round[] {
  return ours.map((round, index) => ({ ...round, ratioByRound: (round[name] ?? 0) / (others[index]?.[name] ?? NaN) }))
}

export function ratioOf(ours: readonly Round[], others: readonly Round[], name: string): number {
  const middle = (rounds: readonly Round[]) => median(rounds.map((round) => round[name] ?? 0))
  return rounded(middle(ours) / middle(others))
}

/** `reportP50Ms`, `reportP90Ms`, … */
export function percentileFigures(what: string, percentiles: Percentiles): Round {
  return Object.fromEntries(
    percentileNames.map((name) => [`${what}${name[0]?.toUpperCase() ?? ''}${name.slice(1)}Ms`, percentiles[name]]),
  )
}

/** `cpuPercent.chain`, … : a figure for each process. */
export function figuresByName(what: string, values: Readonly<Record<string, number>>): Round {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${what}.${name}`, value]))
}

/** The row of what could not be run here, so that nobody takes its absence for an oversight. */
export function notRun(scenario: string, unit: string, why: string): Row {
  return { scenario, rounds: 0, median: 0, min: 0, max: 0, unit, figures: {}, note: `not run: ${why}` }
}
