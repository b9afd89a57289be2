import { constants, zstdCompressSync } from 'node:zlib'

const options = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** Below it a call of the compressor (15 µs) costs more than it saves. Not above the window that a stored frame declares. */
const storedBytesMax = 512

/** One zstd frame at level 1; of little data one that holds it as it is. */
export function zstdFrame(data: Uint8Array): Uint8Array {
  return data.length > storedBytesMax ? zstdCompressSync(data, options) : storedFrame(data)
}

/** Magic number, descriptor and window of 1 KiB, then one last raw block. @see RFC 8878, sections 3.1.1 and 3.1.1.2 */
function storedFrame(data: Uint8Array): Uint8Array {
  const frame = new Uint8Array(9 + data.length)
  const block = (data.length << 3) | 1
  frame.set([0x28, 0xb5, 0x2f, 0xfd, 0, 0, block & 0xff, block >> 8, 0])
  frame.set(data, 9)
  return frame
}
