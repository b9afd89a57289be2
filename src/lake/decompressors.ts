import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import type { CompressionCodec, Compressors } from 'hyparquet'

/** For files of others too: delta-rs and Spark write snappy, which hyparquet has itself, unless they are told otherwise. */
export const decompressors: Compressors = {
  ZSTD: (data) => zstdDecompressSync(data),
  GZIP: (data) => gunzipSync(data),
  BROTLI: (data) => brotliDecompressSync(data),
}

/** @returns false for those that nothing here decompresses: LZ4 and LZO */
export function isDecompressible(codec: CompressionCodec): boolean {
  return codec === 'UNCOMPRESSED' || codec === 'SNAPPY' || codec in decompressors
}
