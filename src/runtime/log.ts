import { pino } from 'pino'

/** Structured logs on stderr: stdout belongs to the commands' answers. */
export type Log = Pick<pino.Logger, 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

export function createLog(name: string, level: string): Log {
  return pino({ name, level, base: { pid: process.pid } }, pino.destination({ dest: 2, sync: true }))
}
