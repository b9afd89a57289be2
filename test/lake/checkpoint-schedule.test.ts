import t from 'tap'
import { scheduleCheckpoints } from '../../src/lake/checkpoint-schedule.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import type { Snapshot } from '../../src/lake/snapshot.ts'
import { definition, rowsOf } from './log-tools.ts'

void t.test('P3.11 a checkpoint every so many commits, at most once a minute, one at a time', async (t) => {
  const { snapshot } = await DeltaTable.open(openMemoryStore(), definition)
  const at = (version: number, checkpoint?: number): Snapshot => ({
    ...snapshot,
    version,
    checkpoint: checkpoint === undefined ? undefined : { version: checkpoint, keys: [] },
  })
  let nowMs = 0
  const started: number[] = []
  const errors: unknown[] = []
  let finish: (error?: Error) => void = () => undefined
  const write = ({ version }: Snapshot) => {
    started.push(version)
    return new Promise<void>((resolve, reject) => (finish = (error) => (error ? reject(error) : resolve())))
  }
  const onCommit = scheduleCheckpoints(write, (error) => errors.push(error), { nowMs: () => nowMs })
  const turn = () => new Promise(setImmediate)

  for (let version = 1; version <= 250; version += 1) onCommit(at(version))
  t.same(started, [100], 'none while one is written')
  nowMs = 200_000
  onCommit(at(251))
  finish()
  await turn()
  t.same(started, [100])
  onCommit(at(252))
  t.same(started, [100, 252])
  finish(new Error('no room'))
  await turn()
  t.match(errors, [{ message: 'no room' }])
  nowMs += 59_999
  onCommit(at(253))
  t.same(started, [100, 252], 'after a failure too')
  nowMs += 1
  onCommit(at(254))
  t.same(started, [100, 252, 254])
  finish()
  await turn()
  nowMs += 60_000
  onCommit(at(353))
  t.equal(started.length, 3)
  onCommit(at(400, 390))
  t.equal(started.length, 3, 'another has written one')
  onCommit(at(490, 390))
  t.equal(started.at(-1), 490)
})

void t.test('P3.11 a checkpoint that fails does not fail the append', async (t) => {
  const errors: unknown[] = []
  const onCommit = scheduleCheckpoints(
    () => Promise.reject(new Error('no room')),
    (error) => errors.push(error),
  )
  const configuration = { 'delta.checkpointInterval': '1' }
  const table = await DeltaTable.open(openMemoryStore(), { ...definition, configuration }, { onCommit })
  t.match(await table.append(rowsOf(1, 2), { appId: 'a', version: 2, expected: undefined }), { outcome: 'committed' })
  await new Promise(setImmediate)
  t.match(errors, [{ message: 'no room' }])
})
