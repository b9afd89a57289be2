import type { JSONSchema } from 'json-schema-to-ts'
import { accountPattern, symbolPattern } from './command.ts'
import { sides } from './enums.ts'
import { accountSnapshotSchema } from './performance.ts'
import { accountPositionSchema, positionSchema } from './position.ts'
import type { TypeOf } from './type-of.ts'

const count = { type: 'integer', minimum: 0 } as const
const text = { type: 'string' } as const
const number = { type: 'number' } as const
const textOrNull = { type: ['string', 'null'] } as const
const numberOrNull = { type: ['number', 'null'] } as const
const flag = { type: 'boolean' } as const
const latencyMs = {
  type: 'object',
  description: 'of the last thousand',
  properties: { p50: numberOrNull, p99: numberOrNull },
  required: ['p50', 'p99'],
} as const

export const orderViewStatuses = [
  'PENDING_NEW',
  'NEW',
  'PARTIALLY_FILLED',
  'FILLED',
  'CANCELLED',
  'REJECTED',
  'RISK_REJECTED',
  'EXPIRED',
] as const

/** The one answer about an order, whatever was asked. */
export const orderAnswerSchema = {
  type: 'object',
  properties: {
    order_id: { type: 'string', pattern: '^o-[1-9]\\d*$' },
    account: textOrNull,
    symbol: textOrNull,
    side: { enum: [...sides, null] },
    quantity: numberOrNull,
    price: { ...numberOrNull, description: 'null without one' },
    status: { enum: orderViewStatuses },
    filled_quantity: number,
    average_price: { ...numberOrNull, description: 'null before the first fill' },
    error_message: { ...textOrNull, description: 'why the command was refused: a reject reason, then words' },
  },
  required: [
    'order_id',
    'account',
    'symbol',
    'side',
    'quantity',
    'price',
    'status',
    'filled_quantity',
    'average_price',
    'error_message',
  ],
  additionalProperties: false,
} as const satisfies JSONSchema

/** What a request is refused with (docs/errors.md, HTTP errors). */
export const doorErrorSchema = {
  type: 'object',
  properties: {
    error: { ...text, description: 'a code of docs/errors.md' },
    message: text,
    fields: {
      type: 'array',
      description: 'every bad one',
      items: { type: 'object', properties: { field: text, problem: text }, required: ['field', 'problem'] },
    },
  },
  required: ['error', 'message'],
} as const satisfies JSONSchema

const level = {
  type: 'array',
  prefixItems: [
    { ...number, description: 'price' },
    { ...number, description: 'displayed quantity' },
  ],
  minItems: 2,
  maxItems: 2,
} as const

/** Answer of `GET /book/:symbol`, best first. */
export const bookSchema = {
  type: 'object',
  properties: {
    symbol: { type: 'string', pattern: symbolPattern },
    seq: { ...count, description: 'cmdSeq up to which it is true' },
    bids: { type: 'array', items: level },
    asks: { type: 'array', items: level },
  },
  required: ['symbol', 'seq', 'bids', 'asks'],
} as const

/** Answer of `GET /positions/:account`. */
export const accountPositionsSchema = {
  type: 'object',
  properties: {
    account: { type: 'string', pattern: `${accountPattern}|^_venue$` },
    positions: { type: 'array', items: positionSchema },
    aggregate: { anyOf: [accountPositionSchema, { type: 'null' }] },
  },
  required: ['account', 'positions', 'aggregate'],
} as const satisfies JSONSchema

const page = {
  as_of: { ...count, description: 'EXECUTIONS sequence up to which everything is folded' },
  as_of_time: { ...textOrNull, description: 'its stream time' },
  next: { ...textOrNull, description: 'given as `after` it goes on from here; null at the end' },
} as const

