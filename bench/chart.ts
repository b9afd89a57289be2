export interface Line {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface Chart {
  readonly title: string
  readonly xTitle: string
  readonly yTitle: string
  /** Logarithmic axes need values above 0. */
  readonly xScale: 'linear' | 'log'
  readonly yScale: 'linear' | 'log'
  /** Names for places on the x axis; unset: the numbers. */
  readonly xNames?: ReadonlyMap<number, string>
  readonly lines: readonly Line[]
}

const size = { width: 640, height: 360, left: 70, right: 20, top: 40, bottom: 50 } as const
const colours = ['#1f77b4', '#d62728', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b', '#17becf', '#7f7f7f'] as const

interface Axis {
  readonly ticks: readonly number[]
  /** From 0 at the least value shown to 1 at the greatest. */
  place(value: number): number
}

function axisOf(values: readonly number[], scale: 'linear' | 'log'): Axis {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  if (scale === 'linear') {
    const step = niceStep(most / 5 || 1)
    const top = Math.max(step, Math.ceil(most / step) * step)
    return { ticks: range(0, Math.round(top / step)).map((count) => count * step), place: (value) => value / top }
  }
  const [low, high] = [
    Math.floor(Math.log10(least)),
    Math.max(Math.floor(Math.log10(least)) + 1, Math.ceil(Math.log10(most))),
  ]
  return {
    ticks: range(low, high).map((exponent) => 10 ** exponent),
    place: (value) => (Math.log10(value) - low) / (high - low),
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

/** 1, 2 or 5 times a power of ten, no less than what is asked for. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10) * power
}

/** A line chart as an SVG element of its own. */
export function renderChart(chart: Chart): string {
  const isShown = ([x, y]: readonly [number, number]) =>
    (chart.xScale === 'linear' || x > 0) && (chart.yScale === 'linear' || y > 0)
  const lines = chart.lines.map(({ name, points }) => ({ name, points: points.filter(isShown) }))
  const all = lines.flatMap(({ points }) => points)
  const names = [...(chart.xNames?.keys() ?? [])]
  const xAxis = axisOf([...all.map(([x]) => x), ...names], chart.xScale)
  const yAxis = axisOf(
    all.map(([, y]) => y),
    chart.yScale,
  )
  const { width, height, left, right, top, bottom } = size
  const xAt = (value: number) => Math.round((left + xAxis.place(value) * (width - left - right)) * 10) / 10
  const yAt = (value: number) => Math.round((height - bottom - yAxis.place(value) * (height - top - bottom)) * 10) / 10
  const text = (x: number, y: number, anchor: string, content: string, more = '') =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}"${more}>${escapeHtml(content)}</text>`
  const parts = [
    text(left, 20, 'start', chart.title, ' class="title"'),
    ...yAxis.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${yAt(tick)}" y2="${yAt(tick)}"/>` +
        text(left - 6, yAt(tick) + 4, 'end', tickText(tick)),
    ),
    ...(chart.xNames ? names : xAxis.ticks).map((tick) =>
      text(xAt(tick), height - bottom + 18, 'middle', chart.xNames?.get(tick) ?? tickText(tick)),
    ),
    text((left + width - right) / 2, height - 8, 'middle', chart.xTitle),
    text(-(top + height - bottom) / 2, 16, 'middle', chart.yTitle, ' transform="rotate(-90)"'),
    ...lines.flatMap(({ name, points }, index) => {
      const colour = colours[index % colours.length] ?? ''
      const path = points.map(([x, y]) => `${xAt(x)},${yAt(y)}`)
      return [
        `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${path.join(' ')}"/>`,
        ...points.map(
          ([x, y]) =>
            `<circle cx="${xAt(x)}" cy="${yAt(y)}" r="3" fill="${colour}"><title>${escapeHtml(`${name}: ${tickText(y)}`)}</title></circle>`,
        ),
        `<rect x="${left + 10}" y="${top + index * 16}" width="10" height="10" fill="${colour}"/>`,
        text(left + 26, top + 9 + index * 16, 'start', name),
      ]
    }),
  ]
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)}">${parts.join('')}</svg>`
}

function tickText(value: number): string {
  return value >= 1_000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(3)))
}

export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
