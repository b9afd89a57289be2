import { statfs } from 'node:fs/promises'
import {
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  JetStreamApiError,
} from '@nats-io/jetstream'
import { PipelineError } from '../base/errors.ts'
import { type BucketSpec, bucketSpecs, listenSubjects, streamSpecs, type StreamSpec } from '../subjects/contract.ts'
import type { Nats } from './nats.ts'

/** Room where neither the account nor a setting bounds it: deploy/nats.conf gives 10 GB of files. */
const roomDefaultBytes = 10e9

/** How long the server remembers the Nats-Msg-Ids of clients; nothing of ours relies on it. */
const clientWindowNs = 120_000_000_000
const singleWriterWindowNs = 1_000_000_000

/** One way in which a stream on the server differs from the contract. */
export interface Drift {
  readonly stream: string
  readonly field: string
  readonly expected: string
  readonly actual: string
}

export function streamConfigOf(spec: StreamSpec, maxBytes: number): Partial<StreamConfig> & { name: string } {
  const prefix = spec.ingestPrefix
  const stored = spec.stored[0] ?? ''
  return {
    name: spec.name,
    description: spec.about,
    subjects: listenSubjects(spec),
    ...(prefix === undefined
      ? {}
      : {
          subject_transform: { src: `${prefix}${stored}`, dest: stored },
          republish: { src: stored, dest: stored },
        }),
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: spec.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    max_bytes: maxBytes,
    max_msg_size: spec.maxMsgSize ?? -1,
    max_msgs_per_subject: spec.maxMsgsPerSubject ?? -1,
    // The latest positions are overwritten; of all else nothing may be deleted one by one.
    deny_delete: spec.maxMsgsPerSubject === undefined && spec.name !== 'DLQ',
    deny_purge: false,
    allow_rollup_hdrs: false,
    // Single writers are fenced by message ids and need no memory of them.
    duplicate_window: spec.epoch ? singleWriterWindowNs : clientWindowNs,
    allow_direct: true,
    num_replicas: 1,
  }
}

/**
 * Room for all streams together: what the setting says, else what the account or deploy/nats.conf allows, at most half
 * of the free disk where the store is on this machine.
 */
async function roomBytes(jsm: JetStreamManager, settingBytes: number, storeDir: string | undefined): Promise<number> {
  if (settingBytes > 0) return settingBytes
  const account = await jsm.getAccountInfo()
  const limit = account.limits.max_storage
  const allowed = limit > 0 ? limit : roomDefaultBytes
  if (storeDir === undefined) return allowed
  const disk = await statfs(storeDir)
  return Math.min(allowed, (disk.bavail * disk.bsize) / 2)
}

/**
 * Makes the streams and buckets that are missing and leaves those that exist as they are.
 *
 * @param storeDir the server's store when it is on this machine
 * @returns how existing streams differ from the contract
 * @throws PipelineError STREAM_ROOM when the server has no room for them
 */
export async function ensureStreams(nats: Nats, settingBytes: number, storeDir?: string): Promise<Drift[]> {
  const { jsm, kvm } = nats
  const bucketBytes = bucketSpecs.reduce((sum, { maxBytes = 0 }) => sum + maxBytes, 0)
  const room = (await roomBytes(jsm, settingBytes, storeDir)) - bucketBytes
  const shares = [...streamSpecs, ...bucketSpecs].reduce((sum, { share = 0 }) => sum + share, 0)
  if (room < 64 * 2 ** 20)
    throw new PipelineError(
      'STREAM_ROOM',
      `only ${Math.max(0, Math.round(room / 2 ** 20))} MiB of room for streams, 64 MiB are the least: free some disk or raise max_file`,
    )
  const drifts: Drift[] = []
  for (const spec of streamSpecs) {
    const config = streamConfigOf(spec, Math.floor((room * spec.share) / shares))
    try {
      const info = await jsm.streams.info(spec.name)
      drifts.push(...driftsOf(spec, info.config))
    } catch (error) {
      if (!isStreamNotFound(error)) throw error
      await makeOnce(jsm, spec.name, config.max_bytes ?? 0, () => jsm.streams.add(config))
    }
  }
  for (const { name, history, about, maxBytes, share = 0 } of bucketSpecs) {
    const bytes = maxBytes ?? Math.floor((room * share) / shares)
    await makeOnce(jsm, `KV_${name}`, bytes, () => kvm.create(name, { history, max_bytes: bytes, description: about }))
  }
  return drifts
}

