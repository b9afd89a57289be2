import type { AsyncBuffer } from 'hyparquet'
import type { ObjectStore } from './store.ts'

const blockBytes = 1 << 18
const blocksMax = 32

/**
 * An object as hyparquet reads it, by blocks of which the last used are kept: it asks for many small ranges beside each
 * other, each of which would be a request of its own.
 *
 * @throws Error on reading, when the object has not so many bytes
 */
export function blockBuffer(store: ObjectStore, key: string, byteLength: number): AsyncBuffer {
  const blocks = new Map<number, Promise<Uint8Array>>()
  const load = async (index: number): Promise<Uint8Array> => {
    const start = index * blockBytes
    const end = Math.min(start + blockBytes, byteLength)
    const data = await store.get(key, { start, end })
    if (data?.length !== end - start) throw new Error(`${key} ends before byte ${end}`)
    return data
  }
  const block = (index: number): Promise<Uint8Array> => {
    const known = blocks.get(index) ?? load(index)
    blocks.delete(index)
    blocks.set(index, known)
    const [oldest] = blocks.keys()
    if (blocks.size > blocksMax && oldest !== undefined) blocks.delete(oldest)
    return known
  }
  return {
    byteLength,
    async slice(start, end = byteLength) {
      if (start < 0 || end > byteLength || start > end) throw new Error(`${key} has no bytes ${start} to ${end}`)
      const data = new Uint8Array(end - start)
      for (let at = start; at < end;) {
        const index = Math.floor(at / blockBytes)
        const part = (await block(index)).subarray(at - index * blockBytes, end - index * blockBytes)
        data.set(part, at - start)
        at += part.length
      }
      return data.buffer
    },
  }
}
