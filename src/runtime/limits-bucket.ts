import { utf8FromText } from '../base/json.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { Nats } from './nats.ts'

/** A changed entry of KV LIMITS. */
export interface LimitsChange {
  readonly revision: number
  readonly key: string
  readonly limits: LimitSet | null
}

/** Watches KV LIMITS; changes are handed out in order of revision. */
export async function watchLimits(
  nats: Nats,
  onProblem: (key: string) => void,
  parse: (text: string) => LimitSet | undefined,
): Promise<{ take: () => readonly LimitsChange[]; stop: () => void }> {
  const bucket = await nats.kvm.open('LIMITS')
  const initial = Promise.withResolvers<undefined>()
  if ((await bucket.status()).values === 0) initial.resolve(undefined)
  const watch = await bucket.watch()
  let changes: LimitsChange[] = []
  void (async () => {
    for await (const entry of watch) {
      const limits = entry.operation === 'PUT' ? parse(entry.string()) : null
      if (limits === undefined) onProblem(entry.key)
      else changes.push({ revision: entry.revision, key: entry.key, limits })
      if (entry.delta === 0) initial.resolve(undefined)
    }
  })()
  // What is in force now is known before the first command is decided.
  await initial.promise
  return {
    take: () => {
      if (changes.length === 0) return changes
      const taken = changes.sort((a, b) => a.revision - b.revision)
      changes = []
      return taken
    },
    stop: () => watch.stop(),
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
