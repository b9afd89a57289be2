import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { isRunning, poll, processId, signalGroup } from '../../src/local/process.ts'
import { supervise } from '../../src/local/supervisor.ts'
import { tempDir } from '../support/temp-dir.ts'

void t.test('P1.16 a process that dies is started again, and told so', async (t) => {
  const logFile = join(tempDir(t), 'log')
  const restarted: number[] = []
  const exits: unknown[] = []
  const supervised = supervise({
    command: process.execPath,
    args: ['-e', 'console.log("life", process.env.TRADE2026_RESTART ?? "first"); setInterval(() => {}, 1e6)'],
    logFile,
    onExit: (exit) => exits.push(exit),
    onRestarted: (pid) => restarted.push(pid),
  })
  const firstPid = supervised.pid
  const lives = (count: number) => poll(20_000, () => readFileSync(logFile, 'utf8').split('life').length > count)
  t.ok(await lives(1))
  supervised.kill('SIGKILL')
  t.ok(await lives(2))
  t.equal(readFileSync(logFile, 'utf8'), 'life first\nlife 1\n')
  t.strictSame(exits, [{ code: null, signal: 'SIGKILL' }])
  t.strictSame(restarted, [supervised.pid])
  t.not(supervised.pid, firstPid)

  await Promise.all([supervised.stop(5_000), supervised.stop(5_000)])
  t.equal(supervised.pid, undefined)
  t.equal(restarted.length, 1)
})

void t.test('P1.16 one that keeps dying is started ever more slowly; stop ends that too', async (t) => {
  const spawnedMs: number[] = []
  const supervised = supervise({
    command: 'false',
    args: [],
    onSpawn: () => spawnedMs.push(performance.now()),
  })
  t.ok(await poll(20_000, () => spawnedMs.length === 4))
  await supervised.stop(1_000)
  const gapsMs = spawnedMs.slice(1).map((timeMs, index) => timeMs - (spawnedMs[index] ?? 0))
  t.ok(
    gapsMs.every((gapMs, index) => gapMs >= 99 * 2 ** index),
    gapsMs.join(', '),
  )
})

void t.test('P1.16 a command that cannot be started is told as an exit', async (t) => {
  let restarts = 0
  const error = await new Promise<Error | undefined>((resolve) => {
    const supervised = supervise({
      command: '/nowhere/at-all',
      args: [],
      onExit: ({ error }) => {
        void supervised.stop(0).then(() => resolve(error))
      },
      onRestarted: () => (restarts += 1),
    })
  })
  t.match(error?.message, /ENOENT/)
  t.equal(restarts, 0)
})

void t.test('P1.16 stop kills what does not end by itself, with what it started', async (t) => {
  const marker = join(tempDir(t), 'ready')
  const supervised = supervise({
    command: 'sh',
    args: [
      '-c',
      `trap "" TERM; sleep 1000 & echo $! >"${marker}.tmp"; mv "${marker}.tmp" "${marker}"; while :; do wait; done`,
    ],
  })
  t.ok(await poll(20_000, () => existsSync(marker)))
  await supervised.stop(100)
  t.equal(supervised.pid, undefined)
  const sleeper = processId(Number(readFileSync(marker, 'utf8')))
  t.ok(await poll(5_000, () => !sleeper || !isRunning(sleeper)))
})

void t.test(
  'P1.16 a supervisor that ends takes its processes with it; a killed one disconnects Node children',
  async (t) => {
    const module = JSON.stringify(new URL('../../src/local/supervisor.ts', import.meta.url).href)
    for (const end of ['process.exit(1)', 'process.kill(process.pid, "SIGKILL")']) {
      const parent = spawn(
        process.execPath,
        [
          '--input-type=module',
          '--eval',
          `import { supervise } from ${module}
         supervise({
           command: process.execPath,
           args: ['-e', 'process.on("disconnect", () => process.exit()); process.send(1); setInterval(() => {}, 1e6)'],
           ipc: true,
           onSpawn: (child) => child.once('message', () => { console.log(child.pid); process.stdin.once('data', () => ${end}) }),
         })`,
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      )
      const exited = once(parent, 'exit')
      const [pid] = (await once(parent.stdout.setEncoding('utf8'), 'data')) as [string]
      const child = processId(Number(pid))
      t.ok(child)
      parent.stdin.write('end\n')
      await exited
      t.ok(await poll(5_000, () => child !== undefined && !isRunning(child)), end)
    }
  },
)

void t.test('P1.16 a supervisor that is killed takes what has no channel with it too, and all below it', async (t) => {
  const module = JSON.stringify(new URL('../../src/local/supervisor.ts', import.meta.url).href)
  const parent = spawn(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import { supervise } from ${module}
       const common = { logFile: ${JSON.stringify(join(tempDir(t), 'log'))}, onSpawn: ({ pid }) => console.log(pid) }
       const stopped = supervise({ ...common, command: 'sleep', args: ['1000'] })
       supervise({ ...common, command: 'sleep', args: ['1000'] })
       await stopped.stop(1000)
       supervise({ ...common, command: 'sh', args: ['-c', 'trap "" TERM; sleep 1000 & wait; wait'] })`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], detached: true },
  )
  t.teardown(() => parent.kill('SIGKILL'))
  let printed = ''
  parent.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text))
  t.ok(await poll(20_000, () => printed.trim().split('\n').length === 3))
  const [, ...children] = printed
    .trim()
    .split('\n')
    .map((pid) => processId(Number(pid)))
  t.teardown(() => {
    for (const child of children) if (child) signalGroup(child.pid, 'SIGKILL')
  })
  t.ok(children.every((child) => child && isRunning(child)))
  // With its group, as a terminal or a job runner would.
  process.kill(-(parent.pid ?? 0), 'SIGKILL')
  t.ok(await poll(6_000, () => children.every((child) => child && !isRunning(child))))
})
