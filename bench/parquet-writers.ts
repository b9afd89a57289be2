import { BIGINT, DOUBLE, DuckDBDataChunk, DuckDBInstance, type DuckDBType, VARCHAR } from '@duckdb/node-api'
import {
  Float64,
  Int64,
  Table as ArrowTable,
  tableToIPC,
  TimestampMicrosecond,
  Utf8,
  vectorFromArray,
} from 'apache-arrow'
import { writeFileSync } from 'node:fs'
import parquetjs from 'parquetjs-lite'
import { Compression, Table, writeParquet, WriterPropertiesBuilder } from 'parquet-wasm'
import { assert } from '../src/base/assert.ts'
import { encodeParquet } from '../src/lake/parquet-file.ts'
import type { Column, ColumnType, PartitionRows, Value } from '../src/lake/schema.ts'
import type { Session } from './session.ts'

export interface ParquetWriter {
  readonly name: 'ours' | 'parquetjs-lite' | 'parquet-wasm' | 'duckdb'
  readonly about: string
  readonly write: (path: string, rows: PartitionRows) => void | Promise<void>
}

/** @param columns longs, timestamps, doubles and texts, all nullable */
export async function parquetWriters(session: Session, columns: readonly Column[]): Promise<ParquetWriter[]> {
  return [
    { name: 'ours', about: 'zstd', write: (path, rows) => writeFileSync(path, encodeParquet(columns, rows)) },
    { name: 'parquetjs-lite', about: 'snappy, it has no zstd', write: lite(columns) },
    { name: 'parquet-wasm', about: 'zstd, by Arrow tables', write: wasm(columns) },
    { name: 'duckdb', about: 'zstd, appender and COPY', write: await duckdb(session, columns) },
  ]
}

function lite(columns: readonly Column[]): ParquetWriter['write'] {
  const types = new Map<ColumnType, string>([
    ['long', 'INT64'],
    ['timestamp', 'TIMESTAMP_MICROS'],
    ['double', 'DOUBLE'],
    ['string', 'UTF8'],
  ])
  const fieldOf = (type: ColumnType) => ({ type: types.get(type) ?? '', compression: 'SNAPPY', optional: true })
  const fields = Object.fromEntries(columns.map(({ name, type }) => [name, fieldOf(type)] as const))
  const schema = new parquetjs.ParquetSchema(fields)
  return async (path, { columns: lists, rows }) => {
    const writer = await parquetjs.ParquetWriter.openFile(schema, path, { rowGroupSize: rows })
    for (let row = 0; row < rows; row += 1)
      await writer.appendRow(Object.fromEntries(columns.map(({ name }, at) => [name, lists[at]?.[row]])))
    await writer.close()
  }
}

/** Longs and times as libraries want them. */
function bigints(values: readonly Value[]): (bigint | null)[] {
  return values.map((value) => (typeof value === 'number' ? BigInt(value) : null))
}

function wasm(columns: readonly Column[]): ParquetWriter['write'] {
  const vectorOf = (type: ColumnType, values: readonly Value[]) => {
    if (type === 'string') return vectorFromArray(values, new Utf8())
    if (type === 'double') return vectorFromArray(values, new Float64())
    if (type === 'long') return vectorFromArray(bigints(values), new Int64())
    return vectorFromArray(
      values.map((value) => Number(value) / 1_000),
      new TimestampMicrosecond('UTC'),
    )
  }
  return (path, { columns: lists }) => {
    const vectors = columns.map(({ name, type }, at) => [name, vectorOf(type, lists[at] ?? [])] as const)
    const table = Table.fromIPCStream(tableToIPC(new ArrowTable(Object.fromEntries(vectors)), 'stream'))
    const properties = new WriterPropertiesBuilder().setCompression(Compression.ZSTD).build()
    writeFileSync(path, writeParquet(table, properties))
  }
}

const chunkRows = 2_048

async function duckdb(session: Session, columns: readonly Column[]): Promise<ParquetWriter['write']> {
  const instance = await DuckDBInstance.create()
  const connection = await instance.connect()
  session.own(() => {
    connection.closeSync()
    instance.closeSync()
  })
  const typeOf = (type: ColumnType): DuckDBType => (type === 'string' ? VARCHAR : type === 'double' ? DOUBLE : BIGINT)
  const types = columns.map(({ type }) => typeOf(type))
  const definitions = columns.map(({ name }, at) => `${name} ${String(types[at])}`)
  const selected = columns.map(({ name, type }) => (type === 'timestamp' ? `make_timestamptz(${name}) ${name}` : name))
  return async (path, { columns: lists, rows }) => {
    await connection.run(`create or replace temp table ticks (${definitions.join()})`)
    const values = columns.map(({ type }, at) => {
      const list = lists[at]
      assert(list, 'a list of values a column')
      return typeOf(type) === BIGINT ? bigints(list) : (list as (string | number | null)[])
    })
    const appender = await connection.createAppender('ticks')
    for (let start = 0; start < rows; start += chunkRows) {
      const chunk = DuckDBDataChunk.create(types)
      chunk.setColumns(values.map((list) => list.slice(start, start + chunkRows)))
      appender.appendDataChunk(chunk)
    }
    appender.closeSync()
    const options = '(format parquet, compression zstd, compression_level 1)'
    await connection.run(`copy (select ${selected.join()} from ticks) to '${path}' ${options}`)
  }
}
