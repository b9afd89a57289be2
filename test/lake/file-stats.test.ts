import t from 'tap'
import { fileStats } from '../../src/lake/file-stats.ts'

void t.test('P3.03 statistics of others are hints: what cannot be read of them is not there', (t) => {
  const rows: readonly (readonly [stats: string | undefined, found: unknown])[] = [
    [
      '{"numRecords":2,"minValues":{"a":1},"maxValues":{"a":9007199254740993},"nullCount":{"a":0},"tightBounds":true}',
      { numRecords: 2, minValues: { a: 1 }, maxValues: { a: '9007199254740993' } },
    ],
    ['{"numRecords":0}', { numRecords: 0 }],
    [undefined, {}],
    ['', {}],
    ['null', {}],
    ['[]', {}],
    ['{"numRecords":1,"maxValues":{"price":NaN}}', {}],
    ['{"numRecords":1', {}],
    ['{"numRecords":null,"minValues":null,"maxValues":[1]}', {}],
    ['{"numRecords":"many","minValues":{"a":null}}', { minValues: { a: null } }],
  ]
  for (const [stats, found] of rows) t.same(fileStats(stats === undefined ? {} : { stats }), found, stats ?? 'none')
  t.end()
})
