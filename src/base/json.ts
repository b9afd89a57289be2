const utf8 = new TextDecoder('utf-8', { fatal: true })

/** @throws TypeError when the bytes are not UTF-8 */
export function textFromUtf8(data: Uint8Array): string {
  return utf8.decode(data)
}

const encoder = new TextEncoder()

export function utf8FromText(text: string): Uint8Array {
  return encoder.encode(text)
}

const longNumber = /[0-9.]{16}/

/**
 * Parses JSON that we wrote ourselves without losing a digit: numbers of more than 15 digits, which a double cannot
 * hold, come as their text.
 */
export function parseOwnJson(text: string): unknown {
  if (!longNumber.test(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined && context.source.length > 15 ? context.source : value,
  )
}

const plainText = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** A JSON string literal; the fast way for plain ASCII. */
export function quote(text: string): string {
  return plainText.test(text) ? `"${text}"` : JSON.stringify(text)
}
