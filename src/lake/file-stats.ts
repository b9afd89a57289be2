import { isObject, parseOwnJson } from '../base/json.ts'
import type { Add } from './actions.ts'

/** What an `add` says of the rows in its file; a number of more than 15 digits is its text. */
export interface FileStats {
  readonly numRecords?: number
  readonly minValues?: Readonly<Record<string, unknown>>
  readonly maxValues?: Readonly<Record<string, unknown>>
}

/**
 * The statistics of a file, as far as there are any. They are hints: what another writer made of them, such as a NaN
 * that is no JSON, keeps nobody from reading the file.
 *
 * @see Delta protocol, "Per-file Statistics"
 */
export function fileStats({ stats }: Pick<Add, 'stats'>): FileStats {
  const { numRecords, minValues, maxValues } = parsed(stats)
  return {
    ...(Number.isSafeInteger(numRecords) ? { numRecords: numRecords as number } : {}),
    ...(isObject(minValues) ? { minValues } : {}),
    ...(isObject(maxValues) ? { maxValues } : {}),
  }
}

function parsed(stats: string | undefined): Readonly<Record<string, unknown>> {
  if (stats === undefined) return {}
  try {
    const value = parseOwnJson(stats)
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}