/** Answer of `GET /positions` of the pnl-updater. */
export const positionsPageSchema = {
  type: 'object',
  properties: { ...page, positions: { type: 'array', items: positionSchema } },
  required: ['as_of', 'as_of_time', 'positions', 'next'],
} as const satisfies JSONSchema

const { required: accountFigures, properties: accountProperties } = accountSnapshotSchema
const figures = Object.fromEntries(Object.entries(accountProperties).filter(([name]) => name !== 'account'))

/** Answer of `GET /snapshot` of the pnl-updater. */
export const snapshotPageSchema = {
  type: 'object',
  properties: {
    ...page,
    totals: {
      type: 'object',
      properties: { accounts: count, symbols: count, ...figures },
      required: ['accounts', 'symbols', ...accountFigures.filter((name) => name !== 'account')],
    },
    accounts: { type: 'array', items: accountSnapshotSchema },
  },
  required: ['as_of', 'as_of_time', 'totals', 'accounts', 'next'],
} as const

/** Answer of `GET /stats` of the pnl-updater. */
export const pnlStatsSchema = {
  type: 'object',
  properties: {
    uptime_seconds: count,
    as_of: count,
    as_of_time: textOrNull,
    watermark: { ...count, description: 'EXECUTIONS sequence up to which POSITIONS is stored' },
    fills: count,
    closing_fills: count,
    accounts: count,
    symbols: count,
    open_positions: count,
    batches: count,
    pending_outputs: count,
    redelivered: count,
    dead_letters: count,
    latency_ms: latencyMs,
  },
  required: ['uptime_seconds', 'as_of', 'watermark', 'fills', 'accounts', 'symbols', 'open_positions', 'latency_ms'],
} as const satisfies JSONSchema

/** Answer of `GET /stats` of a gateway. */
export const gatewayStatsSchema = {
  type: 'object',
  properties: {
    uptime_seconds: count,
    orders: {
      type: 'object',
      description: 'commands answered since the start, by status',
      additionalProperties: count,
    },
    orders_per_second: {
      type: 'object',
      properties: { last_10_s: number, last_59_s: number },
      required: ['last_10_s', 'last_59_s'],
    },
    in_flight: { ...count, description: 'commands that wait for their reports' },
    open_orders: count,
    executions_sequence: count,
    latency_ms: latencyMs,
    order_wait_ms: count,
  },
  required: [
    'uptime_seconds',
    'orders',
    'orders_per_second',
    'in_flight',
    'open_orders',
    'executions_sequence',
    'latency_ms',
    'order_wait_ms',
  ],
} as const satisfies JSONSchema

/** Answer of `POST /flush` of a sink. */
export const flushAnswerSchema = {
  type: 'object',
  properties: {
    version: { type: 'integer', minimum: -1, description: 'of the table, after the commit' },
    rows: { ...count, description: 'committed by this flush' },
  },
  required: ['version', 'rows'],
} as const satisfies JSONSchema
export type FlushAnswer = TypeOf<typeof flushAnswerSchema>

/** Answer of `GET /stats` of a sink; counts are since the start. */
const maintenanceTimes = { started_at: text, duration_ms: count, problem: textOrNull } as const

/** What a sink did to its table besides, the last time; null before the first. */
const maintenanceSchema = {
  type: 'object',
  properties: {
    compaction: {
      anyOf: [
        {
          type: 'object',
          properties: {
            ...maintenanceTimes,
            files_removed: count,
            files_added: count,
            bytes_removed: count,
            bytes_added: count,
          },
          required: [
            'started_at',
            'duration_ms',
            'problem',
            'files_removed',
            'files_added',
            'bytes_removed',
            'bytes_added',
          ],
        },
        { type: 'null' },
      ],
    },
    vacuum: {
      anyOf: [
        {
          type: 'object',
          properties: { ...maintenanceTimes, files: count, bytes: count },
          required: ['started_at', 'duration_ms', 'problem', 'files', 'bytes'],
        },
        { type: 'null' },
      ],
    },
  },
  required: ['compaction', 'vacuum'],
} as const satisfies JSONSchema

