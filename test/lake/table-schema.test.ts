import t from 'tap'
import type { MetaData } from '../../src/lake/actions.ts'
import type { Column, TableDefinition } from '../../src/lake/schema.ts'
import { compareSchema, fieldsOf, formatSchema, withColumns } from '../../src/lake/table-schema.ts'

const columns: readonly Column[] = [
  { name: 'symbol', type: 'string', nullable: true },
  { name: 'seq', type: 'long', nullable: false, comment: 'sequence in the "stream"' },
  { name: 'fee', type: 'decimal(38,18)', nullable: true },
  { name: 'symbols', type: { type: 'array', elementType: 'string' }, nullable: true },
]
const definition: TableDefinition = { description: '', columns, partitionColumns: ['symbol'], configuration: {} }

function metaDataOf(schemaString: string, partitionColumns = ['symbol']): MetaData {
  return { id: 'x', format: { provider: 'parquet', options: {} }, schemaString, partitionColumns, configuration: {} }
}

const field = (name: string, type: unknown, nullable = true, metadata = {}) => ({ name, type, nullable, metadata })
const written = [
  field('symbol', 'string'),
  field('seq', 'long', false, { comment: 'sequence in the "stream"' }),
  field('fee', 'decimal(38,18)'),
  field('symbols', { type: 'array', elementType: 'string', containsNull: true }),
]
const metaDataWith = (fields: readonly unknown[], partitionColumns?: string[]) =>
  metaDataOf(JSON.stringify({ type: 'struct', fields }), partitionColumns)

void t.test('P3.02 a schema is written in the words of Delta, with comments', (t) => {
  t.same(JSON.parse(formatSchema(columns)), { type: 'struct', fields: written })
  t.same(fieldsOf(metaDataOf(formatSchema(columns))), written)
  t.end()
})

const changed = (name: string, change: object) =>
  written.map((each) => (each.name === name ? { ...each, ...change } : each))
const without = (name: string) => written.filter((each) => each.name !== name)

const cases: readonly { readonly what: string; readonly metaData: MetaData; readonly expected: unknown }[] = [
  { what: 'the same', metaData: metaDataWith(written), expected: { kind: 'same' } },
  { what: 'another order', metaData: metaDataWith([...written].reverse()), expected: { kind: 'same' } },
  {
    what: 'further nullable columns',
    metaData: metaDataWith([...written, field('x', { type: 'map' })]),
    expected: { kind: 'same' },
  },
  { what: 'other comments', metaData: metaDataWith(changed('seq', { metadata: {} })), expected: { kind: 'same' } },
  {
    what: 'nulls where we have none',
    metaData: metaDataWith(changed('seq', { nullable: true })),
    expected: { kind: 'same' },
  },
  {
    what: 'spaces in a type',
    metaData: metaDataWith(changed('fee', { type: 'decimal(38, 18)' })),
    expected: { kind: 'same' },
  },
  {
    what: 'elements that are never null',
    metaData: metaDataWith(changed('symbols', { type: { type: 'array', elementType: 'string', containsNull: false } })),
    expected: { kind: 'same' },
  },
  {
    what: 'a missing nullable column',
    metaData: metaDataWith(without('fee')),
    expected: { kind: 'adds', columns: [columns[2]] },
  },
  {
    what: 'a missing column that is never null',
    metaData: metaDataWith(without('seq')),
    expected: { kind: 'mismatch', problems: ['seq is missing and could be null in no row'] },
  },
  {
    what: 'several that do not fit',
    metaData: metaDataWith([
      ...changed('seq', { type: 'integer' }).slice(0, 2),
      field('FEE', 'decimal(38,18)'),
      field('must', 'long', false),
    ]),
    expected: {
      kind: 'mismatch',
      problems: ['seq is integer, not long', 'fee is called FEE', 'must may not be null, and we have no values for it'],
    },
  },
  {
    what: 'no nulls where we have some',
    metaData: metaDataWith(changed('fee', { nullable: false })),
    expected: { kind: 'mismatch', problems: ['fee may not be null'] },
  },
  {
    what: 'an array of something else',
    metaData: metaDataWith(changed('symbols', { type: { type: 'array', elementType: 'long', containsNull: true } })),
    expected: { kind: 'mismatch', problems: ['symbols is array<long>, not array<string>'] },
  },
  {
    what: 'another scale',
    metaData: metaDataWith(changed('fee', { type: 'decimal(38,9)' })),
    expected: { kind: 'mismatch', problems: ['fee is decimal(38,9), not decimal(38,18)'] },
  },
  {
    what: 'other partition columns',
    metaData: metaDataWith(written, []),
    expected: { kind: 'mismatch', problems: ['it is partitioned by nothing, not by symbol'] },
  },
  {
    what: 'a missing partition column',
    metaData: metaDataWith(without('symbol')),
    expected: { kind: 'mismatch', problems: ['symbol is missing and could be null in no row'] },
  },
]

void t.test('P3.02 what fits a table, what is added to it, what is refused', (t) => {
  for (const { what, metaData, expected } of cases) t.same(compareSchema(metaData, definition), expected, what)
  t.end()
})

void t.test('P3.02 added columns come behind the others, which stay as they are', (t) => {
  const foreign = { type: 'struct', fields: [field('v', 'void', true, { 'delta.x': 1 })], more: 1 }
  const { schemaString, ...rest } = withColumns(metaDataOf(JSON.stringify(foreign)), columns.slice(1, 2))
  t.same(JSON.parse(schemaString), { ...foreign, fields: [...foreign.fields, written[1]] })
  t.same(rest.partitionColumns, ['symbol'])
  t.end()
})

void t.test('P3.11 a schema that cannot be read is an error', (t) => {
  for (const text of [
    '',
    '{',
    '[]',
    '{"type":"struct"}',
    '{"type":"struct","fields":[{}]}',
    '{"type":"struct","fields":[null]}',
  ])
    t.throws(() => fieldsOf(metaDataOf(text)), { code: 'LAKE_LOG_UNREADABLE' }, text)
  t.end()
})
