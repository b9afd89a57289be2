/**
 * The whole system in one table: which streams there are, who writes and who reads them. Streams, consumers,
 * permissions and the diagram in ARCHITECTURE.md come from here.
 */

const kib = 1024

export type StreamName = 'ORDERS' | 'RISK' | 'EXECUTIONS' | 'POSITIONS' | 'TICKS' | 'ALT' | 'DLQ'
export type BucketName = 'LIMITS' | 'HEALTH' | 'LEASES' | 'SNAPSHOTS' | 'attempts'

export interface StreamSpec {
  readonly name: StreamName
  /** Subjects under which messages are stored. */
  readonly stored: readonly string[]
  /** Prefix under which a single writer publishes; the stream strips it and republishes what it has stored. */
  readonly ingestPrefix?: 'w.'
  readonly discard: 'new' | 'old'
  readonly maxMsgSize?: number
  readonly maxMsgsPerSubject?: number
  /** Parts of the room for streams that this one gets (contract: ORDERS : RISK : EXECUTIONS as 1 : 2 : 6). */
  readonly share: number
  /**
   * Set where one process at a time writes, fenced by Nats-Expected-Last-Sequence: the record `{epoch, …rest}` with
   * which it takes over.
   */
  readonly epoch?: { readonly subject: string; readonly rest: Readonly<Record<string, readonly never[]>> }
  readonly about: string
}

const commandNames = ['new', 'cancel', 'replace', 'mass_cancel'] as const

export const streamSpecs: readonly StreamSpec[] = [
  {
    name: 'ORDERS',
    stored: commandNames.flatMap((name) => [`orders.${name}`, `orders.${name}.*`]),
    discard: 'new',
    maxMsgSize: 16 * kib,
    share: 10,
    about: 'commands of clients, as they came',
  },
  {
    name: 'RISK',
    stored: ['risk.decisions'],
    discard: 'new',
    share: 20,
    epoch: { subject: 'risk.decisions', rest: { records: [] } },
    about: 'log of record: decisions of the gate, normalised commands inside',
  },
  {
    name: 'EXECUTIONS',
    stored: ['executions.>'],
    ingestPrefix: 'w.',
    discard: 'new',
    share: 60,
    epoch: { subject: 'executions._epoch', rest: { reports: [] } },
    about: 'reports: the life of every order',
  },
  {
    name: 'POSITIONS',
    stored: ['positions.>'],
    ingestPrefix: 'w.',
    discard: 'new',
    maxMsgsPerSubject: 1,
    share: 3,
    epoch: { subject: 'positions._epoch', rest: {} },
    about: 'latest position of every account and symbol',
  },
  {
    name: 'TICKS',
    stored: ['market.tick.*.*'],
    discard: 'new',
    maxMsgSize: 16 * kib,
    share: 4,
    about: 'market data, own trades included (venue T2026)',
  },
  {
    name: 'ALT',
    stored: ['alt.norm.*'],
    discard: 'new',
    maxMsgSize: 512 * kib,
    share: 2,
    about: 'news, filings, social: normalised documents',
  },
  {
    name: 'DLQ',
    stored: ['dlq.*.*.*'],
    discard: 'old',
    share: 1,
    about: 'unreadable messages with the reason in headers',
  },
]

export interface BucketSpec {
  readonly name: BucketName
  readonly history: number
  readonly maxBytes?: number
  /** Set where the bucket grows with the state: parts of the room, as a stream has them. */
  readonly share?: number
  readonly about: string
}

export const bucketSpecs: readonly BucketSpec[] = [
  { name: 'LIMITS', history: 64, maxBytes: 16 * kib * kib, about: 'limits and halts per account and symbol' },
  { name: 'HEALTH', history: 1, maxBytes: 4 * kib * kib, about: 'last successful probe write of every worker' },
  { name: 'LEASES', history: 1, maxBytes: 1 * kib * kib, about: 'which process of a worker is active' },
  { name: 'attempts', history: 1, maxBytes: 1 * kib * kib, about: 'how often a handler has thrown on a record' },
  { name: 'SNAPSHOTS', history: 1, share: 7, about: 'states of gate, matcher and PnL, from which they go on' },
]

