import type { Settings } from '../schemas/settings.ts'
import type { WorkerName } from '../subjects/contract.ts'

/** When a sink commits what it has buffered. */
export interface FlushLimits {
  /** Age of the oldest row. */
  readonly ms: number
  /** While a backlog is pending there may be more. */
  readonly rows: number
  /** Of the messages that the rows came from. */
  readonly bytes: number
}

export type SinkName = Extract<WorkerName, 'tick-sink' | 'alt-sink' | 'execution-sink'>

export function isSinkName(worker: WorkerName): worker is SinkName {
  return worker === 'tick-sink' || worker === 'alt-sink' || worker === 'execution-sink'
}

export function flushLimitsOf(worker: SinkName, settings: Settings): FlushLimits {
  const bytes = settings.LAKE_FLUSH_BYTES
  switch (worker) {
    case 'tick-sink':
      return { ms: settings.TICK_FLUSH_MS, rows: settings.TICK_FLUSH_ROWS, bytes }
    case 'alt-sink':
      return { ms: settings.ALT_FLUSH_MS, rows: settings.ALT_FLUSH_ROWS, bytes }
    case 'execution-sink':
      return { ms: settings.EXECUTION_FLUSH_MS, rows: settings.EXECUTION_FLUSH_ROWS, bytes }
  }
}
