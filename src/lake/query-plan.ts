import { PipelineError } from '../base/errors.ts'
import { parseOwnJson } from '../base/json.ts'
import type { DuckDb } from './duckdb.ts'
import type { Filter, Scan } from './file-pruning.ts'
import { sqlName, sqlText, sqlTypeOf } from './sql.ts'
import type { Field } from './table-schema.ts'

/**
 * Names of tables in a statement, in lower case; among them those that it gives itself.
 * @throws PipelineError USAGE when it is no statement that reads, or more than one
 */
export async function namesInQuery(duckDb: DuckDb, sql: string): Promise<ReadonlySet<string>> {
  const [[json = '']] = (await duckDb.run(`select json_serialize_sql(${sqlText(sql)})`)) as [[string?]]
  const tree = JSON.parse(json) as { readonly error: boolean; readonly error_message?: string }
  if (tree.error) throw new PipelineError('USAGE', `DuckDB: ${tree.error_message ?? 'no statement'}`)
  return new Set(tableNamesBelow(tree).map((name) => name.toLowerCase()))
}

function tableNamesBelow(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return []
  const below = Object.values(node).flatMap(tableNamesBelow)
  return 'table_name' in node && typeof node.table_name === 'string' ? [node.table_name, ...below] : below
}

/**
 * What a statement reads of tables, with the conditions on their columns, as DuckDB plans it. Nothing of these tables
 * exists before or after.
 *
 * @returns undefined when DuckDB finds no plan, or none that can be read: the statement may be wrong all the same
 */
export async function planScans(
  duckDb: DuckDb,
  sql: string,
  tables: readonly { readonly name: string; readonly fields: readonly Field[] }[],
): Promise<Scan[] | undefined> {
  const names = (await duckDb.run('select name from duckdb_optimizers()')).map(([name]) => name as string)
  const others = names.filter((name) => !planOptimizers.has(name)).join()
  const create = tables.map(({ name, fields }) => {
    const columns = fields.map((field) => `${sqlName(field.name)} ${sqlTypeOf(field.type)}`)
    return `create table ${sqlName(name)} (${columns.join(', ')})`
  })
  await duckDb.run([`set disabled_optimizers = ${sqlText(others)}`, ...create].join('; '))
  const [[json = '']] = (await duckDb.run(`select json_serialize_plan(${sqlText(sql)}, optimize := true)`)) as [
    [string?],
  ]
  await duckDb.run(['reset disabled_optimizers', ...tables.map(({ name }) => `drop table ${sqlName(name)}`)].join('; '))
  let plan: { readonly error: boolean }
  try {
    plan = parseOwnJson(json) as typeof plan
  } catch {
    // DuckDB writes NaN as such.
    return undefined
  }
  return plan.error ? undefined : scansBelow(plan)
}

/** They bring conditions down to the scans; others would see that these tables are empty. */
const planOptimizers: ReadonlySet<string> = new Set([
  'expression_rewriter',
  'filter_pullup',
  'filter_pushdown',
  'cte_inlining',
  'regex_range',
  'in_clause',
])

const everything: Filter = { kind: 'everything' }

interface PlanScan {
  readonly type: 'LOGICAL_GET'
  readonly names: readonly string[]
  readonly function_data?: { readonly table?: string }
  readonly table_filters: { readonly filters: readonly { readonly key: number; readonly value: PlanFilter }[] }
}

interface PlanConstant {
  readonly type: { readonly id: string }
  readonly is_null: boolean
  readonly value: unknown
}

interface PlanFilter {
  readonly filter_type: string
  readonly comparison_type?: string
  readonly constant?: PlanConstant
  readonly values?: readonly PlanConstant[]
  readonly child_filter?: PlanFilter
  readonly child_filters?: readonly PlanFilter[]
}

function scansBelow(node: unknown): Scan[] {
  if (typeof node !== 'object' || node === null) return []
  const below = Object.values(node).flatMap(scansBelow)
  if (!('type' in node) || node.type !== 'LOGICAL_GET') return below
  const { names, function_data: source, table_filters: found } = node as PlanScan
  if (source?.table === undefined) return below
  const filters = found.filters.map(({ key, value }) => [names[key] ?? '', filterOf(value)] as const)
  return [{ table: source.table, filters: new Map(filters) }, ...below]
}

const operators: Readonly<Record<string, '=' | '<' | '<=' | '>' | '>='>> = {
  COMPARE_EQUAL: '=',
  COMPARE_LESSTHAN: '<',
  COMPARE_LESSTHANOREQUALTO: '<=',
  COMPARE_GREATERTHAN: '>',
  COMPARE_GREATERTHANOREQUALTO: '>=',
}

function filterOf(filter: PlanFilter): Filter {
  const { child_filter: child, child_filters: children = [], constant, values = [] } = filter
  switch (filter.filter_type) {
    case 'CONJUNCTION_AND':
      return { kind: 'and', filters: children.map(filterOf) }
    case 'CONJUNCTION_OR':
      return { kind: 'or', filters: children.map(filterOf) }
    case 'OPTIONAL_FILTER':
      return child ? filterOf(child) : everything
    case 'IN_FILTER':
      return { kind: 'or', filters: values.map((value) => comparison('=', value)) }
    case 'CONSTANT_COMPARISON':
      return comparison(operators[filter.comparison_type ?? ''], constant)
    default:
      return everything
  }
}

const wholeTypes: ReadonlySet<string> = new Set(['BIGINT', 'INTEGER', 'DATE', 'TIMESTAMP WITH TIME ZONE'])

function comparison(op: '=' | '<' | '<=' | '>' | '>=' | undefined, constant: PlanConstant | undefined): Filter {
  if (!op || !constant || constant.is_null) return everything
  const { type, value } = constant
  if (type.id === 'VARCHAR' && typeof value === 'string') return { kind: 'compare', op, value }
  const isWhole = wholeTypes.has(type.id) && (typeof value === 'string' || Number.isSafeInteger(value))
  return isWhole ? { kind: 'compare', op, value: BigInt(value as string | number) } : everything
}
