import fc from 'fast-check'
import t, { type Test } from 'tap'
import {
  addProduct,
  decimalTextOf,
  divideHalfEven,
  parseDecimal,
  parseUnit,
  textFromUnits,
  unitsFromDecimal,
  unitsFromOwn,
  unitsFromText,
  unitsMax,
  type Exact,
  type Unit,
} from '../../src/base/decimal.ts'
import { parseOwnJson } from '../../src/base/json.ts'

/** An exact number: n / d with d > 0. */
interface Rational {
  readonly n: bigint
  readonly d: bigint
}

/** Reads decimal text digit by digit, sharing nothing with parseDecimal. */
function rationalOf(text: string): Rational {
  let n = 0n
  let d = 1n
  let afterPoint = false
  let at = text.startsWith('-') ? 1 : 0
  for (; at < text.length && !'eE'.includes(text.charAt(at)); at += 1) {
    if (text[at] === '.') afterPoint = true
    else {
      n = n * 10n + BigInt(text.charAt(at))
      if (afterPoint) d *= 10n
    }
  }
  const exponent = at < text.length ? BigInt(text.slice(at + 1).replace('+', '')) : 0n
  if (exponent > 0n) n *= 10n ** exponent
  else d *= 10n ** -exponent
  return { n: text.startsWith('-') ? -n : n, d }
}

const unitValue = ({ mantissa, scale }: Unit): Rational => ({ n: BigInt(mantissa), d: 10n ** BigInt(scale) })

/** What unitsFromText promises, by whole numbers alone. */
function unitsOf(text: string, unit: Unit): number | 'off' | 'range' {
  const value = rationalOf(text)
  const { n, d } = unitValue(unit)
  const dividend = value.n * d
  const divisor = value.d * n
  const whole = dividend / divisor
  if (whole > 9_000_000_000_000_000n || whole < -9_000_000_000_000_000n) return 'range'
  return dividend % divisor === 0n ? Number(whole) : 'off'
}

const digits = (maxLength: number) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { maxLength }).map((values) => values.join(''))

/** Every spelling of a decimal: signs, leading zeros, bare points, exponents. */
const decimalText = fc
  .record({
    sign: fc.constantFrom('', '', '-'),
    whole: digits(22),
    point: fc.constantFrom('', '.'),
    fraction: digits(24),
    exponent: fc.option(
      fc.tuple(fc.constantFrom('e', 'E'), fc.constantFrom('', '+', '-'), fc.integer({ min: 0, max: 60 })),
      { nil: undefined, freq: 2 },
    ),
  })
  .filter(({ whole, point, fraction }) => whole !== '' || (point !== '' && fraction !== ''))
  .map(
    ({ sign, whole, point, fraction, exponent }) =>
      sign + whole + point + (point === '' ? '' : fraction) + (exponent ? exponent.join('') : ''),
  )

const unit: fc.Arbitrary<Unit> = fc.oneof(
  fc.constantFrom('1', '0.01', '0.00000001', '0.05', '0.25', '25', '1000', '0.000000000000000001').map(parseUnit),
  fc
    .record({ mantissa: fc.integer({ min: 1, max: 999_999_999_999_999 }), scale: fc.integer({ min: 0, max: 18 }) })
    .map(({ mantissa, scale }) => parseUnit(decimalTextOf(mantissa, scale))),
  fc
    .record({ mantissa: fc.integer({ min: 1, max: 125 }), scale: fc.integer({ min: 0, max: 18 }) })
    .map(({ mantissa, scale }) => parseUnit(decimalTextOf(mantissa, scale))),
)

const count = fc.oneof(
  fc.integer({ min: -1_000, max: 1_000 }),
  fc.maxSafeInteger().filter((value) => Math.abs(value) <= unitsMax),
  fc.integer({ min: 0, max: 3 }).map((below) => unitsMax - below),
  fc
    .tuple(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 0, max: 12 }))
    .map(([head, zeros]) => head * 10 ** zeros)
    .filter((value) => value <= unitsMax),
)

