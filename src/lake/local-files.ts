import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { PipelineError } from '../base/errors.ts'
import type { Add } from './actions.ts'
import { dataPathOf } from './data-paths.ts'
import type { ObjectStore } from './store.ts'

export interface LocalFileOptions {
  /** Where files that are not on this machine are copied to. */
  readonly folder: string
  /** Names those copies. */
  readonly label: string
  readonly signal?: AbortSignal | undefined
  readonly onCopied?: ((bytes: number) => void) | undefined
}

const copiesAtOnce = 4
const pieceBytes = 8 * 2 ** 20

/** Whether the files of a store are files of this machine. */
export function isLocal({ uri }: Pick<ObjectStore, 'uri'>): boolean {
  return uri.startsWith('/')
}

/**
 * Paths on this machine of files of a table, in their order: where they are, or copies.
 * @throws PipelineError LAKE_FILE_MISSING, LAKE_FEATURE_UNSUPPORTED for a file outside the table, LAKE_STORE_UNAVAILABLE
 */
export async function localFiles(
  store: ObjectStore,
  files: readonly Pick<Add, 'path' | 'size'>[],
  { folder, label, signal, onCopied }: LocalFileOptions,
): Promise<string[]> {
  const keys = files.map(({ path }) => dataPathOf(store.uri, path))
  if (isLocal(store)) return keys.map((path) => ('key' in path ? join(store.uri, path.key) : path.elsewhere))
  const paths = files.map((_, index) => join(folder, `${label}-${index}.parquet`))
  const left = keys.entries()
  let hasFailed = false
  const copySome = async () => {
    for (const [index, path] of left) {
      signal?.throwIfAborted()
      if (hasFailed) return
      if (!('key' in path))
        throw new PipelineError('LAKE_FEATURE_UNSUPPORTED', `${path.elsewhere} is outside its table, ${store.uri}`)
      const bytes = files[index]?.size ?? 0
      await copyFile(store, path.key, bytes, paths[index] ?? '')
      onCopied?.(bytes)
    }
  }
  const copying = Array.from({ length: copiesAtOnce }, () =>
    copySome().catch((error: unknown) => {
      hasFailed = true
      throw error
    }),
  )
  // When one fails, the others end first: the caller is about to remove the folder.
  await Promise.allSettled(copying)
  await Promise.all(copying)
  return paths
}

async function copyFile(store: ObjectStore, key: string, bytes: number, path: string): Promise<void> {
  const out = createWriteStream(path)
  const isWritten = finished(out)
  // Looked at below, unless something else fails first.
  isWritten.catch(() => undefined)
  try {
    for (let start = 0; start < bytes; start += pieceBytes) {
      const piece = await store.get(key, { start, end: Math.min(bytes, start + pieceBytes) })
      if (!piece) throw fileMissing(`${store.uri}/${key}`)
      if (!out.write(piece)) await Promise.race([once(out, 'drain'), isWritten])
    }
    out.end()
    await isWritten
  } catch (error) {
    out.destroy()
    if (error instanceof Error && 'syscall' in error)
      throw new PipelineError('LAKE_QUERY_LIMIT', `${path} cannot be written: ${error.message}`, { cause: error })
    throw error
  }
}

export function fileMissing(path: string, cause?: unknown): PipelineError {
  return new PipelineError('LAKE_FILE_MISSING', `${path} is in the log and not in the store`, { cause })
}
