import { messageOf, PipelineError } from '../base/errors.ts'
import type { StreamName } from '../subjects/contract.ts'

/**
 * Decodes a message that only a worker of ours may have written.
 * @throws PipelineError STREAM_UNREADABLE naming stream and sequence
 */
export function decodeMessage<T>(
  stream: StreamName,
  { sequence, data }: { readonly sequence: number; readonly data: Uint8Array },
  decode: (data: Uint8Array) => T,
): T {
  try {
    return decode(data)
  } catch (error) {
    throw new PipelineError(
      'STREAM_UNREADABLE',
      `message ${sequence} of ${stream} was not written by a worker: ${messageOf(error)}. Whoever else may publish there must not`,
      { cause: error },
    )
  }
}
