import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { assert } from '../base/assert.ts'
import { type ErrorCode, PipelineError } from '../base/errors.ts'
import type { Snapshot } from './snapshot.ts'

export interface CheckpointTask {
  /** Of the lake. */
  readonly uri: string
  /** The table's folder in it. */
  readonly folder: string
  readonly version: number
  readonly cleansLog: boolean
}

export type CheckpointAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly retriable: boolean }
  /** A bug of ours. */
  | { readonly ok: false; readonly code: undefined; readonly message: string }

const childFile = fileURLToPath(new URL('checkpoint-child.ts', import.meta.url))

/** Between two readings of the whole list of the log. */
const cleanUpPauseMs = 3_600_000

/** Its garbage is not to take the memory that a sink leaves. */
const v8Flags = ['--max-semi-space-size=2', '--heap-growing-percent=20']

/**
 * Writes checkpoints of a table in a process of their own, and now and then cleans up the log behind them: what
 * scheduleCheckpoints needs. Nobody waits for it to end: a process that ends takes it along.
 *
 * @param uri of the lake, as openStore takes it
 * @param folder of the table in it
 * @param env its credentials
 * @returns throws PipelineError like writeCheckpoint, BugError for anything else
 */
export function checkpointProcess(
  uri: string,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): (snapshot: Pick<Snapshot, 'version'>) => Promise<void> {
  let cleanedMs = -Infinity
  return async ({ version }) => {
    const nowMs = performance.now()
    const cleansLog = nowMs - cleanedMs >= cleanUpPauseMs
    const answer = await answerOf({ uri, folder, version, cleansLog }, env)
    if (!answer.ok && answer.code !== undefined)
      throw new PipelineError(answer.code, answer.message, { retriable: answer.retriable })
    assert(answer.ok, answer.ok ? '' : answer.message)
    if (cleansLog) cleanedMs = nowMs
  }
}

async function answerOf(
  task: CheckpointTask,
  env: Readonly<Record<string, string | undefined>>,
): Promise<CheckpointAnswer> {
  const child = fork(childFile, [JSON.stringify(task)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: v8Flags,
    // With one arena, what a part of the work has freed is there for the next.
    env: { ...env, MALLOC_ARENA_MAX: '1' },
  })
  child.unref()
  child.channel?.unref()
  const answer = await Promise.race([
    once(child, 'message').then(([message]) => message as CheckpointAnswer),
    once(child, 'exit').then(([code, signal]) => `the process for a checkpoint ended with ${String(signal ?? code)}`),
  ])
  return typeof answer === 'string' ? { ok: false, code: undefined, message: answer } : answer
}
