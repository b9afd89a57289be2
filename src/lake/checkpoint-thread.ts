import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { assert, BugError } from '../base/assert.ts'
import { type ErrorCode, PipelineError } from '../base/errors.ts'
import type { Snapshot } from './snapshot.ts'

export interface CheckpointTask {
  readonly uri: string
  readonly version: number
  readonly cleansLog: boolean
}

export type CheckpointAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly retriable: boolean }
  | { readonly ok: false; readonly code: undefined; readonly message: string }

/** Between two readings of the whole list of the log. */
const cleanUpPauseMs = 3_600_000

/** Of objects in a thread: enough between two checkpoints, and for a log of a million files without any. */
const heapMb = [96, 1_024]

/**
 * Writes checkpoints of a table in a thread of their own, and now and then cleans up the log behind them: what
 * scheduleCheckpoints needs. The process does not wait for a thread to end.
 *
 * @param uri of the table's store, as openStore takes it
 * @param env its credentials
 * @returns throws PipelineError like writeCheckpoint; BugError for anything else
 */
export function checkpointThread(
  uri: string,
  env: Readonly<Record<string, string | undefined>>,
): (snapshot: Pick<Snapshot, 'version'>) => Promise<void> {
  let cleanedMs = -Infinity
  return async ({ version }) => {
    const nowMs = performance.now()
    const cleansLog = nowMs - cleanedMs >= cleanUpPauseMs
    let answer: CheckpointAnswer | undefined
    for (const maxOldGenerationSizeMb of heapMb)
      answer ??= await answerOf({ uri, version, cleansLog }, env, maxOldGenerationSizeMb)
    if (!answer) throw new PipelineError('LAKE_LOG_UNREADABLE', `the log of ${uri} needs too much memory`)
    throwIfFailed(answer)
    if (cleansLog) cleanedMs = nowMs
  }
}

/** @returns undefined when the thread had too little memory */
async function answerOf(
  workerData: CheckpointTask,
  env: Readonly<Record<string, string | undefined>>,
  maxOldGenerationSizeMb: number,
): Promise<CheckpointAnswer | undefined> {
  const resourceLimits = { maxOldGenerationSizeMb, maxYoungGenerationSizeMb: 4 }
  const worker = new Worker(new URL('checkpoint-worker.ts', import.meta.url), { workerData, env, resourceLimits })
  worker.unref()
  try {
    const [answer] = (await Promise.race([once(worker, 'message'), once(worker, 'exit')])) as [
      CheckpointAnswer | number,
    ]
    assert(typeof answer === 'object', 'a thread answers before it ends')
    return answer
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY') return undefined
    throw error
  }
}

function throwIfFailed(answer: CheckpointAnswer): void {
  if (answer.ok) return
  const { code, message } = answer
  if (code === undefined) throw new BugError(message)
  throw new PipelineError(code, message, { retriable: answer.retriable })
}
