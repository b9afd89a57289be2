import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { assert } from '../base/assert.ts'
import { isRunning, processId, type ProcessId } from './process.ts'

export interface Lock {
  release(): void
}

/**
 * Takes a lock that is a file naming its holder. A lock whose holder is dead, or whose pid now is another process's,
 * does not count.
 * @returns the pid of the living holder when there is one
 */
export function tryLock(path: string): Lock | number {
  const self = processId(process.pid)
  assert(self, 'this process is not in the process table')
  const own = `${path}.${process.pid}`
  writeFileSync(own, JSON.stringify(self))
  try {
    for (;;) {
      // A link, unlike an exclusive create, brings the file with its content.
      if (succeeds(() => linkSync(own, path), 'EEXIST')) return { release: () => rmSync(path, { force: true }) }
      const held = readIfThere(path)
      if (held === undefined) continue
      const holder = parse(held)
      if (holder && isRunning(holder)) return holder.pid
      const stale = `${own}.stale`
      if (!succeeds(() => renameSync(path, stale), 'ENOENT')) continue
      // Somebody quicker may have put a living lock there since we read it: give it back.
      if (readIfThere(stale) !== held) succeeds(() => linkSync(stale, path), 'EEXIST')
      rmSync(stale, { force: true })
    }
  } finally {
    rmSync(own, { force: true })
  }
}

function parse(text: string): ProcessId | undefined {
  try {
    return JSON.parse(text) as ProcessId
  } catch {
    return undefined
  }
}

export function readIfThere(path: string): string | undefined {
  let text: string | undefined
  succeeds(() => (text = readFileSync(path, 'utf8')), 'ENOENT')
  return text
}

function succeeds(action: () => unknown, refusal: 'EEXIST' | 'ENOENT'): boolean {
  try {
    action()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === refusal) return false
    throw error
  }
}
