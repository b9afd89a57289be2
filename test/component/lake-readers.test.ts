import { readdir, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { writeCheckpoint } from '../../src/lake/checkpoint-write.ts'
import { compactionDefaults } from '../../src/lake/compaction-plan.ts'
import { compactTable } from '../../src/lake/compaction.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { cleanUpLog } from '../../src/lake/log-cleanup.ts'
import { checkpointKey, commitKey, lastCheckpointKey } from '../../src/lake/log-files.ts'
import { openStore } from '../../src/lake/open-store.ts'
import type { Value } from '../../src/lake/schema.ts'
import type { ObjectStore } from '../../src/lake/store.ts'
import { formatSchema } from '../../src/lake/table-schema.ts'
import { vacuumTable } from '../../src/lake/vacuum.ts'
import { everyType as definition, everyTypeFiles as files } from '../support/every-type.ts'
import { engines, type Reading, readTables, type Row } from '../support/lake-readers.ts'
import { partitionsOf, rowOf, textOf, type Values } from '../support/lake-rows.ts'
import { openTestMinio, startTestMinio } from '../support/minio.ts'
import { tempDir } from '../support/temp-dir.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

const { columns } = definition
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

/** Makes the table, with a commit a file. */
async function fill(store: ObjectStore, contents = files): Promise<DeltaTable> {
  const table = await DeltaTable.open(store, definition)
  for (const [index, rows] of contents.entries()) {
    const batch = { appId, version: (index + 1) * 10, expected: index === 0 ? undefined : index * 10 }
    const { outcome } = await table.append(partitionsOf(definition, rows), batch)
    if (outcome !== 'committed') throw new Error(outcome)
  }
  return table
}

/**
 * Asks for the greatest value that each file has in each column, and for null: every engine must find all rows.
 * @param contents rows of the table by file
 */
async function checkPredicates(t: Test, uri: string, contents: readonly (readonly Values[])[]): Promise<void> {
  const asked = columns.flatMap(({ name, type }) => {
    if (typeof type !== 'string') return []
    const maxima = contents.map((rows) => valuesOf(rows, name).sort(compare).at(-1))
    const values = [null, ...new Set(maxima.filter((value) => value !== undefined))]
    return (['=', '>='] as const).flatMap((op) =>
      values.map((value) => ({ name, op, value, text: textOf(type, value) })),
    )
  })
  const readings = await readTables(
    asked.map(({ name, op, text }) => ({ uri, where: { column: name, op, value: text } })),
  )
  for (const [index, { name, op, value, text }] of asked.entries()) {
    const fits = (row: Values) => {
      const own = row[name] ?? null
      if (value === null || own === null) return own === value
      return op === '=' ? compare(own, value) === 0 : compare(own, value) >= 0
    }
    const found = contents.flat().filter(fits)
    for (const { engine, rows, filesRead } of readings[index]?.engines ?? []) {
      t.same(seqs(rows), seqs(found.map((row) => rowOf(columns, row))), `${engine}: ${name} ${op} ${text}`)
      if (name === 'stream_seq' && op === '=' && filesRead !== undefined)
        t.equal(filesRead, filesWith(contents, value), `${engine}: files read`)
    }
  }
}

/** How many files statistics cannot tell not to hold this stream_seq: those with an infinity have none. */
function filesWith(contents: readonly (readonly Values[])[], sequence: Value): number {
  return contents.filter((rows) => {
    const own = rows.map((row) => Number(row['stream_seq']))
    const isBetween = sequence !== null && Math.min(...own) <= Number(sequence) && Number(sequence) <= Math.max(...own)
    return isBetween || rows.some((row) => row['price'] === Infinity)
  }).length
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

  await t.test('P3.03 a predicate on its own greatest value finds its row, in each column of each file', (t) =>
    checkPredicates(t, folder, files),
  )

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

void t.test('P3.18 others read what was compacted, vacuumed and cut off at a checkpoint', async (t) => {
  const folder = tempDir(t)
  const store = await openStore(folder, {})
  // A second file in each partition.
  const more = files.map((rows) =>
    rows.map((row): Values => {
      const sequence = Number(row['stream_seq'])
      return { ...row, stream_seq: sequence < 1_000 ? sequence + 1_000 : sequence - 1_000 }
    }),
  )
  const rows = [...all, ...more.flat()]
  const position = 2 * files.length * 10
  const table = await fill(store, [...files, ...more])
  const policy = { ...compactionDefaults, orderBy: ['stream_seq'], dateColumn: undefined }
  t.match(await compactTable(table, policy), { commits: 1, filesRemoved: 2 * files.length, filesAdded: files.length })
  const compacted = table.version
  const [before, after] = await readTables([{ uri: folder, version: compacted - 1 }, { uri: folder }])
  for (const { engine, rows: found } of [...(before?.engines ?? []), ...(after?.engines ?? [])])
    t.same(sorted(found), expected(rows), `${engine} reads every row, before and after`)
  t.equal(after?.log.files.length, files.length)

  const nextYear = { nowMs: () => Date.now() + 366 * 86_400_000 }
  t.match(await vacuumTable(table, { clock: nextYear }), { files: 2 * files.length })
  t.equal(await writeCheckpoint(store, await table.refresh(), Date.now()), 'written')
  t.ok((await cleanUpLog(store, table.snapshot.properties, nextYear.nowMs())) > compacted)
  const { version } = table
  const names = [checkpointKey(version), commitKey(version), lastCheckpointKey].map((key) => key.split('/')[1])
  t.same((await readdir(join(folder, '_delta_log'))).sort(), names.sort(), 'nothing older is left')
  const contents = files.map((own, index) => [...own, ...(more[index] ?? [])])
  await checkPredicates(t, folder, contents)
  const [cut] = await readTables([{ uri: folder, appIds: [appId, 'other'] }])
  for (const { engine, rows: found } of cut?.engines ?? []) t.same(sorted(found), expected(rows), engine)
  t.match(cut?.log, {
    version,
    protocol: [1, 2],
    partitionColumns: definition.partitionColumns,
    configuration: definition.configuration,
    transactions: { [appId]: String(position), other: null },
  })
  t.same({ type: 'struct', fields: cut?.log.schema }, JSON.parse(formatSchema(columns)))

  const last = (files[1] ?? []).map((row) => ({ ...row, stream_seq: Number(row['stream_seq']) + 2_000 }))
  await table.append(partitionsOf(definition, last), { appId, version: position + 10, expected: position })
  const [grown, travelled] = await readTables([
    { uri: folder, appIds: [appId] },
    { uri: folder, version },
  ])
  for (const { engine, rows: found } of grown?.engines ?? [])
    t.same(sorted(found), expected([...rows, ...last]), `${engine} reads what comes after the checkpoint`)
  t.same(grown?.log.transactions, { [appId]: String(position + 10) })
  for (const { engine, rows: found } of travelled?.engines ?? []) t.same(sorted(found), expected(rows), engine)
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
