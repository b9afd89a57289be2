import fc from 'fast-check'
import t from 'tap'
import { decodedPath, encodedPath, partitionPath } from '../../src/lake/partition-path.ts'

void t.test('P3.03 a folder of a partition is named and logged so that every reader finds it', (t) => {
  const rows: readonly (readonly [value: string | null, key: string, path: string])[] = [
    ['BTCUSD', 'BTCUSD', 'BTCUSD'],
    ['EUR/USD', 'EUR%2FUSD', 'EUR%252FUSD'],
    ['100%', '100%25', '100%2525'],
    ['a b', 'a%20b', 'a%2520b'],
    ['é😀', '%C3%A9%F0%9F%98%80', '%25C3%25A9%25F0%259F%2598%2580'],
    ['a=b:c#d?e', 'a%3Db%3Ac%23d%3Fe', 'a%253Db%253Ac%2523d%253Fe'],
    ['"\'*\\{[]^', '%22%27%2A%5C%7B%5B%5D%5E', '%2522%2527%252A%255C%257B%255B%255D%255E'],
    ['\n\u0000\u007f', '%0A%00%7F', '%250A%2500%257F'],
    ['~.-_}<>|+&', '~.-_%7D%3C%3E%7C%2B%26', '~.-_%257D%253C%253E%257C%252B%2526'],
    ["!'()*", '%21%27%28%29%2A', '%2521%2527%2528%2529%252A'],
    ['\ud800', '%EF%BF%BD', '%25EF%25BF%25BD'],
    ['€'.repeat(100), '%E2%82%AC'.repeat(14).slice(0, 120), '%25E2%2582%25AC'.repeat(14).slice(0, 200)],
    ['', '__HIVE_DEFAULT_PARTITION__', '__HIVE_DEFAULT_PARTITION__'],
    [null, '__HIVE_DEFAULT_PARTITION__', '__HIVE_DEFAULT_PARTITION__'],
  ]
  for (const [value, key, path] of rows) {
    t.equal(partitionPath(['symbol', 'dt'], { symbol: value, dt: '2026-11-23' }), `symbol=${key}/dt=2026-11-23`)
    t.equal(encodedPath(`symbol=${key}/x.parquet`), `symbol=${path}/x.parquet`)
  }
  t.equal(partitionPath([], {}), '')
  t.end()
})

void t.test('P3.03 a logged path gives the key back; what is no URI stands for itself', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const key = `${partitionPath(['a'], { a: text })}/b.parquet`
      const path = encodedPath(key)
      return decodedPath(path) === key && new URL(path, 's3://lake/table/').pathname === `/table/${path}`
    }),
  )
  t.equal(decodedPath('s3://other/a%20b'), 's3://other/a b')
  t.equal(decodedPath('100%'), '100%')
  t.end()
})
