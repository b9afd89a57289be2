import { randomUUID } from 'node:crypto'

/** The folder of a null, and of an empty text, which Delta cannot tell from a null. */
const nullFolder = '__HIVE_DEFAULT_PARTITION__'

/** A folder `column=value` is no longer than 255 bytes, the most that file systems take. */
const nameLengthMax = 120

/**
 * Folder of a file by its partition values, in the manner of Hive and Spark: `symbol=EUR%2FUSD/dt=2026-11-23`; empty without
 * partition columns. Only a convention: readers take the values from the log, so a name that is too long is cut.
 *
 * More is escaped than Spark does, all but letters, digits and `-_.~`: a reader that takes a key for a URI once too often,
 * as Polars does on S3, finds it all the same.
 */
export function partitionPath(
  partitionColumns: readonly string[],
  values: Readonly<Record<string, string | null>>,
): string {
  return partitionColumns
    .map((column) => `${escapedName(column)}=${values[column] ? escapedName(values[column]) : nullFolder}`)
    .join('/')
}

/**
 * A key that no other file has. @see Delta protocol, "Data Files"
 * @param at number of the file among those of its commit
 */
export function newDataKey(
  partitionColumns: readonly string[],
  values: Readonly<Record<string, string | null>>,
  at: number,
): string {
  const folder = partitionPath(partitionColumns, values)
  return `${folder && `${folder}/`}part-${String(at).padStart(5, '0')}-${randomUUID()}.zstd.parquet`
}

function escapedName(text: string): string {
  const name = encodeURIComponent(text.toWellFormed())
  return name.replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`).slice(0, nameLengthMax)
}

/** The key of a file below the table as `path` of its action: URI-encoded, so that a `%` of the key becomes `%25`. */
export function encodedPath(key: string): string {
  return encodeURI(key).replace(/[?#]/g, encodeURIComponent)
}

/** The key, or absolute URI, of a `path` in a log; one that is no valid URI stands for itself. */
export function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