/** Fails with the seed and the shrunk counterexample. */
function holds<T>(t: Test, property: fc.IProperty<T>, numRuns: number): void {
  fc.assert(property, { numRuns })
  t.pass(`${numRuns} runs`)
}

const plain = /^(0|-?(0|[1-9]\d*)(\.\d*[1-9])?)$/

/** Lets `text` be written without a change of value: zeros at either end, and the point moved by an exponent. */
const respelled = (text: string) =>
  fc
    .record({
      left: fc.integer({ min: 0, max: 3 }),
      right: fc.integer({ min: 0, max: 3 }),
      shift: fc.integer({ min: -30, max: 30 }),
    })
    .map(({ left, right, shift }) => {
      const negative = text.startsWith('-')
      const [whole = '', fraction = ''] = text.replace('-', '').split('.')
      const body = `${'0'.repeat(left)}${whole}.${fraction}${'0'.repeat(right)}`
      if (shift === 0) return (negative ? '-' : '') + body
      const point = body.indexOf('.')
      const all = body.replace('.', '')
      const padded = shift < 0 ? '0'.repeat(-shift) + all : all + '0'.repeat(shift)
      const newPoint = shift < 0 ? point : point + shift
      return `${negative ? '-' : ''}${padded.slice(0, newPoint)}.${padded.slice(newPoint)}e${-shift}`
    })

void t.test('P1.21 parseDecimal reads exactly what was written', (t) => {
  holds(
    t,
    fc.property(decimalText, (text) => {
      const decimal = parseDecimal(text)
      if (!decimal) return false
      const { n, d } = rationalOf(text)
      const [left, right] =
        decimal.scale >= 0
          ? [decimal.mantissa * d, n * 10n ** BigInt(decimal.scale)]
          : [decimal.mantissa * 10n ** BigInt(-decimal.scale) * d, n]
      return left === right
    }),
    4_000,
  )
  t.end()
})

void t.test('P1.21 parseDecimal takes the decimals of JSON, and of the wider spelling, and nothing else', (t) => {
  for (const text of [
    '',
    ' ',
    '1 ',
    ' 1',
    '+1',
    '--1',
    '-',
    '.',
    '-.',
    'e1',
    '.e1',
    '1e',
    '1e+',
    '1e1.0',
    '1.2.3',
    '1,0',
  ])
    t.equal(parseDecimal(text), undefined, JSON.stringify(text))
  for (const text of ['NaN', 'Infinity', '-Infinity', '0x1', '1_000', '1n', '١', '1\n', '\n1', '1e1e1', '1-1', '1e--1'])
    t.equal(parseDecimal(text), undefined, JSON.stringify(text))
  holds(
    t,
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from('0123456789.-+eE x')), maxLength: 12 }), (text) => {
      const expected = /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)
      return (
        (parseDecimal(text) !== undefined) === expected &&
        (unitsFromText(text, { mantissa: 1, scale: 2 }) !== undefined) === expected
      )
    }),
    4_000,
  )
  t.end()
})

void t.test('P1.21 decimalTextOf writes plainly and parses back to the same value', (t) => {
  const mantissa = fc.oneof(fc.maxSafeInteger(), fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }))
  holds(
    t,
    fc.property(mantissa, fc.integer({ min: -30, max: 40 }), (mantissa, scale) => {
      const text = decimalTextOf(mantissa, scale)
      const { n, d } = rationalOf(text)
      const same =
        scale >= 0
          ? n * 10n ** BigInt(scale) === BigInt(mantissa) * d
          : n === BigInt(mantissa) * 10n ** BigInt(-scale) * d
      return same && plain.test(text) && decimalTextOf(BigInt(mantissa), scale) === text
    }),
    4_000,
  )
  t.end()
})

