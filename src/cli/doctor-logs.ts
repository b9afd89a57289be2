import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface LoggedError {
  readonly file: string
  readonly text: string
}

/** pino's `error`. */
const errorLevel = 50
/** E.g. `[123] 2026/11/22 09:30:00.123456 [ERR] …` */
const natsLine = /^\[\d+\] (\d+\/\d+\/\d+ \d+:\d+:\d+)\S* \[(ERR|FTL)\] (.*)/
/** What Node prints when it crashes, and a worker that cannot start. */
const crashLine = /^(Uncaught |trade2026: )?(\w*Error\b|[A-Z]+_[A-Z_]+: )/
/** Only the newest part of a log that has grown large is looked at. */
const tailBytesMax = 64 * 2 ** 20

/** What the logs of a data folder name an error, or worse, from a time on. */
export function errorsLogged(dataDir: string, sinceMs: number): LoggedError[] {
  const folder = join(dataDir, 'logs')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log') && statSync(join(folder, name)).mtimeMs >= sinceMs)
    .flatMap((file) =>
      errorsIn(readFileSync(join(folder, file)).subarray(-tailBytesMax).toString(), sinceMs).map((text) => ({
        file,
        text,
      })),
    )
}

/** @param log lines of pino, of nats-server, and what crashes print */
export function errorsIn(log: string, sinceMs: number): string[] {
  let isRecent = false
  return log.split('\n').flatMap((line) => {
    const entry = pinoEntry(line)
    if (entry) {
      isRecent = entry.time >= sinceMs
      return isRecent && entry.level >= errorLevel ? [entry.msg] : []
    }
    const [, time, , text] = natsLine.exec(line) ?? []
    if (time !== undefined && text !== undefined) return Date.parse(time) >= sinceMs ? [text] : []
    // It has no time of its own.
    return isRecent && crashLine.test(line) ? [line] : []
  })
}

interface PinoEntry {
  readonly level: number
  readonly time: number
  readonly msg: string
}

function pinoEntry(line: string): PinoEntry | undefined {
  if (!line.startsWith('{"level":')) return undefined
  try {
    const { level = 0, time = 0, msg = '' } = JSON.parse(line) as Partial<PinoEntry>
    return { level, time, msg }
  } catch {
    // Cut off by a kill.
    return undefined
  }
}
