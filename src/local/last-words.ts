import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** Why a process of ours ended, as it said itself. */
export interface LastWords {
  /** Of the PipelineError, if it was one. */
  readonly code: string | undefined
  readonly message: string
}

const readBytesMax = 64 * 1024
const fatalLevel = 60

/**
 * The error with which a process ended: its last fatal log record, or what the command line printed.
 * @param fromByte where its life begins in the log
 * @returns undefined when it was killed, or said nothing that we know
 */
export function lastWords(logFile: string, fromByte: number): LastWords | undefined {
  const file = openSync(logFile, 'r')
  try {
    const { size } = fstatSync(file)
    const start = Math.max(fromByte, size - readBytesMax)
    const bytes = Buffer.alloc(Math.max(0, size - start))
    readSync(file, bytes, 0, bytes.length, start)
    for (const line of bytes.toString().split('\n').reverse()) {
      const words = wordsOf(line)
      if (words) return words
    }
    return undefined
  } finally {
    closeSync(file)
  }
}

function wordsOf(line: string): LastWords | undefined {
  const [, code, printed] = /^trade2026: (?:([A-Z_]+): )?(.+)/.exec(line) ?? []
  if (printed !== undefined) return { code, message: printed }
  if (!line.startsWith('{')) return undefined
  try {
    const record = JSON.parse(line) as { level?: number; code?: string; msg?: string }
    if (record.level !== fatalLevel || record.msg === undefined) return undefined
    return { code: record.code, message: record.msg }
  } catch {
    return undefined
  }
}
