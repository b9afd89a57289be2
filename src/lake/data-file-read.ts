import { parquetReadObjects } from 'hyparquet'
import { zstdDecompressSync } from 'node:zlib'
import { readCommits } from './log-files.ts'
import { decodedPath } from './partition-path.ts'
import type { ObjectStore } from './store.ts'

const readsAtOnce = 8

/**
 * Some columns of the data files that the last commits have added, newest commit first, a list of rows a file. Files that
 * are no longer there are passed over, as are those that compaction has written.
 *
 * @param version of the table
 * @param names of columns that are in the files
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
    for (let from = 0; from < keys.length; from += readsAtOnce) {
      const files = keys.slice(from, from + readsAtOnce).map((key) => readColumns(store, key, names))
      for (const rows of await Promise.all(files)) if (rows) yield rows
    }
  }
}

async function readColumns(
  store: ObjectStore,
  key: string,
  names: readonly string[],
): Promise<Readonly<Record<string, unknown>>[] | undefined> {
  const data = await store.get(key)
  if (!data) return undefined
  const { buffer, byteOffset, byteLength } = data
  return parquetReadObjects({
    file: {
      byteLength,
      slice: (start, end = byteLength) => buffer.slice(byteOffset + start, byteOffset + end) as ArrayBuffer,
    },
    columns: [...names],
    compressors: { ZSTD: (input) => zstdDecompressSync(input) },
  })
}
