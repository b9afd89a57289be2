import type { Command } from 'commander'
import { exitCodes } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { limitEntries } from '../schemas/config-files.ts'
import { decodeExecution } from '../schemas/execution.ts'
import type { LimitSet } from '../schemas/limits.ts'
import type { RiskRecord } from '../schemas/risk.ts'
import { readInstruments, readLimitsFile } from './config-folder.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { decideAgain, isSame, oldestGate } from './decisions.ts'
import { interrupted } from './interrupt.ts'
import { endWithReader, printJson, printLine } from './output.ts'
import { showSteps } from './progress.ts'
import { numeric, renderTable } from './table.ts'

/** Of the commands whose decision changes, so many are shown. */
const shownMax = 20

interface ReplayRiskOptions extends NatsOption {
  readonly limits?: string
  readonly configDir?: string
  readonly json: boolean
}

interface Change {
  readonly orderId: string
  readonly risk: number
  readonly recorded: string
  readonly again: string
  readonly text: string
}

export function addReplayRiskCommand(program: Command): void {
  program
    .command('replay-risk')
    .description('decide every past command again, from what the gate recorded or with other limits')
    .addOption(natsOption())
    .option('--limits <file>', 'what would have been refused with these limits? A file as config/limits.json')
    .option('--config-dir <folder>', 'folder with instruments.json, as the gate has it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 replay-risk
  trade2026 replay-risk --limits tighter.json --json | jq .byReason

Without --limits every decision must come out as it was recorded. With it, each command is judged by these limits in the
state that history has left: what passed has traded, whatever these limits say of it. Reads RISK, ORDERS and EXECUTIONS
from their beginning, or from the oldest snapshot where they have been trimmed. Needs the settings that the gate has
(CLORDID_MEMORY, DAY_END_UTC).
Exit code: 0; 1 when a decision comes out otherwise and no other limits were given.`,
    )
    .action(replayRisk)
}

async function replayRisk(options: ReplayRiskOptions): Promise<void> {
  endWithReader()
  const settings = settingsFrom(process.env)
  const instruments = readInstruments(options.configDir)
  const limits = options.limits === undefined ? undefined : limitSets(options.limits)
  const steps = showSteps()
  try {
    await withNats(options, ['ORDERS', 'RISK', 'EXECUTIONS'], async (nats) => {
      const { gate, after } = await oldestGate(nats, { settings, instruments })
      const { last_seq: last } = (await nats.jsm.streams.info('RISK')).state
      const byReason: Record<string, number> = {}
      const changes: Change[] = []
      let decisions = 0
      let changed = 0
      const decode = sharedDecoder('EXECUTIONS', decodeExecution)
      const useLimits = limits && (() => gate.useLimits(limits))
      for await (const { sequence, recorded, again } of decideAgain(
        nats,
        gate,
        decode,
        { after, last },
        interrupted,
        useLimits,
      )) {
        steps.update('deciding again', (sequence - after) / (last - after))
        if (!again) continue
        decisions += 1
        if (limits ? outcomeOf(again) === outcomeOf(recorded) : isSame(again, recorded)) continue
        changed += 1
        const what = `${outcomeOf(recorded)} → ${outcomeOf(again)}`
        byReason[what] = (byReason[what] ?? 0) + 1
        if (changes.length < shownMax) changes.push(changeOf(sequence, recorded, again))
      }
      steps.stop()
      const ok = limits !== undefined || changed === 0
      const from = after + 1
      if (options.json) printJson({ ok, fromRisk: from, toRisk: last, decisions, changed, byReason, changes })
      else {
        printLine(
          `${decisions} decisions, RISK ${from} to ${last}: ${changed === 0 ? 'all the same' : `${changed} come out otherwise`}`,
        )
        if (changed > 0) {
          printLine(
            renderTable(
              ['decision', numeric('commands')],
              Object.entries(byReason).map(([what, count]) => [what, String(count)]),
            ),
          )
          printLine('')
          printLine(
            renderTable(
              ['order', numeric('RISK'), 'recorded', 'again', 'why'],
              changes.map((change) => [
                change.orderId,
                String(change.risk),
                change.recorded,
                change.again,
                change.text,
              ]),
            ),
          )
        }
      }
      if (!ok) process.exitCode = exitCodes.failed
    })
  } finally {
    steps.stop()
  }
}

function limitSets(path: string): [string, LimitSet][] {
  return [...limitEntries(readLimitsFile(path))]
}

/** `passed`, or the reason of the refusal. */
function outcomeOf(record: RiskRecord): string {
  return record.type === 'reject' ? record.reason : 'passed'
}

function changeOf(risk: number, recorded: RiskRecord, again: RiskRecord): Change {
  const text = again.type === 'reject' ? again.text : recorded.type === 'reject' ? recorded.text : ''
  return { orderId: `o-${recorded.srcSeq}`, risk, recorded: outcomeOf(recorded), again: outcomeOf(again), text }
}
