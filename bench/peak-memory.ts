import { readFileSync } from 'node:fs'

/** The largest resident memory that a process has had so far; 0 where nobody says, or when it has ended. */
export function peakRssMb(pid: number | 'self' = 'self'): number {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024
  } catch {
    return 0
  }
}

/** Of the descendants of this process whose command line has the word, the largest. */
export function peakRssMbBelow(word: string, parent = process.pid): number {
  try {
    const pids = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').filter(Boolean)
    return pids.map(Number).reduce((peak, pid) => {
      // Before it becomes another program, a child shows the memory of its parent.
      const isMeant = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word)
      return Math.max(peak, isMeant ? peakRssMb(pid) : 0, peakRssMbBelow(word, pid))
    }, 0)
  } catch {
    return 0
  }
}
