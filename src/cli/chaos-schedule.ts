import { type CrashPlace, type CrashPoint, crashPoints } from '../base/crash-points.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { seededRandom } from './order-flow.ts'

/** What can be done to a part of a stack. */
export type FaultKind = 'kill' | 'terminate' | 'pause' | 'crash' | 'cut' | 'lost-answers'

export interface Fault {
  readonly kind: FaultKind
  /** Label of a process; `nats` for the connections of all workers. */
  readonly target: string
  /** Of `pause`, `cut` and `lost-answers`. */
  readonly durationMs?: number
  /** Of `crash`: where, and how often the process comes by there after its start until it ends; from 1. */
  readonly point?: CrashPoint
  readonly occurrence?: number
  /** From when this one is over, or from its beginning where the next is to meet the recovery. */
  readonly pauseMs: number
  /** The next comes while this one is being recovered from. */
  readonly isOverlapped: boolean
}

/** A part of a stack that faults can meet. */
export interface FaultTarget {
  readonly label: string
  readonly workers: readonly WorkerName[]
}

/** How often each comes, of 100. */
const shares: readonly (readonly [kind: FaultKind, share: number])[] = [
  ['kill', 40],
  ['crash', 22],
  ['pause', 14],
  ['terminate', 10],
  ['cut', 7],
  ['lost-answers', 7],
]
/** Longer than a lease lasts, so that a stand-by takes over and the paused one wakes up as a zombie. */
const pauseMaxMs = 5_000
const cutMaxMs = 2_500
const occurrenceMax: Readonly<Record<CrashPlace, number>> = { ordered: 40, sink: 3, janitor: 2 }
const overlappedShare = 0.3
const restMaxMs = 1_500

/** Faults in the order in which they come: for one seed and one stack always the same. */
export function* faultSchedule(seed: number, targets: readonly FaultTarget[]): Generator<Fault, never> {
  const random = seededRandom(seed)
  const upTo = (max: number) => Math.floor(random() * max)
  const pick = <T>(items: readonly T[]): T => items[upTo(items.length)] as T
  const workers = targets.filter((target) => target.workers.length > 0)
  for (;;) {
    const kind = pickKind(upTo(100))
    const isOverlapped = random() < overlappedShare
    const rest = { isOverlapped, pauseMs: upTo(restMaxMs) }
    switch (kind) {
      case 'kill':
        yield { kind, target: pick(targets).label, ...rest }
        break
      case 'pause':
        yield { kind, target: pick(targets).label, durationMs: 100 + upTo(pauseMaxMs), ...rest }
        break
      case 'terminate':
        yield { kind, target: pick(workers).label, ...rest }
        break
      case 'crash': {
        const target = pick(workers.filter((one) => pointsOf(one).length > 0))
        const point = pick(pointsOf(target))
        yield { kind, target: target.label, point, occurrence: 1 + upTo(occurrenceMax[crashPoints[point]]), ...rest }
        break
      }
      case 'cut':
      case 'lost-answers':
        yield { kind, target: 'nats', durationMs: 50 + upTo(cutMaxMs), ...rest }
    }
  }
}

function pickKind(at: number): FaultKind {
  let sum = 0
  for (const [kind, share] of shares) {
    sum += share
    if (at < sum) return kind
  }
  return 'kill'
}

const placeOf: Partial<Record<WorkerName, CrashPlace>> = {
  'risk-gate': 'ordered',
  'oms-matcher': 'ordered',
  'pnl-updater': 'ordered',
  'tick-sink': 'sink',
  'alt-sink': 'sink',
  'execution-sink': 'sink',
  janitor: 'janitor',
}

/** The points that a process comes by. */
export function pointsOf({ workers }: FaultTarget): CrashPoint[] {
  const places = new Set(workers.map((worker) => placeOf[worker]))
  return (Object.keys(crashPoints) as CrashPoint[]).filter((point) => places.has(crashPoints[point]))
}

/** One line about what was done. */
export function faultText({ kind, target, durationMs, point, occurrence }: Omit<Fault, 'pauseMs'>): string {
  switch (kind) {
    case 'kill':
      return `kill -9 of ${target}`
    case 'terminate':
      return `SIGTERM to ${target}`
    case 'pause':
      return `SIGSTOP of ${target} for ${durationMs} ms`
    case 'crash':
      return `${target} ends at \`${point}\`, occurrence ${occurrence} after a restart`
    case 'cut':
      return `connections to NATS cut for ${durationMs} ms`
    case 'lost-answers':
      return `answers of NATS lost for ${durationMs} ms, then cut`
  }
}
