import type { MetaData } from './actions.ts'

/** The properties of a table that we act on, with their defaults. @see Delta protocol, "Table Properties" */
export interface TableProperties {
  /** Rows may be moved into other files, never changed or removed. */
  readonly appendOnly: boolean
  /** Commits from one checkpoint to the next. */
  readonly checkpointInterval: number
  /** Commits and checkpoints that are older may go once a newer checkpoint stands in for them. */
  readonly logRetentionMs: number
  /** A file that is not in the table for longer than this may be deleted. */
  readonly deletedFileRetentionMs: number
  readonly enableExpiredLogCleanup: boolean
  readonly enableInCommitTimestamps: boolean
}

const dayMs = 86_400_000

const unitMs = new Map(
  Object.entries({
    week: 7 * dayMs,
    day: dayMs,
    hour: 3_600_000,
    minute: 60_000,
    second: 1_000,
    millisecond: 1,
    microsecond: 0.001,
  }),
)

/**
 * Milliseconds of an interval as Spark writes it: `interval 30 days`, `1 week`, `interval 1 day 12 hours`.
 * @returns undefined when it is none, or has months or years, whose length varies
 */
export function intervalMs(text: string): number | undefined {
  const parts = text
    .trim()
    .toLowerCase()
    .replace(/^interval\s+/, '')
  if (!/^\d+\s+[a-z]+(?:\s+\d+\s+[a-z]+)*$/.test(parts)) return undefined
  let sum = 0
  for (const [, count, unit = ''] of parts.matchAll(/(\d+)\s+([a-z]+)/g)) {
    const ms = unitMs.get(unit.replace(/s$/, ''))
    if (ms === undefined) return undefined
    sum += Number(count) * ms
  }
  return sum
}

function flag(text: string): boolean | undefined {
  const value = text.toLowerCase()
  return value === 'true' || value === 'false' ? value === 'true' : undefined
}

function positive(text: string): number | undefined {
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined
}

/** How each is read, and what holds without it. */
const readers: {
  readonly [Name in keyof TableProperties]: readonly [
    key: string,
    parse: (text: string) => TableProperties[Name] | undefined,
    otherwise: TableProperties[Name],
  ]
} = {
  appendOnly: ['delta.appendOnly', flag, false],
  checkpointInterval: ['delta.checkpointInterval', positive, 100],
  logRetentionMs: ['delta.logRetentionDuration', intervalMs, 30 * dayMs],
  deletedFileRetentionMs: ['delta.deletedFileRetentionDuration', intervalMs, 7 * dayMs],
  enableExpiredLogCleanup: ['delta.enableExpiredLogCleanup', flag, true],
  enableInCommitTimestamps: ['delta.enableInCommitTimestamps', flag, false],
}

/** Whether we can read the value of a property that we act on; undefined for the others. */
export function isReadable(key: string, value: string): boolean | undefined {
  const reader = Object.values(readers).find(([name]) => name === key)
  return reader && reader[1](value) !== undefined
}

/** A value that cannot be read counts as none; features.ts refuses such a table before anything is done to it. */
export function tableProperties({ configuration }: MetaData): TableProperties {
  const entries = Object.entries(readers).map(([name, [key, parse, otherwise]]) => {
    const text = configuration[key]
    return [name, (text === undefined ? undefined : parse(text)) ?? otherwise] as const
  })
  return Object.fromEntries(entries) as unknown as TableProperties
}
