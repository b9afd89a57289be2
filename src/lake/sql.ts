import { PipelineError } from '../base/errors.ts'
import type { Field } from './table-schema.ts'

/** A literal of DuckDB's SQL. */
export function sqlText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function sqlName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function sqlList(values: readonly string[]): string {
  return `[${values.map(sqlText).join(', ')}]`
}

/** A path for `read_parquet`, which would take some characters for a pattern. */
export function sqlPath(path: string): string {
  return path.replace(/[*?[]/g, '[$&]')
}

const sqlTypes: Readonly<Record<string, string>> = {
  string: 'VARCHAR',
  long: 'BIGINT',
  integer: 'INTEGER',
  short: 'SMALLINT',
  byte: 'TINYINT',
  double: 'DOUBLE',
  float: 'FLOAT',
  boolean: 'BOOLEAN',
  binary: 'BLOB',
  date: 'DATE',
  timestamp: 'TIMESTAMPTZ',
  timestamp_ntz: 'TIMESTAMP',
}

/** DuckDB's name of a type of the schema, nested ones included. @throws PipelineError LAKE_FEATURE_UNSUPPORTED */
export function sqlTypeOf(type: unknown): string {
  if (typeof type === 'string') {
    const name =
      sqlTypes[type] ?? (/^decimal\(\d+,\d+\)$/.test(type.replaceAll(' ', '')) ? type.toUpperCase() : undefined)
    if (name !== undefined) return name
  } else {
    const nested = type as Readonly<Record<string, unknown>>
    if (nested['type'] === 'array') return `${sqlTypeOf(nested['elementType'])}[]`
    if (nested['type'] === 'map') return `MAP(${sqlTypeOf(nested['keyType'])}, ${sqlTypeOf(nested['valueType'])})`
    if (nested['type'] === 'struct') {
      const fields = nested['fields'] as readonly Field[]
      return `STRUCT(${fields.map((field) => `${sqlName(field.name)} ${sqlTypeOf(field.type)}`).join(', ')})`
    }
  }
  throw new PipelineError('LAKE_FEATURE_UNSUPPORTED', `a column of type ${JSON.stringify(type)} cannot be read`)
}

/**
 * A scan of files as columns of a table: a column that a file lacks is null, types are the table's. Files are opened one
 * by one, when their turn comes.
 * @param files an expression of a list of paths
 * @param columns not those of the partitions, which are not in the files; one at least
 */
export function scanOf(files: string, columns: readonly Pick<Field, 'name' | 'type'>[]): string {
  const schema = columns.map(
    ({ name, type }) =>
      `${sqlText(name)}: {name: ${sqlText(name)}, type: ${sqlText(sqlTypeOf(type))}, default_value: NULL}`,
  )
  return `read_parquet(${files}, schema = MAP {${schema.join(', ')}})`
}
