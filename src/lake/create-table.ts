import { randomUUID } from 'node:crypto'
import type { MetaData } from './actions.ts'
import { commitVersion } from './commit.ts'
import type { TableDefinition } from './schema.ts'
import type { Snapshot } from './snapshot.ts'
import type { ObjectStore } from './store.ts'
import { compareSchema, formatSchema, withColumns } from './table-schema.ts'
import { actionsOf, type Transaction } from './transaction.ts'

/** Makes version 0 of a table that everybody reads and appends to; that of another who was faster is as good. */
export async function createTable(store: ObjectStore, definition: TableDefinition, nowMs: number): Promise<void> {
  const { columns, partitionColumns, configuration, description } = definition
  const metaData: MetaData = {
    id: randomUUID(),
    description,
    format: { provider: 'parquet', options: {} },
    schemaString: formatSchema(columns),
    partitionColumns,
    configuration,
    createdTime: nowMs,
  }
  const operationParameters = {
    description,
    isManaged: false,
    partitionBy: partitionColumns,
    properties: configuration,
  }
  const transaction: Transaction = {
    info: { operation: 'CREATE TABLE', operationParameters, isBlindAppend: true },
    actions: [{ protocol: { minReaderVersion: 1, minWriterVersion: 2 } }, { metaData }],
  }
  const txnId = randomUUID()
  await commitVersion(store, 0, actionsOf(transaction, undefined, txnId, nowMs), txnId)
}

/** @returns undefined when the table has all columns of the definition, or does not fit it */
export function addColumns({ metaData }: Snapshot, definition: TableDefinition): Transaction | undefined {
  const comparison = compareSchema(metaData, definition)
  if (comparison.kind !== 'adds') return undefined
  const { columns } = comparison
  return {
    info: { operation: 'ADD COLUMNS', operationParameters: { columns }, isBlindAppend: false },
    actions: [{ metaData: withColumns(metaData, columns) }],
  }
}
