import type { KV } from '@nats-io/kv'
import { messageOf, PipelineError } from '../base/errors.ts'
import type { Log } from './log.ts'
import type { Nats } from './nats.ts'

const renewalsPerLease = 4

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
 * @param onWaiting told once when another process is active
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
  const revision = await claim(bucket, worker, value, options)
  return keep(bucket, worker, value, revision, { leaseMs, log, signal, onLost: options.onLost })
}

async function claim(
  bucket: KV,
  worker: string,
  value: string,
  options: { instance: string; leaseMs: number; signal: AbortSignal; onWaiting: (holder: string) => void },
): Promise<number> {
  let seen = { revision: -1, sinceMs: 0 }
  let told = false
  while (!options.signal.aborted) {
    const entry = await bucket.get(worker)
    const isFree = !entry || entry.operation !== 'PUT'
    const holder = isFree ? undefined : entry.json<LeaseValue>()
    if (entry && entry.revision !== seen.revision) seen = { revision: entry.revision, sinceMs: Date.now() }
    if (isFree || holder?.instance === options.instance || Date.now() - seen.sinceMs > options.leaseMs) {
      try {
        return entry ? await bucket.update(worker, value, entry.revision) : await bucket.create(worker, value)
      } catch {
        // Somebody else was faster; look again.
        continue
      }
    }
    if (!told) options.onWaiting(holder ? `${holder.instance} (pid ${holder.pid})` : 'another process')
    told = true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new PipelineError('WRITER_FENCED', `${worker}: stopped while waiting to become active`)
}

function keep(
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
      if (entry?.operation === 'PUT' && entry.string() === value) revision = entry.revision
      else if (entry) options.onLost(new PipelineError('WRITER_FENCED', `${worker}: another process has taken over`))
      else options.log.warn({ worker, problem: messageOf(error) }, 'cannot renew the lease, trying again')
    }
  }
  const timer = setInterval(() => {
    renewing ??= renew().finally(() => (renewing = undefined))
  }, options.leaseMs / renewalsPerLease)
  const release = async () => {
    if (released) return
    released = true
    clearInterval(timer)
    await renewing
    await bucket.delete(worker, { previousSeq: revision }).catch(() => undefined)
  }
  options.signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  const isHeld = async () => {
    const entry = await bucket.get(worker)
    return entry?.operation === 'PUT' && entry.string() === value
  }
  return { release, isHeld }
}
