import { Ajv } from 'ajv'
import type { JSONSchema } from 'json-schema-to-ts'
import type { TypeOf } from './type-of.ts'

const whole = (description: string, fallback: number, minimum = 0, maximum = 1e9) =>
  ({ type: 'integer', description, default: fallback, minimum, maximum }) as const
const flag = (description: string, fallback: boolean) => ({ type: 'boolean', description, default: fallback }) as const
const text = (description: string, fallback: string) => ({ type: 'string', description, default: fallback }) as const

/**
 * Every setting, by its environment variable (contract, section 4). Units are part of the name, or stated.
 * Each has a default, so none is required. Settings of parts that do not exist yet are not here.
 */
export const settingsSchema = {
  type: 'object',
  properties: {
    NATS_URL: text('NATS server to use; when set, none is started', ''),
    REDIS_URL: text('Redis or Valkey to use; when set, none is started', ''),
    HTTP_HOST: text('address the HTTP doors listen on', '127.0.0.1'),
    LOG_LEVEL: {
      enum: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      description: 'least level that is logged',
      default: 'info',
    },
    BATCH_MAX: whole('messages in a batch at most', 10, 1, 1_000),
    BATCH_WAIT_MS: whole('time a batch stays open after its first message', 10, 0, 60_000),
    WORKERS: whole('gateway processes that share the port of the door', 1, 1, 64),
    CONNECTION_POOL_SIZE: whole('keep-alive connections, and Redis connections, that a process keeps', 50, 3, 10_000),
    ASYNC_MODE: flag('answer 202 with PENDING_NEW right after the publish ack, without waiting for the report', false),
    ORDER_WAIT_MS: whole('how long a request waits for its stored report before it answers 202', 5_000, 1, 60_000),
    HTTP_IN_FLIGHT_MAX: whole('commands that may wait for their reports at once; beyond it 429', 10_000, 1, 1e6),
    DAY_END_UTC: {
      ...text('time of day in UTC at which DAY orders expire, 00:01 to 24:00', '24:00'),
      pattern: '^(?!00:00)(([01]\\d|2[0-3]):[0-5]\\d|24:00)$',
    },
    CLORDID_MEMORY: whole('orders of an account whose clOrdIds are remembered after they end', 100_000, 0, 2_000_000),
    STARTING_CASH: {
      ...text('cash every account starts with, in quote currency', '0'),
      pattern: '^\\d+(\\.\\d{1,8})?$',
    },
    CACHE_ENABLED: flag('project positions and orders into Redis', true),
    CACHE_TTL: whole('how long a stateless /check keeps limits, in s; positions are kept for 1 s', 60, 1, 86_400),
    RISK_TIMEOUT_MS: whole('how long a stateless /check waits for Redis or NATS', 5, 1, 60_000),
    RISK_FAIL_MODE: {
      enum: ['closed', 'open'],
      description: 'what a stateless /check says when it does not know a position or a limit: closed no, open yes',
      default: 'closed',
    },
    PRECOMPUTE_METRICS: flag('compute exposure, drawdown and VaR of all accounts every 30 s', true),
    FAST_PATH_ENABLED: flag('let /check answer without the portfolio: refused by size, or worth less than 100', true),
    LAG_DEGRADED_MS: whole('age of the oldest unanswered message from which a worker is degraded', 2_000, 1),
    LAG_UNHEALTHY_MS: whole('age of the oldest unanswered message from which a worker is unhealthy', 30_000, 1),
    LEASE_MS: whole('silence of the active process after which a stand-by takes over', 2_000, 100, 60_000),
    LAKE_URI: text('where the tables are: s3://bucket/prefix, or a folder', ''),
    LAKE_SYMBOLS_MAX: whole(
      'symbols, and categories of documents, that a table may have partitions for',
      10_000,
      1,
      1e6,
    ),
    LAKE_FLUSH_BYTES: whole('size of messages after which a sink commits', 32 * 2 ** 20, 2 ** 20, 2 ** 28),
    LAKE_COMPACT_MINUTES: whole('time between compactions of a table by its sink; 0: none', 10, 0, 100_000),
    LAKE_VACUUM_HOURS: whole('time between vacuums of a table by its sink; 0: none', 24, 0, 100_000),
    TICK_FLUSH_MS: whole('how long a tick waits for others before they are committed', 2_000, 10, 3_600_000),
    TICK_FLUSH_ROWS: whole('ticks after which they are committed; 50,000 while a backlog is pending', 5_000, 1, 50_000),
    ALT_FLUSH_MS: whole('how long a document waits for others before they are committed', 10_000, 10, 3_600_000),
    ALT_FLUSH_ROWS: whole(
      'documents after which they are committed; 50,000 while a backlog is pending',
      2_000,
      1,
      50_000,
    ),
    EXECUTION_FLUSH_MS: whole('how long a report waits for others before they are committed', 2_000, 10, 3_600_000),
    EXECUTION_FLUSH_ROWS: whole(
      'reports after which they are committed; 50,000 while a backlog is pending',
      5_000,
      1,
      50_000,
    ),
    STREAMS_MAX_BYTES: whole('room of all streams together; 0: what the server and the disk allow', 0, 0, 2 ** 50),
    STORAGE_TRIM_PERCENT: whole('fill level of a stream from which what nobody needs any more is trimmed', 50, 1, 95),
    SNAPSHOT_MINUTES: whole('time between two snapshots of a state, when anything has come', 5, 1, 100_000),
    SNAPSHOT_GROWTH_PERCENT: whole('of its limit that a stream may grow by until the next snapshot', 10, 1, 50),
    STORAGE_REFUSE_PERCENT: whole('fill level of a stream of the chain at which new orders are refused', 85, 1, 95),
  },
} as const satisfies JSONSchema

export type Settings = Readonly<TypeOf<typeof settingsSchema>>

export interface SettingProblem {
  readonly name: string
  readonly problem: string
}

const validate = new Ajv({ allErrors: true, useDefaults: true, coerceTypes: true }).compile<Settings>(settingsSchema)

/** Reads the settings from an environment. All bad ones are reported at once; values are never repeated. */
export function parseSettings(env: Readonly<Record<string, string | undefined>>): Settings | SettingProblem[] {
  const settings: Record<string, unknown> = {}
  for (const name of Object.keys(settingsSchema.properties)) {
    const value = env[name]
    if (value !== undefined && value !== '') settings[name] = value
  }
  if (validate(settings)) return Object.freeze(settings)
  return (validate.errors ?? []).map((error) => ({
    name: error.instancePath.slice(1),
    problem:
      error.keyword === 'enum'
        ? `must be one of ${(error.params['allowedValues'] as string[]).join(' ')}`
        : (error.message ?? 'is invalid'),
  }))
}