export type WorkerName =
  | 'risk-gate'
  | 'oms-matcher'
  | 'pnl-updater'
  | 'tape'
  | 'gateway'
  | 'risk-check'
  | 'tick-sink'
  | 'alt-sink'
  | 'execution-sink'
  | 'janitor'

export interface WorkerSpec {
  readonly name: WorkerName
  /** The input whose messages it answers for; undefined for the doors. */
  readonly input?: StreamName
  /** Streams it listens to besides. */
  readonly alsoReads: readonly StreamName[]
  readonly writes: readonly StreamName[]
  /** Written by this worker alone, fenced; its position is read back from its own last output here. */
  readonly output?: StreamName
  /** Under which subject its last output is; unset: the last message of `output`. */
  readonly positionSubject?: string
  readonly httpPort: number
  /** Not part of a stack: started by who wants one, or many. */
  readonly isExtra?: true
  readonly about: string
}

export const workerSpecs: readonly WorkerSpec[] = [
  {
    name: 'gateway',
    alsoReads: ['EXECUTIONS', 'POSITIONS'],
    writes: ['ORDERS'],
    httpPort: 8099,
    about: 'HTTP door: publishes commands, answers with stored reports',
  },
  {
    name: 'risk-gate',
    input: 'ORDERS',
    alsoReads: ['EXECUTIONS', 'POSITIONS'],
    writes: ['RISK', 'DLQ'],
    output: 'RISK',
    httpPort: 8103,
    about: 'decides every command; holds before the match, releases after',
  },
  {
    name: 'oms-matcher',
    input: 'RISK',
    alsoReads: [],
    writes: ['EXECUTIONS'],
    output: 'EXECUTIONS',
    httpPort: 8101,
    about: 'keeps the books and matches',
  },
  {
    name: 'pnl-updater',
    input: 'EXECUTIONS',
    alsoReads: ['TICKS'],
    writes: ['POSITIONS'],
    output: 'POSITIONS',
    positionSubject: 'positions._watermark',
    httpPort: 8100,
    about: 'positions, PnL and fees; projects them into Redis',
  },
  {
    name: 'tape',
    input: 'EXECUTIONS',
    alsoReads: [],
    writes: ['TICKS'],
    positionSubject: 'market.tick.T2026.*',
    httpPort: 8104,
    about: 'own trades as ticks of venue T2026',
  },
  {
    name: 'tick-sink',
    input: 'TICKS',
    alsoReads: [],
    writes: ['DLQ'],
    httpPort: 8111,
    about: 'ticks into the table market_ticks, each once',
  },
  {
    name: 'alt-sink',
    input: 'ALT',
    alsoReads: [],
    writes: ['DLQ'],
    httpPort: 8112,
    about: 'documents into the table alt_docs, each once',
  },
  {
    name: 'execution-sink',
    input: 'EXECUTIONS',
    alsoReads: [],
    writes: ['DLQ'],
    httpPort: 8113,
    about: 'reports into the table executions, each once',
  },
  {
    name: 'janitor',
    alsoReads: ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS'],
    writes: [],
    httpPort: 8106,
    about: 'takes snapshots of gate, matcher and PnL; trims what nobody needs any more',
  },
  {
    name: 'risk-check',
    alsoReads: ['TICKS'],
    writes: [],
    httpPort: 8105,
    isExtra: true,
    about: 'answers /check from Redis and KV LIMITS; as many as one likes',
  },
]

/** The workers that `up` starts. */
export const stackSpecs: readonly WorkerSpec[] = workerSpecs.filter(({ isExtra }) => !isExtra)

export function streamSpec(name: StreamName): StreamSpec {
  const spec = streamSpecs.find((candidate) => candidate.name === name)
  if (!spec) throw new RangeError(`no stream ${name}`)
  return spec
}

export function workerSpec(name: WorkerName): WorkerSpec {
  const spec = workerSpecs.find((candidate) => candidate.name === name)
  if (!spec) throw new RangeError(`no worker ${name}`)
  return spec
}

export function isWorkerName(name: string): name is WorkerName {
  return workerSpecs.some((spec) => spec.name === name)
}

/** Subjects on which a stream listens. */
export function listenSubjects(spec: StreamSpec): string[] {
  return spec.stored.map((subject) => `${spec.ingestPrefix ?? ''}${subject}`)
}

