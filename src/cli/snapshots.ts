import type { Command } from 'commander'
import { rfc3339FromUs } from '../base/clock.ts'
import { settingsFrom } from '../runtime/config.ts'
import { snapshotWorkers } from '../runtime/janitor.ts'
import { createLog } from '../runtime/log.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { listSnapshots, type SnapshotMeta } from '../runtime/snapshots.ts'
import { takeSnapshot } from '../runtime/take-snapshot.ts'
import { decodeExecution } from '../schemas/execution.ts'
import { readInstruments } from './config-folder.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { bytesText, printJson, printLine, say } from './output.ts'
import { silentFold } from './start-janitor.ts'
import { numeric, renderTable } from './table.ts'

interface SnapshotsOptions extends NatsOption {
  readonly take: boolean
  readonly configDir?: string
  readonly json: boolean
}

export function addSnapshotsCommand(program: Command): void {
  program
    .command('snapshots')
    .description('the states of gate, matcher and PnL that a start goes on from')
    .addOption(natsOption())
    .option('--take', 'take one of each now, as the janitor does when one is due', false)
    .option('--config-dir <folder>', 'folder with instruments.json, as the workers have it; for --take')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 snapshots
  trade2026 snapshots --take

A snapshot is taken from the streams, beside the workers: from the last one on everything is folded again, and what
comes out is compared with what is stored. Then it is read back. It lies in KV SNAPSHOTS; the last three of each are kept.
--take must see the settings that the workers have (CLORDID_MEMORY, STARTING_CASH).`,
    )
    .action(snapshots)
}

async function snapshots(options: SnapshotsOptions): Promise<void> {
  const settings = settingsFrom(process.env)
  const log = createLog('snapshots', settings.LOG_LEVEL === 'info' ? 'warn' : settings.LOG_LEVEL)
  await withNats(options, ['RISK', 'EXECUTIONS', 'POSITIONS'], async (nats) => {
    if (options.take) {
      const instruments = readInstruments(options.configDir)
      const parts = { nats, settings, instruments, decodeExecution: sharedDecoder('EXECUTIONS', decodeExecution) }
      for (const worker of snapshotWorkers) {
        const startedMs = performance.now()
        const meta = await takeSnapshot(nats, worker, () => silentFold(worker, parts), log)
        const took = `${((performance.now() - startedMs) / 1_000).toFixed(1)} s`
        say(meta ? `${worker}: taken in ${took}` : `${worker}: nothing has come since the last one`)
      }
    }
    const all = (await Promise.all(snapshotWorkers.map((worker) => listSnapshots(nats, worker)))).flat()
    if (options.json) printJson({ snapshots: all })
    else if (all.length === 0) printLine('no snapshots yet')
    else
      printLine(
        renderTable(['worker', 'taken', ...['input', 'output', 'logic', 'size'].map(numeric), 'id'], all.map(rowOf)),
      )
  })
}

function rowOf({ worker, takenMs, inSeq, ownSequence, logicVersion, bytes, id }: SnapshotMeta): string[] {
  const taken = rfc3339FromUs(takenMs * 1_000)
  return [worker, taken, String(inSeq), String(ownSequence), String(logicVersion), bytesText(bytes), id]
}
