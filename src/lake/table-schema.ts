import { PipelineError } from '../base/errors.ts'
import { isObject } from '../base/json.ts'
import type { MetaData } from './actions.ts'
import type { Column, ColumnType, TableDefinition } from './schema.ts'

/** A column as a table has it: it may be of a type that we do not write. */
export interface Field {
  readonly name: string
  /** The name of a primitive type, or an object for a nested one. */
  readonly type: unknown
  readonly nullable: boolean
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * What a table's metaData means for rows of a definition. `adds`: it fits once these columns are added. `mismatch`: it
 * does not, for these reasons, one a column.
 */
export type SchemaComparison =
  | { readonly kind: 'same' }
  | { readonly kind: 'adds'; readonly columns: readonly Column[] }
  | { readonly kind: 'mismatch'; readonly problems: readonly string[] }

function typeJson(type: ColumnType): unknown {
  return typeof type === 'string' ? type : { ...type, containsNull: true }
}

function fieldOf(column: Column): Field {
  const { name, type, nullable, comment } = column
  return { name, type: typeJson(type), nullable, metadata: comment === undefined ? {} : { comment } }
}

/** @returns the `schemaString` of a table of these columns @see Delta protocol, "Schema Serialization Format" */
export function formatSchema(columns: readonly Column[]): string {
  return JSON.stringify({ type: 'struct', fields: columns.map(fieldOf) })
}

/** The columns of a table. @throws PipelineError LAKE_LOG_UNREADABLE */
export function fieldsOf({ schemaString }: MetaData): Field[] {
  return structOf(schemaString).fields as Field[]
}

/** A struct whose fields are ours to read; what else stands in it is kept. */
function structOf(schemaString: string): Readonly<Record<string, unknown>> & { readonly fields: readonly unknown[] } {
  let struct: unknown
  try {
    struct = JSON.parse(schemaString)
  } catch (error) {
    throw new PipelineError('LAKE_LOG_UNREADABLE', `the schema of the table is not JSON: ${schemaString}`, {
      cause: error,
    })
  }
  if (!isObject(struct) || !Array.isArray(struct['fields']) || !struct['fields'].every(isField))
    throw new PipelineError('LAKE_LOG_UNREADABLE', `the schema of the table is no struct of fields: ${schemaString}`)
  return { ...struct, fields: struct['fields'] }
}

function isField(value: unknown): boolean {
  if (!isObject(value)) return false
  const { name, type, nullable, metadata } = value
  return (
    typeof name === 'string' &&
    (typeof type === 'string' || isObject(type)) &&
    typeof nullable === 'boolean' &&
    isObject(metadata)
  )
}

/** A type for comparing and for messages. An array may say of its elements that they are never null: ours never are. */
function typeText(type: unknown): string {
  if (typeof type === 'string') return type.replaceAll(' ', '')
  if (isObject(type) && type['type'] === 'array' && typeof type['elementType'] === 'string')
    return `array<${typeText(type['elementType'])}>`
  return JSON.stringify(type)
}

/** Whether rows of the definition can be appended to a table with this metaData. */
export function compareSchema(metaData: MetaData, definition: TableDefinition): SchemaComparison {
  const fields = new Map(fieldsOf(metaData).map((field) => [field.name.toLowerCase(), field]))
  const problems: string[] = []
  const added: Column[] = []
  if (metaData.partitionColumns.join() !== definition.partitionColumns.join())
    problems.push(
      `it is partitioned by ${listed(metaData.partitionColumns)}, not by ${listed(definition.partitionColumns)}`,
    )
  for (const column of definition.columns) {
    const field = fields.get(column.name.toLowerCase())
    fields.delete(column.name.toLowerCase())
    if (field === undefined && column.nullable && !definition.partitionColumns.includes(column.name)) added.push(column)
    else problems.push(...columnProblems(column, field))
  }
  for (const field of fields.values())
    if (!field.nullable) problems.push(`${field.name} may not be null, and we have no values for it`)
  if (problems.length > 0) return { kind: 'mismatch', problems }
  return added.length > 0 ? { kind: 'adds', columns: added } : { kind: 'same' }
}

function columnProblems(column: Column, field: Field | undefined): string[] {
  const { name } = column
  if (!field) return [`${name} is missing and could be null in no row`]
  if (field.name !== name) return [`${name} is called ${field.name}`]
  const type = typeText(field.type)
  if (type !== typeText(typeJson(column.type))) return [`${name} is ${type}, not ${typeText(typeJson(column.type))}`]
  return column.nullable && !field.nullable ? [`${name} may not be null`] : []
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'nothing' : names.join(', ')
}

/** The metaData of a table with further columns behind its own. */
export function withColumns(metaData: MetaData, columns: readonly Column[]): MetaData {
  const struct = structOf(metaData.schemaString)
  const schemaString = JSON.stringify({ ...struct, fields: [...struct.fields, ...columns.map(fieldOf)] })
  return { ...metaData, schemaString }
}
