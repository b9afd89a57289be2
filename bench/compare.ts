import { numeric, paint, renderTable } from '../src/cli/table.ts'
import { changePercent, isOutsideNoise, roundsMin } from './noise.ts'
import { numberText } from './print.ts'
import type { Results } from './results.ts'
import type { Row } from './rows.ts'
import type { Spread } from './statistics.ts'

export interface Comparison {
  readonly scenario: string
  readonly layout?: string
  readonly load?: string
  readonly figure: string
  readonly before: Spread
  readonly after: Spread
  readonly changePercent: number
  /** `same` is within the noise; `changed` is outside it, of a figure of which neither more nor less is better. */
  readonly verdict: 'better' | 'worse' | 'changed' | 'same' | 'tooFewRounds'
}

/** What the load generator is given, or costs: no merit of what is measured. */
const neutral = /^(requests|orders|commands|trades|seconds)$|^(generator|client|cpuPercent\.|rssMb\.)/
const higherIsBetter = /PerSecond$|^ratio|^successPercent$/

/**
 * Compares what both have: of each row its own figure, and all others.
 * Absolute figures of different machines are left out; the ratios remain.
 */
export function compareResults(before: Results, after: Results): Comparison[] {
  const isSameMachine = before.machine.cpu === after.machine.cpu && before.machine.cores === after.machine.cores
  return before.rows.flatMap((row) => {
    const other = after.rows.find((candidate) => keyOf(candidate) === keyOf(row))
    if (!other) return []
    const figures = figuresOf(other)
    return Object.entries(figuresOf(row)).flatMap(([figure, spread]) => {
      const counterpart = figures[figure]
      if (!counterpart || (!isSameMachine && !figure.startsWith('ratio'))) return []
      const { scenario, layout, load } = row
      return {
        scenario,
        ...(layout === undefined ? {} : { layout }),
        ...(load === undefined ? {} : { load }),
        figure,
        before: spread,
        after: counterpart,
        changePercent: Math.round(changePercent(spread, counterpart) * 10) / 10,
        verdict: verdictOf(figure, spread, counterpart, Math.min(row.rounds, other.rounds)),
      }
    })
  })
}

function keyOf({ scenario, layout, load, unit }: Row): string {
  return [scenario, layout, load, unit].join()
}

function figuresOf({ unit, median, min, max, figures }: Row): Record<string, Spread> {
  return { [unit]: { median, min, max }, ...figures }
}

function verdictOf(figure: string, before: Spread, after: Spread, rounds: number): Comparison['verdict'] {
  if (rounds < roundsMin) return 'tooFewRounds'
  if (!isOutsideNoise(before, after)) return 'same'
  if (neutral.test(figure)) return 'changed'
  return after.median > before.median === higherIsBetter.test(figure) ? 'better' : 'worse'
}

/** Each row's own figure, and of the others those that have changed. */
export function renderComparison(before: Results, after: Results, comparisons: readonly Comparison[]): string {
  const units = new Set(before.rows.map(({ unit }) => unit))
  const shown = comparisons.filter(({ figure, verdict }) => units.has(figure) || isNews(verdict))
  const table = renderTable(
    ['scenario', 'layout', 'load', 'figure', numeric('before'), numeric('after'), numeric('change'), ''],
    shown.map(({ scenario, layout = '', load = '', figure, verdict, ...values }) => [
      scenario,
      layout,
      load,
      figure,
      rangeText(values.before),
      rangeText(values.after),
      `${values.changePercent > 0 ? '+' : ''}${values.changePercent} %`,
      verdictText(verdict),
    ]),
  )
  const [from, to] = [before, after].map(({ date, versions }) => `${versions.revision} of ${date.slice(0, 16)}`)
  const news = comparisons.filter(({ verdict }) => isNews(verdict)).length
  const remarks = [
    `${from ?? ''} → ${to ?? ''}: ${news} of ${comparisons.length} figures differ by more than the noise`,
    ...(before.machine.cpu === after.machine.cpu && before.machine.cores === after.machine.cores
      ? []
      : ['different machines: only ratios are compared']),
    ...(comparisons.some(({ verdict }) => verdict === 'tooFewRounds')
      ? [`with fewer than ${roundsMin} rounds nobody can say what is noise`]
      : []),
  ]
  return [table, '', ...remarks].join('\n')
}

function isNews(verdict: Comparison['verdict']): boolean {
  return verdict === 'better' || verdict === 'worse' || verdict === 'changed'
}

function rangeText({ median, min, max }: Spread): string {
  return `${numberText(median)} (${numberText(min)}–${numberText(max)})`
}

function verdictText(verdict: Comparison['verdict']): string {
  if (verdict === 'better') return paint('better', 'good')
  if (verdict === 'worse') return paint('worse', 'bad')
  return verdict === 'changed' ? verdict : ''
}
