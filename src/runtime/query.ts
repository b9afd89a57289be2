import { JetStreamApiError } from '@nats-io/jetstream'
import { ClosedConnectionError, NoRespondersError, RequestError, TimeoutError } from '@nats-io/transport-node'
import type { Nats } from './nats.ts'

const queryTimeoutMs = 1_000

/** Asks whoever answers a subject. @returns undefined when nobody does */
export async function query(nats: Nats, subject: string, body = ''): Promise<Uint8Array | undefined> {
  try {
    return (await nats.connection.request(subject, body, { timeout: queryTimeoutMs })).data
  } catch (error) {
    if (isUnavailable(error)) return undefined
    throw error
  }
}

/** True for what NATS throws while it is away or cannot answer. */
export function isUnavailable(error: unknown): boolean {
  return (
    error instanceof TimeoutError ||
    error instanceof NoRespondersError ||
    error instanceof RequestError ||
    error instanceof ClosedConnectionError ||
    error instanceof JetStreamApiError
  )
}
