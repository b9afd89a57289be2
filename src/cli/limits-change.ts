import { messageOf, PipelineError } from '../base/errors.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import { writeLimitsEntry } from '../runtime/limits-bucket.ts'
import type { Nats } from '../runtime/nats.ts'
import { tailStream } from '../runtime/tail.ts'
import { type LimitsEntry, parseLimitsEntry } from '../schemas/config-files.ts'
import { decodeRisk, type RiskRecord } from '../schemas/risk.ts'
import { say } from './output.ts'

/** What an entry that stands in KV LIMITS says; one that has no effect is named on stderr, and undefined. */
export function readEntry(key: string, text: string | null): LimitsEntry | undefined {
  try {
    return parseLimitsEntry(key, text)
  } catch (error) {
    if (text !== null) say(messageOf(error))
    return undefined
  }
}

/** @throws PipelineError USAGE naming what the gate would not take */
export function checkEntry(key: string, value: object): void {
  try {
    parseLimitsEntry(key, JSON.stringify(value))
  } catch (error) {
    throw new PipelineError('USAGE', messageOf(error))
  }
}

/** An entry of KV LIMITS that was just written. Times are the server's, in µs since the Unix epoch. */
export interface WrittenEntry {
  readonly key: string
  readonly revision: number
  /** Not later than the moment the command was given. */
  readonly commandUs: number
  /** The last message of RISK before. */
  readonly riskBefore: number
}

/**
 * Writes an entry of KV LIMITS; `text` null removes it.
 * @throws PipelineError USAGE when somebody else has changed the entry meanwhile
 */
export async function writeEntry(
  nats: Nats,
  key: string,
  text: string | null,
  previousRevision?: number,
): Promise<WrittenEntry> {
  const { last_seq: riskBefore } = (await nats.jsm.streams.info('RISK')).state
  const startMs = performance.now()
  const written = await writeLimitsEntry(nats, key, text, previousRevision)
  if (!written)
    throw new PipelineError('USAGE', `somebody else has changed ${key} at this very moment; nothing was written`)
  // All of the write counts as before the server stored it, so that no time is told too short.
  const commandUs = Math.floor(written.timeUs - (performance.now() - startMs) * 1_000)
  return { key, revision: written.revision, commandUs, riskBefore }
}

/** A record of RISK and when it was stored, in µs since the Unix epoch. */
export interface StoredRecord {
  readonly record: RiskRecord
  readonly storedUs: number
}

/**
 * Reads RISK from what followed a written entry until `isLast`.
 * @returns the last record
 * @throws PipelineError COMPONENT_MISSING when it does not come in time
 */
export async function untilRecord(
  nats: Nats,
  { key, revision, riskBefore }: WrittenEntry,
  timeoutMs: number,
  isLast: (stored: StoredRecord) => boolean,
): Promise<StoredRecord> {
  const signal = AbortSignal.timeout(timeoutMs)
  for await (const { message } of tailStream(nats, 'RISK', { sequence: riskBefore + 1 }, signal))
    for (const record of decodeMessage('RISK', message, decodeRisk).records) {
      const stored = { record, storedUs: message.timeUs }
      if (isLast(stored)) return stored
    }
  throw new PipelineError(
    'COMPONENT_MISSING',
    `${key} is written (revision ${revision} of KV LIMITS), but no risk-gate has taken it up within ${timeoutMs} ms. It will be in force before the next order is decided; \`trade2026 lag\` says which workers run`,
  )
}

/**
 * Waits until written limits are in force.
 * @throws PipelineError COMPONENT_MISSING when they are not in time
 */
export async function untilInForce(
  nats: Nats,
  written: WrittenEntry,
  timeoutMs: number,
): Promise<{ revision: number; cmdSeq: number; recordAfterMs: number }> {
  const { key, revision, commandUs } = written
  const { record, storedUs } = await untilRecord(
    nats,
    written,
    timeoutMs,
    ({ record }) => record.type === 'limits' && record.key === key && record.revision >= revision,
  )
  return { revision, cmdSeq: record.cmdSeq, recordAfterMs: msBetween(commandUs, storedUs) }
}

/** Milliseconds to the nearest microsecond. */
export function msBetween(fromUs: number, toUs: number): number {
  return (toUs - fromUs) / 1_000
}
