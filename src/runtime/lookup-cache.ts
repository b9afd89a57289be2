import { LRUCache } from 'lru-cache'

/** Why a look-up gave nothing; never that there is nothing. */
export class LookupTimeout extends Error {
  override name = 'LookupTimeout'
}

/**
 * What was looked up lately: at most `max` entries, each for `ttlMs`, the least recently used go first. Who asks for the
 * same at once waits for one look-up; it goes on behind a caller that stopped waiting, for the next one.
 */
export class LookupCache<V extends object> {
  readonly #cache: LRUCache<string, V>
  readonly #loading = new Map<string, Promise<V>>()
  readonly #timeoutMs: number
  readonly #load: (key: string) => Promise<V>
  readonly #onLoaded: ((key: string, value: V) => void) | undefined

  /**
   * @param options.onLoaded an entry is there
   * @param options.onDropped an entry is gone: too old, too many, or `delete`
   */
  constructor(options: {
    readonly max: number
    readonly ttlMs: number
    readonly timeoutMs: number
    readonly load: (key: string) => Promise<V>
    readonly onLoaded?: (key: string, value: V) => void
    readonly onDropped?: (key: string) => void
  }) {
    const { max, ttlMs, onDropped } = options
    this.#cache = new LRUCache({
      max,
      ttl: ttlMs,
      ...(onDropped ? { dispose: (_value, key) => onDropped(key) } : {}),
    })
    this.#timeoutMs = options.timeoutMs
    this.#load = options.load
    this.#onLoaded = options.onLoaded
  }

  get size(): number {
    return this.#cache.size
  }

  /** What is known without waiting. */
  peek(key: string): V | undefined {
    return this.#cache.get(key)
  }

  /** @throws LookupTimeout, and what the look-up throws */
  async get(key: string): Promise<V> {
    const known = this.#cache.get(key)
    if (known) return known
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new LookupTimeout(`no answer within ${this.#timeoutMs} ms`)), this.#timeoutMs)
    })
    try {
      return await Promise.race([this.#loading.get(key) ?? this.#start(key), timeout])
    } finally {
      clearTimeout(timer)
    }
  }

  /** It has changed: the next one who asks looks it up anew. */
  delete(key: string): void {
    this.#loading.delete(key)
    this.#cache.delete(key)
  }

  #start(key: string): Promise<V> {
    const loading = this.#load(key)
    this.#loading.set(key, loading)
    loading.then(
      (value) => {
        // Otherwise it has changed meanwhile.
        if (this.#loading.get(key) !== loading) return
        this.#loading.delete(key)
        this.#cache.set(key, value)
        this.#onLoaded?.(key, value)
      },
      () => {
        if (this.#loading.get(key) === loading) this.#loading.delete(key)
      },
    )
    return loading
  }
}
