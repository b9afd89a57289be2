import type { HaltTarget } from '../schemas/risk.ts'

/** Which accounts and symbols may take on no new risk. */
export class Halts {
  readonly #halted = new Map<string, HaltTarget>()

  change({ scope, name }: HaltTarget, halted: boolean): void {
    const target: HaltTarget = name === undefined ? { scope } : { scope, name }
    if (halted) this.#halted.set(keyOf(target), target)
    else this.#halted.delete(keyOf(target))
  }

  /** The widest halt that an order of this account and symbol falls under. */
  find(account: string, symbol: string): HaltTarget | undefined {
    if (this.#halted.size === 0) return undefined
    return (
      this.#halted.get(keyOf({ scope: 'all' })) ??
      this.#halted.get(keyOf({ scope: 'account', name: account })) ??
      this.#halted.get(keyOf({ scope: 'symbol', name: symbol }))
    )
  }

  /** Those in force, in an order of their own. */
  entries(): HaltTarget[] {
    return [...this.#halted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, target]) => target)
  }
}

function keyOf({ scope, name = '' }: HaltTarget): string {
  return `${scope}.${name}`
}

/** `account alice`, `symbol BTCUSDT`, `everything`. */
export function haltText({ scope, name }: HaltTarget): string {
  return name === undefined ? 'everything' : `${scope} ${name}`
}
