import { stripVTControlCharacters } from 'node:util'
import { percentileNames } from '../src/cli/latencies.ts'
import { type Chart, escapeHtml, type Line, renderChart } from './chart.ts'
import { renderRows } from './print.ts'
import type { Results } from './results.ts'
import type { Row } from './rows.ts'

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h2{margin-top:2em}.charts{display:flex;flex-wrap:wrap;gap:1em}svg{width:640px;max-width:100%;border:1px solid #ddd;border-radius:6px}
svg text{font-size:12px;fill:#444}svg .title{font-size:14px;font-weight:600;fill:#111}svg .grid{stroke:#e5e5e5}
pre{overflow-x:auto;background:#f6f6f6;padding:1em;border-radius:6px;font-size:13px}`

/** One page with nothing to load: what each file measured, as plots and as tables. */
export function renderReport(files: readonly Results[]): string {
  const sections = files.map((results) => {
    const { date, command, machine, versions, rows } = results
    const charts = chartsOf(rows).map(renderChart)
    return `<h2>${escapeHtml(`${versions.revision}, ${date.slice(0, 16).replace('T', ' ')}`)}</h2>
<p><code>${escapeHtml(command)}</code><br>${escapeHtml(
      `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}; node ${versions.node}, nats-server ${versions.natsServer}, valkey ${versions.valkey}`,
    )}</p>
<div class="charts">${charts.join('\n')}</div>
<pre>${escapeHtml(stripVTControlCharacters(renderRows(rows)))}</pre>`
  })
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Trade2026 bench</title><style>${style}</style></head>
<body><h1>Trade2026 bench</h1>
${sections.join('\n')}
</body></html>
`
}

function chartsOf(rows: readonly Row[]): Chart[] {
  return [...latencyAgainstLoad(rows), ...percentiles(rows), ...overTime(rows)].filter(({ lines }) => lines.length > 0)
}

function nameOf({ scenario, layout, load }: Row): string {
  return [scenario, layout, load].filter(Boolean).join(' ')
}

/** A figure that is the row's own or one of the others. */
function medianOf(row: Row, name: string): number | undefined {
  return row.unit === name ? row.median : row.figures[name]?.median
}

function pointsOf<T>(items: readonly T[], pointOf: (item: T) => readonly [number, number | undefined]): Line['points'] {
  return items.flatMap((item) => {
    const [x, y] = pointOf(item)
    return y === undefined ? [] : [[x, y] as const]
  })
}

/** Rows of fixed rates: order to report, a chart for each layout. */
function latencyAgainstLoad(rows: readonly Row[]): Chart[] {
  const rateOf = ({ load = '' }: Row) => Number(/^(\d+)\/s$/.exec(load)?.[1])
  const rated = rows.filter((row) => row.scenario === 'pipeline' && !Number.isNaN(rateOf(row)))
  return [...new Set(rated.map(({ layout }) => layout))].map((layout): Chart => {
    const own = rated.filter((row) => row.layout === layout).sort((a, b) => rateOf(a) - rateOf(b))
    const figures = ['reportP50Ms', 'reportP99Ms', 'positionP50Ms', 'positionP99Ms']
    return {
      title: `Latency against load, ${layout}`,
      xTitle: 'commands a second',
      yTitle: 'ms',
      xScale: 'log',
      yScale: 'log',
      lines: figures.map((name) => ({ name, points: pointsOf(own, (row) => [rateOf(row), medianOf(row, name)]) })),
    }
  })
}

const measures = ['report', 'position', 'post', 'check'] as const

/** The percentiles of every row that has some, but for loads at which they only measure a queue. */
function percentiles(rows: readonly Row[]): Chart[] {
  const xNames = new Map(percentileNames.map((name, index) => [index, name.toUpperCase().replace('P999', 'P99.9')]))
  return measures.map((measure): Chart => {
    const figure = (name: string) => `${measure}${name[0]?.toUpperCase() ?? ''}${name.slice(1)}Ms`
    const own = rows.filter(
      (row) => row.load !== 'max' && row.scenario !== 'soak' && medianOf(row, figure('p50')) !== undefined,
    )
    return {
      title: `Percentiles: to ${measure}`,
      xTitle: '',
      yTitle: 'ms',
      xScale: 'linear',
      yScale: 'log',
      xNames,
      lines: own.map((row) => ({
        name: nameOf(row),
        points: pointsOf([...percentileNames.entries()], ([index, name]) => [index, medianOf(row, figure(name))]),
      })),
    }
  })
}

/** Memory of every process of a soak, and its latency. */
function overTime(rows: readonly Row[]): Chart[] {
  return rows.flatMap((row): Chart[] => {
    const series = Object.entries(row.series ?? {})
    const chart = (title: string, yTitle: string, isOfIt: (name: string) => boolean): Chart => ({
      title: `${title}, ${nameOf(row)}`,
      xTitle: 'interval',
      yTitle,
      xScale: 'linear',
      yScale: 'linear',
      lines: series
        .filter(([name]) => isOfIt(name))
        .map(([name, values]) => ({ name, points: values.map((value, index) => [index + 1, value] as const) })),
    })
    return [
      chart('Memory', 'MB', (name) => name.startsWith('rssMb')),
      chart('Latency', 'ms', (name) => name === 'reportP50Ms' || name === 'reportP99Ms'),
      chart('Backlog', 'commands', (name) => name === 'backlogMax'),
    ]
  })
}
