/**
 * Types of columns, in Delta's words.
 *
 * @see Delta protocol, "Schema Serialization Format"
 */
export type PrimitiveType =
  'string' | 'long' | 'integer' | 'double' | 'boolean' | 'date' | 'timestamp' | `decimal(${number},${number})`

export type ColumnType = PrimitiveType | { readonly type: 'array'; readonly elementType: 'string' }

export interface Column {
  readonly name: string
  readonly type: ColumnType
  readonly nullable: boolean
  readonly comment?: string
}

/** What a table should look like. */
export interface TableDefinition {
  readonly description: string
  readonly columns: readonly Column[]
  /** Names of columns, in order; their values stand in the log and in the paths, not in the files. */
  readonly partitionColumns: readonly string[]
  /** Table properties, e.g. `delta.appendOnly`. */
  readonly configuration: Readonly<Record<string, string>>
}

/**
 * A value of a column; null where there is none.
 * string: text; double: number; boolean: boolean; integer, long: a safe integer (a bigint when read back beyond it);
 * date: days since 1970-01-01; timestamp: microseconds since then, UTC, a safe integer; decimal(p,s): the unscaled
 * bigint; array: strings.
 */
export type Value = string | number | bigint | boolean | readonly string[] | null

/** Rows of one partition: a list of values a column, in the order of the definition without partition columns. */
export interface PartitionRows {
  /** By partition column, as Delta serialises them (a date as `2026-11-23`); null for none. */
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly columns: readonly (readonly Value[])[]
  readonly rows: number
}

const decimalType = /^decimal\((\d+),(\d+)\)$/

/** Digits in all and behind the point of a decimal type; undefined for other types. */
export function decimalDigits(type: PrimitiveType): { readonly precision: number; readonly scale: number } | undefined {
  const match = decimalType.exec(type)
  return match ? { precision: Number(match[1]), scale: Number(match[2]) } : undefined
}
