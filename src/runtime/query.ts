import { JetStreamApiError } from '@nats-io/jetstream'
import { ClosedConnectionError, NoRespondersError, RequestError, TimeoutError } from '@nats-io/transport-node'
import { messageOf, PipelineError } from '../base/errors.ts'
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

/** What NATS threw while it was away or could not answer, as NATS_UNREACHABLE; anything else as it is. */
export function orUnreachable(error: unknown): unknown {
  if (!isUnavailable(error)) return error
  return new PipelineError('NATS_UNREACHABLE', `NATS does not answer as it should: ${messageOf(error)}`, {
    retriable: true,
    cause: error,
  })
}
