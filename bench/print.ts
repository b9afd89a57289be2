import { numeric, renderTable } from '../src/cli/table.ts'
import type { Row } from './rows.ts'

/** Rows as tables: what each came to, then the other figures of each scenario with a column for each row. */
export function renderRows(rows: readonly Row[]): string {
  const summary = renderTable(
    ['scenario', 'layout', 'load', numeric('median'), numeric('min'), numeric('max'), 'unit', numeric('ratio'), 'to'],
    rows.map((row) => [
      row.scenario,
      row.layout ?? '',
      row.load ?? '',
      ...(row.rounds === 0 ? ['-', '-', '-'] : [row.median, row.min, row.max].map(numberText)),
      row.unit,
      ...ratioCells(row),
    ]),
  )
  const notes = rows.flatMap(({ scenario, load, note }) =>
    note === undefined ? [] : [`${[scenario, load].join(' ').trim()}: ${note}`],
  )
  const scenarios = [...new Set(rows.map(({ scenario }) => scenario))]
  const details = scenarios.flatMap((scenario) => {
    const own = rows.filter((row) => row.scenario === scenario && Object.keys(row.figures).length > 0)
    return own.length === 0 ? [] : [renderFigures(scenario, own)]
  })
  return [summary, ...(notes.length > 0 ? [notes.join('\n')] : []), ...details].join('\n\n')
}

function ratioCells({ ratioToBareChain, ratioToPeer }: Row): [string, string] {
  if (ratioToBareChain !== undefined) return [ratioToBareChain.toFixed(2), 'chain-bare']
  return ratioToPeer === undefined ? ['', ''] : [ratioToPeer.toFixed(2), 'peer']
}

/** Medians; figures in the order in which they were measured. */
function renderFigures(scenario: string, rows: readonly Row[]): string {
  const medians = rows.map(
    ({ unit, median, figures }) =>
      new Map([
        ...Object.entries(figures).map(([name, figure]): [string, number] => [name, figure.median]),
        [unit, median],
      ]),
  )
  const names = [...new Set(medians.flatMap((of) => [...of.keys()]))]
  return renderTable(
    [scenario, ...rows.map((row) => numeric([row.layout, row.load].filter(Boolean).join(' ')))],
    names.map((name) => [name, ...medians.map((of) => optionalText(of.get(name)))]),
  )
}

function optionalText(value: number | undefined): string {
  return value === undefined ? '' : numberText(value)
}

/** Thousands apart from a thousand on; three significant digits below. */
export function numberText(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
  return String(Number(value.toPrecision(3)))
}
