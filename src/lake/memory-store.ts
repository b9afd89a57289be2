import {
  assertKey,
  compareKeys,
  storeUnavailable,
  type CreateOutcome,
  type ObjectInfo,
  type ObjectStore,
} from './store.ts'

export interface StoreCall {
  readonly operation: 'check' | 'get' | 'put' | 'putIfAbsent' | 'list' | 'delete'
  /** Of `delete` the first one, of `list` the prefix. */
  readonly key: string
}

/**
 * What may become of a call.
 * fail: nothing is done, LAKE_STORE_UNAVAILABLE.
 * stored: done, but the answer is lost; lost: neither done nor answered; late: done only after the key was next read or listed.
 * `putIfAbsent` answers these with `unknown`, the others as `fail`.
 * crashBefore, crashAfter: the process that called dies without the call done, or done: a StoreCrash, and nothing but
 * that from then on.
 */
export type Fault = 'fail' | 'stored' | 'lost' | 'late' | 'crashBefore' | 'crashAfter'

/** The end of a simulated process; never to be caught by what is tested. */
export class StoreCrash extends Error {
  override name = 'StoreCrash'
}

export interface MemoryStore extends ObjectStore {
  readonly objects: Map<string, { readonly data: Uint8Array; readonly modifiedMs: number }>
  /** What was called, in order. */
  readonly calls: readonly StoreCall[]
  /** Does this to the next call that matches; faults are tried in the order they were given. */
  inject(fault: Fault, matches?: (call: StoreCall) => boolean): void
  /** The same objects, as another process sees them: no faults, and not crashed. */
  reopen(): MemoryStore
}

/** Objects in memory, for tests and simulations. */
export function openMemoryStore(objects: MemoryStore['objects'] = new Map()): MemoryStore {
  const uri = 'memory:'
  const calls: StoreCall[] = []
  const faults: { readonly fault: Fault; readonly matches: (call: StoreCall) => boolean }[] = []
  const late = new Map<string, () => void>()
  let hasCrashed = false

  /** @param otherwise what the caller gets when the answer is lost */
  async function call<T>(call: StoreCall, perform: () => T, otherwise?: T): Promise<T> {
    await Promise.resolve()
    if (hasCrashed) throw new StoreCrash()
    calls.push(call)
    const index = faults.findIndex(({ matches }) => matches(call))
    const fault = index === -1 ? undefined : faults.splice(index, 1)[0]?.fault
    if (fault === undefined) return perform()
    if (fault === 'stored' || fault === 'crashAfter') perform()
    if (fault === 'late') late.set(call.key, perform)
    if (fault === 'crashBefore' || fault === 'crashAfter') {
      hasCrashed = true
      throw new StoreCrash()
    }
    if (fault === 'fail' || otherwise === undefined) throw storeUnavailable(uri, `a fault was injected: ${fault}`)
    return otherwise
  }

  /** The late ones arrive whose keys have now been looked at. */
  function arrive(prefix: string): void {
    for (const [key, perform] of late) {
      if (!key.startsWith(prefix)) continue
      late.delete(key)
      perform()
    }
  }

  const write = (key: string, data: Uint8Array) => objects.set(key, { data: data.slice(), modifiedMs: Date.now() })
  return {
    uri,
    objects,
    calls,
    inject: (fault, matches = () => true) => faults.push({ fault, matches }),
    reopen: () => openMemoryStore(objects),
    check: () => call({ operation: 'check', key: '' }, () => undefined),
    get: (key, range) =>
      call({ operation: 'get', key }, () => {
        const found = objects.get(key)?.data.slice(range?.start, range?.end)
        arrive(key)
        return found
      }),
    put: async (key, data) => {
      assertKey(key)
      await call({ operation: 'put', key }, () => void write(key, data))
    },
    putIfAbsent: async (key, data) => {
      assertKey(key)
      const create = (): CreateOutcome => {
        if (objects.has(key)) return 'exists'
        write(key, data)
        return 'created'
      }
      return call({ operation: 'putIfAbsent', key }, create, 'unknown')
    },
    async *list(prefix, startAfter = ''): AsyncIterable<ObjectInfo> {
      const keys = await call({ operation: 'list', key: prefix }, () => {
        const found = [...objects.keys()].filter((key) => key.startsWith(prefix) && compareKeys(key, startAfter) > 0)
        arrive(prefix)
        return found
      })
      for (const key of keys.sort(compareKeys)) {
        const found = objects.get(key)
        if (found) yield { key, bytes: found.data.length, modifiedMs: found.modifiedMs }
      }
    },
    delete: (keys) =>
      call({ operation: 'delete', key: keys[0] ?? '' }, () => keys.forEach((key) => objects.delete(key))),
    close: () => undefined,
  }
}
