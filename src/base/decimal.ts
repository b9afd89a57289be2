import { assert } from './assert.ts'

/** An exact decimal: mantissa × 10^-scale. A scale may be negative (1e3 is 1 × 10^3). */
export interface Decimal {
  readonly mantissa: bigint
  readonly scale: number
}

/** A positive step such as a tick (0.05 = 5 × 10^-2) in which prices or quantities are counted. */
export interface Unit {
  readonly mantissa: number
  readonly scale: number
}

/** Largest count of ticks or lots that we accept; safely inside a double's whole numbers (2^53 ≈ 9.007e15). */
export const unitsMax = 9e15

/** Whole numbers that are sums or products of ticks and lots: a number while that is exact, else a bigint. */
export type Exact = number | bigint

const decimalText = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/
/**
 * An exponent this far beyond the number of digits written leaves every range we accept; clamping it there keeps
 * hostile input from building huge bigints.
 */
const exponentSlack = 100

/**
 * Exact, unless the value lies beyond 10^±100: then only that it does is kept.
 * @returns undefined when the text is not a decimal number (NaN, Infinity, hex, blanks and the empty text are not)
 */
export function parseDecimal(text: string): Decimal | undefined {
  if (!decimalText.test(text)) return undefined
  const exponentAt = text.search(/[eE]/)
  const digits = exponentAt < 0 ? text : text.slice(0, exponentAt)
  const written = exponentAt < 0 ? 0 : Number(text.slice(exponentAt + 1))
  const exponentMax = digits.length + exponentSlack
  const exponent = Math.max(-exponentMax, Math.min(exponentMax, written))
  const point = digits.indexOf('.')
  const fraction = point < 0 ? '' : digits.slice(point + 1)
  const whole = point < 0 ? digits : digits.slice(0, point)
  const mantissa = BigInt(`${whole === '-' || whole === '' ? `${whole}0` : whole}${fraction}`.replace(/^-/, ''))
  return { mantissa: digits.startsWith('-') ? -mantissa : mantissa, scale: fraction.length - exponent }
}

/** Parses a step. @throws BugError unless positive with at most 15 digits and a scale of 0 to 18 */
export function parseUnit(text: string): Unit {
  const decimal = parseDecimal(text)
  assert(decimal && decimal.mantissa > 0n, `a unit must be a positive decimal: ${text}`)
  let { mantissa, scale } = decimal
  for (; mantissa % 10n === 0n && scale > 0; scale -= 1) mantissa /= 10n
  for (; scale < 0; scale += 1) mantissa *= 10n
  assert(mantissa < 10n ** 15n && scale <= 18, `a unit must have at most 15 digits and 18 decimals: ${text}`)
  return { mantissa: Number(mantissa), scale }
}

/** 10^exponent as a bigint. */
export function pow10(exponent: number): bigint {
  return 10n ** BigInt(exponent)
}

/** Why a decimal has no count of units: not a multiple, or outside ± `unitsMax`. */
export type UnitsProblem = 'off' | 'range'

const simpleNumber = /^\d{1,15}$/
const smallPowers = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15] as const

/**
 * Counts a decimal in units, exactly, by its text.
 * @returns whole units, `off` when it is no multiple of the unit, `range` beyond ± 9e15, undefined when not a decimal
 */
export function unitsFromText(text: string, unit: Unit): number | UnitsProblem | undefined {
  const point = text.indexOf('.')
  const digits = point < 0 ? text : text.slice(0, point) + text.slice(point + 1)
  if (simpleNumber.test(digits) && point !== 0 && point !== text.length - 1) {
    const shift = unit.scale - (point < 0 ? 0 : text.length - point - 1)
    const factor = shift < 0 ? undefined : smallPowers[shift]
    if (factor !== undefined) {
      const scaled = Number(digits) * factor
      if (scaled <= unitsMax) {
        const units = scaled / unit.mantissa
        return Number.isInteger(units) && units * unit.mantissa === scaled ? units : 'off'
      }
    }
  }
  const decimal = parseDecimal(text)
  return decimal && unitsFromDecimal(decimal, unit)
}

/** Counts a decimal in units, exactly. */
export function unitsFromDecimal(decimal: Decimal, unit: Unit): number | UnitsProblem {
  if (decimal.mantissa === 0n) return 0
  const shift = unit.scale - decimal.scale
  // |value / unit| ≥ 10^(shift + digits − 1 − 15): no need to build the number to know that it is out of range.
  if (shift > 40) return 'range'
  if (shift < 0) {
    if (-shift > decimal.mantissa.toString().length) return 'off'
    const divisor = pow10(-shift)
    if (decimal.mantissa % divisor !== 0n) return rangeOr(decimal.mantissa / divisor, unit, 'off')
    return wholeUnits(decimal.mantissa / divisor, unit)
  }
  return wholeUnits(decimal.mantissa * pow10(shift), unit)
}

function wholeUnits(scaled: bigint, unit: Unit): number | UnitsProblem {
  const mantissa = BigInt(unit.mantissa)
  if (scaled % mantissa !== 0n) return rangeOr(scaled, unit, 'off')
  return rangeOr(scaled, unit, Number(scaled / mantissa))
}

