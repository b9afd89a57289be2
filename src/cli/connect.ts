import { Option } from 'commander'
import { PipelineError, isPipelineError } from '../base/errors.ts'
import { connectNats, type Nats } from '../runtime/nats.ts'
import { orUnreachable } from '../runtime/query.ts'
import { isStreamNotFound } from '../runtime/streams.ts'
import type { StreamName } from '../subjects/contract.ts'

export const natsUrlDefault = 'nats://127.0.0.1:4222'
/** Of `up`. */
export const redisUrlDefault = 'redis://127.0.0.1:6379'
const remedy = 'start everything with `trade2026 up`, or set NATS_URL (or --nats) to the server that runs'

export interface NatsOption {
  readonly nats?: string
}

export function natsOption(): Option {
  return new Option('--nats <url>', `NATS server; unset: NATS_URL, else ${natsUrlDefault}`)
}

export function jsonOption(about = 'one JSON document on stdout'): Option {
  return new Option('--json', about).default(false)
}

/**
 * Connects to a running stack, runs a command against it and disconnects.
 * @param needs streams without which the command makes no sense
 * @throws PipelineError NATS_UNREACHABLE, NATS_VERSION, COMPONENT_MISSING
 */
export async function withNats<T>(
  options: NatsOption,
  needs: readonly StreamName[],
  run: (nats: Nats) => Promise<T>,
): Promise<T> {
  const url = options.nats ?? (process.env['NATS_URL'] || natsUrlDefault)
  let nats: Nats
  try {
    nats = await connectNats(url, 'trade2026')
  } catch (error) {
    if (!isPipelineError(error, 'NATS_UNREACHABLE')) throw error
    throw new PipelineError('NATS_UNREACHABLE', `${error.message}; ${remedy}`, { cause: error })
  }
  try {
    await Promise.all(needs.map((stream) => needStream(nats, stream)))
    return await run(nats)
  } catch (error) {
    throw orUnreachable(error)
  } finally {
    await nats.close()
  }
}

async function needStream(nats: Nats, stream: StreamName): Promise<void> {
  try {
    await nats.jsm.streams.info(stream)
  } catch (error) {
    if (!isStreamNotFound(error)) throw error
    throw new PipelineError('COMPONENT_MISSING', `the NATS server has no stream ${stream}; ${remedy}`, { cause: error })
  }
}
