import { exitCodes } from '../base/errors.ts'

const controller = new AbortController()

/**
 * Aborted by the first signal that `onInterrupt` hears: what waits for a start gives up. From then on the exit code is
 * that of the signal, and errors are no news.
 */
export const interrupted: AbortSignal = controller.signal

/**
 * Turns SIGINT, SIGTERM and SIGHUP into one orderly end: `stop` runs once, then the process exits. A second Ctrl-C does
 * not wait any longer.
 */
export function onInterrupt(stop: () => Promise<void>): void {
  const end = (code: number) => {
    if (interrupted.aborted) process.exit(code)
    controller.abort()
    void stop().finally(() => process.exit(code))
  }
  process.on('SIGINT', () => end(exitCodes.interrupted))
  process.on('SIGTERM', () => end(exitCodes.ok))
  process.on('SIGHUP', () => end(exitCodes.ok))
}
