import { decimalTextOf, parseDecimal } from '../base/decimal.ts'
import { exitCodes } from '../base/errors.ts'
import { textFromUtf8 } from '../base/json.ts'

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * Text that somebody else has written, on one line: control characters, which would write on our terminal, and those
 * that turn the direction of what follows, as in JSON.
 */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** One document, on one line. */
export function printJson(document: unknown): void {
  printLine(JSON.stringify(document))
}

/** A remark beside the answer. */
export function say(text: string): void {
  process.stderr.write(`trade2026: ${text}\n`)
}

/** Whoever reads our stdout may go away before we are done: `trade2026 tail | head`. */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok)
    throw error
  })
}

/** Puts the text in place of what the terminal shows; elsewhere below it. */
export function redraw(text: string): void {
  process.stdout.write(process.stdout.isTTY ? `\x1b[H\x1b[J${text}\n` : `${text}\n\n`)
}

const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown }

/** Parses JSON so that `JSON.stringify` gives every number back as it is written there. */
export function exactJson(data: Uint8Array): unknown {
  return JSON.parse(textFromUtf8(data), (_key, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined ? rawJSON(context.source) : value,
  )
}

/** A number of one of our messages, without an exponent; `-` when absent. */
export function numberText(value: number | string | undefined): string {
  const decimal = value === undefined ? undefined : parseDecimal(String(value))
  return decimal ? decimalTextOf(decimal.mantissa, decimal.scale) : '-'
}

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

export function bytesText(bytes: number): string {
  const step = Math.min(byteUnits.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  const value = bytes / 2 ** (10 * step)
  return `${step === 0 ? value : value.toFixed(1)} ${byteUnits[step] ?? ''}`
}

/** `0.4 s`, `12 min`, `3 h`, `9 d`. */
export function durationText(ms: number): string {
  const seconds = ms / 1_000
  if (seconds < 120) return `${seconds.toFixed(1)} s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`
  return `${Math.round(seconds / 86_400)} d`
}
