import type { StreamName } from '../subjects/contract.ts'
import { decodeMessage } from './decode-message.ts'

/**
 * Lets the workers of a process decode each message of a stream once: the last `size` results are kept by sequence.
 * What comes out is shared and must not be changed; what cannot be decoded throws as `decodeMessage` does.
 */
export function sharedDecoder<T>(
  stream: StreamName,
  decode: (data: Uint8Array) => T,
  size = 1_024,
): (message: { readonly sequence: number; readonly data: Uint8Array }) => T {
  const slots: ({ readonly sequence: number; readonly value: T } | undefined)[] = []
  return (message) => {
    const { sequence } = message
    const slot = slots[sequence % size]
    if (slot?.sequence === sequence) return slot.value
    const value = decodeMessage(stream, message, decode)
    slots[sequence % size] = { sequence, value }
    return value
  }
}
