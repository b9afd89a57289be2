import type { Add } from './actions.ts'
import { encodeParquet } from './parquet-file.ts'
import { encodedPath, newDataKey } from './partition-path.ts'
import type { PartitionRows, TableDefinition } from './schema.ts'
import { statsOf } from './stats.ts'
import type { ObjectStore } from './store.ts'

/** A file in the store that is not in the table before its `add` is. */
export interface DataFile {
  readonly key: string
  readonly rows: number
  readonly add: Add & { readonly stats: string }
}

const writesAtOnce = 16

/** Writes a file a partition, some at once. When one fails, those that were written are deleted before it throws. */
export async function writeDataFiles(
  store: ObjectStore,
  definition: TableDefinition,
  partitions: readonly PartitionRows[],
  nowMs: number,
): Promise<DataFile[]> {
  const { partitionColumns } = definition
  const columns = definition.columns.filter(({ name }) => !partitionColumns.includes(name))
  const left = partitions.entries()
  const files: DataFile[] = []
  let hasFailed = false
  const writeSome = async () => {
    for (const [at, partition] of left) {
      if (hasFailed) return
      const data = encodeParquet(columns, partition)
      const { partitionValues, rows } = partition
      const key = newDataKey(partitionColumns, partitionValues, at)
      const size = data.length
      const stats = statsOf(columns, partition)
      const add = { path: encodedPath(key), partitionValues, size, modificationTime: nowMs, dataChange: true, stats }
      await store.put(key, data).catch((error: unknown) => {
        hasFailed = true
        throw error
      })
      files.push({ key, rows, add })
    }
  }
  const results = await Promise.allSettled(Array.from({ length: writesAtOnce }, writeSome))
  const failed = results.find((result) => result.status === 'rejected')
  if (!failed) return files
  await deleteDataFiles(store, files)
  throw failed.reason
}

/** Deletes files that are in no commit. What cannot be deleted is left to the next vacuum. */
export async function deleteDataFiles(store: ObjectStore, files: readonly DataFile[]): Promise<void> {
  await store.delete(files.map(({ key }) => key)).catch(() => undefined)
}
