import { statfs } from 'node:fs/promises'
import { messageOf } from '../base/errors.ts'
import { type StreamName, streamSpecs } from '../subjects/contract.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'

/** Last reading of one stream. */
export interface StreamReading {
  readonly lastSequence: number
  readonly firstSequence: number
  readonly bytes: number
  readonly bytesMax: number
  /** 0 to 100. */
  readonly usedPercent: number
  /** At the pace of the last minute; undefined while it does not grow. */
  readonly secondsUntilFull: number | undefined
  /** By `performance.now()`. */
  readonly readMs: number
}

/** Streams whose fill level decides whether new orders are taken. */
export const chainStreams: readonly StreamName[] = ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS']

/** A server whose disk is full stores nothing any more, room or not, until it is started again. */
export const diskLowBytes = 128 * 2 ** 20

const intervalMs = 1_000
const paceWindowMs = 60_000
/** A round that takes longer is overtaken: its requests died with a connection. */
const roundMaxMs = 2_000

/** Reads the state of the streams once a second: fill levels for admission, last sequences for lag. */
export class StreamMonitor {
  readonly #nats: Nats
  readonly #log: Log
  readonly #startedMs = performance.now()
  readonly #readings = new Map<StreamName, StreamReading>()
  readonly #history = new Map<StreamName, { ms: number; bytes: number }[]>()
  readonly #timer: NodeJS.Timeout
  readonly #storeDir: string | undefined
  #diskBytesLeft = Infinity
  #roundMs: number | undefined

  /** @param storeDir the server's store, when it is on this machine */
  constructor(nats: Nats, log: Log, storeDir?: string) {
    this.#storeDir = storeDir
    this.#nats = nats
    this.#log = log
    this.#timer = setInterval(() => void this.refresh(), intervalMs)
    this.#timer.unref()
  }

  get(stream: StreamName): StreamReading | undefined {
    return this.#readings.get(stream)
  }

  /** Age of the oldest of the last readings: how long ago everything here was true. */
  get ageMs(): number {
    const oldestMs = streamSpecs.map(({ name }) => this.#readings.get(name)?.readMs ?? this.#startedMs)
    return performance.now() - Math.min(...oldestMs)
  }

  /** The fullest of some streams; unset: of the chain. */
  fullest(streams = chainStreams): { stream: StreamName; usedPercent: number } | undefined {
    let fullest: { stream: StreamName; usedPercent: number } | undefined
    for (const stream of streams) {
      const usedPercent = this.#readings.get(stream)?.usedPercent ?? 0
      if (!fullest || usedPercent > fullest.usedPercent) fullest = { stream, usedPercent }
    }
    return fullest
  }

  /** Why new orders are not taken. @param refusePercent fill level from which on they are not */
  storageProblem(refusePercent: number): string | undefined {
    if (this.diskProblem !== undefined) return this.diskProblem
    const fullest = this.fullest()
    if (!fullest || fullest.usedPercent < refusePercent) return undefined
    return `stream ${fullest.stream} is ${fullest.usedPercent.toFixed(1)} % full; from ${refusePercent} % on only cancels are taken`
  }

  /** That the disk below the streams is nearly full. */
  get diskProblem(): string | undefined {
    if (this.#diskBytesLeft >= diskLowBytes) return undefined
    const leftMib = Math.floor(this.#diskBytesLeft / 2 ** 20)
    return `the disk of the streams has ${leftMib} MiB left (${this.#storeDir}): only cancels are taken`
  }

  async refresh(): Promise<void> {
    await this.#readDisk()
    const startedMs = performance.now()
    if (!this.#nats.isConnected() || startedMs - (this.#roundMs ?? -Infinity) < roundMaxMs) return
    this.#roundMs = startedMs
    await Promise.all(streamSpecs.map(({ name }) => this.#read(name)))
    if (this.#roundMs === startedMs) this.#roundMs = undefined
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #readDisk(): Promise<void> {
    if (this.#storeDir === undefined) return
    try {
      const { bavail, bsize } = await statfs(this.#storeDir)
      this.#diskBytesLeft = bavail * bsize
    } catch (error) {
      this.#log.debug({ storeDir: this.#storeDir, problem: messageOf(error) }, 'cannot see how full the disk is')
    }
  }

  async #read(stream: StreamName): Promise<void> {
    try {
      this.#note(stream, await this.#nats.jsm.streams.info(stream))
    } catch (error) {
      this.#log.debug({ stream, problem: messageOf(error) }, 'cannot read the stream')
    }
  }

  #note(
    name: StreamName,
    info: { config: { max_bytes: number }; state: { bytes: number; last_seq: number; first_seq: number } },
  ): void {
    const { bytes, last_seq: lastSequence, first_seq: firstSequence } = info.state
    const bytesMax = info.config.max_bytes
    const readMs = performance.now()
    let history = this.#history.get(name) ?? []
    // After a trim the pace is measured anew.
    if (bytes < (history[history.length - 1]?.bytes ?? 0)) history = []
    history.push({ ms: readMs, bytes })
    while (history[0] && history[0].ms < readMs - paceWindowMs) history.shift()
    this.#history.set(name, history)
    const oldest = history[0]
    const grown = oldest ? bytes - oldest.bytes : 0
    const elapsedMs = oldest ? readMs - oldest.ms : 0
    this.#readings.set(name, {
      lastSequence,
      firstSequence,
      bytes,
      bytesMax,
      usedPercent: bytesMax > 0 ? (bytes / bytesMax) * 100 : 0,
      secondsUntilFull:
        grown > 0 && bytesMax > 0 ? Math.round((((bytesMax - bytes) / grown) * elapsedMs) / 1_000) : undefined,
      readMs,
    })
  }
}
