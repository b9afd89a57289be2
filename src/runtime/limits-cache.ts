import type { LimitsEntry } from '../schemas/config-files.ts'
import { limitsStream, limitsSubjectPrefix, limitsTextOf } from './limits-bucket.ts'
import { LookupCache } from './lookup-cache.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'
import { followStream } from './reader.ts'

const entriesMax = 10_000

/** Entries of KV LIMITS, looked up when they are asked for; one that changes is dropped at once. */
export interface LimitsCache {
  /** Whether these are all there. */
  has(keys: readonly string[]): boolean
  /** Looks up what is missing. @throws when NATS does not answer in time, or an entry is none */
  load(keys: readonly string[]): Promise<void>
  readonly size: number
  stop(): Promise<void>
}

/**
 * @param options.onEntry an entry has been looked up; without one in the bucket it is the empty one
 * @param options.onDropped it is not known any more
 */
export async function createLimitsCache(
  nats: Nats,
  options: {
    readonly ttlMs: number
    readonly timeoutMs: number
    readonly parse: (key: string, text: string | null) => LimitsEntry
    readonly onEntry: (key: string, entry: LimitsEntry) => void
    readonly onDropped: (key: string) => void
    readonly onFatal: (error: Error) => void
  },
): Promise<LimitsCache> {
  const cache = new LookupCache<LimitsEntry>({
    max: entriesMax,
    ttlMs: options.ttlMs,
    timeoutMs: options.timeoutMs,
    load: async (key) => {
      const stored = await storedMessage(nats.jsm, limitsStream, { last_by_subj: `${limitsSubjectPrefix}${key}` })
      return options.parse(key, stored && limitsTextOf(stored.data))
    },
    onDropped: options.onDropped,
    onLoaded: options.onEntry,
  })
  const { last_seq: lastSeq } = (await nats.jsm.streams.info(limitsStream)).state
  const follower = await followStream(
    nats,
    limitsStream,
    lastSeq + 1,
    ({ subject }) => cache.delete(subject.slice(limitsSubjectPrefix.length)),
    options.onFatal,
  )
  return {
    has: (keys) => keys.every((key) => cache.peek(key) !== undefined),
    load: async (keys) => {
      await Promise.all(keys.map((key) => cache.get(key)))
    },
    get size() {
      return cache.size
    },
    stop: () => follower.stop(),
  }
}
