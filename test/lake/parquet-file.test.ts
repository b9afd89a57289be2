import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { deepStrictEqual } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import t from 'tap'
import { encodeParquet } from '../../src/lake/parquet-file.ts'
import type { Column, PartitionRows, Value } from '../../src/lake/schema.ts'
import { zstdFrame } from '../../src/lake/zstd.ts'

const columns: readonly Column[] = [
  { name: 'a_string', type: 'string', nullable: true },
  { name: 'a_long', type: 'long', nullable: true },
  { name: 'an_integer', type: 'integer', nullable: true },
  { name: 'a_double', type: 'double', nullable: true },
  { name: 'a_boolean', type: 'boolean', nullable: true },
  { name: 'a_date', type: 'date', nullable: true },
  { name: 'a_timestamp', type: 'timestamp', nullable: true },
  { name: 'a_list', type: { type: 'array', elementType: 'string' }, nullable: true },
]
const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', 'BUY', 'SELL'))
const values: readonly fc.Arbitrary<Value>[] = [
  text,
  fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.array(text, { maxLength: 4 }),
]

function partitionOf(rows: readonly (readonly Value[])[], width: number): PartitionRows {
  const lists = Array.from({ length: width }, (_, at) => rows.map((row) => row[at] ?? null))
  return { partitionValues: {}, columns: lists, rows: rows.length }
}

async function readRows(file: Uint8Array): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = await parquetReadObjects({
    file: file.slice().buffer,
    compressors: { ZSTD: (data) => zstdDecompressSync(data) },
    parsers: { timestampFromMicroseconds: Number, dateFromDays: (days) => days },
  })
  // It leaves out a list of which no row has one.
  return rows.map((row) => ({ ...row, a_list: row['a_list'] ?? null }))
}

void t.test('P3.04 hyparquet reads back any values, nullable or required', async (t) => {
  for (const nullable of [true, false]) {
    const definition = columns.map((column) => ({ ...column, nullable }))
    const row = fc.tuple(...values.map((value) => (nullable ? fc.option(value) : value)))
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 200 }), async (rows) => {
        const wanted = rows.map((row) =>
          Object.fromEntries(
            row.map((value, at) => {
              const { name, type } = columns[at] ?? { name: '', type: 'string' }
              return [name, type === 'long' && typeof value === 'number' ? BigInt(value) : value]
            }),
          ),
        )
        deepStrictEqual(await readRows(encodeParquet(definition, partitionOf(rows, columns.length))), wanted)
      }),
      { numRuns: 50 },
    )
  }
  t.pass()
})

const nines = (digits: number) => 10n ** BigInt(digits) - 1n

void t.test('P3.04 DuckDB reads names, types and values as they were given', async (t) => {
  const definition: readonly Column[] = [
    { name: 'a text', type: 'string', nullable: false },
    { name: 'when', type: 'timestamp', nullable: false },
    { name: 'day', type: 'date', nullable: true },
    { name: 'small', type: 'decimal(18,8)', nullable: true },
    { name: 'large', type: 'decimal(38,18)', nullable: true },
    { name: 'tags', type: { type: 'array', elementType: 'string' }, nullable: true },
    { name: 'number', type: 'long', nullable: false },
  ]
  const rows: Value[][] = [
    ['é😀\u0000"', 1_795_413_296_123_457, 20_780, nines(18), nines(38), ['a', ''], 2n ** 63n - 1n],
    ['', -1, -1, -nines(18), -nines(38), [], -(2n ** 63n)],
    ['x'.repeat(70_000), 0, null, null, null, null, 0],
    ['', 0, 0, 1n, -1n, ['b'], 1],
  ]
  const path = join(t.testdir(), 'a.parquet')
  writeFileSync(path, encodeParquet(definition, partitionOf(rows, definition.length)))
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  const all = async (sql: string) => (await connection.runAndReadAll(sql)).getRowsJson()
  t.same(
    (await all(`describe select * from '${path}'`)).map(([name, type]) => [name, type]),
    [
      ['a text', 'VARCHAR'],
      ['when', 'TIMESTAMP WITH TIME ZONE'],
      ['day', 'DATE'],
      ['small', 'DECIMAL(18,8)'],
      ['large', 'DECIMAL(38,18)'],
      ['tags', 'VARCHAR[]'],
      ['number', 'BIGINT'],
    ],
  )
  t.same(
    await all(
      `select "a text", epoch_us("when"), "day"::text, small::text, large::text, tags, number::text from '${path}'`,
    ),
    [
      [
        rows[0]?.[0],
        '1795413296123457',
        '2026-11-23',
        '9999999999.99999999',
        `${'9'.repeat(20)}.${'9'.repeat(18)}`,
        ['a', ''],
        String(2n ** 63n - 1n),
      ],
      [
        '',
        '-1',
        '1969-12-31',
        '-9999999999.99999999',
        `-${'9'.repeat(20)}.${'9'.repeat(18)}`,
        [],
        String(-(2n ** 63n)),
      ],
      [rows[2]?.[0], '0', null, null, null, null, '0'],
      ['', '0', '1970-01-01', '0.00000001', '-0.000000000000000001', ['b'], '1'],
    ],
  )
  connection.closeSync()
  instance.closeSync()
})

void t.test('P3.04 only zstd and the encodings PLAIN, dictionary and DELTA, in one row group', (t) => {
  const row = fc.tuple(...values.map((value) => fc.option(value)))
  const rows = fc.sample(fc.array(row, { minLength: 1, maxLength: 2_000, size: 'max' }), 20)
  rows.push(Array.from({ length: 100 }, () => ['BUY', 1, 1, 1, true, 1, 1, ['a']]))
  const encodings = new Set<string>()
  for (const sample of rows) {
    const file = encodeParquet(columns, partitionOf(sample, columns.length))
    const { row_groups: groups, num_rows: count } = parquetMetadata(file.slice().buffer)
    t.equal(count, BigInt(sample.length))
    t.equal(groups.length, 1)
    for (const { meta_data: chunk } of groups[0]?.columns ?? []) {
      t.equal(chunk?.codec, 'ZSTD')
      for (const encoding of chunk?.encodings ?? []) encodings.add(encoding)
    }
  }
  t.same([...encodings].sort(), ['DELTA_BINARY_PACKED', 'DELTA_BYTE_ARRAY', 'PLAIN', 'RLE_DICTIONARY'])
  t.end()
})

void t.test('P3.04 a value that does not fit its column is a bug, never another value', (t) => {
  const rows: readonly (readonly [Column['type'], Value])[] = [
    ['integer', 2 ** 31],
    ['integer', 1.5],
    ['date', 2 ** 40],
    ['long', 1.5],
    ['long', 2n ** 63n],
    ['string', 1],
    ['string', null],
    ['long', null],
    ['double', null],
    ['decimal(18,8)', 2n ** 64n],
  ]
  for (const [type, value] of rows)
    t.throws(
      () => encodeParquet([{ name: 'a', type, nullable: false }], partitionOf([[value]], 1)),
      `${String(value)} is no ${JSON.stringify(type)}`,
    )
  t.end()
})

void t.test('P3.04 a zstd frame is one for every length', (t) => {
  for (const length of [0, 1, 255, 256, 511, 512, 513, 70_000]) {
    const data = randomBytes(length)
    t.ok(zstdDecompressSync(zstdFrame(data)).equals(data), `${length} bytes`)
  }
  t.end()
})
