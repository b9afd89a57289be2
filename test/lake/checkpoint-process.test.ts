import t from 'tap'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkpointProcess } from '../../src/lake/checkpoint-process.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { checkpointKey, lastCheckpointKey } from '../../src/lake/log-files.ts'
import { scheduleCheckpoints } from '../../src/lake/checkpoint-schedule.ts'
import { storeBelow } from '../../src/lake/store.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { definition, rowsOf } from './log-tools.ts'

void t.test('P3.11 a table gets its checkpoint beside the appends, in another process', async (t) => {
  const lake = openLocalStore(t.testdir())
  const store = storeBelow(lake, 'a/')
  const errors: unknown[] = []
  const due = { ...definition, configuration: { ...definition.configuration, 'delta.checkpointInterval': '5' } }
  const onCommit = scheduleCheckpoints(checkpointProcess(lake.uri, 'a', process.env), (error) => errors.push(error))
  const table = await DeltaTable.open(store, due, { onCommit })
  let version = 0
  while (!(await store.get(lastCheckpointKey))) {
    const expected = version === 0 ? undefined : version
    await table.append(rowsOf(version + 1, version + 1), { appId: 'a', version: (version += 1), expected })
    t.same(errors, [])
    if (version > 2_000) return t.fail('no checkpoint after 2,000 appends')
  }
  t.ok(await store.get(checkpointKey(5)))
  const snapshot = await loadSnapshot(store)
  t.equal(snapshot?.checkpoint?.version, 5)
  t.equal(snapshot?.txns.get('a')?.version, version)
})

void t.test('P3.11 what goes wrong in that process is an error here', async (t) => {
  // The checkpoint does not keep a process alive.
  const alive = setInterval(() => undefined, 1_000)
  t.teardown(() => clearInterval(alive))
  const folder = t.testdir({ a: { _delta_log: {} } })
  writeFileSync(join(folder, 'a', '_delta_log', '00000000000000000000.json'), '{"add"')
  const write = checkpointProcess(folder, 'a', process.env)
  await t.rejects(write({ version: 0 }), {
    name: 'PipelineError',
    code: 'LAKE_LOG_UNREADABLE',
    message: /version 0.*line 1/,
  })
  await t.rejects(checkpointProcess('gs://nowhere', 'a', process.env)({ version: 0 }), { code: 'CONFIG_INVALID' })
})
