import { InvalidArgumentError } from 'commander'

/** The value of an option that counts something. @throws InvalidArgumentError for a fraction, no number, or less than 1 */
export function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('must be a whole number, 1 or more')
  return value
}
