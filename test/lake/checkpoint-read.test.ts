import { randomBytes } from 'node:crypto'
import { parquetWriteBuffer, type ColumnSource } from 'hyparquet-writer'
import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import { readCheckpoint } from '../../src/lake/checkpoint-read.ts'
import { actionKinds, checkpointSchema } from '../../src/lake/checkpoint-schema.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { zstdFrame } from '../../src/lake/zstd.ts'

const key = '_delta_log/00000000000000000007.checkpoint.parquet'

const add = (number: number, name = ''): Action => ({
  add: {
    path: `symbol=A%20B/part-${number}${name}.parquet`,
    partitionValues: number % 3 === 0 ? { symbol: null } : { symbol: 'A B' },
    size: 1_000 + number,
    modificationTime: 1_795_392_000_000,
    dataChange: false,
    ...(number % 2 === 0 ? {} : { stats: `{"numRecords":${number}}`, tags: { a: null, b: 'c' } }),
  },
})
const others: readonly Action[] = [
  { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: [], writerFeatures: ['appendOnly'] } },
  {
    metaData: {
      id: 'a',
      description: 'é',
      format: { provider: 'parquet', options: {} },
      schemaString: '{"type":"struct","fields":[]}',
      partitionColumns: ['symbol', 'dt'],
      configuration: { 'delta.appendOnly': 'true' },
      createdTime: 1,
    },
  },
  { txn: { appId: 'TICKS@1/market_ticks', version: 12_345, lastUpdated: 2 } },
  { txn: { appId: 'other', version: 2n ** 62n } },
  {
    remove: {
      path: 'symbol=A%20B/gone.parquet',
      deletionTimestamp: 3,
      dataChange: true,
      extendedFileMetadata: true,
      partitionValues: { symbol: 'A B' },
      size: 4,
    },
  },
]
const adds = Array.from({ length: 500 }, (_, number) => add(number))

/** As any other library of Parquet would write it, in row groups of these sizes, one page of which has few rows. */
function fileOf(actions: readonly Action[], rowGroupSize: number): Uint8Array {
  const columnData = actionKinds.map((kind): ColumnSource => ({
    name: kind,
    data: actions.map((action) => longs((action as Record<string, unknown>)[kind])),
    columnIndex: true,
  }))
  const compressors = { ZSTD: zstdFrame }
  const options = { schema: [...checkpointSchema], compressors, rowGroupSize, pageSize: 500 }
  return new Uint8Array(parquetWriteBuffer({ columnData, codec: 'ZSTD', ...options }))
}

const longFields = new Set(['version', 'lastUpdated', 'size', 'modificationTime', 'deletionTimestamp', 'createdTime'])

function longs(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, longFields.has(name) ? BigInt(value as number) : value]),
  )
}

async function read(data: Uint8Array, kinds = actionKinds as readonly (typeof actionKinds)[number][]) {
  const store = openMemoryStore()
  await store.put(key, data)
  return all(readCheckpoint(store, [key], kinds))
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const value of values) list.push(value)
  return list
}

const byText = (actions: readonly Action[]) =>
  actions
    .map((action) => JSON.stringify(action, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)))
    .sort()

void t.test('P3.11 the actions of a checkpoint come back, whatever its row groups and pages', async (t) => {
  const actions = [...adds.slice(0, 100), ...others, ...adds.slice(100)]
  for (const rowGroupSize of [1_000, 100, 7]) {
    const file = fileOf(actions, rowGroupSize)
    t.same(byText(await read(file)), byText(actions), `row groups of ${rowGroupSize}`)
    const few = await read(file, ['protocol', 'metaData', 'txn'])
    t.same(byText(few), byText(others.slice(0, 4)), 'only the kinds that are asked for')
  }
})

void t.test('P3.11 only the columns that are asked for are read', async (t) => {
  const store = openMemoryStore()
  const many = Array.from({ length: 20_000 }, (_, number) => add(number, randomBytes(100).toString('hex')))
  const file = fileOf([...many, ...others], 100_000)
  await store.put(key, file)
  let bytes = 0
  const counting = {
    ...store,
    list: store.list.bind(store),
    get: async (name: string, range?: { start: number; end: number }) => {
      const data = await store.get(name, range)
      bytes += data?.length ?? 0
      return data
    },
  }
  const few = await all(readCheckpoint(counting, [key], ['protocol', 'metaData', 'txn']))
  t.same(byText(few), byText(others.slice(0, 4)))
  t.ok(bytes < file.length / 2, `${bytes} of ${file.length} bytes`)
})

void t.test('P3.11 a checkpoint that is none is an error of the log', async (t) => {
  const file = fileOf([...adds, ...others], 100)
  const cut = (from: number, to: number) => {
    const damaged = file.slice()
    damaged.fill(0, from, to)
    return damaged
  }
  const rows: readonly (readonly [what: string, data: Uint8Array])[] = [
    ['empty', new Uint8Array()],
    ['garbage', new TextEncoder().encode('garbage'.repeat(1_000))],
    ['truncated', file.slice(0, file.length - 1_000)],
    ['only its end', file.slice(1_000)],
    ['zeros for data', cut(4, file.length / 2)],
    ['zeros for the footer', cut(file.length - 500, file.length - 8)],
    ['another Parquet file', new Uint8Array(parquetWriteBuffer({ columnData: [{ name: 'txn', data: [1] }] }))],
  ]
  for (const [what, data] of rows) {
    const found = read(data)
    if (what === 'another Parquet file') t.same(await found, [], what)
    else await t.rejects(found, { code: 'LAKE_LOG_UNREADABLE', message: key }, what)
  }
  const missing = all(readCheckpoint(openMemoryStore(), [key], actionKinds))
  await t.rejects(missing, { code: 'LAKE_LOG_UNREADABLE', message: key })
})
