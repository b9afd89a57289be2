import type { KV } from '@nats-io/kv'
import { messageOf } from '../base/errors.ts'
import type { WorkerSpec } from '../subjects/contract.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'
import type { Position } from './position.ts'

const bucketName = 'attempts'
/** After so many throws a record is answered without being handled. */
export const attemptsMax = 3
/** How long health tells of a record that was given up. */
const shownMs = 600_000
const countTimeoutMs = 3_000

/** Records that a handler has thrown on too often. */
export interface Faults {
  has(inSeq: number, inIndex: number): boolean
}

/** What KV `attempts` holds of a record, under `<worker>.<input>.<inSeq>.<inIndex>`. */
export interface AttemptEntry {
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  readonly error: string
}

/**
 * Counts over process exits how often a handler has thrown on a record. The process exits after each, since nobody knows
 * what state the throw has left; after the third the record is answered `SYSTEM_COMMAND_FAULT` in its place.
 */
export class Attempts implements Faults {
  readonly #nats: Nats
  readonly #worker: string
  readonly #input: string
  readonly #log: Log
  readonly #entries = new Map<string, AttemptEntry>()
  /** Records that have been given up. */
  #given = 0
  #bucket: KV | undefined

  constructor(nats: Nats, { name, input }: Pick<WorkerSpec, 'name' | 'input'>, log: Log) {
    this.#nats = nats
    this.#worker = name
    this.#input = input ?? ''
    this.#log = log
  }

  has(inSeq: number, inIndex: number): boolean {
    return this.#given > 0 && (this.#entries.get(`${inSeq}.${inIndex}`)?.count ?? 0) >= attemptsMax
  }

  /** What health should tell. */
  warnings(): string[] {
    return Array.from(this.#entries)
      .filter(([, { lastMs }]) => Date.now() - lastMs < shownMs)
      .map(([record, { count, error }]) =>
        count >= attemptsMax
          ? `${this.#input} ${record} was given up after ${count} attempts and answered SYSTEM_COMMAND_FAULT: ${error}`
          : `${this.#input} ${record} has failed ${count} of ${attemptsMax} times: ${error}`,
      )
  }

  /** Reads what has been counted; another process of the worker may have counted meanwhile. */
  async load(): Promise<void> {
    this.#bucket ??= await this.#nats.kvm.open(bucketName)
    this.#entries.clear()
    const prefix = `$KV.${bucketName}.${this.#worker}.${this.#input}.`
    const { state } = await this.#nats.jsm.streams.info(`KV_${bucketName}`, { subjects_filter: `${prefix}>` })
    for (const subject of Object.keys(state.subjects ?? {})) {
      const record = subject.slice(prefix.length)
      const entry = await this.#bucket.get(this.#keyOf(record))
      if (entry?.operation === 'PUT') this.#entries.set(record, entry.json<AttemptEntry>())
    }
    this.#given = [...this.#entries.values()].filter(({ count }) => count >= attemptsMax).length
  }

  /** Counts a throw, before the process exits; where NATS does not answer, it does not count. */
  async count({ inSeq, inIndex }: Position, thrown: unknown): Promise<void> {
    const record = `${inSeq}.${inIndex}`
    const nowMs = Date.now()
    const known = this.#entries.get(record)
    const entry: AttemptEntry = {
      count: (known?.count ?? 0) + 1,
      firstMs: known?.firstMs ?? nowMs,
      lastMs: nowMs,
      error: messageOf(thrown).slice(0, 500),
    }
    this.#log.error({ worker: this.#worker, input: this.#input, record, ...entry }, 'a handler threw')
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, countTimeoutMs))
    await Promise.race([this.#bucket?.put(this.#keyOf(record), JSON.stringify(entry)), timeout]).catch(() => undefined)
  }

  #keyOf(record: string): string {
    return `${this.#worker}.${this.#input}.${record}`
  }
}
