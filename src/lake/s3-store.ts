import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { limited } from './limited.ts'
import {
  assertKey,
  canBeThere,
  compareKeys,
  storeUnavailable,
  storeUnsuitable,
  type CreateOutcome,
  type ObjectInfo,
  type ObjectStore,
} from './store.ts'

export interface S3Options {
  readonly bucket: string
  /** Before every key, with a `/` between; none without it. */
  readonly prefix?: string
  /** Of a store other than AWS, e.g. `http://127.0.0.1:9000`. */
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  /** With its secret; without both, what the AWS SDK finds: profiles, roles. */
  readonly accessKeyId?: string | undefined
  readonly secretAccessKey?: string | undefined
  readonly sessionToken?: string | undefined
  /** Bounds each attempt; a millisecond a KiB sent is added, and a read may last longer while bytes come. */
  readonly timeoutMs?: number | undefined
}

/** Objects of a bucket on S3, MinIO or another store that honours `If-None-Match: *`, which `check` finds out. */
export function openS3Store(options: S3Options): ObjectStore {
  return new S3Store(options)
}

const timeoutMsDefault = 5_000
const bytesPerMs = 1_024
/** Of what may be done again; the waits between grow from the first. */
const attemptsMax = 3
const firstWaitMs = 100
const requestsAtOnce = 32
const deletesAtOnce = 1_000

class S3Store implements ObjectStore {
  readonly uri: string
  readonly #bucket: string
  readonly #prefix: string
  readonly #timeoutMs: number
  readonly #client: S3Client
  readonly #limited = limited(requestsAtOnce)

  constructor({ bucket, prefix = '', endpoint, region = 'us-east-1', timeoutMs, ...keys }: S3Options) {
    const { accessKeyId, secretAccessKey, sessionToken } = keys
    this.uri = `s3://${bucket}${prefix && `/${prefix}`}`
    this.#bucket = bucket
    this.#prefix = prefix && `${prefix}/`
    this.#timeoutMs = timeoutMs ?? timeoutMsDefault
    this.#client = new S3Client({
      region,
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      ...(accessKeyId === undefined || secretAccessKey === undefined
        ? {}
        : { credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) } }),
      // A repeat of a PUT that was stored, but not answered, would be told that the object exists (412).
      maxAttempts: 1,
      // It would wait for leave to send, on a connection of its own.
      expectContinueHeader: false,
      // Requests are signed with the hash of their content.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: this.#timeoutMs,
        httpAgent: { keepAlive: true, maxSockets: requestsAtOnce },
        httpsAgent: { keepAlive: true, maxSockets: requestsAtOnce },
      },
    })
  }

  async check(): Promise<void> {
    const probe = `_health/conditional-put-${randomBytes(8).toString('hex')}`
    await this.put(probe, new Uint8Array())
    try {
      let outcome: CreateOutcome = 'unknown'
      for (let attempt = 1; attempt <= attemptsMax && outcome === 'unknown'; attempt += 1)
        outcome = await this.putIfAbsent(probe, new Uint8Array())
      if (outcome === 'created') throw this.#withoutConditions('ignores')
      if (outcome === 'unknown') throw storeUnavailable(this.uri, 'the store does not answer conditional writes')
    } finally {
      await this.delete([probe])
    }
  }

  async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Uint8Array | undefined> {
    if (!canBeThere(key)) return undefined
    // There is no way to ask for no bytes.
    const lastByte = range && Math.max(range.start, range.end - 1)
    const command = new GetObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      ...(range ? { Range: `bytes=${range.start}-${lastByte}` } : {}),
    })
    const data = await this.#patiently(`reading ${key}`, 0, async ({ abortSignal, onProgress }) => {
      try {
        const { Body: body } = await this.#client.send(command, { abortSignal })
        const chunks: Uint8Array[] = []
        for await (const chunk of body as AsyncIterable<Uint8Array>) {
          onProgress()
          chunks.push(chunk)
        }
        return Buffer.concat(chunks)
      } catch (error) {
        const { name } = failureOf(error)
        if (name === 'NoSuchKey') return undefined
        if (name === 'InvalidRange') return Buffer.alloc(0)
        throw error
      }
    })
    return range ? data?.subarray(0, Math.max(0, range.end - range.start)) : data
  }

  async put(key: string, data: Uint8Array): Promise<void> {
    assertKey(key)
    const command = new PutObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key, Body: data })
    await this.#patiently(`writing ${key}`, data.length, ({ abortSignal }) =>
      this.#client.send(command, { abortSignal }),
    )
  }

  async putIfAbsent(key: string, data: Uint8Array): Promise<CreateOutcome> {
    assertKey(key)
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      Body: data,
      IfNoneMatch: '*',
    })
    try {
      await this.#attempt(data.length, ({ abortSignal }) => this.#client.send(command, { abortSignal }))
      return 'created'
    } catch (error) {
      const failure = failureOf(error)
      if (failure.status === 412) return 'exists'
      if (failure.name === 'NotImplemented') throw this.#withoutConditions('does not know')
      if (failure.isRefused) throw this.#unavailable(failure, `writing ${key}`)
      return 'unknown'
    }
  }

  async *list(prefix: string, startAfter = ''): AsyncIterable<ObjectInfo> {
    // MinIO finds nothing after a start that does not begin with the prefix.
    const isWithin = startAfter.startsWith(prefix)
    if (!isWithin && compareKeys(startAfter, prefix) > 0) return
    let token: string | undefined
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix + prefix,
        ...(isWithin && startAfter !== '' ? { StartAfter: this.#prefix + startAfter } : {}),
        ...(token === undefined ? {} : { ContinuationToken: token }),
      })
      const page = await this.#patiently(`listing ${prefix}`, 0, ({ abortSignal }) =>
        this.#client.send(command, { abortSignal }),
      )
      for (const { Key: key = '', Size: bytes = 0, LastModified: modified } of page.Contents ?? [])
        yield { key: key.slice(this.#prefix.length), bytes, modifiedMs: modified?.getTime() ?? 0 }
      token = page.NextContinuationToken
    } while (token !== undefined)
  }

  async delete(keys: readonly string[]): Promise<void> {
    const left = keys.filter(canBeThere)
    for (let start = 0; start < left.length; start += deletesAtOnce) {
      const objects = left.slice(start, start + deletesAtOnce).map((key) => ({ Key: this.#prefix + key }))
      const command = new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects: objects, Quiet: true } })
      const { Errors: errors = [] } = await this.#patiently('deleting', 0, ({ abortSignal }) =>
        this.#client.send(command, { abortSignal }),
      )
      const [first] = errors.filter(({ Code: code }) => code !== 'NoSuchKey')
      if (first) {
        const failure = { name: first.Code ?? '', message: first.Message ?? '', status: undefined, isRefused: true }
        throw this.#unavailable(failure, `deleting ${first.Key}`)
      }
    }
  }

  close(): void {
    this.#client.destroy()
  }

  /** For what may be done more than once. @param bytes that are sent */
  async #patiently<T>(what: string, bytes: number, work: (attempt: Attempt) => Promise<T>): Promise<T> {
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await this.#attempt(bytes, work)
      } catch (error) {
        const failure = failureOf(error)
        const isHopeless = failure.isRefused && !connecting.has(failure.name)
        if (attempts === attemptsMax || isHopeless) throw this.#unavailable(failure, what)
        await sleep(firstWaitMs * 2 ** (attempts - 1) * (0.5 + Math.random()))
      }
    }
  }

  #attempt<T>(bytes: number, work: (attempt: Attempt) => Promise<T>): Promise<T> {
    return this.#limited(async () => {
      const abort = new AbortController()
      const timer = setTimeout(() => abort.abort(), this.#timeoutMs + bytes / bytesPerMs)
      try {
        return await work({ abortSignal: abort.signal, onProgress: () => timer.refresh() })
      } finally {
        clearTimeout(timer)
      }
    })
  }

  #withoutConditions(verb: 'ignores' | 'does not know') {
    const why = `the store ${verb} If-None-Match, without which commits can be lost: use one that honours it, as S3 and MinIO do`
    return storeUnsuitable(this.uri, why)
  }

  /** Without the SDK's error, which holds the request. */
  #unavailable({ name, status, message }: Failure, what: string) {
    const problem = problems[name] ?? (message || 'the store refuses')
    return storeUnavailable(this.uri, `${problem} (${name}${status === undefined ? '' : ` ${status}`} when ${what})`)
  }
}

