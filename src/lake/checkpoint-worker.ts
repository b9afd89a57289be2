import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { isPipelineError, messageOf } from '../base/errors.ts'
import type { CheckpointAnswer, CheckpointTask } from './checkpoint-thread.ts'
import { writeCheckpoint } from './checkpoint-write.ts'
import { cleanUpLog } from './log-cleanup.ts'
import { openStore } from './open-store.ts'
import { loadSnapshot } from './snapshot.ts'

/** The thread that checkpoint-thread.ts starts: writes one checkpoint, cleans up the log, answers, ends. */
async function run({ uri, version, cleansLog }: CheckpointTask): Promise<void> {
  const store = await openStore(uri, process.env)
  try {
    const snapshot = await loadSnapshot(store, { version })
    assert(snapshot, 'a table that is checkpointed is there')
    await writeCheckpoint(store, snapshot, systemClock.nowMs())
    if (cleansLog) await cleanUpLog(store, snapshot.properties, systemClock.nowMs())
  } finally {
    store.close()
  }
}

async function answer(): Promise<CheckpointAnswer> {
  try {
    await run(workerData as CheckpointTask)
    return { ok: true }
  } catch (error) {
    // An error itself arrives without its class.
    if (isPipelineError(error))
      return { ok: false, code: error.code, message: error.message, retriable: error.retriable }
    return { ok: false, code: undefined, message: error instanceof Error ? (error.stack ?? '') : messageOf(error) }
  }
}

parentPort?.postMessage(await answer())