export const sinkStatsSchema = {
  type: 'object',
  properties: {
    uptime_seconds: count,
    table: text,
    version: { type: 'integer', minimum: -1, description: 'of the table; -1 before it was read' },
    stream_seq: { ...count, description: 'up to which everything is in the table or in the DLQ' },
    rows: count,
    duplicates: count,
    dead_letters: count,
    commits: count,
    rows_buffered: count,
    redelivered: count,
    latency_ms: { ...latencyMs, description: 'from the stream to the table, of the first row of a commit' },
    maintenance: maintenanceSchema,
  },
  required: [
    'uptime_seconds',
    'table',
    'version',
    'stream_seq',
    'rows',
    'duplicates',
    'dead_letters',
    'commits',
    'rows_buffered',
    'redelivered',
    'latency_ms',
    'maintenance',
  ],
} as const satisfies JSONSchema
export type SinkStats = TypeOf<typeof sinkStatsSchema>

const connection = { enum: ['connected', 'disconnected'] } as const

/** Answer of `/health`, `/health/detailed` and `/health/ready`. */
export const healthSchema = {
  type: 'object',
  properties: {
    status: { enum: ['healthy', 'degraded', 'unhealthy'] },
    service: text,
    reason: text,
    checks: {
      type: 'object',
      properties: {
        nats: connection,
        redis: { enum: [...connection.enum, null], description: 'null where it is not used' },
        database: { enum: [...connection.enum, null], description: 'the lake; null where it is not used' },
        latency_ms: latencyMs,
        memory_mb: number,
        active_connections: count,
        lag: {
          anyOf: [
            {
              type: 'object',
              properties: { messages: count, seconds: number, ack_pending: count, redelivered: count },
              required: ['messages', 'seconds', 'ack_pending', 'redelivered'],
            },
            { type: 'null' },
          ],
        },
        last_success: { ...textOrNull, description: 'the last write that succeeded' },
        event_loop_delay_ms: number,
        storage: {
          type: 'object',
          description: 'by stream',
          additionalProperties: {
            type: 'object',
            properties: { used_percent: number, seconds_until_full: numberOrNull },
            required: ['used_percent', 'seconds_until_full'],
          },
        },
      },
      required: [
        'nats',
        'redis',
        'database',
        'latency_ms',
        'memory_mb',
        'active_connections',
        'lag',
        'last_success',
        'event_loop_delay_ms',
        'storage',
      ],
    },
    reasons: { type: 'array', items: text },
  },
  required: ['status', 'service', 'checks', 'reasons'],
} as const satisfies JSONSchema

/** Answer of `GET /debug/profile`. */
export const profileSchema = {
  type: 'object',
  properties: {
    seconds: number,
    workload: { ...count, description: 'orders that ran on a throw-away book' },
    samples: count,
    busyMs: number,
    idleMs: number,
    hottest: {
      type: 'array',
      maxItems: 20,
      items: {
        type: 'object',
        properties: { function: text, file: text, line: count, selfMs: number, totalMs: number, percent: number },
        required: ['function', 'file', 'line', 'selfMs', 'totalMs', 'percent'],
      },
    },
    profile: { type: 'object', description: 'a .cpuprofile' },
  },
  required: ['seconds', 'samples', 'busyMs', 'idleMs', 'hottest', 'profile'],
} as const satisfies JSONSchema

/** Answer of `/health/live`: the process answers. */
export const aliveSchema = {
  type: 'object',
  properties: { status: { const: 'alive' } },
  required: ['status'],
} as const satisfies JSONSchema

/** `active_only` of a list. */
export const flagSchema = { anyOf: [flag, { enum: ['0', '1'] }] } as const satisfies JSONSchema

/** A clOrdId that a header can carry. */
export const idempotencyKeyPattern = '^[ -~]{1,64}$'
