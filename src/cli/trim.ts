import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { PipelineError } from '../base/errors.ts'
import { SettledReader } from '../runtime/janitor.ts'
import { planTrim, trim as trimStream, type TrimPlan } from '../runtime/trim.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { bytesText, printJson, printLine } from './output.ts'
import { numeric, renderTable } from './table.ts'

/** Workers write their probes every two seconds. */
const listenMs = 4_500

interface TrimOptions extends NatsOption {
  readonly dryRun: boolean
  readonly json: boolean
}

interface Trimmed extends TrimPlan {
  readonly removed: number
}

export function addTrimCommand(program: Command): void {
  program
    .command('trim')
    .description('remove from the streams what nobody needs any more, as the janitor does when they fill up')
    .addOption(natsOption())
    .option('--dry-run', 'only say what would go', false)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 trim --dry-run
  trade2026 snapshots --take && trade2026 trim

A message may go when every reader has it in a safe place: the oldest snapshot kept of gate, matcher and PnL, the tables,
the tape. The last message of a stream stays, and so does everything while a worker that needs it is away.
Exit code: 0; 1 when \`verify\` is at work, which needs everything.`,
    )
    .action(trim)
}

async function trim(options: TrimOptions): Promise<void> {
  await withNats(options, ['ORDERS', 'RISK', 'EXECUTIONS', 'TICKS', 'ALT'], async (nats) => {
    const heard = new SettledReader(nats)
    await heard.refresh()
    await sleep(listenMs)
    if (await heard.isHeld())
      throw new PipelineError('STREAM_ROOM', '`trade2026 verify` is at work and needs everything: try again after it')
    const done: Trimmed[] = []
    for (const plan of await planTrim(nats, heard.settledOf)) {
      const removed = options.dryRun ? Math.max(0, plan.upTo - plan.firstSequence + 1) : await trimStream(nats, plan)
      done.push({ ...plan, removed: plan.lastSequence === 0 ? 0 : removed })
    }
    if (options.json) printJson({ dryRun: options.dryRun, streams: done.map(jsonOf) })
    else
      printLine(
        renderTable(
          [
            'stream',
            ...['first', 'last', options.dryRun ? 'would go' : 'gone', 'size before'].map(numeric),
            'kept for',
          ],
          done.map(rowOf),
        ),
      )
  })
}

function jsonOf({ stream, firstSequence, lastSequence, bytes, upTo, removed, neededBy }: Trimmed) {
  const sequences = { firstSequence, lastSequence, upTo }
  return { stream, ...sequences, bytesBefore: bytes, removedMessages: removed, neededBy: neededBy ?? null }
}

function rowOf({ stream, firstSequence, lastSequence, removed, bytes, neededBy = '-' }: Trimmed): string[] {
  return [stream, String(firstSequence), String(lastSequence), String(removed), bytesText(bytes), neededBy]
}
