/** Whose code comes by a crash point. */
export type CrashPlace = 'ordered' | 'sink' | 'janitor'

/**
 * Places between doing a thing and recording it, at which `trade2026 chaos` ends a process as kill -9 would.
 */
export const crashPoints = {
  /** The epoch record is stored, and nothing has been folded again. */
  'taken-over': 'ordered',
  /** In the middle of folding again. */
  replaying: 'ordered',
  /** Everything is folded again, and nothing new has been read. */
  recovered: 'ordered',
  /** Outputs have been made and not sent. */
  folded: 'ordered',
  /** Outputs are stored, and nothing has been done about it. */
  stored: 'ordered',
  /** Outputs are settled, and their input is not acknowledged. */
  settled: 'ordered',
  /** The files of a commit are written, and no version names them. */
  'files-written': 'sink',
  /** A version is written, and nothing has been done about it. */
  committed: 'sink',
  /** The parts of a snapshot are written, and nothing says that it is one. */
  'parts-written': 'janitor',
} as const satisfies Readonly<Record<string, CrashPlace>>

export type CrashPoint = keyof typeof crashPoints

let armed: { readonly point: string; left: number } | undefined

/** Has this process end at a point, at that occurrence of coming by there, from 1. */
export function armCrashPoint(point: string, occurrence: number): void {
  armed = { point, left: occurrence }
}

/** Nothing, unless this process is armed for this point. */
export function crashPoint(point: CrashPoint): void {
  if (armed?.point !== point) return
  armed.left -= 1
  if (armed.left <= 0) process.kill(process.pid, 'SIGKILL')
}
