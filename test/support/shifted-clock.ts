/**
 * Preloaded with `--import`: the wall clock of a process is off by the milliseconds in the file that CLOCK_OFFSET_FILE
 * names, from SIGUSR2 on as the file says then. What is measured, not told by a clock, stays as it is.
 */
import { readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

const RealDate = Date
const file = process.env['CLOCK_OFFSET_FILE'] ?? ''
const read = () => Number(readFileSync(file, 'utf8'))
let offsetMs = read()

class ShiftedDate extends RealDate {
  constructor(...values: readonly number[]) {
    if (values.length === 0) super(ShiftedDate.now())
    else super(...(values as [number]))
  }

  static override now(): number {
    return RealDate.now() + offsetMs
  }
}

globalThis.Date = ShiftedDate as DateConstructor
if (isMainThread) process.on('SIGUSR2', () => (offsetMs = read()))
