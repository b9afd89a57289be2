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
import { bucketSpecs, listenSubjects, streamSpecs, type StreamSpec } from '../subjects/contract.ts'
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
  const bucketBytes = bucketSpecs.reduce((sum, bucket) => sum + bucket.maxBytes, 0)
  const room = (await roomBytes(jsm, settingBytes, storeDir)) - bucketBytes
  const shares = streamSpecs.reduce((sum, spec) => sum + spec.share, 0)
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
      await addStream(jsm, config)
    }
  }
  for (const bucket of bucketSpecs)
    await kvm.create(bucket.name, {
      history: bucket.history,
      max_bytes: bucket.maxBytes,
      description: bucket.about,
    })
  return drifts
}

async function addStream(jsm: JetStreamManager, config: Partial<StreamConfig> & { name: string }): Promise<void> {
  try {
    await jsm.streams.add(config)
  } catch (error) {
    // 10058: somebody else made it at the same moment; 10047: not enough storage.
    if (error instanceof JetStreamApiError && error.code === 10058) return
    if (error instanceof JetStreamApiError && error.code === 10047) {
      // While somebody else makes the same stream, the server reserves its room twice.
      await new Promise((resolve) => setTimeout(resolve, 500))
      if (await jsm.streams.info(config.name).catch(() => undefined)) return
      throw new PipelineError(
        'STREAM_ROOM',
        `the server has no room to reserve ${Math.round((config.max_bytes ?? 0) / 2 ** 20)} MiB for ${config.name}: set STREAMS_MAX_BYTES to less than its max_file, or raise max_file`,
        { cause: error },
      )
    }
    throw error
  }
}

export function isStreamNotFound(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === 10059
}

/** Compares a stream on the server with the contract; its size is the operator's business. */
export function driftsOf(spec: StreamSpec, actual: StreamConfig): Drift[] {
  const expected = streamConfigOf(spec, actual.max_bytes) as Record<string, unknown>
  const drifts: Drift[] = []
  const ignored = new Set(['description', 'num_replicas'])
  for (const [field, value] of Object.entries(expected)) {
    if (ignored.has(field)) continue
    const found: unknown = (actual as unknown as Record<string, unknown>)[field] ?? defaultOf(value)
    if (!sameConfig(value, found))
      drifts.push({ stream: spec.name, field, expected: JSON.stringify(value), actual: JSON.stringify(found) })
  }
  for (const field of ['allow_msg_ttl', 'allow_msg_schedules', 'sealed', 'no_ack'] as const) {
    if ((actual as unknown as Record<string, unknown>)[field] === true)
      drifts.push({ stream: spec.name, field, expected: 'false', actual: 'true' })
  }
  return drifts
}

function defaultOf(value: unknown): unknown {
  return typeof value === 'boolean' ? false : undefined
}

function sameConfig(expected: unknown, actual: unknown): boolean {
  if (typeof expected !== 'object' || expected === null) return expected === actual
  if (typeof actual !== 'object' || actual === null) return false
  return Object.entries(expected).every(([key, value]) => sameConfig(value, (actual as Record<string, unknown>)[key]))
}
