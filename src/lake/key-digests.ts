import { hash } from 'node:crypto'

/**
 * A set of millions of keys, as digests of 53 bits, 8 bytes each. It has every key that was added; of others it may have
 * one in 2^53 for each of these.
 */
export class KeyDigests {
  #digests = new Float64Array(1_024)
  #count = 0
  #isSorted = true

  add(key: string): void {
    if (this.#count === this.#digests.length) {
      const larger = new Float64Array(this.#count * 2)
      larger.set(this.#digests)
      this.#digests = larger
    }
    this.#digests[this.#count] = digestOf(key)
    this.#count += 1
    this.#isSorted = false
  }

  /** Sorts all first after keys were added. */
  has(key: string): boolean {
    if (!this.#isSorted) this.#digests.subarray(0, this.#count).sort()
    this.#isSorted = true
    const digest = digestOf(key)
    let [low, high] = [0, this.#count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#digests[middle] ?? 0) < digest) low = middle + 1
      else high = middle
    }
    return low < this.#count && this.#digests[low] === digest
  }
}

function digestOf(key: string): number {
  const digest = hash('sha1', key, 'buffer')
  return digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)
}
