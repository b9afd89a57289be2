import { assert } from '../base/assert.ts'
import { PipelineError } from '../base/errors.ts'

/** What is known of an object without reading it. */
export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
  readonly modifiedMs: number
}

/**
 * What became of a write that may only make an object. `unknown`: it may or may not be there (time-out, broken
 * connection, 409, 5xx); who writes must read the key before it goes on.
 */
export type CreateOutcome = 'created' | 'exists' | 'unknown'

/**
 * Where a lake is: objects under keys with `/` between their parts, as on S3. Keys are taken as they are: escaping them
 * is the caller's work. No part of a key may be empty or begin with `.`, and no
 * key may be the folder of another.
 *
 * Everything throws PipelineError LAKE_STORE_UNAVAILABLE (retriable, the message says why in the words of an operator:
 * no connection, key refused, no such bucket, disk full) when the store cannot do it.
 */
export interface ObjectStore {
  /** `s3://bucket/prefix` or an absolute path; for messages and for other readers. */
  readonly uri: string
  /**
   * Reachable, writable and able to create exclusively; called once at start.
   * @throws PipelineError LAKE_STORE_UNSUITABLE (not retriable) when it can never create exclusively
   */
  check(): Promise<void>
  /**
   * @param range from `start`, `end` not included; what lies beyond the end of the object is not there
   * @returns undefined when there is no such object
   */
  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined>
  /** Durable when it resolves; replaces what was there. Retried by the store. */
  put(key: string, data: Uint8Array): Promise<void>
  /** Durable when it resolves `created`. Never retried by the store. */
  putIfAbsent(key: string, data: Uint8Array): Promise<CreateOutcome>
  /** Objects whose key begins with `prefix`, after the key `startAfter`, in order of their UTF-8 bytes. */
  list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo>
  /** What is not there counts as deleted. */
  delete(keys: readonly string[]): Promise<void>
  close(): void
}

/** The part of a store below `prefix`, which ends with `/`. */
export function storeBelow(store: ObjectStore, prefix: string): ObjectStore {
  return {
    uri: `${store.uri}/${prefix.slice(0, -1)}`,
    check: () => store.check(),
    get: (key, range) => store.get(prefix + key, range),
    put: (key, data) => store.put(prefix + key, data),
    putIfAbsent: (key, data) => store.putIfAbsent(prefix + key, data),
    async *list(below, startAfter) {
      const after = startAfter === undefined ? undefined : prefix + startAfter
      for await (const info of store.list(prefix + below, after)) yield { ...info, key: info.key.slice(prefix.length) }
    },
    delete: (keys) => store.delete(keys.map((key) => prefix + key)),
    close: () => undefined,
  }
}

/** What is said of keys at `ObjectStore`. */
export function isKey(key: string): boolean {
  return key.split('/').every((part) => part !== '' && !part.startsWith('.'))
}

/** What no object can have for a key, such as `a/../b`, is not there for those who read or delete. */
export function canBeThere(key: string): boolean {
  return key.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
}

export function assertKey(key: string): void {
  assert(isKey(key), `${JSON.stringify(key)} is no key`)
}

/** Orders keys by their UTF-8 bytes, as stores list them; `<` orders by UTF-16 units, where emoji precede U+E000. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  let at = 0
  while (at < length && a.charCodeAt(at) === b.charCodeAt(at)) at += 1
  return at === length ? a.length - b.length : rank(a.charCodeAt(at)) - rank(b.charCodeAt(at))
}

/** Surrogates stand for what comes after all other units. */
const rank = (unit: number): number => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x2800 : unit)

/** @param why it cannot make an object only if there is none, and what to do */
export function storeUnsuitable(uri: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('LAKE_STORE_UNSUITABLE', `${uri}: ${why}`, { cause })
}

/** @param why in the words of an operator, after the name of the store */
export function storeUnavailable(uri: string, why: string, cause?: unknown): PipelineError {
  return new PipelineError('LAKE_STORE_UNAVAILABLE', `${uri}: ${why}`, { retriable: true, cause })
}
