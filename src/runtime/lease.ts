import type { KV, KvEntry } from '@nats-io/kv'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'

const renewalsPerLease = 4
const lookMs = 50
/** Between two looks counts as silence at most this much. */
const lookMaxMs = 250

interface LeaseValue {
  readonly instance: string
  readonly pid: number
  /** Tells apart two lives of one instance. */
  readonly startedMs: number
}

/**
 * Says which process of an ordered worker is active. The lease only keeps two processes from taking turns; that two
 * never write is the fence's work (docs/adr/0005).
 */
export interface Lease {
  /** Gives the lease back, so that a stand-by can take over at once. */
  release(): Promise<void>
  /** True when the bucket still names this process. @throws when the bucket does not answer */
  isHeld(): Promise<boolean>
}

/**
 * Waits until this process may be the active one: the lease is free, its holder has been silent for `leaseMs` by our
 * own clock, or the holder was an earlier life of this very instance.
 *
 * @param instance names the place of this process in its supervisor; stays the same over restarts
 * @param onWaiting told which other process is active, whenever that changes
 * @param onLost called when another process has taken the lease
 */
export async function acquireLease(
  nats: Nats,
  worker: string,
  options: {
    instance: string
    leaseMs: number
    log: Log
    signal: AbortSignal
    onWaiting: (holder: string) => void
    onLost: (error: Error) => void
  },
): Promise<Lease> {
  const { instance, leaseMs, log, signal } = options
  const bucket = await nats.kvm.open('LEASES')
  const value = JSON.stringify({ instance, pid: process.pid, startedMs: Date.now() } satisfies LeaseValue)
  const revision = await claim(nats, bucket, worker, value, options)
  const lease = keep(nats, bucket, worker, value, revision, { leaseMs, log, signal, onLost: options.onLost })
  if (!signal.aborted) return lease
  // Stopped while the server answered: nobody else would give it back.
  await lease.release()
  throw stoppedWaiting(worker)
}

async function claim(
  nats: Nats,
  bucket: KV,
  worker: string,
  value: string,
  options: { instance: string; leaseMs: number; log: Log; signal: AbortSignal; onWaiting: (holder: string) => void },
): Promise<number> {
  let seenRevision = -1
  let seenMs = 0
  /** Silence of the holder while the server answered us: one that was away itself takes nobody's lease. */
  let silentMs = 0
  let told = ''
  // The holder may find the server later than we do.
  const stopListening = nats.onReconnect(() => (silentMs = -options.leaseMs))
  try {
    while (!options.signal.aborted) {
      try {
        const entry = await bucket.get(worker)
        const nowMs = performance.now()
        silentMs = entry?.revision === seenRevision ? silentMs + Math.min(nowMs - seenMs, lookMaxMs) : 0
        seenRevision = entry?.revision ?? -1
        seenMs = nowMs
        const holder = entry?.operation === 'PUT' ? entry.json<LeaseValue>() : undefined
        if (!holder || holder.instance === options.instance || silentMs > options.leaseMs) {
          const claimed = await tryClaim(bucket, worker, value, entry)
          if (claimed !== undefined) return claimed
        } else if (told !== nameOf(holder)) {
          told = nameOf(holder)
          options.log.info({ worker, holder: told }, 'stand-by: another process is active')
          options.onWaiting(told)
        }
      } catch (error) {
        options.log.warn({ worker, problem: messageOf(error) }, 'cannot read the lease, trying again')
      }
      await pause(lookMs)
    }
  } finally {
    stopListening()
  }
  throw stoppedWaiting(worker)
}

function stoppedWaiting(worker: string): PipelineError {
  return new PipelineError('WRITER_FENCED', `${worker}: stopped while waiting to become active`)
}

/** @returns the revision of the lease; undefined when somebody else was faster, or the server did not say */
async function tryClaim(bucket: KV, worker: string, value: string, entry: KvEntry | null): Promise<number | undefined> {
  try {
    return entry ? await bucket.update(worker, value, entry.revision) : await bucket.create(worker, value)
  } catch {
    const now = await bucket.get(worker).catch(() => null)
    return now?.operation === 'PUT' && now.string() === value ? now.revision : undefined
  }
}

function nameOf({ instance, pid }: LeaseValue): string {
  return `${instance} (pid ${pid})`
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function keep(
  nats: Nats,
  bucket: KV,
  worker: string,
  value: string,
  claimed: number,
  options: { leaseMs: number; log: Log; signal: AbortSignal; onLost: (error: Error) => void },
): Lease {
  let revision = claimed
  let released = false
  let renewing: Promise<void> | undefined
  const renew = async () => {
    try {
      revision = await bucket.update(worker, value, revision)
    } catch (error) {
      if (released) return
      // A refused update may be our own whose answer was lost, so the bucket itself is asked.
      const entry = await bucket.get(worker).catch(() => undefined)
      // A later renewal may have gone on meanwhile.
      if (entry?.operation === 'PUT' && entry.string() === value) revision = Math.max(revision, entry.revision)
      else if (entry) options.onLost(new PipelineError('WRITER_FENCED', `${worker}: another process has taken over`))
      else options.log.warn({ worker, problem: messageOf(error) }, 'cannot renew the lease, trying again')
    }
  }
  const renewNow = () => {
    const one = renew().finally(() => {
      if (renewing === one) renewing = undefined
    })
    renewing = one
  }
  const timer = setInterval(() => {
    if (!renewing) renewNow()
  }, options.leaseMs / renewalsPerLease)
  // One that was under way when the connection broke has no answer for longer than a lease lasts.
  const stopListening = nats.onReconnect(renewNow)
  const stop = () => {
    clearInterval(timer)
    stopListening()
  }
  const release = async () => {
    if (released) return
    released = true
    stop()
    await renewing
    await bucket.delete(worker, { previousSeq: revision }).catch(() => undefined)
  }
  options.signal.addEventListener('abort', stop, { once: true })
  const isHeld = async () => {
    const entry = await bucket.get(worker)
    return entry?.operation === 'PUT' && entry.string() === value
  }
  return { release, isHeld }
}
