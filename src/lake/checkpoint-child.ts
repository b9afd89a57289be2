import { constants, setPriority } from 'node:os'
import { assert } from '../base/assert.ts'
import { systemClock } from '../base/clock.ts'
import { isPipelineError, messageOf } from '../base/errors.ts'
import type { CheckpointAnswer, CheckpointTask } from './checkpoint-process.ts'
import { writeCheckpoint } from './checkpoint-write.ts'
import { cleanUpLog } from './log-cleanup.ts'
import { openStore } from './open-store.ts'
import { loadSnapshot } from './snapshot.ts'
import { storeBelow } from './store.ts'

/**
 * The process that checkpoint-process.ts starts: writes one checkpoint, cleans up the log, answers, ends. It ends with its
 * parent, however that ends.
 */
const task = JSON.parse(process.argv[2] ?? '') as CheckpointTask

// Ctrl-C reaches the whole group; the parent decides what becomes of us.
process.on('SIGINT', () => undefined)
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
// There is no hurry, and others have work to do.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
const answer = await carryOut(task)
process.send?.(answer, () => process.disconnect())

async function carryOut(task: CheckpointTask): Promise<CheckpointAnswer> {
  try {
    await run(task)
    return { ok: true }
  } catch (error) {
    if (isPipelineError(error))
      return { ok: false, code: error.code, message: error.message, retriable: error.retriable }
    return { ok: false, code: undefined, message: error instanceof Error ? (error.stack ?? '') : messageOf(error) }
  }
}

async function run({ uri, folder, version, cleansLog }: CheckpointTask): Promise<void> {
  const lake = await openStore(uri, process.env)
  const store = storeBelow(lake, `${folder}/`)
  try {
    const snapshot = await loadSnapshot(store, { version })
    assert(snapshot, 'a table that is checkpointed is there')
    await writeCheckpoint(store, snapshot, systemClock.nowMs())
    if (cleansLog) await cleanUpLog(store, snapshot.properties, systemClock.nowMs())
  } finally {
    lake.close()
  }
}
