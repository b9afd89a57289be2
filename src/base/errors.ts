/** Every operational error the system can raise; docs/errors.md explains each one. */
export const errorCodes = [
  'CONFIG_INVALID',
  'CONFIG_INSTRUMENT_CHANGED',
  'COMPONENT_MISSING',
  'COMPONENT_VERSION',
  'COMPONENT_START',
  'PORT_IN_USE',
  'DATA_DIR_IN_USE',
  'DATA_DIR_UNUSABLE',
  'NATS_UNREACHABLE',
  'NATS_VERSION',
  'STREAM_ROOM',
  'STREAM_REWOUND',
  'STREAM_GAP',
  'STREAM_UNREADABLE',
  'WRITER_FENCED',
  'REPLAY_DIFFERS',
  'LOGIC_CHANGED',
  'LOGIC_NEWER',
  'SNAPSHOT_DAMAGED',
  'SNAPSHOT_MISSING',
  'SNAPSHOT_ROOM',
  'PUBLISH_UNRESOLVED',
  'FILE_INVALID',
  'LAKE_STORE_UNAVAILABLE',
  'LAKE_STORE_UNSUITABLE',
  'LAKE_LOG_UNREADABLE',
  'LAKE_SCHEMA_MISMATCH',
  'LAKE_FEATURE_UNSUPPORTED',
  'LAKE_VERSION_MISSING',
  'LAKE_FILE_MISSING',
  'LAKE_QUERY_LIMIT',
  'LAKE_DUCKDB',
  'LAKE_STREAM_REWOUND',
  'LAKE_STREAM_GAP',
  'LAKE_TXN_MISSING',
  'USAGE',
] as const

export type ErrorCode = (typeof errorCodes)[number]

/** Process exit codes of every command (contract, section 4). */
export const exitCodes = { ok: 0, failed: 1, usage: 64, unavailable: 69, interrupted: 130 } as const

/**
 * An operational condition a caller can act on: the code says what, the message names the thing and the remedy.
 * Business refusals are values (a reject reason in a report), broken invariants are `BugError`; neither is one of these.
 */
export class PipelineError extends Error {
  override name = 'PipelineError'
  readonly code: ErrorCode
  readonly retriable: boolean

  constructor(code: ErrorCode, message: string, options: { retriable?: boolean; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retriable = options.retriable ?? false
  }
}

export function isPipelineError(error: unknown, code?: ErrorCode): error is PipelineError {
  return error instanceof PipelineError && (code === undefined || error.code === code)
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
