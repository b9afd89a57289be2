import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { LagReading } from '../schemas/health.ts'
import { streamSpecs } from '../subjects/contract.ts'
import type { StreamMonitor, StreamReading } from './stream-monitor.ts'
import type { LoopState } from './fold.ts'

/** Metrics of one worker (contract, section 4). */
export interface WorkerMetrics {
  readonly registry: Registry
  readonly batchSize: Histogram
}

export function createWorkerMetrics(
  worker: string,
  read: { lag: () => LagReading | null; monitor: StreamMonitor; loop?: () => LoopState },
): WorkerMetrics {
  const registry = new Registry()
  registry.setDefaultLabels({ worker })
  const registers = [registry]
  const batchSize = new Histogram({
    name: 'worker_batch_size',
    help: 'Messages in a batch',
    buckets: [1, 2, 5, 10, 20, 50, 100, 1_000, 5_000, 20_000, 50_000],
    registers,
  })
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  const counter = (name: string, help: string, value: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(value())
      },
    })
  gauge('worker_lag_messages', 'Messages of the input that are not answered durably', () => read.lag()?.messages ?? 0)
  gauge('worker_lag_seconds', 'Age of the oldest of them', () => read.lag()?.seconds ?? 0)
  gauge('worker_consumer_ack_pending', 'What the consumer says', () => read.lag()?.ack_pending ?? 0)
  counter('worker_redelivered_total', 'Messages that came again', () => read.loop?.().redelivered ?? 0)
  counter('worker_dead_letters_total', 'Messages put into the DLQ', () => read.loop?.().deadLetters ?? 0)
  gauge('process_resident_memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss())
  const streamGauge = (name: string, help: string, value: (reading: StreamReading) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ['stream'],
      registers,
      collect() {
        this.reset()
        for (const { name: stream } of streamSpecs) {
          const reading = read.monitor.get(stream)
          const level = reading && value(reading)
          if (level !== undefined) this.set({ stream }, level)
        }
      },
    })
  streamGauge('stream_used_percent', 'Fill level of a stream', ({ usedPercent }) => usedPercent)
  streamGauge(
    'stream_seconds_until_full',
    'At its present pace; absent while it does not grow',
    (reading) => reading.secondsUntilFull,
  )
  return { registry, batchSize }
}

/** Order metrics: at a gateway for its own door, at the matcher for all commands with a `source` label. */
export interface OrderMetrics {
  readonly orders: Counter
  readonly latencySeconds: Histogram
}

export function createOrderMetrics(registry: Registry, activeOrders: () => number): OrderMetrics {
  const registers = [registry]
  new Gauge({
    name: 'oms_active_orders',
    help: 'Open orders',
    registers,
    collect() {
      this.set(activeOrders())
    },
  })
  return {
    orders: new Counter({
      name: 'oms_orders_total',
      help: 'Commands answered, by the status of their order',
      labelNames: ['status', 'source'],
      registers,
    }),
    latencySeconds: new Histogram({
      name: 'oms_order_latency_seconds',
      help: 'From the command to its stored report',
      labelNames: ['source'],
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
  }
}
