import { startMaintenance, type MaintenanceRun } from '../lake/maintenance.ts'
import type { Log } from '../runtime/log.ts'
import type { SinkStats } from '../schemas/http.ts'
import type { Settings } from '../schemas/settings.ts'
import { keyColumns } from './lake-check.ts'

export interface SinkMaintenance {
  stats(): SinkStats['maintenance']
  stop(): Promise<void>
}

/** Has the table of a sink compacted and vacuumed while the sink is the active one. */
export function startSinkMaintenance(
  uri: string,
  { LAKE_COMPACT_MINUTES, LAKE_VACUUM_HOURS }: Settings,
  log: Log,
  isActive: () => boolean,
): SinkMaintenance {
  const policy = {
    orderBy: keyColumns,
    compactEveryMs: LAKE_COMPACT_MINUTES * 60_000,
    vacuumEveryMs: LAKE_VACUUM_HOURS * 3_600_000,
  }
  const maintenance = startMaintenance(uri, process.env, policy, {
    isActive,
    onRun: (kind, run) => {
      if ('problem' in run) log.warn({ kind, ...run, table: uri }, 'maintenance failed; it is done again in time')
      else log.info({ kind, ...run, table: uri }, 'maintenance')
    },
  })
  return {
    stats: () => {
      const { compact, vacuum } = maintenance.last
      return { compaction: compact ? compactionOf(compact) : null, vacuum: vacuum ? vacuumOf(vacuum) : null }
    },
    stop: () => maintenance.stop(),
  }
}

function timesOf({ startedMs, durationMs }: MaintenanceRun) {
  return { started_at: new Date(startedMs).toISOString(), duration_ms: durationMs }
}

function compactionOf(run: MaintenanceRun<'compact'>): SinkStats['maintenance']['compaction'] {
  const result = 'result' in run ? run.result : undefined
  return {
    ...timesOf(run),
    problem: 'problem' in run ? run.problem : (run.result.abandoned[0] ?? null),
    files_removed: result?.filesRemoved ?? 0,
    files_added: result?.filesAdded ?? 0,
    bytes_removed: result?.bytesRemoved ?? 0,
    bytes_added: result?.bytesAdded ?? 0,
  }
}

function vacuumOf(run: MaintenanceRun<'vacuum'>): SinkStats['maintenance']['vacuum'] {
  const { files, bytes } = 'result' in run ? run.result : { files: 0, bytes: 0 }
  return { ...timesOf(run), problem: 'problem' in run ? run.problem : null, files, bytes }
}
