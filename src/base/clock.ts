import { parseDecimal, pow10, unitsMax } from './decimal.ts'

/** Where a process takes the time from; tests pass their own. */
export interface Clock {
  /** Wall time in milliseconds since the Unix epoch. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: () => Date.now() }

const usPerSecond = 1_000_000
export const usPerDay = 86_400 * usPerSecond

let cachedSecond = -1
let cachedText = ''

/**
 * RFC 3339 in UTC with microseconds, e.g. `2026-11-22T09:30:00.123456Z`.
 * @param timeUs whole microseconds since the Unix epoch, ≥ 0
 */
export function rfc3339FromUs(timeUs: number): string {
  const second = Math.floor(timeUs / usPerSecond)
  if (second !== cachedSecond) {
    cachedSecond = second
    cachedText = new Date(second * 1000).toISOString().slice(0, 20)
  }
  return `${cachedText}${String(timeUs - second * usPerSecond).padStart(6, '0')}Z`
}

const rfc3339 =
  /^(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/

let cachedDate = ''
let cachedDayMs: number | undefined

/** @returns undefined when there is no such day */
function dayMsOf(date: string): number | undefined {
  if (date === cachedDate) return cachedDayMs
  const ms = Date.parse(`${date}T00:00:00Z`)
  cachedDate = date
  // Date.parse takes 2026-02-30 for 2 March; the calendar date must come back as written.
  cachedDayMs = !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 10) === date ? ms : undefined
  return cachedDayMs
}

/**
 * Microseconds since the Unix epoch of an RFC 3339 time; digits beyond microseconds are cut.
 * @returns undefined when the text is not an RFC 3339 date-time
 */
export function usFromRfc3339(text: string): number | undefined {
  const match = rfc3339.exec(text)
  if (!match) return undefined
  const [, date = '', hours, minutes, seconds, fraction = '', sign, zoneHours = 0, zoneMinutes = 0] = match
  const dayMs = dayMsOf(date)
  if (dayMs === undefined) return undefined
  const zone = (Number(zoneHours) * 60 + Number(zoneMinutes)) * (sign === '-' ? 60 : -60)
  const second = dayMs / 1_000 + Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds) + zone
  return second * usPerSecond + Number(fraction.padEnd(6, '0').slice(0, 6))
}

const plainWhole = /^[1-9]\d{0,18}$/

/**
 * Microseconds since the Unix epoch of an epoch number in seconds, milliseconds, microseconds or nanoseconds, told
 * apart by size (contract, section 3: < 1e11 s, < 1e14 ms, < 1e17 µs, else ns); digits beyond microseconds are cut.
 * @param text taken digit by digit: nanoseconds do not fit a double
 * @returns undefined when the text is no decimal, below 0, or beyond 9e15 µs
 */
export function usFromEpoch(text: string): number | undefined {
  if (plainWhole.test(text)) {
    // Told apart by the number of digits; each of these is exact in a double.
    const { length } = text
    const whole = Number(length > 17 ? text.slice(0, -3) : text)
    const us = length > 14 ? whole : length > 11 ? whole * 1_000 : whole * usPerSecond
    return us > unitsMax ? undefined : us
  }
  const decimal = parseDecimal(text)
  if (!decimal || decimal.mantissa < 0n || decimal.scale < -20) return undefined
  const { mantissa, scale } = decimal
  const times = (exponent: number) => (exponent < 0 ? mantissa / pow10(-exponent) : mantissa * pow10(exponent))
  const whole = times(-scale)
  const exponent = whole < pow10(11) ? 6 : whole < pow10(14) ? 3 : whole < pow10(17) ? 0 : -3
  const us = times(exponent - scale)
  return us > BigInt(unitsMax) ? undefined : Number(us)
}

let dayNumber = NaN
let dayText = ''

/** The UTC date of a time, `2026-11-22`. @param timeUs whole microseconds since the Unix epoch */
export function dateFromUs(timeUs: number): string {
  const day = Math.floor(timeUs / usPerDay)
  if (day !== dayNumber) {
    dayNumber = day
    dayText = new Date((day * usPerDay) / 1_000).toISOString().slice(0, 10)
  }
  return dayText
}