interface Attempt {
  readonly abortSignal: AbortSignal
  /** Starts the time-out anew. */
  readonly onProgress: () => void
}

interface Failure {
  /** Of the store's error, else Node's code. */
  readonly name: string
  readonly message: string
  /** Of the answer, if there was one. */
  readonly status: number | undefined
  /** The store has certainly not done it. */
  readonly isRefused: boolean
}

/** It did not come to a request. */
const connecting: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'])
const passing: ReadonlySet<number> = new Set([408, 409, 429])

function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) throw error
  const { code, $metadata: metadata } = error as NodeJS.ErrnoException & { $metadata?: { httpStatusCode?: number } }
  const status = metadata?.httpStatusCode
  const name = status === undefined && code !== undefined ? code : error.name
  const isRefused =
    connecting.has(name) ||
    name === 'CredentialsProviderError' ||
    name === 'XMinioStorageFull' ||
    name === 'NotImplemented' ||
    (status !== undefined && status < 500 && !passing.has(status))
  return { name, status, message: error.message, isRefused }
}

const noAnswer = 'the store does not answer'
const noConnection = 'no connection to the store'
const wrongRegion = 'the bucket is in another region'
const busy = 'the store is too busy, or just starting'

/** By the names of errors of S3, MinIO, the SDK and Node. */
const problems: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: 'access key refused: the store does not know it',
  SignatureDoesNotMatch: 'the secret of the access key is wrong',
  AccessDenied: 'access refused: the access key may not do this',
  ExpiredToken: 'the session of the access key has expired',
  CredentialsProviderError: 'no access key was given: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  RequestTimeTooSkewed: 'the clocks of the store and of this machine differ',
  NoSuchBucket: 'no such bucket',
  InvalidBucketName: 'the bucket has no valid name',
  PermanentRedirect: wrongRegion,
  AuthorizationHeaderMalformed: wrongRegion,
  XMinioStorageFull: 'disk full',
  NotImplemented: 'the store cannot do this',
  SlowDown: busy,
  ServiceUnavailable: busy,
  XMinioServerNotInitialized: busy,
  AbortError: noAnswer,
  TimeoutError: noAnswer,
  ETIMEDOUT: noConnection,
  ECONNREFUSED: `${noConnection}: nothing listens there`,
  ENOTFOUND: `${noConnection}: its host is unknown`,
  EAI_AGAIN: `${noConnection}: its host is unknown`,
  EHOSTUNREACH: `${noConnection}: there is no way to its host`,
  ECONNRESET: 'the store broke the connection',
  EPIPE: 'the store broke the connection',
}
