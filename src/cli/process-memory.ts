import { isSinkName } from '../runtime/flush-limits.ts'
import type { WorkerName } from '../subjects/contract.ts'

/** V8 lets garbage pile up while memory is free; these bound it (docs/adr/0007-memory.md). */
const memoryFlags = ['--max-semi-space-size=16', '--heap-growing-percent=50']
const doorMemoryFlags = ['--max-semi-space-size=4', '--heap-growing-percent=30']
const sinkMemoryFlags = ['--max-semi-space-size=8', '--heap-growing-percent=20']
/** Much of the chain runs too seldom for V8 to compile it by itself (docs/adr/0008-speed.md). */
const speedFlags = ['--always-sparkplug']

/** What a process of these workers is told about its memory and its code. */
export function v8Flags(workers: readonly WorkerName[]): readonly string[] {
  // Its few loops run often enough for V8 to find them.
  if (workers.some(isSinkName)) return sinkMemoryFlags
  return [...(workers.includes('gateway') ? doorMemoryFlags : memoryFlags), ...speedFlags]
}

/** Threads that pack and sync files would each keep what they have freed: 15 MB less of a sink after 100 commits. */
export function mallocEnv(workers: readonly WorkerName[]): Readonly<Record<string, string>> {
  return workers.some(isSinkName) ? { MALLOC_ARENA_MAX: '2' } : {}
}

/**
 * V8 and malloc read what bounds them as a process starts. One that was started by hand, or as the command of a container,
 * becomes itself again with it, under the same pid; one that was given flags, or a channel to whoever started it, has all
 * that from there.
 */
export function boundMemory(workers: readonly WorkerName[]): void {
  if (process.execArgv.length > 0 || process.send) return
  const env = { ...process.env, ...mallocEnv(workers) }
  process.execve?.(process.execPath, [process.execPath, ...v8Flags(workers), ...process.argv.slice(1)], env)
}
