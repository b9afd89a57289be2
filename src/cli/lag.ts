import type { Command } from 'commander'
import { settingsFrom } from '../runtime/config.ts'
import { createLog } from '../runtime/log.ts'
import { StreamMonitor } from '../runtime/stream-monitor.ts'
import type { HealthStatus } from '../schemas/health.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { type LagReport, readLag, type StreamLevel, type WorkerReading } from './lag-reading.ts'
import { bytesText, durationText, printJson, printLine, redraw } from './output.ts'
import { numeric, paint, renderTable } from './table.ts'
import { watch } from './watch.ts'

/** Between the two readings that give the pace at which streams grow. */
const paceMs = 500

/** `lag` alone has its own exit codes (contract, section 4). */
const lagExitCodes: Readonly<Record<HealthStatus, number>> = { healthy: 0, degraded: 1, unhealthy: 2 }

interface LagOptions extends NatsOption {
  readonly watch: boolean
  readonly json: boolean
}

export function addLagCommand(program: Command): void {
  program
    .command('lag')
    .description('how far each worker is behind, whether it is healthy, and how full the streams are')
    .addOption(natsOption())
    .option('--watch', 'show it anew every second until Ctrl-C', false)
    .addOption(jsonOption('one JSON document on stdout; with --watch one a line'))
    .addHelpText(
      'after',
      `
Examples:
  trade2026 lag
  trade2026 lag --watch
  trade2026 lag --json | jq -r '.reasons[]'

lag is the messages of the input whose outputs are not stored, oldest the age of the first of them; what its consumer
says stands beside it. A worker is judged as in its own /health, by the same thresholds (LAG_DEGRADED_MS,
LAG_UNHEALTHY_MS, STORAGE_REFUSE_PERCENT), and the worse of that and its own word counts.
Exit code: 0 healthy, 1 degraded, 2 unhealthy, 69 no server.`,
    )
    .action(lag)
}

async function lag(options: LagOptions): Promise<void> {
  const settings = settingsFrom(process.env)
  await withNats(options, [], async (nats) => {
    const monitor = new StreamMonitor(nats, createLog('lag', settings.LOG_LEVEL))
    const look = async (show: (text: string) => void) => {
      await monitor.refresh()
      const report = await readLag(nats, monitor, settings)
      if (options.json) printJson(report)
      else show(render(report))
      return report
    }
    try {
      await monitor.refresh()
      await new Promise((resolve) => setTimeout(resolve, paceMs))
      if (options.watch) await watch(nats, () => look(redraw))
      process.exitCode = lagExitCodes[(await look(printLine)).status]
    } finally {
      monitor.stop()
    }
  })
}

const tones = { healthy: 'good', degraded: 'warning', unhealthy: 'bad' } as const

function render({ status, reasons, workers, streams }: LagReport): string {
  return [
    renderTable(
      [
        'worker',
        'status',
        'phase',
        'input',
        ...['lag', 'oldest', 'ack pending', 'redelivered', 'last sign'].map(numeric),
      ],
      workers.map(workerRow),
    ),
    renderTable(['stream', ...['used', 'size', 'room', 'full in'].map(numeric)], streams.map(streamRow)),
    [paint(status, tones[status]), ...reasons.map((reason) => `  ${reason}`)].join('\n'),
  ].join('\n\n')
}

function workerRow(reading: WorkerReading): string[] {
  const { worker, status, phase, input, lagMessages, oldestAgeMs, ackPendingMessages, redeliveredMessages } = reading
  return [
    worker,
    paint(status, tones[status]),
    phase ?? '-',
    input ?? '-',
    count(lagMessages),
    lagMessages === 0 ? '-' : age(oldestAgeMs),
    count(ackPendingMessages),
    count(redeliveredMessages),
    age(reading.signOfLifeAgeMs),
  ]
}

function streamRow({ stream, usedPercent, sizeBytes, sizeBytesMax, secondsUntilFull }: StreamLevel): string[] {
  const room = sizeBytesMax > 0 ? bytesText(sizeBytesMax) : 'unbounded'
  return [
    stream,
    `${usedPercent.toFixed(1)} %`,
    bytesText(sizeBytes),
    room,
    age(secondsUntilFull === null ? null : secondsUntilFull * 1_000),
  ]
}

function count(value: number | null): string {
  return value === null ? '-' : String(value)
}

function age(ms: number | null): string {
  return ms === null ? '-' : durationText(ms)
}
