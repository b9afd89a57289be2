import t from 'tap'
import { KnownNames, type NameStore } from '../../src/runtime/known-names.ts'
import { createLog } from '../../src/runtime/log.ts'

class FakeStore implements NameStore {
  kept: readonly string[] | undefined
  inTable: readonly string[] = []
  saves = 0

  load(): Promise<readonly string[] | undefined> {
    return Promise.resolve(this.kept)
  }

  rebuild(): Promise<readonly string[]> {
    return Promise.resolve(this.inTable)
  }

  save(names: readonly string[]): Promise<void> {
    this.kept = names
    this.saves += 1
    return Promise.resolve()
  }
}

async function recovered(store: FakeStore, max: number): Promise<KnownNames> {
  const names = new KnownNames(store, max, createLog('test', 'silent'))
  await names.recover()
  return names
}

void t.test('P3.09 no more names than LAKE_SYMBOLS_MAX get a partition, also after a restart', async (t) => {
  const store = new FakeStore()
  const names = await recovered(store, 2)
  t.same(
    ['A', 'B', 'C', 'A'].map((name) => names.admits(name)),
    [true, true, false, true],
  )
  t.match(names.refusal('C'), /^LAKE_SYMBOLS_MAX: C would be one more than the 2 /)
  await names.save()
  t.same(store.kept, ['A', 'B'])

  const again = await recovered(store, 2)
  t.same(
    ['C', 'B', 'A'].map((name) => again.admits(name)),
    [false, true, true],
  )
  const wider = await recovered(store, 3)
  t.same(
    ['C', 'D'].map((name) => wider.admits(name)),
    [true, false],
  )
  const narrower = await recovered(store, 1)
  t.same(
    ['A', 'B', 'C'].map((name) => narrower.admits(name)),
    [true, true, false],
    'what has a partition keeps it',
  )
})

void t.test('P3.09 names of rows that were dropped have no partition', async (t) => {
  const store = new FakeStore()
  const names = await recovered(store, 1)
  t.ok(names.admits('A'))
  await names.recover()
  t.ok(names.admits('B'), 'A was not saved, so it was not committed')
})

void t.test('P3.09 names that were never kept are read from the table, and kept with the next commit', async (t) => {
  const store = new FakeStore()
  store.inTable = ['A', 'B']
  const names = await recovered(store, 2)
  t.same(
    ['A', 'C'].map((name) => names.admits(name)),
    [true, false],
  )
  await names.save()
  t.same([store.kept, store.saves], [['A', 'B'], 1])
  await names.save()
  t.equal(store.saves, 1, 'once')
})
