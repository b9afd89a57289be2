import { BugError } from '../base/assert.ts'
import { type ErrorCode, isPipelineError } from '../base/errors.ts'

/** Errors that say something of what is stored, and not of who stores it. */
const ofContents: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...(['STREAM_REWOUND', 'STREAM_GAP', 'STREAM_UNREADABLE', 'REPLAY_DIFFERS', 'CONFIG_INSTRUMENT_CHANGED'] as const),
  ...(['LAKE_LOG_UNREADABLE', 'LAKE_FILE_MISSING', 'LAKE_SCHEMA_MISMATCH', 'LAKE_DUCKDB'] as const),
])

/** What a check of `verify` has come to (contract, section 4). */
export interface CheckResult {
  readonly name: string
  readonly ok: boolean
  /** Records that were compared. */
  readonly compared: number
  readonly differences: number
  /** The first of them; null: there is none. */
  readonly first: string | null
}

/** Counts what agrees and keeps the first difference. */
export class Check {
  readonly name: string
  #compared = 0
  #differences = 0
  #first: string | undefined

  constructor(name: string) {
    this.name = name
  }

  /** @param difference undefined: it is as it should be */
  compared(difference: string | undefined): void {
    this.#compared += 1
    if (difference !== undefined) this.differs(difference)
  }

  differs(difference: string): void {
    this.#differences += 1
    this.#first ??= difference
  }

  /** Takes an error that what was read has led to for a difference. @throws any other */
  failed(error: unknown): void {
    if (!(error instanceof BugError) && !(isPipelineError(error) && ofContents.has(error.code))) throw error
    this.differs(error.message)
  }

  add(count: number): void {
    this.#compared += count
  }

  result(): CheckResult {
    const { name } = this
    const ok = this.#differences === 0
    return { name, ok, compared: this.#compared, differences: this.#differences, first: this.#first ?? null }
  }
}
