import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { bytes, keysOf, storeSuite, textOf } from './store-suite.ts'

async function openTestStore(t: Test) {
  const store = openLocalStore(join(tempDir(t), 'lake'))
  await store.check()
  t.teardown(() => {
    store.close()
    const left = readdirSync(join(store.uri, '.tmp'))
    if (left.length > 0) throw new Error(`temporary files are left: ${left.join(' ')}`)
  })
  return store
}

storeSuite(t, 'local folder', openTestStore)

void t.test('P3.05 of 20 racing processes one makes the object', async (t) => {
  const store = await openTestStore(t)
  const source = JSON.stringify(new URL('../../src/lake/local-store.ts', import.meta.url).href)
  const script = `
    import { createInterface } from 'node:readline'
    import { openLocalStore } from ${source}
    const store = openLocalStore(process.argv[1])
    console.log('ready')
    for await (const key of createInterface(process.stdin))
      console.log(await store.putIfAbsent(key, Buffer.from(String(process.pid))))`
  const racers = Array.from({ length: 20 }, () => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, store.uri], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
    return { child, next: async () => (await lines.next()).value as string }
  })
  for (const racer of racers) t.equal(await racer.next(), 'ready')
  for (const key of ['_delta_log/0.json', '_delta_log/1.json', 'new/folder/2.json']) {
    for (const { child } of racers) child.stdin.write(`${key}\n`)
    const outcomes = await Promise.all(racers.map((racer) => racer.next()))
    const winner = racers[outcomes.indexOf('created')]
    t.same(
      outcomes.filter((outcome) => outcome !== 'exists'),
      ['created'],
    )
    t.equal(await textOf(store, key), String(winner?.child.pid))
  }
  for (const { child } of racers) child.stdin.end()
  await Promise.all(racers.map(({ child }) => once(child, 'exit')))
})

void t.test('P3.05 a writer that is killed at any time leaves whole objects only', async (t) => {
  const store = await openTestStore(t)
  const source = JSON.stringify(new URL('../../src/lake/local-store.ts', import.meta.url).href)
  const script = `
    import { openLocalStore } from ${source}
    const store = openLocalStore(process.argv[1])
    console.log('ready')
    for (let number = 0; ; number += 1) {
      const key = process.pid + '/' + number
      await (number % 2 ? store.put(key, Buffer.alloc(2e6, 'p')) : store.putIfAbsent(key, Buffer.alloc(2e6, 'c')))
    }`
  for (let round = 0; round < 8; round += 1) {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, store.uri], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    await until('its first object', async () => (await keysOf(store, `${child.pid}/`)).length > round)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  let count = 0
  for await (const { key, bytes: length } of store.list('')) {
    const data = Buffer.from((await store.get(key)) ?? [])
    const isWhole = length === 2e6 && data.equals(Buffer.alloc(2e6, data[0]))
    if (!isWhole) t.fail(`${key} has ${length} bytes`)
    count += 1
  }
  t.ok(count >= 36, `${count} objects`)
  for (const name of readdirSync(join(store.uri, '.tmp'))) rmSync(join(store.uri, '.tmp', name))
})

void t.test('P3.05 what a killed writer has left is no object, and goes after a day', async (t) => {
  const store = await openTestStore(t)
  const temporary = join(store.uri, '.tmp')
  for (const name of ['young', 'old']) writeFileSync(join(temporary, name), 'half of an ob')
  const twoDaysAgo = Date.now() / 1_000 - 2 * 86_400
  utimesSync(join(temporary, 'old'), twoDaysAgo, twoDaysAgo)
  t.same(await keysOf(store, ''), [])
  t.same(await keysOf(store, '.tmp/'), [])
  await store.check()
  t.same(readdirSync(temporary), ['young'], 'it may be at work')
  rmSync(join(temporary, 'young'))
})

void t.test('P3.13 files of others beginning with a dot are not listed, but can be read and deleted', async (t) => {
  const store = await openTestStore(t)
  await store.put('_delta_log/0.json', bytes('{}'))
  writeFileSync(join(store.uri, '_delta_log/.0.json.crc'), 'crc')
  mkdirSync(join(store.uri, '.hidden'))
  writeFileSync(join(store.uri, '.hidden/x'), 'x')
  t.same(await keysOf(store, ''), ['_delta_log/0.json'])
  t.equal(await textOf(store, '_delta_log/.0.json.crc'), 'crc')
  await store.delete(['_delta_log/.0.json.crc'])
  t.notOk(existsSync(join(store.uri, '_delta_log/.0.json.crc')))
})

