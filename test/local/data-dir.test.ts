import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { endLeftovers, lockDataDir, recordChild } from '../../src/local/data-dir.ts'
import { isRunning, poll, processId } from '../../src/local/process.ts'
import { tempDir } from '../support/temp-dir.ts'

const source = (file: string): string => JSON.stringify(new URL(`../../src/local/${file}`, import.meta.url).href)

/** Runs a module in another process, up to its first output. */
async function other(code: string) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  return { child, output: output.trim() }
}

void t.test('P1.04 one data folder, one owner: the second is refused and told who it is', async (t) => {
  const dataDir = join(tempDir(t), 'new/data')
  const { child } = await other(
    `import { lockDataDir } from ${source('data-dir.ts')}; lockDataDir(${JSON.stringify(dataDir)}); console.log(1); setInterval(() => {}, 1e6)`,
  )
  t.teardown(() => child.kill('SIGKILL'))
  t.throws(() => lockDataDir(dataDir), {
    code: 'DATA_DIR_IN_USE',
    message: new RegExp(`${dataDir} is in use by pid ${child.pid ?? 0} \\(.*--eval`, 's'),
  })

  child.kill('SIGKILL')
  await once(child, 'exit')
  const lock = lockDataDir(dataDir)
  t.throws(() => lockDataDir(dataDir), { code: 'DATA_DIR_IN_USE' }, 'not twice in one process either')
  lock.release()
  t.strictSame(readdirSync(dataDir), [])
})

void t.test('P1.04 a lock whose pid is another process by now, or that is damaged, does not count', (t) => {
  const dataDir = tempDir(t)
  for (const text of [JSON.stringify({ pid: process.pid, startedAt: 'long ago' }), '', '{"pid":']) {
    writeFileSync(join(dataDir, 'lock'), text)
    lockDataDir(dataDir).release()
  }
  t.end()
})

void t.test('P1.04 of many that want a stale lock at once, one gets it', async (t) => {
  const dataDir = tempDir(t)
  writeFileSync(join(dataDir, 'lock'), JSON.stringify({ pid: 1, startedAt: 'long ago' }))
  const contenders = await Promise.all(
    Array.from({ length: 6 }, () =>
      other(
        `import { lockDataDir } from ${source('data-dir.ts')}
         try { lockDataDir(${JSON.stringify(dataDir)}); console.log('got it') } catch (error) { console.log(error.code) }
         setInterval(() => {}, 1e6)`,
      ),
    ),
  )
  for (const { child } of contenders) child.kill('SIGKILL')
  t.strictSame(contenders.map(({ output }) => output).sort(), [
    ...Array.from({ length: 5 }, () => 'DATA_DIR_IN_USE'),
    'got it',
  ])
})

void t.test('P1.04 what a killed predecessor left running is ended, and nothing else', async (t) => {
  const dataDir = tempDir(t)
  const { child, output } = await other(
    `import { spawn } from 'node:child_process'; import { recordChild } from ${source('data-dir.ts')}
     const { pid } = spawn('sh', ['-c', 'trap "" TERM HUP; sleep 1000 & wait'], { detached: true, stdio: 'ignore' })
     recordChild(${JSON.stringify(dataDir)}, 'stubborn', pid)
     const polite = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }).pid
     recordChild(${JSON.stringify(dataDir)}, 'polite', polite)
     console.log(JSON.stringify([pid, polite])); setInterval(() => {}, 1e6)`,
  )
  const pids = JSON.parse(output) as [number, number]
  child.kill('SIGKILL')
  await once(child, 'exit')
  const leftovers = pids.map(processId)
  t.ok(leftovers.every((process) => process && isRunning(process)))

  const bystander = spawn('sleep', ['1000'], { stdio: 'ignore' })
  t.teardown(() => bystander.kill('SIGKILL'))
  recordChild(dataDir, 'bystander', bystander.pid ?? 0)
  const file = join(dataDir, 'run.json')
  const entries = JSON.parse(readFileSync(file, 'utf8')) as Record<string, { startedAt: string }>
  t.strictSame(Object.keys(entries), ['stubborn', 'polite', 'bystander'])
  Object.assign(entries.bystander ?? {}, { startedAt: 'before its pid was used again' })
  writeFileSync(file, JSON.stringify(entries))

  t.strictSame(await endLeftovers(dataDir, 200), [
    { name: 'stubborn', pid: pids[0] },
    { name: 'polite', pid: pids[1] },
  ])
  t.ok(await poll(1_000, () => leftovers.every((process) => process && !isRunning(process))))
  t.equal(bystander.exitCode ?? bystander.signalCode, null)
  t.notOk(existsSync(file))
  t.strictSame(await endLeftovers(dataDir), [])
})

void t.test('P1.04 a data folder that cannot be one is named with the reason and the remedy', (t) => {
  const folder = tempDir(t)
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const refused = (dataDir: string, problem: RegExp) =>
    t.throws(() => lockDataDir(dataDir), { code: 'DATA_DIR_UNUSABLE', message: problem })
  refused(file, /file cannot be used: it is a file .*--data-dir/)
  refused(join(file, 'below'), /a part of its path is a file/)
  refused(join(folder, 'x'.repeat(300)), /its name is too long/)
  if (existsSync('/proc/self')) refused('/proc/nothing/below', /it cannot be made there/)
  const readOnly = join(folder, 'read-only')
  mkdirSync(readOnly, { mode: 0o500 })
  // Nothing is forbidden to root.
  if (process.getuid?.() !== 0) refused(readOnly, /it may not be written to/)
  t.end()
})
