import { ByteWriter, type ColumnSource, parquetWrite, type SchemaElement } from 'hyparquet-writer'
import { assert } from '../base/assert.ts'
import { type Column, decimalDigits, type PartitionRows, type PrimitiveType, type Value } from './schema.ts'
import { zstdFrame } from './zstd.ts'

/**
 * A Parquet file of one row group, compressed with zstd, in the encodings that every reader of Delta tables has: PLAIN,
 * dictionary, DELTA. No statistics: those of the one row group would repeat what the log says of the file.
 *
 * @param columns those of the file, without partition columns, in the order of `rows.columns`
 * @throws BugError when a value does not fit its column
 */
export function encodeParquet(columns: readonly Column[], rows: PartitionRows): Uint8Array {
  assert(columns.length === rows.columns.length, 'one list of values a column')
  const schema: SchemaElement[] = [{ name: 'schema', num_children: columns.length }]
  const columnData = columns.map((column, at): ColumnSource => {
    schema.push(...elementsOf(column))
    const values = rows.columns[at] ?? []
    assert(values.length === rows.rows, `${column.name}: a value a row`)
    return sourceOf(column, values)
  })
  const writer = new ByteWriter(1024 + rows.rows * columns.length * 8)
  void parquetWrite({
    writer,
    columnData,
    schema,
    codec: 'ZSTD',
    compressors: { ZSTD: zstdFrame },
    statistics: false,
    rowGroupSize: Math.max(rows.rows, 1),
    createdBy: 'trade2026 version 1',
  })
  return writer.getBytes()
}

function elementsOf({ name, type, nullable }: Column): SchemaElement[] {
  const repetition_type = nullable ? 'OPTIONAL' : 'REQUIRED'
  if (typeof type === 'string') return [{ name, ...leafOf(type), repetition_type }]
  return [
    { name, repetition_type, num_children: 1, converted_type: 'LIST', logical_type: { type: 'LIST' } },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    { name: 'element', ...leafOf(type.elementType), repetition_type: 'OPTIONAL' },
  ]
}

const timestamp = { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' } as const

/** @see Parquet format, LogicalTypes.md, and Delta protocol, "Primitive Types" */
function leafOf(type: PrimitiveType): Omit<SchemaElement, 'name'> {
  switch (type) {
    case 'string':
      return { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } }
    case 'long':
      return { type: 'INT64' }
    case 'integer':
      return { type: 'INT32' }
    case 'double':
      return { type: 'DOUBLE' }
    case 'boolean':
      return { type: 'BOOLEAN' }
    case 'date':
      return { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } }
    case 'timestamp':
      return { type: 'INT64', converted_type: 'TIMESTAMP_MICROS', logical_type: timestamp }
    default: {
      const digits = decimalDigits(type)
      assert(digits, `no type of a column: ${type}`)
      const decimal = { converted_type: 'DECIMAL', logical_type: { type: 'DECIMAL', ...digits }, ...digits } as const
      if (digits.precision <= 18) return { type: 'INT64', ...decimal }
      return { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, ...decimal }
    }
  }
}

/** The encodings of which ADR 0011 measures what they cost and save. */
function sourceOf({ name, type }: Column, values: readonly Value[]): ColumnSource {
  const data = values as Value[]
  switch (type) {
    case 'long':
    case 'timestamp':
      return { name, data, encoding: 'DELTA_BINARY_PACKED' }
    case 'integer':
    case 'date':
      for (const value of values) assert(value === null || value === (Number(value) | 0), `${name}: 32 bits`)
      return { name, data, encoding: 'DELTA_BINARY_PACKED' }
    case 'double':
    case 'boolean':
      return { name, data, encoding: 'PLAIN' }
    case 'string':
      if (isRepetitive(values)) return { name, data, encoding: 'RLE_DICTIONARY' }
      return { name, data: utf8Of(values), encoding: 'DELTA_BYTE_ARRAY' }
    default:
      return { name, data }
  }
}

/** Whether few different values come often, by a sample; then a dictionary is both smaller and faster. */
function isRepetitive(values: readonly Value[]): boolean {
  const samples = 64
  if (values.length < samples / 2) return false
  const step = Math.max(1, Math.floor(values.length / samples))
  const distinct = new Set<Value | undefined>()
  for (let at = 0; at < values.length; at += step) distinct.add(values[at])
  return distinct.size * 4 <= Math.min(samples, values.length)
}

const encoder = new TextEncoder()

/** Encodes all texts at once where that shows where each begins: a call for each costs more than its bytes. */
function utf8Of(values: readonly Value[]): (Uint8Array | null)[] {
  const joined = values.join('')
  const bytes = encoder.encode(joined)
  const isAscii = bytes.length === joined.length
  let start = 0
  return values.map((value) => {
    if (value === null) return null
    assert(typeof value === 'string', 'a text')
    if (!isAscii) return encoder.encode(value)
    return bytes.subarray(start, (start += value.length))
  })
}
