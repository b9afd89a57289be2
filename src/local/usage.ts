import { readFileSync } from 'node:fs'

export interface NamedProcess {
  readonly name: string
  readonly pid: number
}

/** What processes used while they were watched, by name. Read from /proc: empty outside Linux. */
export interface Usage {
  /** User and system time, percent of one core. */
  readonly cpuPercent: Readonly<Record<string, number>>
  /** Resident memory at its highest; pages that processes share count in each. */
  readonly rssMb: Readonly<Record<string, number>>
  /** Of all together, at the highest of their sum. */
  readonly rssMbTotal: number
  readonly cpuPercentTotal: number
}

const sampleMs = 250
/** What Linux counts CPU time in, on every architecture that Node runs on. */
const ticksPerSecond = 100

/** Watches processes until the function it returns is called. */
export function watchProcesses(processes: readonly NamedProcess[]): () => Usage {
  const peaks = new Map<string, number>()
  let peakTotal = 0
  const sample = () => {
    let total = 0
    for (const { name, pid } of processes) {
      const mb = residentMb(pid)
      total += mb
      peaks.set(name, Math.max(peaks.get(name) ?? 0, mb))
    }
    peakTotal = Math.max(peakTotal, total)
  }
  sample()
  const timer = setInterval(sample, sampleMs)
  const startedMs = performance.now()
  const before = processes.map(({ pid }) => cpuSeconds(pid))
  return () => {
    clearInterval(timer)
    sample()
    const seconds = (performance.now() - startedMs) / 1_000
    const percents = processes.map(({ pid }, index) => ((cpuSeconds(pid) - (before[index] ?? 0)) / seconds) * 100)
    return {
      cpuPercent: Object.fromEntries(processes.map(({ name }, index) => [name, percents[index] ?? 0])),
      rssMb: Object.fromEntries(peaks),
      rssMbTotal: peakTotal,
      cpuPercentTotal: percents.reduce((sum, percent) => sum + percent, 0),
    }
  }
}

function cpuSeconds(pid: number): number {
  // The name of the program, in brackets, may hold blanks.
  const fields = (readProc(`/proc/${pid}/stat`).split(') ')[1] ?? '').split(' ')
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond
}

function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readProc(`/proc/${pid}/status`))?.[1] ?? 0) / 1_024
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
