/**
 * The whole system in one table: which streams there are, who writes and who reads them. Streams, consumers,
 * permissions and the diagram in ARCHITECTURE.md come from here.
 */

const kib = 1024

export type StreamName = 'ORDERS' | 'RISK' | 'EXECUTIONS' | 'POSITIONS' | 'TICKS' | 'ALT' | 'DLQ'
export type BucketName = 'LIMITS' | 'HEALTH' | 'LEASES'

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
  readonly maxBytes: number
  readonly about: string
}

export const bucketSpecs: readonly BucketSpec[] = [
  { name: 'LIMITS', history: 64, maxBytes: 16 * kib * kib, about: 'limits per account and symbol' },
  { name: 'HEALTH', history: 1, maxBytes: 4 * kib * kib, about: 'last successful probe write of every worker' },
  { name: 'LEASES', history: 1, maxBytes: 1 * kib * kib, about: 'which process of a worker is active' },
]

export type WorkerName = 'risk-gate' | 'oms-matcher' | 'pnl-updater' | 'tape' | 'gateway'

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
    alsoReads: ['EXECUTIONS'],
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
]

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

/** What a worker may do on the server, least privilege: nats-server `permissions` for its user. */
export function permissionsOf(spec: WorkerSpec): { publish: string[]; subscribe: string[] } {
  const reads = [...(spec.input ? [spec.input] : []), ...spec.alsoReads, ...(spec.output ? [spec.output] : [])]
  const streams = [...new Set([...reads, ...spec.writes])]
  return {
    publish: [
      ...spec.writes.flatMap((name) => listenSubjects(streamSpec(name))),
      ...streams.flatMap((name) => [
        `$JS.API.STREAM.INFO.${name}`,
        `$JS.API.STREAM.MSG.GET.${name}`,
        `$JS.API.DIRECT.GET.${name}`,
        `$JS.API.DIRECT.GET.${name}.>`,
      ]),
      ...reads.flatMap((name) => [
        `$JS.API.CONSUMER.*.${name}`,
        `$JS.API.CONSUMER.*.${name}.>`,
        `$JS.ACK.${name}.>`,
        // With domains and account hashes in the subject.
        `$JS.ACK.*.*.${name}.>`,
        `$JS.FC.${name}.>`,
      ]),
      '$JS.API.INFO',
      ...['HEALTH', 'LEASES', 'LIMITS'].flatMap((bucket) => [
        `$KV.${bucket}.>`,
        `$JS.API.STREAM.INFO.KV_${bucket}`,
        `$JS.API.STREAM.MSG.GET.KV_${bucket}`,
        `$JS.API.DIRECT.GET.KV_${bucket}`,
        `$JS.API.DIRECT.GET.KV_${bucket}.>`,
        `$JS.API.CONSUMER.*.KV_${bucket}`,
        `$JS.API.CONSUMER.*.KV_${bucket}.>`,
      ]),
      ...(spec.name === 'gateway' ? ['query.>'] : []),
      ...(spec.name === 'oms-matcher' ? ['_INBOX.>'] : []),
    ],
    subscribe: ['_INBOX.>', ...(spec.name === 'oms-matcher' ? ['query.>'] : [])],
  }
}
