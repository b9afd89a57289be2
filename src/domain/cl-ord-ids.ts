import { assert } from '../base/assert.ts'
import { textColumn, textsOf, type TextColumn } from './columns.ts'

/** The names of one account; its window is a chain of ring positions, oldest first. */
interface AccountNames {
  readonly name: string
  readonly orderNumbers: Map<string, number>
  size: number
  oldestAt: number
  newestAt: number
}

const capacityMin = 1_024

/** The venue's window, oldest first, and the names past it. */
export interface ClOrdIdsState {
  readonly accounts: TextColumn
  readonly clOrdIds: readonly (string | undefined)[]
  readonly orderNumbers: Float64Array
  readonly late: readonly (readonly [orderNumber: number, names: readonly (readonly [string, string])[]])[]
}

/**
 * Remembers which order (account, clOrdId) named: for the last names of each account and of the venue, counted as they
 * are added so that a replay forgets the same ones, and for every order that is open.
 */
export class ClOrdIds {
  readonly #perAccountMax: number
  readonly #venueMax: number
  readonly #isOpen: (orderNumber: number) => boolean
  readonly #accounts = new Map<string, AccountNames>()
  /** The venue's window: a ring in the order of adding; columns, since millions of objects would burden the collector. */
  readonly #clOrdIds: (string | undefined)[] = []
  /** Whose window the name is still in. */
  readonly #accountOf: (AccountNames | undefined)[] = []
  #orderNumbers = new Float64Array(capacityMin)
  #nextOfAccount = new Uint32Array(capacityMin)
  #start = 0
  #size = 0
  /** Names past the windows of orders that were open then, by order number. */
  readonly #late = new Map<number, { readonly account: AccountNames; readonly clOrdId: string }[]>()

  constructor(options: { perAccountMax: number; venueMax: number; isOpen: (orderNumber: number) => boolean }) {
    this.#perAccountMax = options.perAccountMax
    this.#venueMax = options.venueMax
    this.#isOpen = options.isOpen
  }

  /** The number of the order that has or had this name. */
  find(account: string, clOrdId: string): number | undefined {
    return this.#accounts.get(account)?.orderNumbers.get(clOrdId)
  }

  /** Adds a name that is not known. */
  add(accountName: string, clOrdId: string, orderNumber: number): void {
    this.#makeRoom()
    const account = this.#account(accountName)
    assert(!account.orderNumbers.has(clOrdId), `clOrdId named twice: ${accountName} ${clOrdId}`)
    this.#append(account, clOrdId, orderNumber)
  }

