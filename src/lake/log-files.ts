import { messageOf, PipelineError } from '../base/errors.ts'
import { textFromUtf8 } from '../base/json.ts'
import { parseCommit, type Action } from './actions.ts'
import type { ObjectStore } from './store.ts'

/** Names of the files in `_delta_log`. @see Delta protocol, "File Types" */
export const logPrefix = '_delta_log/'
export const lastCheckpointKey = `${logPrefix}_last_checkpoint`

function padded(version: number): string {
  return String(version).padStart(20, '0')
}

/** Comes before every file of the version in a listing, and after those of the one before. */
export function versionKey(version: number): string {
  return logPrefix + padded(version)
}

export function commitKey(version: number): string {
  return `${versionKey(version)}.json`
}

/** Of a classic checkpoint. */
export function checkpointKey(version: number): string {
  return `${versionKey(version)}.checkpoint.parquet`
}

/** What a file of the log is; a checkpoint of several parts says which one it is, from 1. */
export type LogFile =
  | { readonly kind: 'commit'; readonly version: number }
  | { readonly kind: 'checkpoint'; readonly version: number; readonly part: number; readonly parts: number }
  | { readonly kind: 'v2Checkpoint'; readonly version: number }

const fileName =
  /^(\d{20})\.(?:(json)|checkpoint\.(?:(\d{10})\.(\d{10})\.)?(parquet)|checkpoint\.[^.]+\.(?:json|parquet))$/

/** @returns undefined for everything else: temporary files, `.crc`, compacted commits, folders, files of others */
export function logFileOf(key: string): LogFile | undefined {
  const match = key.startsWith(logPrefix) ? fileName.exec(key.slice(logPrefix.length)) : null
  if (!match) return undefined
  const [, digits, isCommit, part = '1', parts = '1', isParquet] = match
  const version = Number(digits)
  if (isCommit) return { kind: 'commit', version }
  if (isParquet) return { kind: 'checkpoint', version, part: Number(part), parts: Number(parts) }
  return { kind: 'v2Checkpoint', version }
}

/** @returns undefined when there is no such version @throws PipelineError LAKE_LOG_UNREADABLE */
export async function readCommit(store: ObjectStore, version: number): Promise<Action[] | undefined> {
  const data = await store.get(commitKey(version))
  if (!data) return undefined
  const log = `the log of ${store.uri}`
  let text: string
  try {
    text = textFromUtf8(data)
  } catch (error) {
    throw new PipelineError('LAKE_LOG_UNREADABLE', `version ${version} of ${log}: ${messageOf(error)}`, {
      cause: error,
    })
  }
  return parseCommit(text, version, log)
}

/** Whether the log has a version, or a later one: not so where it was emptied, or is another. */
export async function reachesVersion(store: ObjectStore, version: number): Promise<boolean> {
  if (await store.get(commitKey(version), { start: 0, end: 1 })) return true
  // Of a version that was cleaned up, its checkpoint is there or a later version.
  for await (const { key } of store.list(logPrefix, versionKey(version))) if (logFileOf(key)) return true
  return false
}

const readsAtOnce = 16

/**
 * Commits from one version up to, or with step -1 down to another, both included; read ahead, a bounded number at once. A commit that
 * is not there comes without actions.
 */
export async function* readCommits(
  store: ObjectStore,
  from: number,
  to: number,
  step: 1 | -1 = 1,
): AsyncIterable<{ readonly version: number; readonly actions: Action[] | undefined }> {
  const reads: { readonly version: number; readonly actions: Promise<Action[] | undefined> }[] = []
  for (let version = from, next = from; step * (to - version) >= 0; version += step) {
    for (; reads.length < readsAtOnce && step * (to - next) >= 0; next += step) {
      const actions = readCommit(store, next)
      // Whoever waits for it gets the error; a reader that stops early does not.
      actions.catch(() => undefined)
      reads.push({ version: next, actions })
    }
    yield { version, actions: await reads.shift()?.actions }
  }
}
