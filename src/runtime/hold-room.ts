import { setTimeout as sleep } from 'node:timers/promises'
import type { Nats } from './nats.ts'

/** In KV LEASES; who it is renewed by wants nothing to be trimmed. */
export const holdKey = 'verify'
const renewMs = 2_000
/** A janitor looks every second, and may be about to trim. */
export const janitorLookMs = 1_000

/** Keeps the janitor from trimming until it is released. */
export async function holdRoom(nats: Nats): Promise<() => Promise<void>> {
  const bucket = await nats.kvm.open('LEASES')
  const put = () => bucket.put(holdKey, JSON.stringify({ pid: process.pid, atMs: Date.now() }))
  await put()
  if ((await bucket.get('janitor'))?.operation === 'PUT') await sleep(2 * janitorLookMs)
  const timer = setInterval(() => void put().catch(() => undefined), renewMs)
  return async () => {
    clearInterval(timer)
    await bucket.delete(holdKey).catch(() => undefined)
  }
}