  /**
   * Makes way for a record decided under a smaller memory, which gave the name of an ended order again. Its place in the
   * windows stays taken.
   */
  yield(account: string, clOrdId: string): void {
    const orderNumbers = this.#accounts.get(account)?.orderNumbers
    const orderNumber = orderNumbers?.get(clOrdId)
    if (!orderNumbers || orderNumber === undefined) return
    assert(!this.#isOpen(orderNumber), `clOrdId of an open order named again: ${account} ${clOrdId}`)
    orderNumbers.delete(clOrdId)
  }

  /** Makes a name available again. Searches the account's window: for faults, which are rare. */
  free(accountName: string, clOrdId: string): void {
    const account = this.#accounts.get(accountName)
    const orderNumber = account?.orderNumbers.get(clOrdId)
    if (!account || orderNumber === undefined) return
    account.orderNumbers.delete(clOrdId)
    let at = account.oldestAt
    for (let left = account.size; left > 0; left -= 1) {
      if (this.#clOrdIds[at] === clOrdId) this.#clOrdIds[at] = undefined
      at = this.#nextOfAccount[at] ?? 0
    }
    const late = this.#late.get(orderNumber)
    if (!late) return
    const others = late.filter((name) => name.account !== account || name.clOrdId !== clOrdId)
    this.#late.set(orderNumber, others)
  }

  /** The order has ended: forgets the names that only its being open had kept. */
  release(orderNumber: number): void {
    const late = this.#late.get(orderNumber)
    if (!late) return
    this.#late.delete(orderNumber)
    for (const { account, clOrdId } of late) {
      account.orderNumbers.delete(clOrdId)
      this.#dropIfEmpty(account)
    }
  }

  /** Names known, as text in the order in which they were added, for the state hash. */
  *entries(): Generator<string> {
    for (let index = 0; index < this.#size; index += 1) {
      const at = (this.#start + index) % this.#orderNumbers.length
      yield JSON.stringify([this.#accountOf[at]?.name, this.#clOrdIds[at], this.#orderNumbers[at]])
    }
    for (const [orderNumber, names] of this.#late)
      for (const { account, clOrdId } of names) yield JSON.stringify([orderNumber, account.name, clOrdId])
  }

  save(): ClOrdIdsState {
    const ring = Array.from({ length: this.#size }, (_, index) => (this.#start + index) % this.#orderNumbers.length)
    return {
      accounts: textColumn(ring.map((at) => this.#accountOf[at]?.name)),
      clOrdIds: ring.map((at) => this.#clOrdIds[at]),
      orderNumbers: Float64Array.from(ring, (at) => this.#orderNumbers[at] ?? 0),
      late: Array.from(this.#late, ([orderNumber, names]) => [
        orderNumber,
        names.map(({ account, clOrdId }) => [account.name, clOrdId] as const),
      ]),
    }
  }

  /** Goes on from a saved state, after the orders have; what a smaller memory has no room for is forgotten. */
  load({ accounts, clOrdIds, orderNumbers, late }: ClOrdIdsState): void {
    assert(this.#size === 0, 'a state is loaded once, at the start')
    for (const [orderNumber, names] of late)
      this.#late.set(
        orderNumber,
        names.map(([name, clOrdId]) => {
          const account = this.#account(name)
          account.orderNumbers.set(clOrdId, orderNumber)
          return { account, clOrdId }
        }),
      )
    textsOf(accounts).forEach((name, row) => {
      const clOrdId = clOrdIds[row]
      const orderNumber = orderNumbers[row] ?? 0
      this.#makeRoom()
      this.#append(name === undefined ? undefined : this.#account(name), clOrdId, orderNumber)
    })
  }

  #account(name: string): AccountNames {
    let account = this.#accounts.get(name)
    if (!account) {
      account = { name, orderNumbers: new Map(), size: 0, oldestAt: 0, newestAt: 0 }
      this.#accounts.set(name, account)
    }
    return account
  }

  /** Puts an entry at the end of both windows; without an account it only takes its place in the venue's. */
  #append(account: AccountNames | undefined, clOrdId: string | undefined, orderNumber: number): void {
    if (account?.size === this.#perAccountMax) this.#leaveWindow(account)
    if (clOrdId !== undefined) account?.orderNumbers.set(clOrdId, orderNumber)
    const at = (this.#start + this.#size) % this.#orderNumbers.length
    this.#size += 1
    this.#clOrdIds[at] = clOrdId
    this.#accountOf[at] = account
    this.#orderNumbers[at] = orderNumber
    if (!account) return
    if (account.size === 0) account.oldestAt = at
    else this.#nextOfAccount[account.newestAt] = at
    account.newestAt = at
    account.size += 1
  }

  #makeRoom(): void {
    if (this.#size === this.#venueMax) this.#leaveVenueWindow()
    else if (this.#size === this.#orderNumbers.length) this.#grow()
  }

  #leaveVenueWindow(): void {
    const account = this.#accountOf[this.#start]
    if (account) {
      assert(account.oldestAt === this.#start, 'both windows are in the same order')
      this.#leaveWindow(account)
      this.#dropIfEmpty(account)
    }
    this.#start = (this.#start + 1) % this.#orderNumbers.length
    this.#size -= 1
  }

  /** The account's oldest name leaves its window, and is forgotten unless its order is open. */
  #leaveWindow(account: AccountNames): void {
    const at = account.oldestAt
    const clOrdId = this.#clOrdIds[at]
    const orderNumber = this.#orderNumbers[at] ?? 0
    account.oldestAt = this.#nextOfAccount[at] ?? 0
    account.size -= 1
    this.#clOrdIds[at] = undefined
    this.#accountOf[at] = undefined
    if (clOrdId === undefined || account.orderNumbers.get(clOrdId) !== orderNumber) return
    if (!this.#isOpen(orderNumber)) {
      account.orderNumbers.delete(clOrdId)
      return
    }
    const late = this.#late.get(orderNumber)
    if (late) late.push({ account, clOrdId })
    else this.#late.set(orderNumber, [{ account, clOrdId }])
  }

  #dropIfEmpty(account: AccountNames): void {
    if (account.size === 0 && account.orderNumbers.size === 0) this.#accounts.delete(account.name)
  }

  /** Only ever full at the start of the ring: it turns round at the venue's largest size alone. */
  #grow(): void {
    const capacity = Math.min(2 * this.#size, this.#venueMax)
    const orderNumbers = new Float64Array(capacity)
    const nextOfAccount = new Uint32Array(capacity)
    orderNumbers.set(this.#orderNumbers)
    nextOfAccount.set(this.#nextOfAccount)
    this.#orderNumbers = orderNumbers
    this.#nextOfAccount = nextOfAccount
  }
}
