import type { Exact } from '../base/decimal.ts'
import { divideHalfEven, pow10 } from '../base/decimal.ts'
import type { Liquidity } from '../schemas/enums.ts'
import type { Instrument } from '../schemas/instrument.ts'

/** fee = lots × ticks × numerator / divisor, in 10^-quoteScale; the fraction is in lowest terms. */
export interface FeeRate {
  /** NaN when either is beyond a double's whole numbers. */
  readonly numerator: number
  readonly divisor: number
  readonly exactNumerator: bigint
  readonly exactDivisor: bigint
}

/** Makes an instrument's rate ready for `feeAt`. */
export function feeRateOf(instrument: Instrument, liquidity: Liquidity): FeeRate {
  const { value, makerFeeRate, takerFeeRate, feeScale, quoteScale } = instrument
  const scale = value.scale + feeScale - quoteScale
  const numerator =
    BigInt(value.mantissa) * BigInt(liquidity === 'MAKER' ? makerFeeRate : takerFeeRate) * pow10(Math.max(0, -scale))
  const divisor = pow10(Math.max(0, scale))
  const common = greatestCommonDivisor(numerator, divisor)
  const exactNumerator = numerator / common
  const exactDivisor = divisor / common
  const exact = exactNumerator <= Number.MAX_SAFE_INTEGER && exactDivisor <= Number.MAX_SAFE_INTEGER
  return {
    numerator: exact ? Number(exactNumerator) : NaN,
    divisor: exact ? Number(exactDivisor) : NaN,
    exactNumerator,
    exactDivisor,
  }
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b]
  return a
}

/** The fee of a fill, half-even, in 10^-quoteScale of the quote currency. Lots and ticks ≤ 9e15. */
export function feeAt(lots: number, ticks: number, rate: FeeRate): Exact {
  const { numerator, divisor } = rate
  // Splitting lots by the divisor keeps the products small. Rounding is monotone and all factors are whole: what comes
  // out within the safe range was computed without any.
  const portions = Math.floor(lots / divisor)
  const whole = portions * ticks * numerator
  const rest = (lots - portions * divisor) * ticks * numerator
  if (whole + rest <= Number.MAX_SAFE_INTEGER) {
    const quotient = Math.floor(rest / divisor)
    const twice = (rest - quotient * divisor) * 2
    const fee = whole + quotient
    return twice > divisor || (twice === divisor && fee % 2 === 1) ? fee + 1 : fee
  }
  const fee = divideHalfEven(BigInt(lots) * BigInt(ticks) * rate.exactNumerator, rate.exactDivisor)
  return fee <= Number.MAX_SAFE_INTEGER ? Number(fee) : fee
}

/** lots × ticks × tick × lot × rate of the liquidity, half-even, in 10^-quoteScale (contract, section 3). */
export function feeOf(lots: number, ticks: number, instrument: Instrument, liquidity: Liquidity): Exact {
  return feeAt(lots, ticks, feeRateOf(instrument, liquidity))
}
