import { existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { PipelineError } from '../base/errors.ts'
import { readIfThere, tryLock, type Lock } from './lock.ts'
import { commandOf, isRunning, poll, processId, signalGroup, type ProcessId } from './process.ts'

/** Keeps a data folder for this process; makes the folder. @throws PipelineError DATA_DIR_IN_USE, DATA_DIR_UNUSABLE */
export function lockDataDir(dataDir: string): Lock {
  const lock = makeLock(dataDir)
  if (typeof lock !== 'number') return lock
  throw new PipelineError(
    'DATA_DIR_IN_USE',
    `the data folder ${dataDir} is in use by pid ${lock} (${commandOf(lock)}): stop that, or choose another with --data-dir`,
  )
}

function makeLock(dataDir: string): Lock | number {
  try {
    makeFolder(resolve(dataDir))
    return tryLock(join(dataDir, 'lock'))
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    const problem = folderProblems[code]
    if (problem === undefined) throw error
    throw new PipelineError(
      'DATA_DIR_UNUSABLE',
      `the data folder ${dataDir} cannot be used: ${problem} (${code}). Choose another with --data-dir`,
      { cause: error },
    )
  }
}

/** `mkdirSync` with `recursive` never returns where the parent exists and nothing can be made in it, as in /proc. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && statSync(path).isDirectory()) return
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error
    makeFolder(dirname(path))
    makeFolder(path)
  }
}

const folderProblems: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file',
  ENOTDIR: 'a part of its path is a file',
  EACCES: 'it may not be written to',
  EPERM: 'it may not be written to',
  EROFS: 'it is on a read-only file system',
  ENOENT: 'it cannot be made there',
  ENOSPC: 'the disk is full',
  ENAMETOOLONG: 'its name is too long',
}

function runFile(dataDir: string): string {
  return join(dataDir, 'run.json')
}

/** Servers and workers that were started on a data folder, by name; they may have ended since. */
export function readChildren(dataDir: string): Record<string, ProcessId> {
  return JSON.parse(readIfThere(runFile(dataDir)) ?? '{}') as Record<string, ProcessId>
}

/** Notes a server that runs for this data folder, for `endLeftovers` should we be killed before it. */
export function recordChild(dataDir: string, name: string, pid: number): void {
  const child = processId(pid)
  if (!child) return
  const temporary = `${runFile(dataDir)}.${process.pid}`
  writeFileSync(temporary, JSON.stringify({ ...readChildren(dataDir), [name]: child }))
  renameSync(temporary, runFile(dataDir))
}

/**
 * Ends the servers that a killed predecessor left running on this data folder. Call it with the folder locked.
 * @returns those that were ended
 * @throws PipelineError DATA_DIR_IN_USE when one cannot be ended
 */
export async function endLeftovers(dataDir: string, graceMs = 5_000): Promise<{ name: string; pid: number }[]> {
  const leftovers = Object.entries(readChildren(dataDir)).filter(([, child]) => isRunning(child))
  await Promise.all(
    leftovers.map(async ([name, child]) => {
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        signalGroup(child.pid, signal)
        if (await poll(graceMs, () => !isRunning(child))) return
      }
      throw new PipelineError(
        'DATA_DIR_IN_USE',
        `${name} (pid ${child.pid}), left from an earlier start on ${dataDir}, cannot be ended: end it yourself`,
      )
    }),
  )
  rmSync(runFile(dataDir), { force: true })
  return leftovers.map(([name, { pid }]) => ({ name, pid }))
}
