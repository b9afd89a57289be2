import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { formatCommit } from '../../src/lake/actions.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { checkpointKey, commitKey } from '../../src/lake/log-files.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import { versionAt } from '../../src/lake/time-travel.ts'
import { tempDir } from '../support/temp-dir.ts'
import { askReaders } from '../support/lake-readers.ts'
import { metaData, protocol } from './log-tools.ts'

/** A log whose commits have these times; `checkpoints` are files of nothing. */
function storeOf(times: readonly (number | undefined)[], checkpoints: readonly number[] = []) {
  const store = openMemoryStore()
  const data = new Uint8Array(1)
  for (const [version, modifiedMs] of times.entries())
    if (modifiedMs !== undefined) store.objects.set(commitKey(version), { data, modifiedMs })
  for (const version of checkpoints) store.objects.set(checkpointKey(version), { data, modifiedMs: 0 })
  return store
}

const monotone = [1_000, 1_010, 1_020.5, 1_030]
const jumping = [1_000, 1_030, 1_010, 1_020, 1_040]
const cleanedUp = [undefined, undefined, 1_020, 1_030, 1_040, 1_050]

const cases: readonly (readonly [times: readonly (number | undefined)[], timeMs: number, version: number])[] = [
  [monotone, 0, 0],
  [monotone, 1_000, 0],
  [monotone, 1_009, 0],
  [monotone, 1_010, 1],
  [monotone, 1_019, 1],
  [monotone, 1_020, 2],
  [monotone, 9_999, 3],
  [jumping, 1_010, 0],
  [jumping, 1_030, 1],
  [jumping, 1_031, 2],
  [jumping, 1_032, 3],
  [jumping, 1_039, 3],
  [jumping, 1_040, 4],
  [cleanedUp, 1_020, 3],
  [cleanedUp, 1_035, 3],
  [cleanedUp, 1_040, 4],
]

void t.test('P3.15 the version at a time, where the clock stood still or went back too', async (t) => {
  t.equal(await versionAt(openMemoryStore(), 1), undefined)
  for (const [times, timeMs, version] of cases)
    t.equal(
      await versionAt(storeOf(times, times === cleanedUp ? [3] : []), timeMs),
      version,
      `${times.join()} at ${timeMs}`,
    )
})

void t.test('P3.15 deltalake takes the same version at a time', async (t) => {
  const folder = join(tempDir(t), 'table')
  const startMs = 1_800_000_000_000
  for (const version of [0, 1, 2, 3]) {
    const path = join(folder, commitKey(version))
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, formatCommit([{ commitInfo: {} }, ...(version === 0 ? [protocol, metaData] : [])]))
    utimesSync(path, startMs / 1_000 + version, startMs / 1_000 + version)
  }
  const times = [-50, 0, 5, 999, 1_000, 1_001, 2_500, 3_000, 9_000].map((afterMs) => startMs + afterMs)
  const answers = await askReaders(times.map((timestampMs) => ({ uri: folder, timestampMs, engines: [] })))
  const store = openLocalStore(folder)
  for (const [at, timeMs] of times.entries())
    t.match(answers[at]?.log, { version: await versionAt(store, timeMs) }, String(timeMs - startMs))
})
