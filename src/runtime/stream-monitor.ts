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
  readonly readMs: number
}

const intervalMs = 1_000
const paceWindowMs = 60_000

/** Reads the state of the streams once a second: fill levels for admission, last sequences for lag. */
export class StreamMonitor {
  readonly #nats: Nats
  readonly #log: Log
  readonly #readings = new Map<StreamName, StreamReading>()
  readonly #history = new Map<StreamName, { ms: number; bytes: number }[]>()
  readonly #timer: NodeJS.Timeout
  #reading = false

  constructor(nats: Nats, log: Log) {
    this.#nats = nats
    this.#log = log
    this.#timer = setInterval(() => void this.refresh(), intervalMs)
    this.#timer.unref()
  }

  get(stream: StreamName): StreamReading | undefined {
    return this.#readings.get(stream)
  }

  /** The fullest stream of the chain. */
  fullest(): { stream: StreamName; usedPercent: number } | undefined {
    let fullest: { stream: StreamName; usedPercent: number } | undefined
    for (const stream of ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS'] as const) {
      const usedPercent = this.#readings.get(stream)?.usedPercent ?? 0
      if (!fullest || usedPercent > fullest.usedPercent) fullest = { stream, usedPercent }
    }
    return fullest
  }

  async refresh(): Promise<void> {
    if (this.#reading || !this.#nats.isConnected()) return
    this.#reading = true
    try {
      for (const { name } of streamSpecs) this.#note(name, await this.#nats.jsm.streams.info(name))
    } catch (error) {
      this.#log.debug({ problem: messageOf(error) }, 'cannot read the streams')
    } finally {
      this.#reading = false
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #note(
    name: StreamName,
    info: { config: { max_bytes: number }; state: { bytes: number; last_seq: number; first_seq: number } },
  ): void {
    const { bytes, last_seq: lastSequence, first_seq: firstSequence } = info.state
    const bytesMax = info.config.max_bytes
    const readMs = Date.now()
    const history = this.#history.get(name) ?? []
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
