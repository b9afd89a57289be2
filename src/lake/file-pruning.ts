import { usFromRfc3339, usPerDay } from '../base/clock.ts'
import type { Add } from './actions.ts'
import { fileStats, type FileStats } from './file-stats.ts'
import { compareKeys } from './store.ts'
import type { Field } from './table-schema.ts'

/** Text, or a whole number: longs, days and microseconds since 1970. */
export type Comparable = string | bigint

/** What a scan keeps of a column, as far as it can be told from bounds; `everything` when it cannot. */
export type Filter =
  | { readonly kind: 'compare'; readonly op: '=' | '<' | '<=' | '>' | '>='; readonly value: Comparable }
  | { readonly kind: 'and' | 'or'; readonly filters: readonly Filter[] }
  | { readonly kind: 'everything' }

/** One reading of a table in a query. */
export interface Scan {
  readonly table: string
  /** By the name of the column; each must hold for a row. */
  readonly filters: ReadonlyMap<string, Filter>
}

/** The values of a column in a file lie between these; null when all are null. */
type Bounds = { readonly min: Comparable; readonly max: Comparable } | null

/** Whether a file can hold rows that one of the scans keeps. */
export function mayMatch(file: Add, scans: readonly Scan[], fields: readonly Field[]): boolean {
  let stats: FileStats | undefined
  const boundsOf = (name: string): Bounds | undefined => {
    const field = fields.find((candidate) => candidate.name === name)
    if (!field || typeof field.type !== 'string') return undefined
    const value = file.partitionValues[name]
    if (value !== undefined) return partitionBounds(value, field.type)
    stats ??= fileStats(file)
    const min = comparable(stats.minValues?.[name], field.type)
    const max = comparable(stats.maxValues?.[name], field.type)
    // Some writers cut times in their statistics to milliseconds.
    const slack = field.type === 'timestamp' ? 999n : 0n
    if (min === undefined || max === undefined) return undefined
    return { min, max: typeof max === 'bigint' ? max + slack : max }
  }
  return scans.some((scan) =>
    [...scan.filters].every(([name, filter]) => {
      const bounds = boundsOf(name)
      return bounds === undefined || mayHold(filter, bounds)
    }),
  )
}

function partitionBounds(value: string | null, type: string): Bounds | undefined {
  // The protocol writes null as nothing at all too.
  if (value === null || value === '') return null
  const exact = comparable(value, type)
  return exact === undefined ? undefined : { min: exact, max: exact }
}

/** @returns undefined for what is not there, or of a type whose order differs between engines */
function comparable(value: unknown, type: string): Comparable | undefined {
  if (type === 'string') return typeof value === 'string' ? value : undefined
  if (typeof value !== 'string' && typeof value !== 'number') return undefined
  if (type === 'long' || type === 'integer') return /^-?\d+$/.test(String(value)) ? BigInt(value) : undefined
  if (type === 'date') {
    const us = usFromRfc3339(`${value}T00:00:00Z`)
    return us === undefined ? undefined : BigInt(us / usPerDay)
  }
  if (type !== 'timestamp') return undefined
  const text = String(value).replace(' ', 'T')
  const us = usFromRfc3339(text) ?? usFromRfc3339(`${text}Z`)
  return us === undefined ? undefined : BigInt(us)
}

function compare(a: Comparable, b: Comparable): number {
  if (typeof a === 'string') return typeof b === 'string' ? compareKeys(a, b) : NaN
  return typeof b === 'string' ? NaN : a < b ? -1 : Number(a > b)
}

function mayHold(filter: Filter, bounds: Bounds): boolean {
  switch (filter.kind) {
    case 'everything':
      return true
    case 'and':
      return filter.filters.every((each) => mayHold(each, bounds))
    case 'or':
      return filter.filters.some((each) => mayHold(each, bounds))
    case 'compare': {
      if (bounds === null) return false
      const below = compare(bounds.min, filter.value)
      const above = compare(bounds.max, filter.value)
      if (Number.isNaN(below) || Number.isNaN(above)) return true
      if (filter.op === '=') return below <= 0 && above >= 0
      if (filter.op === '<') return below < 0
      if (filter.op === '<=') return below <= 0
      return filter.op === '>' ? above > 0 : above >= 0
    }
  }
}
