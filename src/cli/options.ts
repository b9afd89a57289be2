import { InvalidArgumentError, Option } from 'commander'

/** The value of an option that counts something. @throws InvalidArgumentError for a fraction, no number, or less than 1 */
export function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('must be a whole number, 1 or more')
  return value
}

/** The same, 0 included. */
export function wholeNumberFrom0(text: string): number {
  return text === '0' ? 0 : wholeNumber(text)
}

/** How long a command waits for the workers to answer. */
export function timeoutOption(about = 'how long to wait for the workers'): Option {
  return new Option('--timeout-ms <ms>', about).argParser(timeoutMs).default(5_000)
}

/** Timers take no more than 2^31 ms. */
const timeoutMsMax = 2 ** 31 - 1

function timeoutMs(text: string): number {
  const ms = wholeNumber(text)
  if (ms > timeoutMsMax) throw new InvalidArgumentError(`must be ${timeoutMsMax} at most`)
  return ms
}