void t.test('P1.21 unitsFromText agrees with exact rationals, refusals included', (t) => {
  const seen = { number: 0, off: 0, range: 0 }
  holds(
    t,
    fc.property(decimalText, unit, (text, unit) => {
      const expected = unitsOf(text, unit)
      seen[typeof expected === 'number' ? 'number' : expected] += 1
      const decimal = parseDecimal(text)
      return (
        Object.is(unitsFromText(text, unit), expected) &&
        decimal !== undefined &&
        Object.is(unitsFromDecimal(decimal, unit), expected)
      )
    }),
    20_000,
  )
  for (const [kind, times] of Object.entries(seen)) t.ok(times > 200, `${kind}: ${times}`)
  t.end()
})

void t.test('P1.21 unitsFromText: near a multiple and near the range, in every spelling', (t) => {
  const seen = { number: 0, off: 0, range: 0 }
  const near = fc
    .record({ count, unit, nudge: fc.constantFrom(0n, 0n, 1n, -1n), nudgeScale: fc.integer({ min: 0, max: 24 }) })
    .chain(({ count, unit, nudge, nudgeScale }) => {
      const scale = Math.max(unit.scale, nudgeScale)
      const value = BigInt(count) * BigInt(unit.mantissa) * 10n ** BigInt(scale - unit.scale)
      const nudged = value + nudge * 10n ** BigInt(scale - nudgeScale)
      return fc.tuple(respelled(decimalTextOf(nudged, scale)), fc.constant(unit))
    })
  holds(
    t,
    fc.property(near, ([text, unit]) => {
      const expected = unitsOf(text, unit)
      seen[typeof expected === 'number' ? 'number' : expected] += 1
      return unitsFromText(text, unit) === expected
    }),
    20_000,
  )
  for (const [kind, times] of Object.entries(seen)) t.ok(times > 200, `${kind}: ${times}`)
  t.end()
})

void t.test('P1.21 an exponent that its own digits take back changes nothing', (t) => {
  const one: Unit = { mantissa: 1, scale: 2 }
  const zeros = (length: number) => '0'.repeat(length)
  for (const length of [10, 4_999, 5_000, 5_001, 6_000, 15_000]) {
    t.equal(unitsFromText(`1${zeros(length)}e-${length}`, one), 100, `1 and ${length} zeros`)
    t.equal(unitsFromText(`1${zeros(length)}e-${length + 1}`, one), 10, `0.1 by ${length} zeros`)
    t.equal(unitsFromText(`1${zeros(length)}e-${length + 3}`, one), 'off', `0.001 by ${length} zeros`)
    t.equal(unitsFromText(`0.${zeros(length - 1)}1e${length}`, one), 100, `1 behind ${length - 1} zeros`)
    t.equal(unitsFromText(`0.${zeros(length - 1)}1e${length + 17}`, one), 'range', `1e17 behind ${length - 1} zeros`)
  }
  t.end()
})

void t.test('P1.21 hostile exponents cost nothing and are classed right', (t) => {
  const tick: Unit = { mantissa: 5, scale: 2 }
  for (const exponent of ['5001', '999999', '1000000000', '9'.repeat(400)]) {
    t.equal(unitsFromText(`1e${exponent}`, tick), 'range')
    t.equal(unitsFromText(`-1e${exponent}`, tick), 'range')
    t.equal(unitsFromText(`1e-${exponent}`, tick), 'off')
    t.equal(unitsFromText(`0e${exponent}`, tick), 0)
    t.equal(unitsFromText(`0.0e-${exponent}`, tick), 0)
  }
  t.end()
})

void t.test('P1.21 textFromUnits is plain and unitsFromText brings the count back', (t) => {
  holds(
    t,
    fc.property(count, unit, (count, unit) => {
      const text = textFromUnits(count, unit)
      return plain.test(text) && textFromUnits(BigInt(count), unit) === text && unitsFromText(text, unit) === count
    }),
    20_000,
  )
  t.end()
})

