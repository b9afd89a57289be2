import { stripVTControlCharacters, styleText } from 'node:util'

export interface Column {
  readonly title: string
  readonly align: 'left' | 'right'
}

/** A column of numbers. */
export function numeric(title: string): Column {
  return { title, align: 'right' }
}

const gap = '  '

/**
 * Columns as wide as their widest cell, the titles above them; cells may hold colours. Where that is wider than the
 * terminal, texts are cut, the longest first; numbers never are.
 * @param columns a text is the title of a column aligned to the left
 */
export function renderTable(
  columns: readonly (string | Column)[],
  rows: readonly (readonly string[])[],
  widthMax = terminalWidth(),
): string {
  const all = columns.map((column): Column => (typeof column === 'string' ? { title: column, align: 'left' } : column))
  const lines = [all.map(({ title }) => bold(title)), ...rows]
  const widths = fitted(
    all.map((_, index) => Math.max(...lines.map((line) => widthOf(line[index] ?? '')))),
    all.map(({ align }) => align === 'left'),
    widthMax - gap.length * (all.length - 1),
  )
  return lines
    .map((line) =>
      all
        .map(({ align }, index) => pad(line[index] ?? '', widths[index] ?? 0, align))
        .join(gap)
        .trimEnd(),
    )
    .join('\n')
}

function terminalWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns : Infinity
}

const textWidthMin = 8

/** Takes from the widest column of texts until all fit, or none can give any more. */
function fitted(widths: readonly number[], isText: readonly boolean[], sumMax: number): number[] {
  const fit = [...widths]
  let excess = fit.reduce((sum, width) => sum + width, 0) - sumMax
  while (excess > 0) {
    const texts = fit.map((width, index) => (isText[index] ? width : 0))
    const widest = texts.indexOf(Math.max(...texts))
    if ((texts[widest] ?? 0) <= textWidthMin) break
    fit[widest] = (texts[widest] ?? 0) - 1
    excess -= 1
  }
  return fit
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length
}

function pad(cell: string, width: number, align: Column['align']): string {
  if (widthOf(cell) > width) return `${stripVTControlCharacters(cell).slice(0, width - 1)}…`
  const blanks = ' '.repeat(width - widthOf(cell))
  return align === 'right' ? blanks + cell : cell + blanks
}

// styleText itself leaves colours out where stdout is no terminal, and with NO_COLOR.
function bold(text: string): string {
  return styleText('bold', text)
}

const colours = { good: 'green', warning: 'yellow', bad: 'red' } as const

/** Colours a word by what it says, where stdout shows colours. */
export function paint(text: string, tone: keyof typeof colours): string {
  return styleText(colours[tone], text)
}
