import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** One run of the bench: what it has started, and whom it tells how far it is. */
export interface Session {
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  /** Called at the start of each of the steps a scenario has announced, and while one goes on with its part done. */
  readonly onProgress: (label: string, part?: number) => void
  /** Registers what must not outlive the run. @returns ends it now */
  own(stop: () => Promise<void> | void): () => Promise<void>
  /** A temporary folder, removed at the end. */
  folder(): string
  /** Ends everything that is left, the last first. */
  end(): Promise<void>
}

export function createSession(signal: AbortSignal, onProgress: Session['onProgress']): Session {
  const owned: (() => Promise<void>)[] = []
  const own: Session['own'] = (stop) => {
    let stopping: Promise<void> | undefined
    const once = () => (stopping ??= Promise.resolve(stop()))
    owned.push(once)
    return async () => {
      await once()
      owned.splice(owned.indexOf(once), 1)
    }
  }
  return {
    signal,
    onProgress,
    own,
    folder: () => {
      const folder = mkdtempSync(join(tmpdir(), 'trade2026-bench-'))
      own(() => rmSync(folder, { recursive: true, force: true }))
      return folder
    },
    end: async () => {
      for (const stop of owned.toReversed()) await stop().catch(() => undefined)
    },
  }
}
