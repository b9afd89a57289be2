import { setTimeout as delay } from 'node:timers/promises'
import { PipelineError } from '../base/errors.ts'
import { utf8FromText } from '../base/json.ts'
import { formatCommit, type Action } from './actions.ts'
import { commitKey, reachesVersion, readCommit } from './log-files.ts'
import type { ObjectStore } from './store.ts'

/** `lost`: another commit has the version, and these are its actions. */
export type CommitOutcome = { readonly outcome: 'committed' } | { readonly outcome: 'lost'; readonly actions: Action[] }

/** How long a store may leave open what became of a commit, being read and written to all the while. */
const resolveMs = 5_000
const pauseMsMax = 1_000

/** The id of the commit, by which its writer knows it again. */
export function txnIdOf(actions: readonly Action[]): unknown {
  for (const action of actions) if ('commitInfo' in action) return action.commitInfo['txnId']
  return undefined
}

/**
 * Makes a version of the table, or says whose it is. A write that was not answered may be there already, and may still
 * arrive; both are settled by the version alone. Only one commit can ever have it: once it can be read it is ours, by the
 * `txnId`, or never will be; until then the same bytes are offered again. That the version before it is there is looked at each
 * time: a store takes a version without one too, and no reader would see its rows.
 *
 * @param actions with a commitInfo that has the `txnId`, which no other commit has
 * @throws PipelineError LAKE_STORE_UNAVAILABLE when the store does not settle it: the commit may be there now, or later;
 * whoever writes next must begin at this version, and meets it there; LAKE_LOG_UNREADABLE when the version before it is gone
 * @see Delta protocol, "Creation of New Log Entries"
 */
export async function commitVersion(
  store: ObjectStore,
  version: number,
  actions: readonly Action[],
  txnId: string,
): Promise<CommitOutcome> {
  const key = commitKey(version)
  const data = utf8FromText(formatCommit(actions))
  const deadlineMs = performance.now() + resolveMs
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    if (version > 0 && !(await reachesVersion(store, version - 1)))
      throw new PipelineError(
        'LAKE_LOG_UNREADABLE',
        `version ${version - 1} of the log of ${store.uri} is gone, and there is none after it: the table was emptied or replaced. Restore it, or begin with an empty place`,
      )
    if ((await store.putIfAbsent(key, data)) === 'created') return { outcome: 'committed' }
    const there = await readCommit(store, version)
    if (there) return txnIdOf(there) === txnId ? { outcome: 'committed' } : { outcome: 'lost', actions: there }
    if (performance.now() > deadlineMs) {
      const problem = `${store.uri}: it neither takes version ${version} of the log nor has it`
      throw new PipelineError('LAKE_STORE_UNAVAILABLE', problem, { retriable: true })
    }
    await delay(pauseMs)
  }
}
