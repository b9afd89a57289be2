import type { Command } from 'commander'
import { rfc3339FromUs } from '../base/clock.ts'
import { exitCodes, PipelineError } from '../base/errors.ts'
import { haltText } from '../domain/halts.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import { readLimitsEntries } from '../runtime/limits-bucket.ts'
import type { Nats } from '../runtime/nats.ts'
import { tailStream } from '../runtime/tail.ts'
import { decodeExecution, orderIdOf } from '../schemas/execution.ts'
import { type Halt, haltKeyOf, parseLimitsKey } from '../schemas/limits.ts'
import type { HaltTarget, NewRecord } from '../schemas/risk.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { checkEntry, msBetween, readEntry, type StoredRecord, untilRecord, writeEntry } from './limits-change.ts'
import { timeoutOption } from './options.ts'
import { printJson, printLine, say, visible } from './output.ts'
import { numeric, renderTable } from './table.ts'

interface Options extends NatsOption {
  readonly json: boolean
  readonly timeoutMs: number
}

interface HaltOptions extends Options {
  readonly cancel: boolean
  readonly reason?: string
}

const scopes = 'all, account <name> or symbol <name>'

export function addHaltCommand(program: Command): void {
  program
    .command('halt')
    .description('let an account, a symbol or everybody take on no new risk; without arguments, list what is halted')
    .argument('[scope]', scopes)
    .argument('[name]')
    .option('--cancel', 'cancel what rests there, too', false)
    .option('--reason <text>', 'for those who look at it')
    .addOption(natsOption())
    .addOption(timeoutOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 halt                                  what is halted
  trade2026 halt all --reason "bad prices"        nobody takes on risk any more
  trade2026 halt account alice --cancel           and what alice has resting is cancelled
  trade2026 resume account alice

Orders and replaces that add risk are refused RISK_HALTED; cancels and orders that reduce a position pass. A halt stands
in KV LIMITS until it is resumed, whatever is started anew. Times are from the command on, by the server’s clock.
Exit code: 0 in force, 64 wrong call, 69 no server, or no gate has taken it up in time.`,
    )
    .action(halt)
}

export function addResumeCommand(program: Command): void {
  program
    .command('resume')
    .description('end a halt')
    .argument('<scope>', scopes)
    .argument('[name]')
    .addOption(natsOption())
    .addOption(timeoutOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nWhat is halted in several ways is halted until each is resumed. Exit code 1: it is not halted.',
    )
    .action(resume)
}

/** @throws PipelineError USAGE */
function parseTarget(scope: string, name = ''): HaltTarget {
  const key = `halt.${scope}${name === '' ? '' : `.${scope === 'symbol' ? name.toUpperCase() : name}`}`
  const about = parseLimitsKey(key)
  if (about?.kind !== 'halt')
    throw new PipelineError('USAGE', `"${[scope, name].join(' ').trim()}" is nothing to halt; say ${scopes}`)
  return about.target
}

async function halt(scope: string | undefined, name: string | undefined, options: HaltOptions): Promise<void> {
  const { cancel, reason, timeoutMs } = options
  if (scope === undefined) {
    if (cancel || reason !== undefined) throw new PipelineError('USAGE', `say what to halt: ${scopes}`)
    return withNats(options, [], (nats) => list(nats, options))
  }
  const target = parseTarget(scope, name)
  const entry: Halt = { halted: true, ...(cancel ? { cancel } : {}), ...(reason === undefined ? {} : { reason }) }
  checkEntry(haltKeyOf(target), entry)
  await withNats(options, ['RISK', 'EXECUTIONS'], async (nats) => {
    const { last_seq: executionsBefore } = (await nats.jsm.streams.info('EXECUTIONS')).state
    const deadlineMs = Date.now() + timeoutMs
    const outcome = await change(nats, target, entry, timeoutMs)
    const { cmdSeq, recordAfterMs, revision, lastAccepted, acceptedCount } = outcome
    // The mass cancel stands right before the halt.
    const canceledOrders = cancel
      ? await countCanceled(nats, executionsBefore, cmdSeq - 1, Math.max(1, deadlineMs - Date.now()))
      : undefined
    if (options.json) {
      printJson({
        ...{ halted: true, ...target, revision, cmdSeq, recordAfterMs },
        ...{ acceptedAfterCommand: acceptedCount, lastAccepted: lastAccepted ?? null },
        ...(cancel ? { canceledOrders: canceledOrders ?? null } : {}),
      })
      return
    }
    printLine(
      `${haltText(target)} is halted: in force after ${recordAfterMs} ms (record ${cmdSeq}, revision ${revision})`,
    )
    if (lastAccepted) {
      const { orderId, side, symbol, account, afterMs } = lastAccepted
      printLine(
        `last order accepted there: ${orderId} ${side} ${symbol} of ${account}, ${afterMs} ms after the command`,
      )
    } else printLine('no order was accepted there after the command')
    if (canceledOrders !== undefined) printLine(`${canceledOrders} open orders canceled`)
    else if (cancel)
      say('the matcher has not answered yet whose orders it cancels; `trade2026 lag` says whether it runs')
  })
}

async function resume(scope: string, name: string | undefined, options: Options): Promise<void> {
  const target = parseTarget(scope, name)
  await withNats(options, ['RISK'], async (nats) => {
    const halts = await readHalts(nats)
    const others = halts.filter(({ key }) => key !== haltKeyOf(target))
    if (others.length === halts.length) {
      say(notHaltedText(target, others))
      process.exitCode = exitCodes.failed
      return
    }
    const { cmdSeq, recordAfterMs, revision } = await change(nats, target, { halted: false }, options.timeoutMs)
    const stillHalted = others.map((other) => other.target)
    if (options.json) {
      printJson({ halted: false, ...target, revision, cmdSeq, recordAfterMs, stillHalted })
      return
    }
    printLine(
      `${haltText(target)} is resumed: in force after ${recordAfterMs} ms (record ${cmdSeq}, revision ${revision})`,
    )
    for (const other of stillHalted) say(`still halted: ${haltText(other)}`)
  })
}

function notHaltedText(target: HaltTarget, halts: readonly ListedHalt[]): string {
  if (target.scope !== 'all') return `${haltText(target)} is not halted`
  if (halts.length === 0) return 'nothing is halted'
  return `not everything is halted, only ${halts.map((halt) => haltText(halt.target)).join(', ')}`
}

interface AcceptedOrder {
  readonly orderId: string
  readonly account: string
  readonly symbol: string
  readonly side: string
  readonly cmdSeq: number
  readonly afterMs: number
}

interface Change {
  readonly revision: number
  readonly cmdSeq: number
  readonly recordAfterMs: number
  /** Of the orders that were accepted after the command and before it was in force. */
  readonly lastAccepted: AcceptedOrder | undefined
  readonly acceptedCount: number
}

/** Writes a halt and waits until it is in force. */
async function change(nats: Nats, target: HaltTarget, entry: Halt, timeoutMs: number): Promise<Change> {
  const written = await writeEntry(nats, haltKeyOf(target), JSON.stringify(entry))
  const { commandUs, revision } = written
  let last: { record: NewRecord; storedUs: number } | undefined
  let acceptedCount = 0
  const isLast = ({ record, storedUs }: StoredRecord) => {
    if (record.type === 'halt' && record.scope === target.scope && record.name === target.name)
      return record.revision >= revision
    if (record.type === 'new' && isWithin(record, target) && storedUs >= commandUs) {
      last = { record, storedUs }
      acceptedCount += 1
    }
    return false
  }
  const { record, storedUs } = await untilRecord(nats, written, timeoutMs, isLast)
  const lastAccepted = last && {
    orderId: orderIdOf(last.record.srcSeq),
    account: last.record.account,
    symbol: last.record.symbol,
    side: last.record.side,
    cmdSeq: last.record.cmdSeq,
    afterMs: msBetween(commandUs, last.storedUs),
  }
  const recordAfterMs = msBetween(commandUs, storedUs)
  return { revision, cmdSeq: record.cmdSeq, recordAfterMs, lastAccepted, acceptedCount }
}

function isWithin({ account, symbol }: NewRecord, { scope, name }: HaltTarget): boolean {
  return scope === 'all' || name === (scope === 'account' ? account : symbol)
}

/** @returns undefined when the matcher does not answer in time */
async function countCanceled(
  nats: Nats,
  executionsBefore: number,
  cmdSeq: number,
  timeoutMs: number,
): Promise<number | undefined> {
  let count = 0
  const signal = AbortSignal.timeout(timeoutMs)
  for await (const { message } of tailStream(nats, 'EXECUTIONS', { sequence: executionsBefore + 1 }, signal)) {
    const execution = decodeMessage('EXECUTIONS', message, decodeExecution)
    if (execution.cmdSeq !== cmdSeq) continue
    count += execution.reports.filter(({ execType }) => execType === 'Canceled').length
    const [part, parts] = execution.part?.split('/') ?? []
    if (part === parts) return count
  }
  return undefined
}

interface ListedHalt {
  readonly key: string
  readonly target: HaltTarget
  readonly reason: string | undefined
  readonly revision: number
  readonly sinceUs: number
}

async function readHalts(nats: Nats): Promise<ListedHalt[]> {
  const entries = [...(await readLimitsEntries(nats)).values()].sort((a, b) => a.revision - b.revision)
  return entries.flatMap(({ key, text, revision, timeUs }) => {
    if (parseLimitsKey(key)?.kind !== 'halt') return []
    const entry = readEntry(key, text)
    if (entry?.kind !== 'halt' || !entry.halt.halted) return []
    return [{ key, target: entry.target, reason: entry.halt.reason, revision, sinceUs: timeUs }]
  })
}

async function list(nats: Nats, { json }: Options): Promise<void> {
  const halts = await readHalts(nats)
  if (json) {
    printJson({
      halts: halts.map(({ target, reason, revision, sinceUs }) => ({
        ...target,
        sinceTime: rfc3339FromUs(sinceUs),
        reason: reason ?? null,
        revision,
      })),
    })
  } else if (halts.length === 0) printLine('nothing is halted')
  else
    printLine(
      renderTable(
        ['halted', 'since', numeric('revision'), 'reason'],
        halts.map(({ target, reason = '-', revision, sinceUs }) => [
          haltText(target),
          rfc3339FromUs(sinceUs),
          String(revision),
          visible(reason),
        ]),
      ),
    )
}
