/** The ids of the last messages that came into a table, oldest first, each with the sequence of its message. */
export type LastIds = (count: number) => Promise<readonly (readonly [id: string, sequence: number])[]>

/**
 * The ids of the last messages of a feed, at least `size` and at most twice as many, so that a repeat is known. Each is
 * kept with the sequence of the message that had it first: after a crash or a conflict the same messages come again,
 * and none of them is a repeat of itself, nor of one that came behind it.
 */
export class RecentIds {
  readonly #size: number
  readonly #lastIds: LastIds
  #younger = new Map<string, number>()
  #older = new Map<string, number>()

  constructor(size: number, lastIds: LastIds) {
    this.#size = size
    this.#lastIds = lastIds
  }

  /** Forgets all but what is in the table. */
  async recover(): Promise<void> {
    const last = await this.#lastIds(this.#size)
    this.#younger = new Map()
    this.#older = new Map(last)
  }

  /** @returns whether an earlier message had this id; if none, it is kept */
  isRepeat(id: string, sequence: number): boolean {
    const first = this.#younger.get(id) ?? this.#older.get(id)
    if (first !== undefined && first < sequence) return true
    if (this.#younger.size >= this.#size) {
      this.#older = this.#younger
      this.#younger = new Map()
    }
    this.#younger.set(id, sequence)
    return false
  }

  get length(): number {
    return this.#younger.size + this.#older.size
  }
}
