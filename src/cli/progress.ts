import { SingleBar } from 'cli-progress'

interface Progress {
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
  return showBar('{bar} {percentage} % | {value}/{total} | {details}', total, false)
}

/** Which step is being done, and how much of it, on stderr: a bar on a terminal, elsewhere a line a step. */
export function showSteps(): { update: (step: string, part?: number) => void; stop: () => void } {
  let last = ''
  if (!process.stderr.isTTY)
    return {
      update: (step) => {
        if (step !== last) process.stderr.write(`${step}\n`)
        last = step
      },
      stop: () => undefined,
    }
  const bar = showBar('{bar} {percentage} % | {details}', 100, true)
  return { update: (step, part = 0) => bar.update(Math.round(part * 100), step), stop: () => bar.stop() }
}

function showBar(format: string, total: number, clearOnComplete: boolean): Progress {
  const bar = new SingleBar({
    format,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete,
  })
  bar.start(total, 0, { details: '' })
  return {
    update: (done, details) => bar.update(done, { details }),
    stop: () => bar.stop(),
  }
}