/** Makes a stream that somebody else may be making at the same moment. */
async function makeOnce(
  jsm: JetStreamManager,
  name: string,
  maxBytes: number,
  make: () => Promise<unknown>,
): Promise<void> {
  try {
    await make()
  } catch (error) {
    // 10058: somebody else made it at the same moment; 10047: not enough storage.
    if (error instanceof JetStreamApiError && error.code === 10058) return
    if (error instanceof JetStreamApiError && error.code === 10047) {
      // While somebody else makes the same stream, the server reserves its room twice.
      await new Promise((resolve) => setTimeout(resolve, 500))
      if (await jsm.streams.info(name).catch(() => undefined)) return
      throw new PipelineError(
        'STREAM_ROOM',
        `the server has no room to reserve ${Math.round(maxBytes / 2 ** 20)} MiB for ${name}: set STREAMS_MAX_BYTES to less than its max_file, or raise max_file`,
        { cause: error },
      )
    }
    throw error
  }
}

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === 10059
}

/** What a setting is that the contract does not name: as the server has it unless somebody asks for more. */
const unsetValues = {
  max_age: 0,
  max_msgs: -1,
  mirror: undefined,
  sources: undefined,
  subject_transform: undefined,
  republish: undefined,
  discard_new_per_subject: false,
  allow_msg_ttl: false,
  allow_msg_schedules: false,
  allow_msg_counter: false,
  sealed: false,
  no_ack: false,
  persist_mode: 'default',
} as const

/** These are the operator's business. */
const freeSettings = new Set(['name', 'description', 'max_bytes', 'num_replicas'])

/** Every setting of a stream that the contract fixes. */
export function fixedSettingsOf(spec: StreamSpec): Record<string, unknown> {
  return fixed({ ...unsetValues, ...streamConfigOf(spec, 0) })
}

/** Every setting of the stream behind a bucket that the contract fixes. */
export function fixedBucketSettingsOf({ name, history }: BucketSpec): Record<string, unknown> {
  return fixed({
    ...unsetValues,
    subjects: [`$KV.${name}.>`],
    max_msgs_per_subject: history,
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
  })
}

function fixed(settings: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).filter(([field]) => !freeSettings.has(field)))
}

/** Compares a stream on the server with the contract; its size is the operator's business. */
export function driftsOf(spec: StreamSpec, actual: StreamConfig): Drift[] {
  return settingDrifts(spec.name, fixedSettingsOf(spec), actual)
}

/** @param settings what the contract fixes, see `fixedSettingsOf` */
export function settingDrifts(stream: string, settings: Record<string, unknown>, actual: StreamConfig): Drift[] {
  const found = actual as unknown as Record<string, unknown>
  return Object.entries(settings)
    .filter(([field, expected]) => !isSame(expected, found[field] ?? whenAbsent(field, expected)))
    .map(([field, expected]) => ({ stream, field, expected: jsonOf(expected), actual: jsonOf(found[field]) }))
}

/** The server leaves out what has its zero value. */
function whenAbsent(field: string, expected: unknown): unknown {
  if (typeof expected === 'boolean') return false
  return field in unsetValues ? unsetValues[field as keyof typeof unsetValues] : undefined
}

function jsonOf(value: unknown): string {
  return value === undefined ? 'unset' : JSON.stringify(value)
}

function isSame(expected: unknown, actual: unknown): boolean {
  if (Array.isArray(expected) && Array.isArray(actual))
    return JSON.stringify(expected.toSorted()) === JSON.stringify(actual.toSorted())
  if (typeof expected !== 'object' || typeof actual !== 'object' || !expected || !actual) return expected === actual
  const [left, right] = [expected, actual] as Record<string, unknown>[]
  return [...new Set([...Object.keys(expected), ...Object.keys(actual)])].every((key) =>
    isSame(left?.[key], right?.[key]),
  )
}

/** A difference that the server would not let go. */
export interface RefusedChange {
  readonly field: string
  readonly reason: string
}

/**
 * Changes a stream in place to what the contract says. What the server refuses stays as it is: such a stream can only
 * be made anew.
 */
export async function repairStream(
  jsm: JetStreamManager,
  stream: string,
  settings: Record<string, unknown>,
  drifts: readonly Drift[],
): Promise<RefusedChange[]> {
  const change = async (fields: readonly string[]) => {
    await jsm.streams.update(stream, Object.fromEntries(fields.map((field) => [field, settings[field]])))
  }
  const fields = drifts.map(({ field }) => field)
  try {
    // Together first: subjects and their transform only fit each other.
    await change(fields)
    return []
  } catch (error) {
    if (!(error instanceof JetStreamApiError)) throw error
  }
  const refused: RefusedChange[] = []
  for (const field of fields)
    try {
      await change([field])
    } catch (error) {
      if (!(error instanceof JetStreamApiError)) throw error
      refused.push({ field, reason: error.message })
    }
  return refused
}
