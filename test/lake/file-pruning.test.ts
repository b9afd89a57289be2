import fc from 'fast-check'
import t from 'tap'
import type { Add } from '../../src/lake/actions.ts'
import { DuckDb } from '../../src/lake/duckdb.ts'
import { mayMatch } from '../../src/lake/file-pruning.ts'
import { planScans } from '../../src/lake/query-plan.ts'
import { sqlName, sqlText, sqlTypeOf } from '../../src/lake/sql.ts'
import type { Field } from '../../src/lake/table-schema.ts'
import { tempDir } from '../support/temp-dir.ts'

const duckDb = await DuckDb.start({ folder: tempDir(t), memoryBytes: 100 * 2 ** 20, spillBytesMax: 2 ** 30 })
t.teardown(() => duckDb.stop())

const field = (name: string, type: string): Field => ({ name, type, nullable: true, metadata: {} })
const partitions = [field('symbol', 'string'), field('dt', 'date'), field('lot', 'long')]
const inFiles = [
  ...[field('seq', 'long'), field('note', 'string'), field('at', 'timestamp'), field('day', 'date')],
  ...[field('price', 'double'), field('amount', 'decimal(18,8)')],
]
const fields = [...inFiles, ...partitions]

/** Values of a type as SQL writes them, without quotes. */
const values: Readonly<Record<string, fc.Arbitrary<string>>> = {
  string: fc.constantFrom('', 'A', 'B', 'BTC', 'é', '\u{ffff}', '\u{1f600}', "o'x"),
  long: fc.constantFrom('-3', '0', '1', '2', '9007199254740993', '9223372036854775807'),
  date: fc.constantFrom('1969-12-31', '2026-11-20', '2026-11-21', '2026-11-22'),
  timestamp: fc.constantFrom(
    ...[
      '2026-11-20 00:00:00.000000Z',
      '2026-11-20 00:00:00.000001Z',
      '2026-11-21 12:00:00.123456Z',
      '1969-01-01 00:00:00Z',
    ],
  ),
  double: fc.constantFrom('-1.5', '0', '2.5', 'nan'),
  'decimal(18,8)': fc.constantFrom('-1.5', '0', '2.50000001'),
}
const valueOf = ({ type }: Field) => values[type as string] ?? fc.constant('')
const literal = (text: string, { type }: Field) => `${sqlText(text)}::${sqlTypeOf(type)}`

/** SQL that is true or false of a row. */
const condition = (of: readonly Field[]): fc.Arbitrary<string> =>
  fc.constantFrom(...of).chain((column) => {
    const name = sqlName(column.name)
    const value = valueOf(column).map((text) => literal(text, column))
    return fc.oneof(
      fc
        .tuple(fc.constantFrom('=', '<', '<=', '>', '>=', '<>', 'is distinct from'), value)
        .map(([op, v]) => `${name} ${op} ${v}`),
      fc.tuple(value, value).map(([a, b]) => `${name} between ${a} and ${b}`),
      fc.array(value, { minLength: 1, maxLength: 4 }).map((list) => `${name} in (${list.join(', ')})`),
      fc.constantFrom(`${name} is null`, `${name} is not null`),
    )
  })
const predicate = fc.letrec<{ all: string; not: string; both: string; leaf: string }>((tie) => ({
  all: fc.oneof({ maxDepth: 3 }, tie('leaf'), tie('both'), tie('not')),
  not: tie('all').map((inner) => `not (${inner})`),
  both: fc.tuple(tie('all'), fc.constantFrom('and', 'or'), tie('all')).map(([a, op, b]) => `(${a} ${op} ${b})`),
  leaf: condition(fields),
})).all

/** A file: values of its partition, null or not, and rows. */
const orNull = (arbitrary: fc.Arbitrary<string>) => fc.option(arbitrary, { freq: 4 })
const file = fc.record({
  partition: fc.tuple(...partitions.map((column) => orNull(valueOf(column).filter((text) => text !== '')))),
  rows: fc.array(fc.tuple(...inFiles.map((column) => orNull(valueOf(column)))), { minLength: 1, maxLength: 3 }),
  hasStats: fc.boolean(),
})

