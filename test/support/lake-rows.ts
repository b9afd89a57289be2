import { rfc3339FromUs, usPerDay } from '../../src/base/clock.ts'
import {
  decimalDigits,
  type Column,
  type ColumnType,
  type PartitionRows,
  type TableDefinition,
  type Value,
} from '../../src/lake/schema.ts'
import type { Cell, Row } from './lake-readers.ts'

/** A row by the names of its columns, partition columns too; what is left out is null. */
export type Values = Readonly<Record<string, Value>>

/** Rows as `append` takes them, a list for each partition, in the order in which these come first. */
export function partitionsOf({ columns, partitionColumns }: TableDefinition, rows: readonly Values[]): PartitionRows[] {
  const own = columns.filter(({ name }) => !partitionColumns.includes(name))
  const partitions = new Map<string, Values[]>()
  const valuesOf = (row: Values) =>
    Object.fromEntries(
      columns
        .filter(({ name }) => partitionColumns.includes(name))
        .map(({ name, type }) => [name, textOf(type, row[name] ?? null)]),
    )
  for (const row of rows) {
    const key = JSON.stringify(valuesOf(row))
    partitions.set(key, [...(partitions.get(key) ?? []), row])
  }
  return [...partitions].map(([key, list]) => ({
    partitionValues: JSON.parse(key) as Record<string, string | null>,
    columns: own.map(({ name }) => list.map((row) => row[name] ?? null)),
    rows: list.length,
  }))
}

/** A value of a primitive type as predicates and partition columns have it. */
export function textOf(type: ColumnType, value: Value): string | null {
  const cell = cellOf(type, value)
  return typeof cell === 'string' || cell === null ? cell : JSON.stringify(cell)
}

/** A value as the readers give it. */
export function cellOf(type: ColumnType, value: Value): Cell {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || Array.isArray(value))
    return value as Cell
  const digits = typeof type === 'string' ? decimalDigits(type) : undefined
  if (digits) {
    const text = String(value)
      .replace('-', '')
      .padStart(digits.scale + 1, '0')
    return `${Number(value) < 0 ? '-' : ''}${text.slice(0, -digits.scale)}.${text.slice(-digits.scale)}`
  }
  if (type === 'date') return rfc3339FromUs(Number(value) * usPerDay).slice(0, 10)
  if (type === 'double') return Number.isFinite(value) ? Number(value) : pythonText(Number(value))
  return String(value)
}

function pythonText(value: number): string {
  return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'
}

export function rowOf(columns: readonly Column[], values: Values): Row {
  return Object.fromEntries(columns.map(({ name, type }) => [name, cellOf(type, values[name] ?? null)]))
}
