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
 * Columns as wide as their widest cell, the titles above them; cells may hold colours.
 * @param columns a text is the title of a column aligned to the left
 */
export function renderTable(columns: readonly (string | Column)[], rows: readonly (readonly string[])[]): string {
  const all = columns.map((column): Column => (typeof column === 'string' ? { title: column, align: 'left' } : column))
  const lines = [all.map(({ title }) => bold(title)), ...rows]
  const widths = all.map((_, index) => Math.max(...lines.map((line) => widthOf(line[index] ?? ''))))
  return lines
    .map((line) =>
      all
        .map(({ align }, index) => pad(line[index] ?? '', widths[index] ?? 0, align))
        .join(gap)
        .trimEnd(),
    )
    .join('\n')
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length
}

function pad(cell: string, width: number, align: Column['align']): string {
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