/** With the statistics that DuckDB finds, its times cut to milliseconds as Spark does. */
async function addOf(
  { partition, hasStats }: { partition: readonly (string | null)[]; hasStats: boolean },
  at: number,
): Promise<Add> {
  const of = inFiles.filter(({ name }) => name !== 'price')
  const expression = (fn: string, { name, type }: Field) => {
    const bound = `${fn}(${sqlName(name)})`
    if (type === 'timestamp') return `strftime(date_trunc('milliseconds', ${bound}), '%Y-%m-%dT%H:%M:%S.%gZ')`
    return type === 'long' ? bound : `${bound}::varchar`
  }
  const bounds = ['min', 'max'].flatMap((fn) => of.map((column) => expression(fn, column)))
  const [found = []] = await duckDb.run(`select ${bounds.join(', ')} from rows where file = ${at}`)
  const json = (from: number) =>
    of.flatMap(({ name, type }, index) => {
      const value = found[from + index]
      if (value === null || value === undefined) return []
      const isNumber = typeof value === 'bigint' || String(type).startsWith('decimal')
      return [`"${name}":${isNumber ? `${value as bigint | string}` : JSON.stringify(value)}`]
    })
  const stats = `{"numRecords":1,"minValues":{${json(0).join()}},"maxValues":{${json(of.length).join()}}}`
  return {
    path: String(at),
    partitionValues: Object.fromEntries(partitions.map(({ name }, index) => [name, partition[index] ?? null])),
    size: 1,
    modificationTime: 0,
    dataChange: true,
    ...(hasStats ? { stats } : {}),
  }
}

void t.test('P3.15 no file is left out of which a query would keep a row', async (t) => {
  let [kept, pruned, needed, planned, unplanned] = [0, 0, 0, 0, 0]
  const property = fc.asyncProperty(
    fc.array(file, { minLength: 1, maxLength: 6 }),
    fc.array(predicate, { minLength: 1, maxLength: 12 }),
    async (files, predicates) => {
      const columns = fields.map(({ name, type }) => `${sqlName(name)} ${sqlTypeOf(type)}`)
      const rows = files.flatMap(({ partition, rows: list }, at) =>
        list.map((row) => {
          const all = [...row, ...partition].map((text, index) =>
            text === null ? 'null' : literal(text, fields[index] ?? field('', 'string')),
          )
          return `(${[at, ...all].join(', ')})`
        }),
      )
      await duckDb.run(
        `create or replace table rows (file int, ${columns.join(', ')}); insert into rows values ${rows.join(', ')}`,
      )
      const adds: Add[] = []
      for (const [at, each] of files.entries()) adds.push(await addOf(each, at))
      for (const where of predicates) {
        const scans = await planScans(duckDb, `select count(*) from t where ${where}`, [{ name: 't', fields }])
        if (!scans) {
          unplanned += 1
          continue
        }
        planned += 1
        const matching = await duckDb.run(`select distinct file from rows where ${where}`)
        for (const [at, add] of adds.entries()) {
          const isNeeded = matching.some(([which]) => which === at)
          const isKept = mayMatch(add, scans, fields)
          if (isNeeded && !isKept) throw new Error(`file ${at} ${JSON.stringify(add)} is not kept by ${where}`)
          if (isKept) kept += 1
          else pruned += 1
          if (isNeeded) needed += 1
        }
      }
    },
  )
  await fc.assert(property, { numRuns: 40, seed: 20_261_123 })
  t.ok(unplanned < planned / 5, `${unplanned} without a plan, ${planned} with one`)
  t.ok(pruned > 100, `${pruned} left out, ${kept} kept, of which ${needed} were needed`)
})