void t.test('P1.21 a count survives our own JSON, as number token and as text', (t) => {
  const seen = { number: 0, string: 0 }
  holds(
    t,
    fc.property(count, unit, (count, unit) => {
      const text = textFromUnits(count, unit)
      const { value } = parseOwnJson(`{"value":${text}}`) as { value: number | string }
      seen[typeof value as 'number' | 'string'] += 1
      const beside = parseOwnJson(`{"value":${text},"long":0.1234567890123456789}`) as { value: number | string }
      return (
        unitsFromOwn(value, unit) === count &&
        unitsFromOwn(beside.value, unit) === count &&
        unitsFromOwn(text, unit) === count
      )
    }),
    20_000,
  )
  for (const [kind, times] of Object.entries(seen)) t.ok(times > 1_000, `${kind}: ${times}`)
  t.end()
})

void t.test('P1.21 divideHalfEven rounds to the nearest, ties to the even', (t) => {
  let ties = 0
  const dividend = fc.oneof(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.bigInt({ min: -50n, max: 50n }))
  const divisor = fc.oneof(fc.bigInt({ min: 1n, max: 10n ** 20n }), fc.bigInt({ min: 1n, max: 12n }))
  holds(
    t,
    fc.property(dividend, divisor, (dividend, divisor) => {
      const quotient = divideHalfEven(dividend, divisor)
      const twiceOff = 2n * (dividend - quotient * divisor)
      const distance = twiceOff < 0n ? -twiceOff : twiceOff
      if (distance !== divisor) return distance < divisor
      ties += 1
      return quotient % 2n === 0n
    }),
    20_000,
  )
  t.ok(ties > 200, `ties: ${ties}`)
  t.end()
})

void t.test('P1.21 addProduct is exact at every size, and a number only while that is exact', (t) => {
  const seen = { number: 0, bigint: 0 }
  const factor = fc.oneof(
    fc.integer({ min: 0, max: 10_000 }),
    fc.integer({ min: 0, max: 2 ** 31 }),
    fc.integer({ min: 0, max: unitsMax }),
  )
  const nearLimit = fc.integer({ min: 0, max: 5 }).map((below) => Number.MAX_SAFE_INTEGER - below)
  holds(
    t,
    fc.property(
      fc.array(fc.tuple(factor, factor), { maxLength: 6 }),
      fc.oneof(fc.constant(0), nearLimit),
      (products, start) => {
        let sum: Exact = start
        let exact = BigInt(start)
        for (const [quantity, price] of products) {
          sum = addProduct(sum, quantity, price)
          exact += BigInt(quantity) * BigInt(price)
          seen[typeof sum as 'number' | 'bigint'] += 1
          if (BigInt(sum) !== exact || (typeof sum === 'number' && !Number.isSafeInteger(sum))) return false
        }
        return true
      },
    ),
    10_000,
  )
  for (const [kind, times] of Object.entries(seen)) t.ok(times > 1_000, `${kind}: ${times}`)
  t.end()
})

void t.test('P1.21 parseUnit keeps the value or refuses', (t) => {
  holds(
    t,
    fc.property(unit, fc.integer({ min: 0, max: 4 }), ({ mantissa, scale }, zeros) => {
      const written = `${decimalTextOf(mantissa, scale)}${scale > 0 ? '0'.repeat(zeros) : ''}`
      const parsed = parseUnit(written)
      const { n, d } = rationalOf(written)
      return BigInt(parsed.mantissa) * d === n * 10n ** BigInt(parsed.scale)
    }),
    4_000,
  )
  for (const text of ['0', '0.0', '-1', '', 'x', '1e-19', '1000000000000000', '0.0000000000000000001', '1e15'])
    t.throws(() => parseUnit(text), { name: 'BugError' }, JSON.stringify(text))
  t.strictSame(parseUnit('1e3'), { mantissa: 1_000, scale: 0 })
  t.strictSame(parseUnit('100e-4'), { mantissa: 1, scale: 2 })
  t.end()
})
