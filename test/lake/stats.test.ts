import fc from 'fast-check'
import t from 'tap'
import type { Column, ColumnType, Value } from '../../src/lake/schema.ts'
import { statsOf } from '../../src/lake/stats.ts'

const column = (type: ColumnType): readonly Column[] => [{ name: 'a', type, nullable: true }]
const stats = (type: ColumnType, values: readonly Value[]) =>
  statsOf(column(type), { partitionValues: {}, columns: [values], rows: values.length })

/** As the text stands in JSON, so that no digit goes through a double. */
function boundsOf(type: ColumnType, values: readonly Value[]): readonly (string | undefined)[] {
  // Text may hold U+2028 and U+2029 as they are, which a dot means with the flag s only.
  const match =
    /^\{"numRecords":\d+,"minValues":\{"a":(.*)\},"maxValues":\{"a":(.*)\},"nullCount":\{"a":\d+\}\}$/s.exec(
      stats(type, values),
    )
  return [match?.[1], match?.[2]]
}

void t.test('P3.03 minimum and maximum are exact, each type as the protocol writes it', (t) => {
  const rows: readonly (readonly [ColumnType, readonly Value[], string, string])[] = [
    ['long', [3, -5, 2], '-5', '3'],
    ['long', [2 ** 53 - 1, 9_223_372_036_854_775_807n], '9007199254740991', '9223372036854775807'],
    ['long', [-(2n ** 63n), 0], '-9223372036854775808', '0'],
    ['integer', [2 ** 31 - 1, null, -(2 ** 31)], '-2147483648', '2147483647'],
    ['double', [0.1, 1e21, 5e-324], '5e-324', '1e+21'],
    ['double', [-0, 0, 1], '-0.0', '1'],
    ['double', [-1, -0], '-1', '0'],
    ['boolean', [true, false, true], 'false', 'true'],
    ['boolean', [true], 'true', 'true'],
    ['date', [20_780, 0], '"1970-01-01"', '"2026-11-23"'],
    ['date', [-719_162, 2_932_896], '"0001-01-01"', '"9999-12-31"'],
    [
      'timestamp',
      [1_795_392_000_123_456, 1_795_392_000_123_457],
      '"2026-11-23T00:00:00.123456Z"',
      '"2026-11-23T00:00:00.123457Z"',
    ],
    ['timestamp', [-1], '"1969-12-31T23:59:59.999999Z"', '"1969-12-31T23:59:59.999999Z"'],
    ['decimal(18,8)', [1n, -100_000_000n], '-1', '0.00000001'],
    [
      'decimal(38,18)',
      [10n ** 38n - 1n, 1n - 10n ** 38n],
      '-99999999999999999999.999999999999999999',
      '99999999999999999999.999999999999999999',
    ],
    ['string', ['b', 'a', 'c'], '"a"', '"c"'],
    ['string', ['', '"\\\n'], '""', '"\\"\\\\\\n"'],
    ['string', ['\ufffd', '😀', 'z'], '"z"', '"😀"'],
    ['string', ['\ud800', 'é'], '"é"', '"\ufffd"'],
    ['string', ['\u2029', '\u2028', null], '"\u2028"', '"\u2029"'],
    ['string', ['\0', '', null], '""', '"\\u0000"'],
    ['string', ['\u{10ffff}', '\udbff'], '"\ufffd"', '"\u{10ffff}"'],
  ]
  for (const [type, values, min, max] of rows)
    t.same(boundsOf(type, values), [min, max], `${JSON.stringify(type)} ${encodeURI(min)}`)
  t.end()
})

void t.test('P3.03 a text is cut after 32 code points, a maximum then rounded up', (t) => {
  const x32 = 'x'.repeat(32)
  const faces = '😀'.repeat(32)
  const last = '\u{10ffff}'
  const rows: readonly (readonly [value: string, min: string, max: string])[] = [
    [x32, x32, x32],
    [`${x32}a`, x32, x32 + last],
    [faces, faces, faces],
    [`${faces}a`, faces, faces + last],
    [`${'x'.repeat(31)}😀`, `${'x'.repeat(31)}😀`, `${'x'.repeat(31)}😀`],
    [`${'x'.repeat(31)}😀y`, `${'x'.repeat(31)}😀`, `${'x'.repeat(31)}😀${last}`],
    [x32 + last, x32, x32 + last],
    [`${x32 + last}a`, x32, x32 + last + last],
    [last.repeat(33), last.repeat(32), last.repeat(33)],
    [`${last.repeat(33)}a`, last.repeat(32), last.repeat(34)],
  ]
  for (const [value, min, max] of rows)
    t.same(boundsOf('string', [value]), [JSON.stringify(min), JSON.stringify(max)], value)
  t.end()
})

void t.test('P3.03 bounds hold in the order of UTF-8 and JSON holds them well-formed', (t) => {
  const text = fc.oneof(
    fc.string({
      unit: fc.constantFrom('a', 'z', '\0', 'é', '\u2028', '\u2029', '\ufffd', '😀', '\ud800', '\udfff', '\u{10ffff}'),
      maxLength: 40,
    }),
    fc.string({ unit: fc.constantFrom('\ud800', '\udbff', '\udfff', '\u{10ffff}'), minLength: 28, maxLength: 40 }),
    fc.string({ unit: 'binary' }),
  )
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 20 }), (values) => {
      const [min, max] = boundsOf('string', values).map((bound) => JSON.parse(bound ?? '') as string)
      if (min === undefined || max === undefined || !min.isWellFormed() || !max.isWellFormed()) return false
      const bytes = values.map((value) => Buffer.from(value))
      return bytes.every((value) => Buffer.from(min).compare(value) <= 0 && Buffer.from(max).compare(value) >= 0)
    }),
    { numRuns: 500 },
  )
  t.pass()
  t.end()
})

void t.test('P3.03 statistics are complete, or numRecords alone', (t) => {
  const columns: readonly Column[] = [
    { name: 'n', type: 'long', nullable: true },
    { name: 'x "y"', type: 'double', nullable: true },
    { name: 'list', type: { type: 'array', elementType: 'string' }, nullable: true },
  ]
  const of = (...lists: readonly (readonly Value[])[]) =>
    JSON.parse(statsOf(columns, { partitionValues: {}, columns: lists, rows: lists[0]?.length ?? 0 })) as unknown
  t.same(of([1, null], [2, 3], [['a'], null]), {
    numRecords: 2,
    minValues: { n: 1, 'x "y"': 2 },
    maxValues: { n: 1, 'x "y"': 3 },
    nullCount: { n: 1, 'x "y"': 0, list: 1 },
  })
  t.same(of([null, null], [2, 3], [[], []]), {
    numRecords: 2,
    minValues: { 'x "y"': 2 },
    maxValues: { 'x "y"': 3 },
    nullCount: { n: 2, 'x "y"': 0, list: 0 },
  })
  for (const value of [NaN, Infinity, -Infinity])
    t.same(of([1, 2], [1, value], [[], []]), { numRecords: 2 }, `${value}`)
  t.equal(stats('date', [2_932_897]), '{"numRecords":1}')
  t.equal(stats('date', [-719_163]), '{"numRecords":1}')
  t.end()
})
