/** A column in which texts repeat: each text once, and for every row which of them it has. */
export interface TextColumn {
  readonly texts: readonly (string | undefined)[]
  readonly rows: Uint32Array
}

export function textColumn(values: readonly (string | undefined)[]): TextColumn {
  const at = new Map<string | undefined, number>()
  const rows = new Uint32Array(values.length)
  values.forEach((value, row) => {
    let index = at.get(value)
    if (index === undefined) at.set(value, (index = at.size))
    rows[row] = index
  })
  return { texts: [...at.keys()], rows }
}

/** The text of each row; rows with the same text share it. */
export function textsOf({ texts, rows }: TextColumn): (string | undefined)[] {
  const shared = texts.map((text) => (text === undefined ? undefined : interned(text)))
  return Array.from(rows, (index) => shared[index])
}

/** The engine's one copy of a text: comparing it with a literal is comparing two addresses. */
function interned(text: string): string | undefined {
  return Object.keys({ [text]: 0 })[0]
}

/** A column of numbers; NaN stands for what is absent. */
export function numberColumn(values: readonly (number | undefined)[]): Float64Array {
  return Float64Array.from(values, (value) => value ?? NaN)
}

export function numberAt(column: Float64Array, row: number): number | undefined {
  const value = column[row]
  return value === undefined || Number.isNaN(value) ? undefined : value
}
