import { assert } from '../base/assert.ts'
import type { Action } from './actions.ts'
import { formatCommitInfo, type CommitInfo } from './commit-info.ts'
import type { Snapshot } from './snapshot.ts'

/** What a commit is to do, and what it is to say of itself. */
export interface Transaction {
  readonly info: CommitInfo
  readonly actions: readonly Action[]
}

/**
 * The actions of a commit upon a version, the commitInfo first.
 * @param before undefined for the first version
 * @throws BugError when a table may not have such a commit
 * @see Delta protocol, "Delta Log Entries", "Append-only Tables"
 */
export function actionsOf(
  { info, actions }: Transaction,
  before: Snapshot | undefined,
  txnId: string,
  nowMs: number,
): Action[] {
  const seen = new Set<string>()
  for (const action of actions) {
    const name = identityOf(action)
    assert(!seen.has(name), `a commit has one action of its kind: ${name}`)
    seen.add(name)
    const takesRows = 'remove' in action && action.remove.dataChange
    assert(!takesRows || !before?.properties.appendOnly, 'rows of an append-only table stay')
  }
  return [{ commitInfo: formatCommitInfo(info, before, txnId, nowMs) }, ...actions]
}

/** Two actions of one identity would reconcile with each other. */
function identityOf(action: Action): string {
  if ('add' in action) return `add ${action.add.path}`
  if ('remove' in action) return `remove ${action.remove.path}`
  if ('txn' in action) return `txn ${action.txn.appId}`
  return Object.keys(action).join()
}
