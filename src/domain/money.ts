import { divideHalfEven, type Exact } from '../base/decimal.ts'

/*
 * Arithmetic on `Exact`. Arguments and results are in normal form: a number exactly when it is a safe integer, else a
 * bigint. Why a number result can be trusted: the double nearest to a true result beyond ± (2^53 − 1) is itself beyond
 * it, because rounding is monotone and 2^53 is a double; so a safe result was computed without rounding.
 */

export function normal(value: bigint): Exact {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

export function add(a: Exact, b: Exact): Exact {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum
  }
  return normal(BigInt(a) + BigInt(b))
}

export function subtract(a: Exact, b: Exact): Exact {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b
    if (Number.isSafeInteger(difference)) return difference
  }
  return normal(BigInt(a) - BigInt(b))
}

export function multiply(a: Exact, b: Exact): Exact {
  if (typeof a === 'number' && typeof b === 'number') {
    const product = a * b
    // Adding 0 turns -0 into 0.
    if (Number.isSafeInteger(product)) return product + 0
  }
  return normal(BigInt(a) * BigInt(b))
}

export function magnitude(value: Exact): Exact {
  return value < 0 ? -value : value
}

/**
 * amount × part / whole, rounded half to even.
 * @param part 0 < part < whole
 */
export function share(amount: Exact, part: Exact, whole: Exact): Exact {
  if (typeof amount === 'number' && typeof part === 'number' && typeof whole === 'number') {
    // |amount| = k × whole + r, so the quotient is k × part + r × part / whole; k × part < |amount| is exact, and
    // usually r × part is too where amount × part is not.
    const size = Math.abs(amount)
    const remainder = size % whole
    const product = remainder * part
    if (product <= Number.MAX_SAFE_INTEGER) {
      const rest = product % whole
      let quotient = ((size - remainder) / whole) * part + (product - rest) / whole
      if (rest > whole - rest || (rest === whole - rest && quotient % 2 === 1)) quotient += 1
      return amount < 0 ? 0 - quotient : quotient
    }
  }
  return normal(divideHalfEven(BigInt(amount) * BigInt(part), BigInt(whole)))
}
