import { SingleBar } from 'cli-progress'

/** A bar with what is being done, on a terminal; elsewhere a line a step. On stderr, as stdout has the rows. */
export function createProgress(): { update: (label: string, part?: number) => void; stop: () => void } {
  let last = ''
  if (!process.stderr.isTTY)
    return {
      update: (label) => {
        if (label !== last) process.stderr.write(`${label}\n`)
        last = label
      },
      stop: () => undefined,
    }
  const bar = new SingleBar({
    format: '{bar} {percentage} % | {label}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
  })
  bar.start(100, 0, { label: '' })
  return {
    update: (label, part = 0) => bar.update(Math.round(part * 100), { label }),
    stop: () => bar.stop(),
  }
}