void t.test('P3.05 what hinders a local folder is said', async (t) => {
  const folder = tempDir(t)
  const unavailable = (why: RegExp) => ({ code: 'LAKE_STORE_UNAVAILABLE', retriable: true, message: why })
  const gone = openLocalStore(join(folder, 'gone'))
  const noFolder = unavailable(/^\S+gone: there is no such folder \(ENOENT when /)
  await t.rejects(gone.get('a'), noFolder, 'not undefined: the lake is away')
  await t.rejects(gone.put('a', bytes('')), noFolder)
  await t.rejects(gone.putIfAbsent('a', bytes('')), noFolder)
  await t.rejects(gone.delete(['a']), noFolder)
  await t.rejects(keysOf(gone, 'a/'), noFolder)
  t.notOk(existsSync(gone.uri), 'and is not made anew by a write')

  const store = await openTestStore(t)
  await store.put('a/b', bytes('x'))
  rmSync(join(store.uri, 'a'), { recursive: true })
  rmSync(join(store.uri, '.tmp'), { recursive: true })
  await store.put('a/b', bytes('y'))
  t.equal(await textOf(store, 'a/b'), 'y', 'a folder that went is made again')
  await t.rejects(store.putIfAbsent('a/b/c', bytes('')), unavailable(/a file stands where a folder must be/))
  await t.rejects(store.put('n'.repeat(300), bytes('')), unavailable(/a name is too long/))

  writeFileSync(join(folder, 'file'), '')
  await t.rejects(openLocalStore(join(folder, 'file')).check(), unavailable(/a file stands where a folder must be/))
  await t.rejects(openLocalStore('/proc/lake').check(), unavailable(/\/proc\/lake: /))
})

void t.test('P3.05 a file system without hard links is refused for good, and a disk that fails is not', async (t) => {
  const { link } = fsPromises
  t.teardown(() => {
    fsPromises.link = link
    syncBuiltinESMExports()
  })
  let code = ''
  fsPromises.link = () => Promise.reject(Object.assign(new Error(code), { code, syscall: 'link' }))
  syncBuiltinESMExports()
  const store = openLocalStore(join(tempDir(t), 'lake'))
  // As FAT and exFAT, network shares, and file systems in user space answer.
  for (code of ['EPERM', 'ENOTSUP', 'ENOSYS', 'EMLINK']) {
    const message = new RegExp(`no hard links \\(${code}\\).*: name a folder`)
    await t.rejects(store.check(), { code: 'LAKE_STORE_UNSUITABLE', retriable: false, message })
  }
  for (code of ['ENOSPC', 'EIO', 'EACCES'])
    await t.rejects(store.check(), { code: 'LAKE_STORE_UNAVAILABLE', retriable: true, message: new RegExp(code) })
  t.same(readdirSync(join(store.uri, '.tmp')), [], 'no probe is left')
})

void t.test('P3.13 a log of 20,000 commits is listed fast, and its end at once', async (t) => {
  const store = await openTestStore(t)
  mkdirSync(join(store.uri, '_delta_log'))
  const keyOf = (version: number) => `_delta_log/${String(version).padStart(20, '0')}.json`
  for (let version = 0; version < 20_000; version += 1) writeFileSync(join(store.uri, keyOf(version)), '')
  const startedMs = performance.now()
  t.equal((await keysOf(store, '_delta_log/', keyOf(19_989))).length, 10)
  const tailMs = performance.now() - startedMs
  let count = 0
  for await (const { key } of store.list('_delta_log/')) if (key === keyOf(count)) count += 1
  t.equal(count, 20_000)
  const allMs = performance.now() - startedMs - tailMs
  t.comment(`the end in ${Math.round(tailMs)} ms, all in ${Math.round(allMs)} ms`)
  t.ok(tailMs < 1_000 && allMs < 5_000)
})
