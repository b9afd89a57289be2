import type { Log } from './log.ts'

/** Where the names that a table has partitions for are kept. */
export interface NameStore {
  /** @returns undefined when they were never kept */
  load(): Promise<readonly string[] | undefined>
  /** From the table itself, which takes its time. */
  rebuild(): Promise<Iterable<string>>
  save(names: readonly string[]): Promise<void>
}

/**
 * The names that a table has partitions for, so that a feed that makes up names does not make up partitions. They are
 * kept beside the table, and before the commit that first has rows of a new one.
 */
export class KnownNames {
  readonly #store: NameStore
  readonly #max: number
  readonly #log: Log
  #names = new Set<string>()
  #saved = 0

  constructor(store: NameStore, max: number, log: Log) {
    this.#store = store
    this.#max = max
    this.#log = log
  }

  async recover(): Promise<void> {
    const loaded = await this.#store.load()
    this.#names = new Set(loaded ?? (await this.#store.rebuild()))
    this.#saved = loaded ? this.#names.size : -1
  }

  /** @returns false when it is a new one and there is no room for it */
  admits(name: string): boolean {
    if (this.#names.has(name)) return true
    if (this.#names.size >= this.#max) return false
    this.#names.add(name)
    return true
  }

  refusal(name: string): string {
    return `LAKE_SYMBOLS_MAX: ${name} would be one more than the ${this.#max} that may have a partition`
  }

  /** Called before each commit. */
  async save(): Promise<void> {
    const { size } = this.#names
    if (size === this.#saved) return
    await this.#store.save([...this.#names])
    this.#saved = size
    if (size >= this.#max) this.#log.warn({ names: size }, 'no room for further names, see LAKE_SYMBOLS_MAX')
  }
}
