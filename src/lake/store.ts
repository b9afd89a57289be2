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
 * is the caller's work.
 *
 * Everything throws PipelineError LAKE_STORE_UNAVAILABLE (retriable, the message says why in the words of an operator:
 * no connection, key refused, no such bucket, disk full) when the store cannot do it.
 */
export interface ObjectStore {
  /** `s3://bucket/prefix` or an absolute path; for messages and for other readers. */
  readonly uri: string
  /** Reachable, writable and able to create exclusively; called once at start. */
  check(): Promise<void>
  /** @param range from `start`, `end` not included @returns undefined when there is no such object */
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
