import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ObjectInfo, ObjectStore } from '../../src/lake/store.ts'

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

export async function textOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const data = await store.get(key)
  return data && new TextDecoder().decode(data)
}

async function listed(store: ObjectStore, prefix: string, startAfter?: string): Promise<ObjectInfo[]> {
  const infos: ObjectInfo[] = []
  for await (const info of store.list(prefix, startAfter)) infos.push(info)
  return infos
}

export const keysOf = async (store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> =>
  (await listed(store, prefix, startAfter)).map(({ key }) => key)

/**
 * What every store must do.
 * @param open an empty store of the test's own, checked
 */
export function storeSuite(t: Test, name: string, open: (t: Test) => Promise<ObjectStore>): void {
  void t.test(`P3.13 ${name}: what was put is got, whole and in ranges`, async (t) => {
    const store = await open(t)
    const data = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251)
    t.equal(await store.get('a/b.bin'), undefined)
    await store.put('a/b.bin', data)
    t.ok(Buffer.from(data).equals((await store.get('a/b.bin')) ?? Buffer.alloc(0)))
    const range = async (start: number, end: number) => Buffer.from((await store.get('a/b.bin', { start, end })) ?? [])
    t.same(await range(0, 4), data.subarray(0, 4))
    t.same(await range(99_996, 100_000), data.subarray(99_996))
    t.same(await range(99_996, 200_000), data.subarray(99_996), 'beyond its end there is nothing')
    t.equal((await range(100_000, 100_004)).length, 0)
    t.equal((await range(5, 5)).length, 0)
    t.equal(await store.get('a/none', { start: 0, end: 4 }), undefined)
    t.equal(await store.get('a'), undefined, 'what lies above an object is none')
    t.equal(await store.get('a/b.bin/c'), undefined)

    await store.put('a/b.bin', bytes('shorter'))
    t.equal(await textOf(store, 'a/b.bin'), 'shorter', 'put replaces')
    await store.put('empty', new Uint8Array())
    t.equal(await textOf(store, 'empty'), '')
  })

  void t.test(`P3.13 ${name}: putIfAbsent makes an object and never replaces one`, async (t) => {
    const store = await open(t)
    t.equal(await store.putIfAbsent('_delta_log/00.json', bytes('first')), 'created')
    t.equal(await store.putIfAbsent('_delta_log/00.json', bytes('second')), 'exists')
    t.equal(await textOf(store, '_delta_log/00.json'), 'first')
    await store.put('other', bytes('1'))
    t.equal(await store.putIfAbsent('other', bytes('2')), 'exists')
    await store.delete(['other'])
    t.equal(await store.putIfAbsent('other', bytes('2')), 'created', 'what was deleted can be made again')
  })

  void t.test(`P3.13 ${name}: of 20 racing putIfAbsent one wins`, async (t) => {
    const store = await open(t)
    for (let round = 0; round < 5; round += 1) {
      const key = `_delta_log/${round}.json`
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, writer) => store.putIfAbsent(key, bytes(`writer ${writer}`))),
      )
      const winner = outcomes.indexOf('created')
      t.same(
        outcomes.filter((outcome) => outcome !== 'exists'),
        ['created'],
      )
      t.equal(await textOf(store, key), `writer ${winner}`)
    }
  })

  void t.test(`P3.13 ${name}: keys are taken as they are`, async (t) => {
    const store = await open(t)
    const names = [
      'symbol=EUR%2FUSD/dt=2026-11-23/part-0.parquet',
      'symbol=EUR%252FUSD/x',
      'with space/and+plus&and=equals?',
      'ünïcode/日本/😀',
      'quote"\'/back\\slash/#;:@',
    ]
    for (const name of names) await store.put(name, bytes(name))
    for (const name of names) t.equal(await textOf(store, name), name)
    t.same(new Set(await keysOf(store, '')), new Set(names))
    for (const name of names) t.same(await keysOf(store, name), [name])
    await store.delete(names)
    t.same(await keysOf(store, ''), [])
  })

  void t.test(`P3.13 ${name}: list has prefixes, a start, the order of UTF-8 and what is known of each`, async (t) => {
    const store = await open(t)
    const ordered = [
      'a!/x',
      'a',
      'a-b',
      'b.txt',
      'b/0',
      'b/1/x',
      'b/1/y/z',
      'b/10',
      'b/2',
      'b0',
      'c/\u{E000}',
      'c/\u{FFFD}',
      'c/\u{1F600}',
    ].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    t.ok(ordered.indexOf('c/\u{FFFD}') < ordered.indexOf('c/\u{1F600}'), 'unlike UTF-16')
    for (const key of ordered) await store.put(key, bytes(key))
    t.same(await keysOf(store, ''), ordered)
    for (const prefix of ['a', 'b', 'b/', 'b/1', 'b/1/', 'b/1/y/z', 'c/', 'nothing', 'b/nothing/'])
      t.same(
        await keysOf(store, prefix),
        ordered.filter((key) => key.startsWith(prefix)),
        prefix,
      )
    for (const [index, key] of ordered.entries()) t.same(await keysOf(store, '', key), ordered.slice(index + 1), key)
    t.same(await keysOf(store, 'b/', 'b/1'), ['b/1/x', 'b/1/y/z', 'b/10', 'b/2'], 'a start that is no object')
    t.same(await keysOf(store, 'b/', 'b/1/y'), ['b/1/y/z', 'b/10', 'b/2'])
    t.same(await keysOf(store, 'b/', 'a'), ['b/0', 'b/1/x', 'b/1/y/z', 'b/10', 'b/2'])
    t.same(await keysOf(store, 'b/', 'c'), [])

    const [info] = await listed(store, 'b/1/y/z')
    t.equal(info?.bytes, 7)
    // Stores may count in whole seconds.
    t.ok(Math.abs(Date.now() - (info?.modifiedMs ?? 0)) < 60_000, `modified at ${info?.modifiedMs}`)
  })

  void t.test(`P3.13 ${name}: list goes on beyond a thousand objects, and past what goes meanwhile`, async (t) => {
    const store = await open(t)
    const keys = Array.from({ length: 1_050 }, (_, index) => `log/${String(index).padStart(20, '0')}.json`)
    for (let start = 0; start < keys.length; start += 50)
      await Promise.all(keys.slice(start, start + 50).map((key) => store.put(key, bytes('x'))))
    t.same(await keysOf(store, 'log/'), keys)
    t.same(await keysOf(store, 'log/', keys[1_040]), keys.slice(1_041))
    let seen = 0
    for await (const { key } of store.list('log/')) {
      if (seen === 0) await store.delete(keys)
      if (!keys.includes(key)) t.fail(key)
      seen += 1
    }
    t.ok(seen >= 1)
    t.same(await keysOf(store, 'log/'), [], 'all of them were deleted at once')
  })

  void t.test(`P3.13 ${name}: delete counts what is not there as deleted`, async (t) => {
    const store = await open(t)
    for (const key of ['a/1', 'a/2', 'b']) await store.put(key, bytes(key))
    await store.delete([])
    await store.delete(['a/1', 'a/none', 'none/at/all', 'a'])
    t.same(await keysOf(store, ''), ['a/2', 'b'])
    await store.delete(['a/1', 'a/2'])
    await store.put('a/3', bytes('again'))
    t.same(await keysOf(store, 'a/'), ['a/3'])
  })

  void t.test(`P3.13 ${name}: a reader never sees half an object`, async (t) => {
    const store = await open(t)
    const contents = [bytes('a'.repeat(200_000)), bytes('b'.repeat(300_000))]
    await store.put('x', contents[0] ?? bytes(''))
    let reads = 0
    let writes = 0
    const writing = (async () => {
      while (writes < 20 || reads < 20) {
        await store.put('x', contents[writes % 2] ?? bytes(''))
        await nextTurn()
        writes += 1
      }
    })()
    while (writes < 20 || reads < 20) {
      const data = Buffer.from((await store.get('x')) ?? [])
      if (!contents.some((content) => data.equals(content))) t.fail(`${data.length} bytes were read`)
      reads += 1
      await nextTurn()
    }
    await writing
  })

  void t.test(`P3.13 ${name}: names that are no keys cannot be written, and are not there`, async (t) => {
    const store = await open(t)
    for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/../b', './a', 'a/.hidden', '.tmp/x']) {
      await t.rejects(store.put(key, bytes('')), { name: 'BugError' }, key)
      await t.rejects(store.putIfAbsent(key, bytes('')), { name: 'BugError' }, key)
    }
    await store.put('a/b', bytes('x'))
    t.equal(await store.get('a/../a/b'), undefined)
    await store.delete(['../a/b', 'a/../a/b', '/a/b'])
    t.equal(await textOf(store, 'a/b'), 'x')
  })
}
