import { assert } from '../base/assert.ts'
import { rfc3339FromUs, usPerDay } from '../base/clock.ts'
import { decimalTextOf } from '../base/decimal.ts'
import { quote } from '../base/json.ts'
import { type Column, decimalDigits, type PartitionRows, type PrimitiveType, type Value } from './schema.ts'

const codePointsMax = 32
const lastCodePoint = '\u{10ffff}'

/**
 * The statistics of a file as JSON: `numRecords` and for every column `nullCount`, for those of a primitive type that
 * have a value `minValues` and `maxValues`. When one of these cannot be stated (a NaN, an infinity, a year that has not
 * four digits), `numRecords` alone: readers take a column that is missing beside others for one without rows.
 *
 * Bounds hold for what the file contains, with text as UTF-8: cut after 32 code points, a maximum then rounded up.
 *
 * @param columns those of the file, in the order of `rows.columns`
 * @see Delta protocol, "Per-file Statistics"
 */
export function statsOf(columns: readonly Column[], { columns: lists, rows }: PartitionRows): string {
  const contents = columns.map(({ name }, at) => {
    const values = lists[at]
    assert(values, `values of ${name}`)
    let nulls = 0
    for (const value of values) if (value === null) nulls += 1
    return { values, nulls }
  })
  return statsOfContents(columns, contents, rows)
}

/** What a file contains of a column: the values, or its least and greatest alone, null when there is none. */
export interface ColumnContent {
  readonly values: readonly Value[]
  readonly nulls: number
}

/** The same, for a file of which only the bounds of columns are at hand. */
export function statsOfContents(columns: readonly Column[], contents: readonly ColumnContent[], rows: number): string {
  const minima: string[] = []
  const maxima: string[] = []
  const nullCounts: string[] = []
  for (const [at, { name, type }] of columns.entries()) {
    const { values = [], nulls = rows } = contents[at] ?? {}
    const key = `${quote(name)}:`
    nullCounts.push(key + String(nulls))
    if (typeof type !== 'string' || nulls === rows) continue
    const bounds = type === 'string' ? textBounds(values) : bareBounds(values, type)
    if (!bounds) return `{"numRecords":${rows}}`
    minima.push(key + bounds.min)
    maxima.push(key + bounds.max)
  }
  return `{"numRecords":${rows},"minValues":{${minima.join()}},"maxValues":{${maxima.join()}},"nullCount":{${nullCounts.join()}}}`
}

/** Both as JSON. */
interface Bounds {
  readonly min: string
  readonly max: string
}

/** @param values at least one of them not null, none a text */
function bareBounds(values: readonly Value[], type: PrimitiveType): Bounds | undefined {
  let [min, max]: [Value, Value] = [null, null]
  for (const value of values) {
    if (value === null) continue
    // NaN, which hides in comparisons.
    if (value !== value) return undefined
    if (min === null || value < min) min = value
    if (max === null || value > max) max = value
  }
  // Some readers order -0 before 0, which is equal to it here.
  const isMinusZero = min === 0 && type === 'double' && values.some((value) => Object.is(value, -0))
  const [low, high] = [isMinusZero ? '-0.0' : jsonOf(min, type), jsonOf(max, type)]
  return low === undefined || high === undefined ? undefined : { min: low, max: high }
}

/** 0001-01-01 and 9999-12-31: RFC 3339 has no other years. */
const [daysMin, daysMax] = [-719_162, 2_932_896]

/** @returns undefined when JSON, or RFC 3339 in it, cannot say it */
function jsonOf(value: Value, type: PrimitiveType): string | undefined {
  if (typeof value === 'bigint') {
    const digits = decimalDigits(type)
    return digits ? decimalTextOf(value, digits.scale) : String(value)
  }
  if (typeof value !== 'number') return String(value)
  if (!Number.isFinite(value)) return undefined
  if (type === 'double' || type === 'long' || type === 'integer') return String(value)
  if (type === 'timestamp') return `"${rfc3339FromUs(value)}"`
  return value < daysMin || value > daysMax ? undefined : `"${rfc3339FromUs(value * usPerDay).slice(0, 10)}"`
}

/** @param values texts, at least one of them not null */
function textBounds(values: readonly Value[]): Bounds {
  let [min, max]: [string | undefined, string | undefined] = [undefined, undefined]
  for (const value of values) {
    if (typeof value !== 'string') continue
    const [low, high] = value.length <= codePointsMax ? [value, value] : [cutDown(value), cutUp(value)]
    if (min === undefined || isBefore(low, min)) min = low
    if (max === undefined || isBefore(max, high)) max = high
  }
  assert(min !== undefined && max !== undefined, 'a text among the values')
  return { min: quote(min.toWellFormed()), max: quote(max.toWellFormed()) }
}

const surrogate = /[\ud800-\udfff]/

/** In the order of UTF-8, which is that of code points; UTF-16 differs from it beside surrogates only. */
function isBefore(left: string, right: string): boolean {
  if (!surrogate.test(left) && !surrogate.test(right)) return left < right
  return Buffer.compare(Buffer.from(left), Buffer.from(right)) < 0
}

function cutDown(text: string): string {
  let [kept, count] = ['', 0]
  for (const char of text) {
    if (count === codePointsMax) return kept
    kept += char
    count += 1
  }
  return text
}

/** The cut text and the last code point, which what is cut off must not begin with: then the cut is made later. */
function cutUp(text: string): string {
  let [kept, count] = ['', 0]
  for (const char of text) {
    if (count >= codePointsMax && char !== lastCodePoint) return kept + lastCodePoint
    kept += char
    count += 1
  }
  return text
}
