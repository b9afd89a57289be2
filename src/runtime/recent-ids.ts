import { assert } from '../base/assert.ts'

/** The ids of the last messages that came into a table, each with the sequence of its message. */
export type LastIds = (count: number) => Promise<readonly (readonly [id: string, sequence: number])[]>

/**
 * Sequences by ids of 64 bits, in open addressing with linear probing: a tenth of a Map of strings, and nothing for the
 * garbage collector to walk through.
 */
class SequencesById {
  readonly #mask: number
  readonly #high: Uint32Array
  readonly #low: Uint32Array
  /** 0 where there is no entry. */
  readonly #sequences: Float64Array
  #length = 0

  constructor(size: number) {
    const slots = 2 ** Math.ceil(Math.log2(size * 1.25))
    this.#mask = slots - 1
    this.#high = new Uint32Array(slots)
    this.#low = new Uint32Array(slots)
    this.#sequences = new Float64Array(slots)
  }

  get length(): number {
    return this.#length
  }

  get(high: number, low: number): number | undefined {
    const sequence = this.#sequences[this.#slotOf(high, low)] ?? 0
    return sequence === 0 ? undefined : sequence
  }

  set(high: number, low: number, sequence: number): void {
    const slot = this.#slotOf(high, low)
    if (this.#sequences[slot] === 0) this.#length += 1
    this.#high[slot] = high
    this.#low[slot] = low
    this.#sequences[slot] = sequence
  }

  clear(): void {
    this.#sequences.fill(0)
    this.#length = 0
  }

  /** Where the id is, or would be. */
  #slotOf(high: number, low: number): number {
    let slot = low & this.#mask
    while (this.#sequences[slot] !== 0 && (this.#high[slot] !== high || this.#low[slot] !== low))
      slot = (slot + 1) & this.#mask
    return slot
  }
}

/**
 * The ids of the last messages of a feed, at least `size` and at most twice as many, so that a repeat is known. Each is
 * kept with the sequence of the message that had it first: after a crash or a conflict the same messages come again,
 * and none of them is a repeat of itself, nor of one that came behind it.
 */
export class RecentIds {
  readonly #size: number
  readonly #lastIds: LastIds
  #younger: SequencesById
  #older: SequencesById

  /** Ids are 16 hex digits of a good hash. */
  constructor(size: number, lastIds: LastIds) {
    this.#size = size
    this.#lastIds = lastIds
    this.#younger = new SequencesById(size)
    this.#older = new SequencesById(size)
  }

  /** Forgets all but what is in the table. */
  async recover(): Promise<void> {
    const last = await this.#lastIds(this.#size)
    this.#younger.clear()
    this.#older.clear()
    for (const [id, sequence] of last) this.isRepeat(id, sequence)
  }

  /** @returns whether an earlier message had this id; if none, it is kept */
  isRepeat(id: string, sequence: number): boolean {
    assert(id.length === 16, 'an id of 64 bits')
    const high = numberFromHex(id, 0)
    const low = numberFromHex(id, 8)
    const first = this.#younger.get(high, low) ?? this.#older.get(high, low)
    if (first !== undefined && first < sequence) return true
    if (this.#younger.length >= this.#size) {
      const emptied = this.#older
      emptied.clear()
      this.#older = this.#younger
      this.#younger = emptied
    }
    this.#younger.set(high, low, sequence)
    return false
  }

  get length(): number {
    return this.#younger.length + this.#older.length
  }
}

/** 32 bits from 8 hex digits in lower case. */
function numberFromHex(hex: string, from: number): number {
  let number = 0
  for (let at = from; at < from + 8; at += 1) {
    const code = hex.charCodeAt(at)
    number = (number << 4) | (code < 0x3a ? code - 0x30 : code - 0x57)
  }
  return number >>> 0
}
