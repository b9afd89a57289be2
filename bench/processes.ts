import type { NamedProcess } from '../src/local/usage.ts'

export { type NamedProcess, type Usage, watchProcesses } from '../src/local/usage.ts'

/** Processes with their pid once, named by all that they are. */
export function mergeByPid(processes: readonly NamedProcess[]): NamedProcess[] {
  const names = new Map<number, string[]>()
  for (const { name, pid } of processes) names.set(pid, [...(names.get(pid) ?? []), name])
  return Array.from(names, ([pid, all]) => ({ pid, name: all.join('+') }))
}
