import { exitCodes } from '../base/errors.ts'

/**
 * Turns SIGINT, SIGTERM and SIGHUP into one orderly end: `stop` runs once, then the process exits. A second Ctrl-C does
 * not wait any longer.
 */
export function onInterrupt(stop: () => Promise<void>): void {
  let isStopping = false
  const end = (code: number) => {
    if (isStopping) process.exit(code)
    isStopping = true
    void stop().finally(() => process.exit(code))
  }
  process.on('SIGINT', () => end(exitCodes.interrupted))
  process.on('SIGTERM', () => end(exitCodes.ok))
  process.on('SIGHUP', () => end(exitCodes.ok))
}
