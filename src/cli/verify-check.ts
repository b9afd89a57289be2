/** What a check of `verify` has come to (contract, section 4). */
export interface CheckResult {
  readonly name: string
  readonly ok: boolean
  /** Records that were compared. */
  readonly compared: number
  readonly differences: number
  /** The first of them; null: there is none. */
  readonly first: string | null
}

/** Counts what agrees and keeps the first difference. */
export class Check {
  readonly name: string
  #compared = 0
  #differences = 0
  #first: string | undefined

  constructor(name: string) {
    this.name = name
  }

  /** @param difference undefined: it is as it should be */
  compared(difference: string | undefined): void {
    this.#compared += 1
    if (difference !== undefined) this.differs(difference)
  }

  differs(difference: string): void {
    this.#differences += 1
    this.#first ??= difference
  }

  add(count: number): void {
    this.#compared += count
  }

  result(): CheckResult {
    const { name } = this
    const ok = this.#differences === 0
    return { name, ok, compared: this.#compared, differences: this.#differences, first: this.#first ?? null }
  }
}
