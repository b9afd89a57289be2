export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy'

export interface LagReading {
  /** Messages of the input that are not answered durably. */
  readonly messages: number
  /** Age of the oldest of them. */
  readonly seconds: number
  /** What the consumer says: delivered and not acknowledged. */
  readonly ack_pending: number
  readonly redelivered: number
}

/** Fill level of one stream. */
export interface StorageReading {
  readonly used_percent: number
  readonly seconds_until_full: number | null
}

/** What `/health` answers (contract, section 4). */
export interface HealthBody {
  readonly status: HealthStatus
  readonly service: string
  readonly reason?: string
  readonly checks: {
    readonly nats: 'connected' | 'disconnected'
    /** null for workers that do not use it. */
    readonly redis: 'connected' | 'disconnected' | null
    /** The lake, on sinks. */
    readonly database: 'connected' | 'disconnected' | null
    readonly latency_ms: { readonly p50: number | null; readonly p99: number | null }
    readonly memory_mb: number
    readonly active_connections: number
    readonly lag: LagReading | null
    /** Last write that succeeded. */
    readonly last_success: string | null
    readonly event_loop_delay_ms: number
    readonly storage: Readonly<Record<string, StorageReading>>
  }
  readonly reasons: readonly string[]
}

/** What a worker leaves in KV HEALTH with each probe. */
export interface HealthEntry {
  readonly service: string
  readonly pid: number
  readonly status: HealthStatus
  readonly reasons: readonly string[]
  readonly phase: string
  readonly settledSequence: number
  readonly timeMs: number
}