function rangeOr<T>(scaled: bigint, unit: Unit, otherwise: T): T | 'range' {
  const units = scaled / BigInt(unit.mantissa)
  return units > BigInt(unitsMax) || units < -BigInt(unitsMax) ? 'range' : otherwise
}

/**
 * The unscaled value of a decimal of fixed precision and scale, exactly.
 * @param value a number that a message of ours carries (see `parseOwnJson`), or its text
 * @returns undefined when it is no decimal, or has more digits than fit
 */
export function unscaledFrom(value: number | string, precision: number, scale: number): bigint | undefined {
  if (typeof value === 'number' && scale < smallPowers.length) {
    const factor = smallPowers[scale] ?? 1
    const unscaled = Math.round(value * factor)
    // Of two decimals of up to 15 digits no double is the nearest to both.
    if (Math.abs(unscaled) < 1e15 && unscaled / factor === value) return BigInt(unscaled)
  }
  const decimal = parseDecimal(String(value))
  if (!decimal || Math.abs(decimal.scale) > 100) return undefined
  const shift = scale - decimal.scale
  if (shift < 0 && decimal.mantissa % pow10(-shift) !== 0n) return undefined
  const unscaled = shift < 0 ? decimal.mantissa / pow10(-shift) : decimal.mantissa * pow10(shift)
  const bound = pow10(precision)
  return unscaled < bound && unscaled > -bound ? unscaled : undefined
}

/** The nearest whole count of units, for prices from outside; undefined when not a decimal or beyond ± 9e15 units. */
export function nearestUnits(text: string, unit: Unit): number | undefined {
  const decimal = parseDecimal(text)
  if (!decimal || Math.abs(decimal.scale) > 40) return undefined
  const shift = unit.scale - decimal.scale
  const mantissa = BigInt(unit.mantissa)
  const units =
    shift >= 0
      ? divideHalfEven(decimal.mantissa * pow10(shift), mantissa)
      : divideHalfEven(decimal.mantissa, mantissa * pow10(-shift))
  return units > BigInt(unitsMax) || units < -BigInt(unitsMax) ? undefined : Number(units)
}

/**
 * Counts in units a number that one of our own messages carries. JSON numbers of up to 15 digits survive a double, so
 * rounding gives back the exact count; longer ones arrive here as text (see `parseOwnJson`).
 * @throws BugError when it is no whole count: our own messages never hold one
 */
export function unitsFromOwn(value: number | string, unit: Unit): number {
  if (typeof value === 'number') {
    const units = Math.round((value * (smallPowers[unit.scale] ?? 10 ** unit.scale)) / unit.mantissa)
    if (units < 2 ** 49 && units > -(2 ** 49)) return units
  }
  const units = unitsFromText(String(value), unit)
  assert(typeof units === 'number', `not a whole count of ${unit.mantissa}e-${unit.scale}: ${value}`)
  return units
}

/** Plain decimal text of count × unit: no exponent, no trailing zeros, `0` for zero. */
export function textFromUnits(count: Exact, unit: Unit): string {
  if (typeof count === 'number') {
    const product = count * unit.mantissa
    if (Number.isSafeInteger(product)) return decimalTextOf(product, unit.scale)
  }
  return decimalTextOf(BigInt(count) * BigInt(unit.mantissa), unit.scale)
}

/** Plain decimal text of mantissa × 10^-scale: no exponent, no trailing zeros. */
export function decimalTextOf(mantissa: Exact, scale: number): string {
  if (scale <= 0) return String(scale === 0 ? mantissa : BigInt(mantissa) * pow10(-scale))
  const negative = mantissa < 0
  const digits = String(negative ? -mantissa : mantissa).padStart(scale + 1, '0')
  let end = digits.length
  const point = end - scale
  while (end > point && digits.charCodeAt(end - 1) === 48) end -= 1
  const text = end > point ? `${digits.slice(0, point)}.${digits.slice(point, end)}` : digits.slice(0, point)
  return negative && text !== '0' ? `-${text}` : text
}

/** Quotient rounded half to even (IEEE 754 roundTiesToEven). `divisor` > 0. */
export function divideHalfEven(dividend: bigint, divisor: bigint): bigint {
  const negative = dividend < 0n
  const magnitude = negative ? -dividend : dividend
  let quotient = magnitude / divisor
  const twice = (magnitude - quotient * divisor) * 2n
  if (twice > divisor || (twice === divisor && (quotient & 1n) === 1n)) quotient += 1n
  return negative ? -quotient : quotient
}

/** sum + quantity × price, exact: stays a number while it is one exactly. All three ≥ 0, factors ≤ 9e15. */
export function addProduct(sum: Exact, quantity: number, price: number): Exact {
  if (typeof sum === 'number') {
    const total = sum + quantity * price
    // A double product below 2^53 was computed without rounding.
    if (total <= Number.MAX_SAFE_INTEGER) return total
  }
  return BigInt(sum) + BigInt(quantity) * BigInt(price)
}