/** nats-server `permissions` of one user; the keys are those of its configuration. */
export interface Permissions {
  readonly publish: readonly string[]
  readonly subscribe: readonly string[]
  /** May answer requests, once each. */
  readonly allow_responses?: true
}

/**
 * What a worker may do on the server, and no more. Streams and buckets are made by a user who may do everything;
 * a worker finds them there.
 */
export function permissionsOf(spec: WorkerSpec): Permissions {
  const { name, input, output, alsoReads, writes } = spec
  // What is not its own durable consumer is read by ordered consumers, which choose their names.
  const ordered = [...alsoReads, ...(output ? [output, ...(input ? [input] : [])] : [])]
  // Before it writes it asks how far those are who go on from there.
  const readers = workerSpecs.filter((reader) => output !== undefined && reader.input === output)
  const seenBy = readers.flatMap((reader) => reader.output ?? [])
  const looksUp = new Set([
    ...(input ? [input] : []),
    ...ordered,
    ...writes.filter((stream) => stream !== 'DLQ'),
    ...seenBy,
  ])
  const isGate = name === 'risk-gate'
  return {
    publish: [
      ...writes.flatMap((stream) => writtenSubjects(spec, streamSpec(stream))),
      '$JS.API.INFO',
      '$JS.API.STREAM.INFO.*',
      ...[...looksUp].map((stream) => `$JS.API.STREAM.MSG.GET.${stream}`),
      ...ordered.flatMap((stream) => consumerSubjects(stream, '>')),
      ...(input
        ? [
            ...consumerSubjects(input, name),
            `$JS.ACK.${input}.${name}.>`,
            // With the domain and a hash of the account before it.
            `$JS.ACK.*.*.${input}.${name}.>`,
            `$KV.LEASES.${name}`,
            '$JS.API.STREAM.MSG.GET.KV_LEASES',
            ...(output
              ? ['$JS.API.STREAM.MSG.GET.KV_SNAPSHOTS', `$KV.attempts.${name}.>`, '$JS.API.STREAM.MSG.GET.KV_attempts']
              : []),
          ]
        : []),
      // Of several processes of a worker each has a key below the worker's.
      `$KV.HEALTH.${name}`,
      `$KV.HEALTH.${name}.>`,
      ...(isGate
        ? ['risk.alert.*', '$KV.LIMITS.>', '$JS.API.STREAM.MSG.GET.KV_LIMITS', ...consumerSubjects('KV_LIMITS', '>')]
        : []),
      ...(name === 'risk-check' ? ['$JS.API.STREAM.MSG.GET.KV_LIMITS', ...consumerSubjects('KV_LIMITS', '>')] : []),
      ...(name === 'gateway' ? ['query.>'] : []),
      ...(name === 'janitor' ? janitorSubjects : []),
    ],
    subscribe: ['_INBOX.>', ...(name === 'oms-matcher' ? ['query.>'] : [])],
    ...(name === 'oms-matcher' ? { allow_responses: true } : {}),
  }
}

/** It alone may write snapshots, and purge. */
const janitorSubjects = [
  '$KV.SNAPSHOTS.>',
  '$KV.LEASES.janitor',
  ...['KV_SNAPSHOTS', 'KV_LEASES', 'KV_HEALTH', 'KV_attempts', 'TICKS'].map(
    (stream) => `$JS.API.STREAM.MSG.GET.${stream}`,
  ),
  ...['KV_SNAPSHOTS', 'ORDERS', 'RISK', 'EXECUTIONS', 'TICKS', 'ALT'].map((stream) => `$JS.API.STREAM.PURGE.${stream}`),
]

/** @param consumer name of the consumer, or `>` for any, with a filter too */
function consumerSubjects(stream: string, consumer: string): string[] {
  return ['CREATE', 'INFO', 'DELETE', 'MSG.NEXT'].map((action) => `$JS.API.CONSUMER.${action}.${stream}.${consumer}`)
}

/** Of a stream with many writers only what is this worker's. */
function writtenSubjects({ name, output, positionSubject }: WorkerSpec, stream: StreamSpec): readonly string[] {
  if (stream.name === 'DLQ') return [`dlq.${name}.*.*`]
  if (!output && positionSubject !== undefined) return [positionSubject]
  return listenSubjects(stream)
}
