import { SingleBar } from 'cli-progress'

export interface Progress {
  update(done: number, details: string): void
  stop(): void
}

const lineEveryMs = 2_000

/** How far something has come, on stderr: a bar with a live line on a terminal, elsewhere a line every two seconds. */
export function showProgress(total: number): Progress {
  if (!process.stderr.isTTY) {
    let toldMs = performance.now()
    return {
      update: (done, details) => {
        if (performance.now() - toldMs < lineEveryMs && done < total) return
        toldMs = performance.now()
        process.stderr.write(`${done}/${total} | ${details}\n`)
      },
      stop: () => undefined,
    }
  }
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {value}/{total} | {details}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: false,
  })
  bar.start(total, 0, { details: '' })
  return {
    update: (done, details) => bar.update(done, { details }),
    stop: () => bar.stop(),
  }
}
