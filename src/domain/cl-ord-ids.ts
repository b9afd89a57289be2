import { assert } from '../base/assert.ts'

/** A client's name for an order, linked into the windows of its account and of the venue, oldest first. */
interface ClOrdIdEntry {
  readonly account: AccountNames
  readonly clOrdId: string
  readonly orderNumber: number
  /** Still in both windows. */
  recent: boolean
  nextOfAccount: ClOrdIdEntry | undefined
  nextOfVenue: ClOrdIdEntry | undefined
}

interface AccountNames {
  readonly name: string
  readonly byClOrdId: Map<string, ClOrdIdEntry>
  size: number
  oldest: ClOrdIdEntry | undefined
  newest: ClOrdIdEntry | undefined
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
  #oldest: ClOrdIdEntry | undefined
  #newest: ClOrdIdEntry | undefined
  #size = 0
  /** Names past the windows of orders that were open then. */
  readonly #late = new Map<number, ClOrdIdEntry[]>()

  constructor(options: { perAccountMax: number; venueMax: number; isOpen: (orderNumber: number) => boolean }) {
    this.#perAccountMax = options.perAccountMax
    this.#venueMax = options.venueMax
    this.#isOpen = options.isOpen
  }

  /** The number of the order that has or had this name. */
  find(account: string, clOrdId: string): number | undefined {
    return this.#accounts.get(account)?.byClOrdId.get(clOrdId)?.orderNumber
  }

  /** Adds a name that is not known. */
  add(accountName: string, clOrdId: string, orderNumber: number): void {
    let account = this.#accounts.get(accountName)
    if (!account) {
      account = { name: accountName, byClOrdId: new Map(), size: 0, oldest: undefined, newest: undefined }
      this.#accounts.set(accountName, account)
    }
    assert(!account.byClOrdId.has(clOrdId), `clOrdId named twice: ${accountName} ${clOrdId}`)
    const entry = { account, clOrdId, orderNumber, recent: true, nextOfAccount: undefined, nextOfVenue: undefined }
    account.byClOrdId.set(clOrdId, entry)
    if (account.newest) account.newest.nextOfAccount = entry
    else account.oldest = entry
    account.newest = entry
    account.size += 1
    if (this.#newest) this.#newest.nextOfVenue = entry
    else this.#oldest = entry
    this.#newest = entry
    this.#size += 1
    if (account.size > this.#perAccountMax) this.#leaveWindow(account)
    if (this.#size > this.#venueMax) this.#leaveVenueWindow()
  }

  /** Makes a name available again. */
  free(account: string, clOrdId: string): void {
    this.#accounts.get(account)?.byClOrdId.delete(clOrdId)
  }

  /** The order has ended: forgets the names that only its being open had kept. */
  release(orderNumber: number): void {
    const entries = this.#late.get(orderNumber)
    if (!entries) return
    this.#late.delete(orderNumber)
    for (const entry of entries) this.#forget(entry)
  }

  /** Names known, as text in the order in which they were added, for the state hash. */
  *entries(): Generator<string> {
    for (const { name, byClOrdId } of this.#accounts.values())
      for (const { clOrdId, orderNumber, recent } of byClOrdId.values())
        yield JSON.stringify([name, clOrdId, orderNumber, recent])
  }

  #leaveVenueWindow(): void {
    const entry = this.#oldest
    assert(entry, 'the window has an oldest name')
    this.#oldest = entry.nextOfVenue
    this.#size -= 1
    if (!entry.recent) return
    assert(entry.account.oldest === entry, 'both windows are in the same order')
    this.#leaveWindow(entry.account)
  }

  #leaveWindow(account: AccountNames): void {
    const entry = account.oldest
    assert(entry, 'the window has an oldest name')
    account.oldest = entry.nextOfAccount
    if (!account.oldest) account.newest = undefined
    account.size -= 1
    entry.recent = false
    entry.nextOfAccount = undefined
    if (this.#isOpen(entry.orderNumber)) {
      const late = this.#late.get(entry.orderNumber)
      if (late) late.push(entry)
      else this.#late.set(entry.orderNumber, [entry])
    } else this.#forget(entry)
  }

  #forget(entry: ClOrdIdEntry): void {
    const { account, clOrdId } = entry
    // A name that was freed may meanwhile be another entry's.
    if (account.byClOrdId.get(clOrdId) === entry) account.byClOrdId.delete(clOrdId)
    if (account.size === 0 && account.byClOrdId.size === 0 && this.#accounts.get(account.name) === account)
      this.#accounts.delete(account.name)
  }
}
