import { type FileMetaData, parquetMetadata, parquetReadObjects, parquetSchema } from 'hyparquet'
import { decompressors, isDecompressible } from './decompressors.ts'
import { readCommits } from './log-files.ts'
import { decodedPath } from './partition-path.ts'
import type { ObjectStore } from './store.ts'

const readsAtOnce = 8

/**
 * Some columns of the data files that the last commits have added, newest commit first, a list of rows a file: an empty one
 * where the file is no longer there, lacks one of the columns, or is compressed as we never do. What compaction has written
 * is left out.
 *
 * @param version of the table
 */
export async function* readLastFiles(
  store: ObjectStore,
  version: number,
  names: readonly string[],
): AsyncGenerator<readonly Readonly<Record<string, unknown>>[]> {
  for await (const { actions } of readCommits(store, version, 0, -1)) {
    // Older ones were cleaned up.
    if (!actions) return
    const keys = actions.flatMap((action) =>
      'add' in action && action.add.dataChange ? [decodedPath(action.add.path)] : [],
    )
    for (let from = 0; from < keys.length; from += readsAtOnce)
      yield* await Promise.all(keys.slice(from, from + readsAtOnce).map((key) => readColumns(store, key, names)))
  }
}

async function readColumns(
  store: ObjectStore,
  key: string,
  names: readonly string[],
): Promise<Readonly<Record<string, unknown>>[]> {
  const data = await store.get(key)
  if (!data) return []
  const { buffer, byteOffset, byteLength } = data
  const file = {
    byteLength,
    slice: (start: number, end = byteLength) => buffer.slice(byteOffset + start, byteOffset + end) as ArrayBuffer,
  }
  const metadata = parquetMetadata(data)
  if (!hasColumns(metadata, names)) return []
  return parquetReadObjects({ file, metadata, columns: [...names], compressors: decompressors })
}

/** In a form that we can read. */
function hasColumns(metadata: FileMetaData, names: readonly string[]): boolean {
  const there = parquetSchema(metadata).children.map(({ element }) => element.name)
  const chunks = metadata.row_groups.flatMap(({ columns }) => columns.flatMap(({ meta_data: data }) => data ?? []))
  return names.every((name) => there.includes(name)) && chunks.every(({ codec }) => isDecompressible(codec))
}
