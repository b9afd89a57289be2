/** The folder of a null, and of an empty text, which Delta cannot tell from a null. */
const nullFolder = '__HIVE_DEFAULT_PARTITION__'

/** Control characters and those that Hive and Spark escape in names of folders. */
const special = /[\p{Cc}"#%'*/:=?\\{[\]^]/gu

/**
 * Folder of a file by its partition values, as Hive and Spark name it: `symbol=EUR%2FUSD/dt=2026-11-23`; empty without
 * partition columns. Only a convention: readers take the values from the log.
 */
export function partitionPath(
  partitionColumns: readonly string[],
  values: Readonly<Record<string, string | null>>,
): string {
  return partitionColumns
    .map((column) => `${escapedName(column)}=${values[column] ? escapedName(values[column]) : nullFolder}`)
    .join('/')
}

function escapedName(text: string): string {
  return text
    .toWellFormed()
    .replace(special, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
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
