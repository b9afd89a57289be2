const utf8 = new TextDecoder('utf-8', { fatal: true })

/** @throws TypeError when the bytes are not UTF-8 */
export function textFromUtf8(data: Uint8Array): string {
  return utf8.decode(data)
}

const encoder = new TextEncoder()

export function utf8FromText(text: string): Uint8Array {
  return encoder.encode(text)
}

function isOfNumber(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2e
}

/**
 * Whether 16 digits, a point among them or not, stand in a row anywhere. No such run fits between two characters that
 * are 16 apart, so that it is enough to look at every 16th.
 */
export function hasLongNumber(text: string): boolean {
  for (let at = 15; at < text.length; at += 16) {
    if (!isOfNumber(text.charCodeAt(at))) continue
    let from = at
    let to = at
    while (isOfNumber(text.charCodeAt(from - 1))) from -= 1
    while (isOfNumber(text.charCodeAt(to + 1))) to += 1
    if (to - from >= 15) return true
  }
  return false
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

const plainText = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** A JSON string literal; the fast way for plain ASCII. */
export function quote(text: string): string {
  return plainText.test(text) ? `"${text}"` : JSON.stringify(text)
}
