import { usFromEpoch, usFromRfc3339, usPerDay } from '../base/clock.ts'
import { decimalTextOf, parseDecimal } from '../base/decimal.ts'
import { messageOf } from '../base/errors.ts'
import { numberText, parseExactJson, textFromUtf8 } from '../base/json.ts'
import { upperAscii } from './command.ts'

/** Why a message of a feed is none: a code, and of fields every one that is wrong. For the DLQ. */
export interface InvalidFeedMessage {
  readonly problem: string
}

const depthMax = 8
const digitsMax = 100
const plainDecimal = /^-?(?:[1-9]\d*|0)(?:\.\d*[1-9])?$/
/** 2000-01-01. */
const eventTimeMinUs = 946_684_800_000_000

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null || numberText(value) !== undefined) return false
  return levels === 0 || Object.values(value).some((child) => isDeeper(child, levels - 1))
}

/** Most messages of a feed hold nothing but plain fields, and then there is nothing to walk through. */
function isFlat(text: string): boolean {
  return !text.includes('[') && !text.includes('{', text.indexOf('{') + 1)
}

/** The text of a number as a plain decimal without trailing zeros; undefined when it is none or far out of range. */
function plainTextOf(text: string): string | undefined {
  if (text.length <= digitsMax && plainDecimal.test(text)) return text === '-0' ? '0' : text
  const decimal = parseDecimal(text)
  if (!decimal || text.length > digitsMax || Math.abs(decimal.scale) > digitsMax) return undefined
  return decimalTextOf(decimal.mantissa, decimal.scale)
}

/**
 * The fields of a message that a feed publishes, one by one: in snake_case or camelCase, null as absent, numbers by
 * their text. Fields nobody asks for are ignored; what is wrong is collected.
 */
export class FeedFields {
  readonly #body: Readonly<Record<string, unknown>>
  /** The first problem of each field. */
  #wrong: Map<string, string> | undefined

  private constructor(body: Readonly<Record<string, unknown>>) {
    this.#body = body
  }

  /** @returns what is wrong when the bytes are not UTF-8, not a JSON object, or nested deeper than 8 */
  static read(data: Uint8Array): FeedFields | InvalidFeedMessage {
    const unreadable = (why: string) => ({ problem: `INVALID_MESSAGE: ${why}` })
    try {
      const text = textFromUtf8(data)
      const body = parseExactJson(text)
      if (typeof body !== 'object' || body === null || Array.isArray(body)) return unreadable('not a JSON object')
      if (!isFlat(text) && isDeeper(body, depthMax)) return unreadable(`nested deeper than ${depthMax}`)
      return new FeedFields(body as Readonly<Record<string, unknown>>)
    } catch (error) {
      if (error instanceof RangeError) return unreadable(`nested deeper than ${depthMax}`)
      return unreadable(`not JSON in UTF-8: ${messageOf(error).slice(0, 100)}`)
    }
  }

  /** Undefined when all that was asked for is right. */
  get invalid(): InvalidFeedMessage | undefined {
    if (!this.#wrong) return undefined
    return {
      problem: `INVALID_FIELD: ${Array.from(this.#wrong, ([field, problem]) => `${field} ${problem}`).join('; ')}`,
    }
  }

  wrong(field: string, problem: string): void {
    this.#wrong ??= new Map()
    if (!this.#wrong.has(field)) this.#wrong.set(field, problem)
  }

  /** Takes note that a field is missing, unless it is there and wrong. */
  missing(field: string): void {
    this.wrong(field, 'is missing')
  }

  /** @param camel the other spelling, where there is one */
  value(field: string, camel = field): unknown {
    const snakeValue = this.#body[field] ?? undefined
    if (camel === field) return snakeValue
    const camelValue = this.#body[camel] ?? undefined
    if (snakeValue === undefined || camelValue === undefined) return snakeValue ?? camelValue
    if (JSON.stringify(snakeValue) === JSON.stringify(camelValue)) return snakeValue
    this.wrong(field, `given twice and not the same, as ${camel} too`)
    return undefined
  }

  /** A text; of a number its plain decimal. */
  text(field: string, camel?: string): string | undefined {
    const value = this.value(field, camel)
    if (value === undefined) return undefined
    const text = typeof value === 'string' ? value : plainTextOf(numberText(value) ?? '')
    if (text?.isWellFormed() === true) return text
    this.wrong(field, 'must be a text')
    return undefined
  }

  /** A number in whatever spelling, as a plain decimal without trailing zeros; a double can come near it. */
  decimal(field: string, camel?: string): string | undefined {
    const value = this.value(field, camel)
    if (value === undefined) return undefined
    const text = plainTextOf(typeof value === 'string' ? value : (numberText(value) ?? ''))
    if (text === undefined) this.wrong(field, 'must be a decimal number within 1e±100')
    return text
  }

  /** µs since the Unix epoch. */
  timeUs(field: string, camel?: string): number | undefined {
    const value = this.value(field, camel)
    if (value === undefined) return undefined
    const text = typeof value === 'string' ? value : (numberText(value) ?? '')
    const timeUs = usFromRfc3339(text) ?? usFromEpoch(text)
    if (timeUs === undefined) this.wrong(field, 'must be an RFC 3339 time or an epoch number')
    return timeUs
  }

  /**
   * When it happened: not before 2000 and at most a day after `nowUs`.
   * @param nowUs when the stream stored the message, so that reading it again gives the same
   */
  eventTimeUs(nowUs: number): number {
    const timeUs = this.timeUs('event_ts', 'eventTs')
    if (timeUs === undefined) this.missing('event_ts')
    else if (!isEventTime(timeUs, nowUs)) this.wrong('event_ts', 'must be from 2000-01-01 to a day from now')
    return timeUs ?? 0
  }

  /** A name that the subject gives too; the body need not, but must agree. */
  named(field: string, fromSubject: string): void {
    const text = this.text(field)
    if (text !== undefined && text !== fromSubject && upperAscii(text) !== upperAscii(fromSubject))
      this.wrong(field, `must be ${fromSubject}, as in the subject`)
  }
}

/** From 2000-01-01 to a day from `nowUs`. */
export function isEventTime(timeUs: number, nowUs: number): boolean {
  return timeUs >= eventTimeMinUs && timeUs <= nowUs + usPerDay
}
