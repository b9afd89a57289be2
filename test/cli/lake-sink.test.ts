import t from 'tap'
import { LakeSinkTable } from '../../src/cli/lake-sink.ts'
import { DeltaTable } from '../../src/lake/delta-table.ts'
import { openMemoryStore } from '../../src/lake/memory-store.ts'
import type { TableDefinition } from '../../src/lake/schema.ts'
import { storeBelow } from '../../src/lake/store.ts'

const definition: TableDefinition = {
  description: '',
  columns: [
    { name: 'stream_seq', type: 'long', nullable: true },
    { name: 'trade_id', type: 'string', nullable: true },
    { name: 'hash_id', type: 'string', nullable: true },
  ],
  partitionColumns: [],
  configuration: {},
}
const idOf = (digit: string) => digit.repeat(16)

void t.test('P3.10 ids come of rows that have one, whoever has written them', async (t) => {
  const lake = openMemoryStore()
  const table = await DeltaTable.open(storeBelow(lake, 'ticks/'), definition)
  const columns = [
    [1, 2, 3, null, 5, 6],
    ['a', null, 'c', 'd', 'e', 'f'],
    [idOf('1'), idOf('2'), null, idOf('4'), 'of another', idOf('6')],
  ]
  await table.append([{ partitionValues: {}, columns, rows: 6 }], { appId: 'a', version: 6, expected: undefined })
  const sink = new LakeSinkTable(lake, { ...definition, name: 'ticks' }, (error) => t.fail(String(error)))
  await sink.read()
  t.same(await sink.lastIds('trade_id')(100), [
    [idOf('1'), 1],
    [idOf('6'), 6],
  ])
})
