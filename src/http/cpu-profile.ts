import type { Profiler } from 'node:inspector'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Time of one function. Times are CPU time as sampled; `line` is that of its definition. */
export interface HotFunction {
  readonly function: string
  /** Below the root of the repository where it is ours, else as V8 names it; empty for built-in functions. */
  readonly file: string
  readonly line: number
  /** In the function itself. */
  readonly selfMs: number
  /** In it and what it called. */
  readonly totalMs: number
  /** Share of `selfMs` in `busyMs`. */
  readonly percent: number
}

export interface ProfileSummary {
  /** Ticks of the sampler. */
  readonly samples: number
  /** The thread was doing something, native code and garbage collection included. */
  readonly busyMs: number
  readonly idleMs: number
  readonly hottest: readonly HotFunction[]
}

const hottestMax = 20
const root = fileURLToPath(new URL('../..', import.meta.url))

interface Cost {
  readonly frame: Profiler.ProfileNode['callFrame']
  selfUs: number
  totalUs: number
}

/** Where the time of a profile went: the functions with the largest self time, hottest first. */
export function summaryOf({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): ProfileSummary {
  const selfUs = new Map<number, number>()
  // A delta is the time since the sample before: what that sample saw was running.
  samples.forEach((id, index) => selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, timeDeltas[index + 1] ?? 0)))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const costs = new Map<string, Cost>()
  let idleUs = 0
  let busyUs = 0

  /** @param active functions on the stack above; a recursive one counts once @returns time of the node and all below */
  const walk = (node: Profiler.ProfileNode, active: ReadonlySet<string>): number => {
    const { functionName, scriptId, lineNumber, columnNumber } = node.callFrame
    const own = selfUs.get(node.id) ?? 0
    if (functionName === '(idle)') idleUs += own
    else busyUs += own
    const key = `${functionName}:${scriptId}:${lineNumber}:${columnNumber}`
    const below = new Set(active).add(key)
    let totalUs = own
    for (const id of node.children ?? []) {
      const child = byId.get(id)
      if (child) totalUs += walk(child, below)
    }
    const cost = costs.get(key) ?? { frame: node.callFrame, selfUs: 0, totalUs: 0 }
    cost.selfUs += own
    if (!active.has(key)) cost.totalUs += totalUs
    costs.set(key, cost)
    return totalUs
  }
  const [top] = nodes
  if (top) walk(top, new Set())

  const hottest = [...costs.values()]
    .filter(({ frame, selfUs: own }) => own > 0 && frame.functionName !== '(idle)')
    .sort((a, b) => b.selfUs - a.selfUs)
    .slice(0, hottestMax)
    .map(({ frame, selfUs: own, totalUs }) => ({
      function: frame.functionName === '' ? '(anonymous)' : frame.functionName,
      file: fileOf(frame.url),
      line: frame.lineNumber + 1,
      selfMs: msOf(own),
      totalMs: msOf(totalUs),
      percent: Number(((100 * own) / Math.max(1, busyUs)).toFixed(2)),
    }))
  return { samples: samples.length, busyMs: msOf(busyUs), idleMs: msOf(idleUs), hottest }
}

function msOf(us: number): number {
  return Number((us / 1_000).toFixed(3))
}

function fileOf(url: string): string {
  if (!url.startsWith('file:')) return url
  const path = fileURLToPath(url)
  const own = relative(root, path)
  return own.startsWith('..') ? path : own
}
