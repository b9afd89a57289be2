import { InvalidArgumentError, Option } from 'commander'

/** The value of an option that counts something. @throws InvalidArgumentError for a fraction, no number, or less than 1 */
export function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('must be a whole number, 1 or more')
  return value
}

/** How long a command waits for the workers to answer. */
export function timeoutOption(): Option {
  return new Option('--timeout-ms <ms>', 'how long to wait for the workers').argParser(wholeNumber).default(5_000)
}
