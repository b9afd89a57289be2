import { messageOf } from '../base/errors.ts'
import { textFromUtf8, utf8FromText } from '../base/json.ts'
import type { LimitsEntry } from '../schemas/config-files.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { Nats } from './nats.ts'
import { followStream, type InputMessage } from './reader.ts'

const stream = 'KV_LIMITS'
const subjectPrefix = '$KV.LIMITS.'

/** A changed entry of KV LIMITS. */
export type LimitsChange = LimitsEntry & { readonly revision: number }

export interface LimitsWatch {
  /** Changes since the last call, in order of revision. */
  readonly take: () => readonly LimitsChange[]
  /** Entries that have no effect, each with what is wrong with it. */
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
    const key = subject.slice(subjectPrefix.length)
    problems.delete(key)
    lastRevision = sequence
    try {
      // The marker of a removed entry is empty.
      const entry = options.parse(key, data.length === 0 ? null : textFromUtf8(data))
      changes.push({ ...entry, revision: sequence })
    } catch (error) {
      if (data.length > 0) {
        problems.set(key, messageOf(error))
        options.onProblem(messageOf(error))
      }
    }
    if (pending === 0) initial.resolve(undefined)
  }
  if ((await nats.jsm.streams.info(stream)).state.messages === 0) initial.resolve(undefined)
  const follower = await followStream(nats, stream, 0, onEntry, options.onFatal)
  // What is in force now is known before the first command is decided.
  await initial.promise
  return {
    take: () => {
      if (changes.length === 0) return changes
      const taken = changes
      changes = []
      return taken
    },
    problems: () => [...problems.values()],
    lastRevision: () => lastRevision,
    stop: () => follower.stop(),
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
