import { systemClock } from '../base/clock.ts'
import { parseDecimal } from '../base/decimal.ts'
import { Gate } from '../domain/gate.ts'
import { PriceHistory } from '../domain/price-history.ts'
import { Portfolio } from '../domain/portfolio.ts'
import { dayTimeUs } from '../runtime/config.ts'
import { Janitor, type SnapshotWorker } from '../runtime/janitor.ts'
import type { SilentFold } from '../runtime/take-snapshot.ts'
import { createOmsMatcher, matcherLogicVersion } from '../workers/oms-matcher.ts'
import { createPnlUpdater, pnlLogicVersion, type PnlUpdater, type Projection } from '../workers/pnl-updater.ts'
import { createRiskGate, riskGateLogicVersion } from '../workers/risk-gate.ts'
import type { Running, Shared } from './shared.ts'
import { createWorkerPort, startOnPort } from './worker-port.ts'

const logicVersions = {
  'risk-gate': riskGateLogicVersion,
  'oms-matcher': matcherLogicVersion,
  'pnl-updater': pnlLogicVersion,
}

/** Takes snapshots, and trims. */
export function startJanitor(shared: Shared): Promise<Running> {
  const { nats, settings, monitor, log, options } = shared
  const { instance, onFatal } = options
  const createFold = (worker: SnapshotWorker) => silentFold(worker, shared)
  const janitor = new Janitor({ nats, settings, monitor, log, instance, createFold, logicVersions, onFatal })
  const evidence = { loop: () => janitor.state(), warnings: () => janitor.problems() }
  return startOnPort('janitor', shared, createWorkerPort('janitor', shared, evidence), janitor)
}

/** A fold as its worker has it, but for what it tells others. */
export function silentFold(
  worker: SnapshotWorker,
  {
    nats,
    settings,
    instruments,
    decodeExecution,
  }: Pick<Shared, 'nats' | 'settings' | 'instruments' | 'decodeExecution'>,
): SilentFold {
  const stop = () => undefined
  switch (worker) {
    case 'oms-matcher':
      return { fold: createOmsMatcher().fold, stop }
    case 'pnl-updater': {
      const parts = { settings, instruments, decodeExecution }
      return { fold: silentPnl(parts, { positions: stop, orders: stop }).fold, stop }
    }
    case 'risk-gate': {
      const gate = createRiskGate({
        gate: new Gate({
          instruments,
          dayEndUs: dayTimeUs(settings.DAY_END_UTC),
          clOrdIdMemory: settings.CLORDID_MEMORY,
        }),
        history: new PriceHistory(),
        batchMax: settings.BATCH_MAX,
        decode: decodeExecution,
        nats,
        clock: systemClock,
        isStorageFull: () => false,
        takeLimitsChanges: () => [],
        onFatal: () => undefined,
      })
      return { fold: gate.fold, stop: () => void gate.stop() }
    }
  }
}

/** The PnL without a clock: nothing is revalued. */
export function silentPnl(
  { settings, instruments, decodeExecution }: Pick<Shared, 'settings' | 'instruments' | 'decodeExecution'>,
  projection: Projection,
): PnlUpdater {
  const startingCash = parseDecimal(settings.STARTING_CASH)
  return createPnlUpdater({
    portfolio: new Portfolio(startingCash ? { startingCash } : {}),
    decode: decodeExecution,
    instruments,
    projection,
    markIntervalMs: Infinity,
    nowMs: () => 0,
  })
}
