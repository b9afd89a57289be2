import { JetStreamApiError } from '@nats-io/jetstream'
import { headers } from '@nats-io/transport-node'
import { usFromRfc3339 } from '../base/clock.ts'
import { messageOf, PipelineError } from '../base/errors.ts'
import { textFromUtf8, utf8FromText } from '../base/json.ts'
import type { LimitsEntry } from '../schemas/config-files.ts'
import type { LimitSet } from '../schemas/limits.ts'
import { wrongLastSequence } from './acks.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'
import { followStream, type InputMessage, readLatest } from './reader.ts'
import { isStreamNotFound } from './streams.ts'

/** The stream behind the bucket; an entry's subject is this prefix and its key. */
export const limitsStream = 'KV_LIMITS'
export const limitsSubjectPrefix = '$KV.LIMITS.'
const lookIntervalMs = 2_000

/** A changed entry of KV LIMITS. */
export type LimitsChange = LimitsEntry & { readonly revision: number }

export interface LimitsWatch {
  /** Changes since the last call, in order of revision. */
  readonly take: () => readonly LimitsChange[]
  /** Entries that have no effect, each with what is wrong with it; and why changes are not heard, if they are not. */
  readonly problems: () => readonly string[]
  /** Of the newest entry; 0 while there is none. */
  readonly lastRevision: () => number
  readonly stop: () => Promise<void>
}

/**
 * Follows KV LIMITS from what it holds now.
 * @param parse throws when an entry is none; it is then left out, and what was in force stays
 */
export async function watchLimits(
  nats: Nats,
  options: {
    readonly parse: (key: string, text: string | null) => LimitsEntry
    readonly onProblem: (problem: string) => void
    readonly onFatal: (error: Error) => void
  },
): Promise<LimitsWatch> {
  const problems = new Map<string, string>()
  let changes: LimitsChange[] = []
  let lastRevision = 0
  const initial = Promise.withResolvers<undefined>()
  const onEntry = ({ subject, sequence, data, pending }: InputMessage) => {
    const key = subject.slice(limitsSubjectPrefix.length)
    problems.delete(key)
    lastRevision = sequence
    try {
      changes.push({ ...options.parse(key, limitsTextOf(data)), revision: sequence })
    } catch (error) {
      if (data.length > 0) {
        problems.set(key, messageOf(error))
        options.onProblem(messageOf(error))
      }
    }
    if (pending === 0) initial.resolve(undefined)
  }
  const { created, state } = await nats.jsm.streams.info(limitsStream)
  if (state.messages === 0) initial.resolve(undefined)
  const follower = await followStream(nats, limitsStream, 0, onEntry, options.onFatal)
  // What is in force now is known before the first command is decided.
  await initial.promise
  // A bucket that is made anew delivers nothing to who followed the old one, and no error either.
  let bucketProblem: string | undefined
  const look = async () => {
    try {
      const isSame = (await nats.jsm.streams.info(limitsStream)).created === created
      bucketProblem = isSame ? undefined : 'KV LIMITS was made anew: its changes are not heard; start risk-gate again'
    } catch (error) {
      // Without an answer nothing is known; that NATS is away is said elsewhere.
      if (isStreamNotFound(error)) bucketProblem = 'KV LIMITS is gone: limits and halts stay as they are'
    }
  }
  const looking = setInterval(() => void look(), lookIntervalMs)
  return {
    take: () => {
      if (changes.length === 0) return changes
      const taken = changes
      changes = []
      return taken
    },
    problems: () => [...problems.values(), ...(bucketProblem === undefined ? [] : [bucketProblem])],
    lastRevision: () => lastRevision,
    stop: () => {
      clearInterval(looking)
      return follower.stop()
    },
  }
}

/**
 * Writes the configured limits into a bucket that has none yet; once there is a `default`, or was, the bucket is the
 * operator's.
 */
export async function seedLimits(
  nats: Nats,
  entries: Iterable<readonly [key: string, limits: LimitSet]>,
): Promise<void> {
  const bucket = await nats.kvm.open('LIMITS')
  if (await bucket.get('default')) return
  // The default goes last: a start that was killed in between is repeated.
  const ordered = [...entries].sort(([a], [b]) => Number(a === 'default') - Number(b === 'default'))
  for (const [key, limits] of ordered)
    await bucket.create(key, utf8FromText(JSON.stringify(limits))).catch(() => undefined)
}

/** Text of an entry; null of the marker of a removed one, which is empty. */
export function limitsTextOf(data: Uint8Array): string | null {
  return data.length === 0 ? null : textFromUtf8(data)
}

/** An entry of KV LIMITS as it stands. */
export interface StoredLimitsEntry {
  readonly key: string
  /** null: it was removed. */
  readonly text: string | null
  readonly revision: number
  /** When it was written, in µs since the Unix epoch. */
  readonly timeUs: number
}

/**
 * The entries of KV LIMITS by key, removed ones too.
 * @throws PipelineError COMPONENT_MISSING when there is no such bucket
 */
export async function readLimitsEntries(nats: Nats): Promise<Map<string, StoredLimitsEntry>> {
  const entries = new Map<string, StoredLimitsEntry>()
  try {
    for (const [subject, { data, sequence, timeUs }] of await readLatest(
      nats,
      limitsStream,
      `${limitsSubjectPrefix}>`,
    )) {
      const key = subject.slice(limitsSubjectPrefix.length)
      entries.set(key, { key, text: limitsTextOf(data), revision: sequence, timeUs })
    }
  } catch (error) {
    if (!isStreamNotFound(error)) throw error
    throw new PipelineError('COMPONENT_MISSING', 'the NATS server has no KV bucket LIMITS', { cause: error })
  }
  return entries
}

/**
 * Writes an entry of KV LIMITS; `text` null removes it.
 * @param previousRevision of what it replaces, 0 for a new key; unset: whatever stands there
 * @returns its revision and when it was stored; undefined when something else stands there
 */
export async function writeLimitsEntry(
  nats: Nats,
  key: string,
  text: string | null,
  previousRevision?: number,
): Promise<{ revision: number; timeUs: number } | undefined> {
  const header = headers()
  if (text === null) header.set('KV-Operation', 'DEL')
  const expect = previousRevision === undefined ? {} : { expect: { lastSubjectSequence: previousRevision } }
  const data = text === null ? new Uint8Array() : utf8FromText(text)
  let revision: number
  try {
    revision = (await nats.js.publish(`${limitsSubjectPrefix}${key}`, data, { headers: header, ...expect })).seq
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === wrongLastSequence) return undefined
    throw error
  }
  const stored = await storedMessage(nats.jsm, limitsStream, { seq: revision })
  return { revision, timeUs: usFromRfc3339(stored?.timestamp ?? '') ?? 0 }
}
