import { fileURLToPath } from 'node:url'
import { decodedPath } from './partition-path.ts'

/** Where a data file is: at a key below its table, or elsewhere, at an absolute path or URI. */
export type DataPath = { readonly key: string } | { readonly elsewhere: string }

/**
 * @param tableUri of the table's store
 * @param path of an action, URI-encoded; an absolute one may lead into the table all the same
 */
export function dataPathOf(tableUri: string, path: string): DataPath {
  const isUri = /^[a-z][a-z0-9+.-]*:\//i.test(path)
  if (!isUri && !path.startsWith('/')) return { key: decodedPath(path) }
  const absolute = path.startsWith('file:/') ? localPath(path) : decodedPath(path).replace(/^s3a:/, 's3:')
  return absolute.startsWith(`${tableUri}/`) ? { key: absolute.slice(tableUri.length + 1) } : { elsewhere: absolute }
}

/** Some writers name `file:/x` what should be `file:///x`. */
function localPath(uri: string): string {
  try {
    return fileURLToPath(uri.replace(/^file:\/*/, 'file:///'))
  } catch {
    return uri
  }
}
