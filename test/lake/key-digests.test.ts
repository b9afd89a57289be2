import fc from 'fast-check'
import t from 'tap'
import { KeyDigests } from '../../src/lake/key-digests.ts'

void t.test('P3.12 a set of digests has what was added, and nothing else', (t) => {
  fc.assert(
    fc.property(fc.array(fc.string()), fc.array(fc.string()), (first, second) => {
      const digests = new KeyDigests()
      const keys = new Set<string>()
      for (const some of [first, second]) {
        for (const key of some) {
          digests.add(key)
          keys.add(key)
        }
        for (const key of [...first, ...second, '']) if (digests.has(key) !== keys.has(key)) return false
      }
      return true
    }),
  )
  const many = new KeyDigests()
  for (let at = 0; at < 20_000; at += 1) many.add(`symbol=A/part-${at}`)
  for (let at = 0; at < 40_000; at += 1) if (many.has(`symbol=A/part-${at}`) !== at < 20_000) t.fail(`part-${at}`)
  t.end()
})
