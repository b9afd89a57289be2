/**
 * Lets the workers of a process decode each message of a stream once: the last `size` results are kept by sequence.
 * What comes out is shared and must not be changed.
 */
export function sharedDecoder<T>(
  decode: (data: Uint8Array) => T,
  size = 1_024,
): (message: { readonly sequence: number; readonly data: Uint8Array }) => T {
  const slots: ({ readonly sequence: number; readonly value: T } | undefined)[] = []
  return ({ sequence, data }) => {
    const slot = slots[sequence % size]
    if (slot?.sequence === sequence) return slot.value
    const value = decode(data)
    slots[sequence % size] = { sequence, value }
    return value
  }
}
