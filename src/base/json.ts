const utf8 = new TextDecoder('utf-8', { fatal: true })

/** @throws TypeError when the bytes are not UTF-8 */
export function textFromUtf8(data: Uint8Array): string {
  return utf8.decode(data)
}

const encoder = new TextEncoder()

export function utf8FromText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Whether a value of JSON is an object, and no list. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isOfNumber(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2e
}

/**
 * Whether 16 digits, a point among them or not, stand in a row anywhere. No such run fits between two characters that
 * are 16 apart, so that it is enough to look at every 16th.
 */
export function hasLongNumber(text: string): boolean {
  for (let at = 15; at < text.length; at += 16) if (endOfNumber(text, at) - startOfNumber(text, at) >= 16) return true
  return false
}

function startOfNumber(text: string, at: number): number {
  while (isOfNumber(text.charCodeAt(at - 1))) at -= 1
  return at
}

/** The end of the run of digits and points that `at` is in; `at` itself when it is in none. */
function endOfNumber(text: string, at: number): number {
  while (isOfNumber(text.charCodeAt(at))) at += 1
  return at
}

/**
 * Parses JSON that we wrote ourselves without losing a digit: numbers of more than 15 digits, which a double cannot
 * hold, come as their text.
 */
export function parseOwnJson(text: string): unknown {
  if (!hasLongNumber(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined && context.source.length > 15 ? context.source : value,
  )
}

const exponent = /[:[,]\s*-?[0-9.]+[eE]/

/** Whether there may be a number that does not come out of a double as it is written. */
export function mayBeInexact(text: string): boolean {
  if (exponent.test(text)) return true
  for (let at = 15; at < text.length; at += 16) {
    const end = endOfNumber(text, at)
    if (end === at) continue
    const number = text.slice(startOfNumber(text, at), end)
    if (number.length >= 16 && String(Number(number)) !== number) return true
    at = end
  }
  return false
}

/** A number that `JSON.stringify` writes as it was read; TypeScript does not know it yet. */
interface RawNumber {
  readonly rawJSON: string
}
const { rawJSON, isRawJSON } = JSON as unknown as {
  readonly rawJSON: (text: string) => RawNumber
  readonly isRawJSON: (value: unknown) => value is RawNumber
}

/**
 * Parses JSON of others without losing a digit: where a number may be inexact, the numbers come as what `numberText`
 * and `JSON.stringify` give back as it was written.
 * @throws SyntaxError, or RangeError when it is nested too deeply for the parser
 */
export function parseExactJson(text: string): unknown {
  if (!mayBeInexact(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined && String(value) !== context.source
      ? rawJSON(context.source)
      : value,
  )
}

/** The text of a number out of `parseExactJson`, as it was written or with the same digits; undefined for all else. */
export function numberText(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return isRawJSON(value) ? value.rawJSON : undefined
}

const plainText = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** A JSON string literal; the fast way for plain ASCII. */
export function quote(text: string): string {
  return plainText.test(text) ? `"${text}"` : JSON.stringify(text)
}
