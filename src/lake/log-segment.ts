import { textFromUtf8 } from '../base/json.ts'
import { lastCheckpointKey, logFileOf, logPrefix, versionKey } from './log-files.ts'
import type { ObjectStore } from './store.ts'

/** A checkpoint whose parts are all there. */
export interface Checkpoint {
  readonly version: number
  /** One, or the parts in order. */
  readonly keys: readonly string[]
}

/** Files of the log from one version on, or all. */
export interface LogListing {
  /** Newest first. */
  readonly checkpoints: readonly Checkpoint[]
  /** Oldest first. */
  readonly commits: readonly { readonly version: number; readonly modifiedMs: number }[]
  /** Whether there are checkpoints of a kind that we do not read. */
  readonly hasV2Checkpoint: boolean
}

/** What a version is made of: a checkpoint, if there is one, and the commits after it up to the version. */
export interface LogSegment {
  readonly checkpoint: Checkpoint | undefined
  readonly version: number
}

/** @param from the first version that matters */
export async function listLog(store: ObjectStore, from = 0): Promise<LogListing> {
  const commits: { version: number; modifiedMs: number }[] = []
  const partsOf = new Map<string, string[]>()
  let hasV2Checkpoint = false
  for await (const { key, bytes, modifiedMs } of store.list(logPrefix, versionKey(from))) {
    const file = logFileOf(key)
    if (file?.kind === 'commit') commits.push({ version: file.version, modifiedMs })
    if (file?.kind === 'v2Checkpoint') hasV2Checkpoint = true
    if (file?.kind !== 'checkpoint' || bytes === 0) continue
    const name = `${file.version}/${file.parts}`
    partsOf.set(name, [...(partsOf.get(name) ?? []), key])
  }
  const checkpoints = [...partsOf]
    .map(([name, keys]) => ({ version: parseInt(name), parts: Number(name.split('/')[1]), keys }))
    .filter(({ parts, keys }) => keys.length === parts)
    .map(({ version, keys }) => ({ version, keys }))
  return { checkpoints: checkpoints.sort((a, b) => b.version - a.version), commits, hasV2Checkpoint }
}

/**
 * Where `_last_checkpoint` says that a checkpoint is. A hint: it may be old, or name what is not there.
 * @returns undefined when there is none, or none that can be read
 */
export async function checkpointHint(store: ObjectStore): Promise<number | undefined> {
  const data = await store.get(lastCheckpointKey)
  if (!data) return undefined
  try {
    const { version } = JSON.parse(textFromUtf8(data)) as { readonly version: unknown }
    return typeof version === 'number' && Number.isSafeInteger(version) && version >= 0 ? version : undefined
  } catch {
    return undefined
  }
}

/** Newest version of a listing; -1 when it is empty. */
export function newestOf({ checkpoints, commits }: LogListing): number {
  return Math.max(commits.at(-1)?.version ?? -1, checkpoints[0]?.version ?? -1)
}

/** The first version after `checkpoint` and up to `version` whose commit is not in the listing. */
export function gapOf({ commits }: LogListing, { checkpoint, version }: LogSegment): number | undefined {
  const there = new Set(commits.map((commit) => commit.version))
  for (let at = (checkpoint?.version ?? -1) + 1; at <= version; at += 1) if (!there.has(at)) return at
  return undefined
}

/** The first of the commits that lead to a version without a gap; the version after it when its own is missing. */
function firstLeadingTo({ commits }: LogListing, version: number): number {
  let first = version + 1
  for (let at = commits.length - 1; at >= 0; at -= 1) {
    const found = commits[at]?.version ?? -1
    if (found > version) continue
    if (found !== first - 1) break
    first = found
  }
  return first
}

/** What a version can be made of, from a listing that has it: the newest checkpoint first, none last. */
export function segmentsOf(listing: LogListing, version: number): LogSegment[] {
  const first = firstLeadingTo(listing, version)
  const checkpoints = listing.checkpoints.filter((each) => each.version <= version && each.version >= first - 1)
  return [...checkpoints, ...(first === 0 ? [undefined] : [])].map((checkpoint) => ({ checkpoint, version }))
}
