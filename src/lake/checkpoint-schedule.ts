import { systemClock, type Clock } from '../base/clock.ts'
import type { Snapshot } from './snapshot.ts'

/** Between checkpoints of a table, whatever comes between: one of a large table takes seconds. */
const pauseMs = 60_000

/**
 * Says when a table is due for a checkpoint: `delta.checkpointInterval` commits after the last one, at most once a minute,
 * one at a time. What fails is tried again at the next commit a minute later: a table without checkpoints is slow to open
 * and lacks nothing.
 *
 * @param write makes a checkpoint of the version
 * @returns what to give to DeltaTable as `onCommit`
 */
export function scheduleCheckpoints(
  write: (snapshot: Snapshot) => Promise<void>,
  onError: (error: unknown) => void,
  clock: Clock = systemClock,
): (snapshot: Snapshot) => void {
  let writtenVersion: number | undefined
  let startedMs = -Infinity
  let isWriting = false

  async function writeOne(snapshot: Snapshot): Promise<void> {
    try {
      await write(snapshot)
      writtenVersion = snapshot.version
    } catch (error) {
      onError(error)
    } finally {
      isWriting = false
    }
  }

  return (snapshot) => {
    const last = Math.max(writtenVersion ?? 0, snapshot.checkpoint?.version ?? 0)
    const nowMs = clock.nowMs()
    if (isWriting || nowMs - startedMs < pauseMs) return
    if (snapshot.version - last < snapshot.properties.checkpointInterval) return
    isWriting = true
    startedMs = nowMs
    void writeOne(snapshot)
  }
}
