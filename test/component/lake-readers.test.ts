import { readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { commitKey } from '../../src/lake/log-files.ts'
import { openStore } from '../../src/lake/open-store.ts'
import type { TableDefinition, Value } from '../../src/lake/schema.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import { formatSchema } from '../../src/lake/table-schema.ts'
import { engines, type Reading, readTables, type Row } from '../support/lake-readers.ts'
import { partitionsOf, rowOf, textOf, type Values } from '../support/lake-rows.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { tempDir } from '../support/stack.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

/** A column of every type. */
const definition: TableDefinition = {
  description: 'every type of column',
  columns: [
    { name: 'venue', type: 'string', nullable: true },
    { name: 'dt', type: 'date', nullable: true, comment: 'UTC' },
    { name: 'stream_seq', type: 'long', nullable: false, comment: 'sequence in the stream' },
    { name: 'count', type: 'integer', nullable: true },
    { name: 'price', type: 'double', nullable: true },
    { name: 'text', type: 'string', nullable: true },
    { name: 'flag', type: 'boolean', nullable: true },
    { name: 'day', type: 'date', nullable: true },
    { name: 'time', type: 'timestamp', nullable: true },
    { name: 'quantity', type: 'decimal(18,8)', nullable: true },
    { name: 'fee', type: 'decimal(38,18)', nullable: true },
    { name: 'words', type: { type: 'array', elementType: 'string' }, nullable: true },
  ],
  partitionColumns: ['venue', 'dt'],
  configuration: { 'delta.appendOnly': 'true' },
}
const { columns } = definition

const day = (text: string) => Date.parse(`${text}T00:00:00Z`) / 86_400_000
const long = 'the first thirty-two of this text are the same, '

/** By file; each has its own greatest value in every column, and values that are easily got wrong. */
const files: readonly (readonly Values[])[] = [
  [
    {
      venue: 'EUR/USD',
      dt: day('2026-11-23'),
      stream_seq: 1,
      count: -2_147_483_648,
      price: -0.1,
      text: '',
      flag: false,
      day: 0,
      time: 0,
      quantity: -1n,
      fee: -(10n ** 38n - 1n),
      words: [],
    },
    {
      venue: 'EUR/USD',
      dt: day('2026-11-23'),
      stream_seq: 2,
      count: -1,
      price: 5e-324,
      text: `${long}a`,
      flag: false,
      day: day('2000-02-29'),
      time: 1,
      quantity: 0n,
      fee: 1n,
      words: ['', 'a"b', 'ü'],
    },
  ],
  [
    {
      venue: '100%',
      dt: day('2026-11-24'),
      stream_seq: 3,
      count: 5,
      price: 0.1 + 0.2,
      text: `${long}z`,
      flag: true,
      day: day('2026-11-23'),
      time: 1_795_379_583_836_273,
      quantity: 12_345_678n,
      fee: 10n ** 18n + 1n,
      words: ['x'],
    },
    {
      venue: '100%',
      dt: day('2026-11-24'),
      stream_seq: 4,
      count: null,
      price: null,
      text: null,
      flag: null,
      day: null,
      time: null,
      quantity: null,
      fee: null,
      words: null,
    },
  ],
  [
    {
      venue: 'a b',
      dt: day('2026-11-24'),
      stream_seq: 2 ** 53 - 2,
      count: 2_147_483_646,
      price: 1.7e308,
      text: '\u{1F600}'.repeat(33),
      flag: true,
      day: day('9999-12-30'),
      time: 4_102_444_799_999_999,
      quantity: 10n ** 18n - 2n,
      fee: 10n ** 38n - 2n,
      words: ['y', 'z'],
    },
    {
      venue: 'a b',
      dt: day('2026-11-24'),
      stream_seq: 5,
      count: 7,
      price: 7.5,
      text: '\uffee',
      flag: false,
      day: 3,
      time: 999,
      quantity: 5n,
      fee: 5n,
      words: ['y'],
    },
  ],
  [
    {
      venue: 'Zürich=\u{1F600}?#&+',
      dt: null,
      stream_seq: 2 ** 53 - 1,
      count: 2_147_483_647,
      price: Number.MAX_VALUE,
      text: '\u{10FFFF}'.repeat(40),
      flag: true,
      day: day('9999-12-31'),
      time: 4_102_444_800_000_000,
      quantity: 10n ** 18n - 1n,
      fee: 10n ** 38n - 1n,
      words: ['ü'],
    },
  ],
  [
    {
      venue: null,
      dt: day('2026-11-25'),
      stream_seq: 6,
      count: 8,
      price: 1 / 3,
      text: 'null',
      flag: false,
      day: 4,
      time: 1_000,
      quantity: 6n,
      fee: 6n,
      words: null,
    },
  ],
  // Infinities: this file's statistics are left out, and its rows must be found all the same.
  [
    {
      venue: 'inf',
      dt: day('2026-11-26'),
      stream_seq: 7,
      count: 9,
      price: Infinity,
      text: 'inf',
      flag: true,
      day: 5,
      time: 1_001,
      quantity: 7n,
      fee: 7n,
      words: null,
    },
    {
      venue: 'inf',
      dt: day('2026-11-26'),
      stream_seq: 8,
      count: 10,
      price: -Infinity,
      text: 'ing',
      flag: false,
      day: 6,
      time: 1_002,
      quantity: 8n,
      fee: 8n,
      words: null,
    },
  ],
]
const all = files.flat()

const appId = 'ORDERS@1/every-type'

const sorted = (rows: readonly Row[]) => rows.map((row) => JSON.stringify(row)).sort()
const expected = (rows: readonly Values[]) => sorted(rows.map((row) => rowOf(columns, row)))
const seqs = (rows: readonly Row[]) => rows.map((row) => JSON.stringify(row['stream_seq'])).sort()
const valuesOf = (rows: readonly Values[], name: string) =>
  rows.map((row) => row[name] ?? null).filter((value) => value !== null)

/** The order of values of a column; texts by code points, as UTF-8 has them. */
function compare(left: NonNullable<Value>, right: NonNullable<Value>): number {
  if (typeof left === 'string' && typeof right === 'string')
    return Buffer.compare(Buffer.from(left), Buffer.from(right))
  return Number(left > right) - Number(left < right)
}

/** Files that statistics cannot tell not to hold this stream_seq. */
function filesWith(sequence: number): number {
  return files.filter((rows) => {
    const own = rows.map((row) => Number(row['stream_seq']))
    const isUnbounded = rows.some((row) => row['price'] === Infinity)
    return isUnbounded || (Math.min(...own) <= sequence && sequence <= Math.max(...own))
  }).length
}

/** Makes the table, with a commit a file. */
async function fill(store: ObjectStore): Promise<void> {
  const table = await DeltaTable.open(store, definition)
  for (const [index, rows] of files.entries()) {
    const batch = { appId, version: (index + 1) * 10, expected: index === 0 ? undefined : index * 10 }
    const { outcome } = await table.append(partitionsOf(definition, rows), batch)
    if (outcome !== 'committed') throw new Error(outcome)
  }
}

void t.test('P3.03 P3.18 others read what we wrote', async (t) => {
  const folder = tempDir(t)
  await fill(await openStore(folder, {}))

  await t.test('P3.18 rows, schema, position, history and time travel', async (t) => {
    const startedMs = Date.parse('2026-11-23T10:00:00Z')
    for (let version = 0; version <= files.length; version += 1) {
      const time = new Date(startedMs + version * 1_000)
      await utimes(join(folder, commitKey(version)), time, time)
    }
    const [newest, third, then, empty] = (await readTables([
      { uri: folder, appIds: [appId, 'other'] },
      { uri: folder, version: 3 },
      { uri: folder, timestampMs: startedMs + 3_999 },
      { uri: folder, version: 0 },
    ])) as [Reading, Reading, Reading, Reading]
    t.same(
      newest.engines.map(({ engine }) => engine),
      engines,
    )
    for (const { engine, rows } of newest.engines) t.same(sorted(rows), expected(all), `${engine} reads every row`)
    for (const { engine, rows } of [...third.engines, ...then.engines])
      t.same(sorted(rows), expected(files.slice(0, 3).flat()), `${engine} travels to version 3`)
    for (const { engine, rows } of empty.engines) t.same(rows, [], `${engine} reads a table without rows`)
    const { log } = newest
    t.equal(log.version, files.length)
    t.same(log.protocol, [1, 2])
    t.same(log.partitionColumns, definition.partitionColumns)
    t.same(log.configuration, definition.configuration)
    t.same(log.transactions, { [appId]: String(files.length * 10), other: null })
    t.equal(log.files.length, files.length)
    t.same({ type: 'struct', fields: log.schema }, JSON.parse(formatSchema(columns)))
    t.same(
      log.history.map(({ operation }) => operation),
      [...files.map(() => 'WRITE'), 'CREATE TABLE'],
    )
  })

  await t.test('P3.03 a predicate on its own greatest value finds its row, in each column of each file', async (t) => {
    const cases = columns.flatMap(({ name, type }) => {
      if (typeof type !== 'string') return []
      const maxima = files.map((rows) => valuesOf(rows, name).sort(compare).at(-1))
      const values = [...new Set(maxima.filter((value) => value !== undefined))]
      const texts = [null, ...values.map((value) => textOf(type, value))]
      return texts.map((text, index) => ({ name, value: values[index - 1] ?? null, text }))
    })
    const asked = cases.flatMap((one) => (['=', '>='] as const).map((op) => ({ ...one, op })))
    const readings = await readTables(
      asked.map(({ name, op, text }) => ({ uri: folder, where: { column: name, op, value: text } })),
    )
    for (const [index, { name, op, value, text }] of asked.entries()) {
      const rows = all.filter((row) => {
        const own = row[name] ?? null
        if (value === null || own === null) return own === value
        return op === '=' ? compare(own, value) === 0 : compare(own, value) >= 0
      })
      for (const { engine, rows: found, filesRead } of readings[index]?.engines ?? []) {
        t.same(seqs(found), seqs(rows.map((row) => rowOf(columns, row))), `${engine}: ${name} ${op} ${text}`)
        // Its own, those whose bounds it lies between, and the one without bounds.
        const isSkipping = name === 'stream_seq' && op === '=' && filesRead !== undefined
        if (isSkipping) t.equal(filesRead, value === null ? 1 : filesWith(Number(value)), `${engine}: files read`)
      }
    }
  })

  await t.test('P3.03 readers believe the statistics: one that is too low loses rows', async (t) => {
    const file = join(folder, commitKey(1))
    const commit = await readFile(file, 'utf8')
    const low = commit.replace(String.raw`\"maxValues\":{\"stream_seq\":2`, String.raw`\"maxValues\":{\"stream_seq\":1`)
    t.not(low, commit, 'it is there')
    await writeFile(file, low)
    const [reading] = await readTables([{ uri: folder, where: { column: 'stream_seq', op: '=', value: '2' } }])
    for (const { engine, rows } of reading?.engines ?? []) t.same(rows, [], engine)
    await writeFile(file, commit)
  })
})

void t.test('P3.18 others read what we wrote to MinIO', async (t) => {
  const minio = await startTestMinio(t)
  await fill(openTestMinio(t, minio, { prefix: 'lake/every_type' }))
  const { LAKE_URI: lakeUri, ...storageOptions } = minio.access
  const table = { uri: `${lakeUri}/lake/every_type`, storageOptions: { ...storageOptions, AWS_ALLOW_HTTP: 'true' } }
  const [whole, one] = await readTables([
    { ...table, appIds: [appId] },
    { ...table, where: { column: 'venue', op: '=', value: 'EUR/USD' } },
  ])
  for (const { engine, rows } of whole?.engines ?? []) t.same(sorted(rows), expected(all), `${engine} reads every row`)
  for (const { engine, rows } of one?.engines ?? [])
    t.same(sorted(rows), expected(files[0] ?? []), `${engine} finds some`)
  t.same(whole?.log.transactions, { [appId]: String(files.length * 10) })
})
