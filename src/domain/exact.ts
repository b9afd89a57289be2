import type { Exact } from '../base/decimal.ts'

const safeMax = BigInt(Number.MAX_SAFE_INTEGER)

/** A number whenever that is exact, so that equal values are equal by `===`. */
export function narrow(value: bigint): Exact {
  return value <= safeMax && value >= -safeMax ? Number(value) : value
}

/** a + b, exact. */
export function sum(a: Exact, b: Exact): Exact {
  if (typeof a === 'number' && typeof b === 'number') {
    const total = a + b
    if (Number.isSafeInteger(total)) return total
  }
  return narrow(BigInt(a) + BigInt(b))
}

/** a − b, exact. */
export function difference(a: Exact, b: Exact): Exact {
  return sum(a, -b)
}

/** a × b, exact. */
export function product(a: Exact, b: Exact): Exact {
  if (typeof a === 'number' && typeof b === 'number') {
    const result = a * b
    // A double product below 2^53 was computed without rounding; + 0 turns −0 into 0.
    if (Number.isSafeInteger(result)) return result + 0
  }
  return narrow(BigInt(a) * BigInt(b))
}

/** |a| */
export function magnitude(a: Exact): Exact {
  return a < 0 ? -a : a
}

export function larger(a: Exact, b: Exact): Exact {
  return a > b ? a : b
}
