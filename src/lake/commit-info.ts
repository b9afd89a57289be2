import type { CommitInfoFields } from './actions.ts'
import type { Snapshot } from './snapshot.ts'

/** What a commit says of itself; the names and the spelling of values are Spark's. */
export interface CommitInfo {
  readonly operation:
    'CREATE TABLE' | 'ADD COLUMNS' | 'WRITE' | 'OPTIMIZE' | 'VACUUM START' | 'VACUUM END' | 'ADOPT STREAM'
  readonly operationParameters?: Readonly<Record<string, unknown>>
  readonly operationMetrics?: Readonly<Record<string, number>>
  /** Only adds files, whatever the table holds. */
  readonly isBlindAppend: boolean
  /** Further fields of the caller's own. */
  readonly extras?: Readonly<Record<string, unknown>>
}

const engineInfo = 'Trade2026/0.1.0'

/**
 * @param before the version that is committed upon; undefined for the first one
 * @param txnId by which its writer knows the commit again, whatever it was answered
 * @see Delta protocol, "Commit Provenance Information", "In-Commit Timestamps"
 */
export function formatCommitInfo(
  info: CommitInfo,
  before: Snapshot | undefined,
  txnId: string,
  nowMs: number,
): CommitInfoFields {
  const { operation, operationParameters = {}, operationMetrics = {}, isBlindAppend, extras } = info
  const inCommitTimestamp = before?.properties.enableInCommitTimestamps
    ? { inCommitTimestamp: Math.max(nowMs, (before.inCommitTimestamp ?? 0) + 1) }
    : {}
  return {
    ...inCommitTimestamp,
    timestamp: nowMs,
    operation,
    operationParameters: texts(operationParameters),
    ...(before ? { readVersion: before.version } : {}),
    isolationLevel: 'Serializable',
    isBlindAppend,
    operationMetrics: texts(operationMetrics),
    engineInfo,
    ...extras,
    txnId,
  }
}

function texts(values: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(values)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}
