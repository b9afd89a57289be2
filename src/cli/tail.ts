import { type Command, InvalidArgumentError } from 'commander'
import { rfc3339FromUs, usFromRfc3339 } from '../base/clock.ts'
import { isPipelineError, PipelineError } from '../base/errors.ts'
import { parseOwnJson, textFromUtf8 } from '../base/json.ts'
import { decodeMessage } from '../runtime/decode-message.ts'
import type { Nats } from '../runtime/nats.ts'
import { type TailedMessage, tailStream } from '../runtime/tail.ts'
import { decodeCommand } from '../schemas/command.ts'
import { decodeExecution } from '../schemas/execution.ts'
import { decodeAccountPosition, decodePosition } from '../schemas/position.ts'
import { decodeRisk } from '../schemas/risk.ts'
import type { StreamName } from '../subjects/contract.ts'
import { parseOrdersSubject } from '../subjects/names.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { describeCommand, describeRecord, describeReport } from './describe.ts'
import { onInterrupt } from './interrupt.ts'
import { endWithReader, exactJson, numberText, printJson, printLine, visible } from './output.ts'

interface TailOptions extends NatsOption {
  readonly account?: string
  readonly symbol?: string
  readonly since?: number
  readonly json: boolean
}

interface Source {
  readonly stream: StreamName
  /** How its lines begin. */
  readonly label: string
}

const sources: ReadonlyMap<string, Source> = new Map([
  ['orders', { stream: 'ORDERS', label: 'ORDER' }],
  ['risk', { stream: 'RISK', label: 'RISK' }],
  ['executions', { stream: 'EXECUTIONS', label: 'EXEC' }],
  ['positions', { stream: 'POSITIONS', label: 'POS' }],
  ['ticks', { stream: 'TICKS', label: 'TICK' }],
  ['dlq', { stream: 'DLQ', label: 'DLQ' }],
])
const names = [...sources.keys(), 'all'].join(', ')

export function addTailCommand(program: Command): void {
  program
    .command('tail')
    .description('show what happens, a line each, until Ctrl-C')
    .argument('[streams...]', `any of ${names}`, ['executions'])
    .addOption(natsOption())
    .option('--account <account>', 'only what names this account')
    .option('--symbol <symbol>', 'only what names this symbol')
    .option('--since <when>', 'begin in the past: seconds, 10m, 2h, or an RFC 3339 time', startUs)
    .addOption(jsonOption('one JSON document a message, on a line each, with the message as it is stored'))
    .addHelpText(
      'after',
      `
Examples:
  trade2026 tail                                 reports
  trade2026 tail all --account alice
  trade2026 tail orders risk executions --since 10m
  trade2026 tail executions --json | jq -c '.message.reports[]'

Times are UTC, when the stream stored the message; then come stream and sequence. RISK counts prices in ticks and
quantities in lots. Streams are each in order, but not with one another.`,
    )
    .action(tail)
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** @returns µs since the Unix epoch */
function startUs(text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd]?)$/.exec(text) ?? []
  if (count !== undefined)
    return Math.max(0, Date.now() - Number(count) * (unitSeconds[unit || 's'] ?? 1) * 1_000) * 1_000
  const timeUs = usFromRfc3339(text)
  if (timeUs === undefined) throw new InvalidArgumentError('say seconds, 10m, 2h, 1d, or an RFC 3339 time')
  return timeUs
}

async function tail(chosen: string[], options: TailOptions): Promise<void> {
  const followed = new Set(
    chosen.flatMap((name) => {
      if (name === 'all') return [...sources.values()]
      const source = sources.get(name)
      if (!source) throw new PipelineError('USAGE', `no stream ${name}; there are ${names}`)
      return [source]
    }),
  )
  await withNats(
    options,
    Array.from(followed, ({ stream }) => stream),
    async (nats) => {
      const end = new AbortController()
      const following = Promise.all(Array.from(followed, (source) => follow(nats, source, options, end.signal)))
      onInterrupt(async () => {
        end.abort()
        await following
        await nats.close()
      })
      endWithReader()
      await following
    },
  )
}

async function follow(nats: Nats, { stream, label }: Source, options: TailOptions, signal: AbortSignal): Promise<void> {
  const { since, json } = options
  const from =
    since === undefined ? { sequence: (await nats.jsm.streams.info(stream)).state.last_seq + 1 } : { timeUs: since }
  for await (const tailed of tailStream(nats, stream, from, signal)) {
    const happenings = happeningsOf(tailed).filter((one) => isWanted(one, options))
    if (happenings.length === 0) continue
    const { sequence, subject, timeUs } = tailed.message
    const time = rfc3339FromUs(timeUs)
    if (json) printJson({ time, stream, seq: sequence, subject, message: contentOf(tailed.message.data) })
    else
      for (const { text } of happenings)
        printLine(`${time.slice(11, 23)}  ${label.padEnd(5)} ${sequence}  ${visible(text)}`)
  }
}

function contentOf(data: Uint8Array): unknown {
  try {
    return exactJson(data)
  } catch {
    // What clients send need not be JSON.
    return Buffer.from(data).toString()
  }
}

/** One thing that a message says. */
interface Happening {
  readonly account?: string | undefined
  readonly symbol?: string | undefined
  readonly text: string
}

function isWanted({ account, symbol }: Happening, wanted: TailOptions): boolean {
  if (wanted.account !== undefined && account !== wanted.account) return false
  return wanted.symbol === undefined || symbol === wanted.symbol.toUpperCase()
}

function happeningsOf(tailed: TailedMessage): Happening[] {
  try {
    return readableHappeningsOf(tailed)
  } catch (error) {
    // The workers stop at such a message: whoever looks for it must get past it.
    if (isPipelineError(error, 'STREAM_UNREADABLE')) return [{ text: error.message }]
    throw error
  }
}

/** @throws PipelineError STREAM_UNREADABLE */
function readableHappeningsOf({ stream, message, reason }: TailedMessage): Happening[] {
  const { data, subject } = message
  switch (stream) {
    case 'ORDERS':
      return [commandIn(subject, data)]
    case 'RISK': {
      const { epoch, records } = decodeMessage(stream, message, decodeRisk)
      if (epoch !== undefined) return [takeOver('risk-gate')]
      return records.map((record) => {
        const terms = record.type === 'reject' ? record.echo : record
        return {
          account: 'account' in terms ? terms.account : undefined,
          symbol: 'symbol' in terms ? terms.symbol : undefined,
          text: describeRecord(record),
        }
      })
    }
    case 'EXECUTIONS': {
      const { epoch, reports } = decodeMessage(stream, message, decodeExecution)
      if (epoch !== undefined) return [takeOver('oms-matcher')]
      return reports.map((report) => ({
        account: report.account,
        symbol: report.symbol,
        text: describeReport(report),
      }))
    }
    case 'POSITIONS':
      return decodeMessage(stream, message, () => positionIn(subject, data))
    case 'TICKS':
      return [tickIn(subject, data)]
    case 'DLQ': {
      const [, worker, source, sequence] = subject.split('.')
      return [{ text: `${worker} cannot read ${source} ${sequence}: ${reason ?? 'no reason given'}` }]
    }
    case 'ALT':
      return []
  }
}

function takeOver(worker: string): Happening {
  return { text: `a new ${worker} has taken over` }
}

function commandIn(subject: string, data: Uint8Array): Happening {
  const { kind, account } = parseOrdersSubject(subject)
  const decoded = decodeCommand(kind, data, account)
  switch (decoded.outcome) {
    case 'command':
      return {
        account: decoded.command.account,
        symbol: 'symbol' in decoded.command ? decoded.command.symbol : undefined,
        text: describeCommand(decoded.command),
      }
    case 'invalid':
      return { account, symbol: decoded.echo.symbol, text: `invalid ${kind}: ${decoded.text}` }
    case 'unreadable':
      return { account, text: `unreadable ${kind}: ${decoded.problem}` }
  }
}

/** Whatever a feed published. */
function tickIn(subject: string, data: Uint8Array): Happening {
  const [, , venue, symbol = ''] = subject.split('.')
  try {
    const { side, size, price } = parseOwnJson(textFromUtf8(data)) as Readonly<Record<string, unknown>>
    const words = [symbol, side, amountOf(size), '@', amountOf(price), `(${venue})`]
    return { symbol, text: words.filter((word) => typeof word === 'string').join(' ') }
  } catch {
    return { symbol, text: `${symbol} unreadable (${venue})` }
  }
}

function amountOf(value: unknown): string {
  return numberText(typeof value === 'number' || typeof value === 'string' ? value : undefined)
}

/** The watermark, which follows every batch, says nothing to a reader. */
function positionIn(subject: string, data: Uint8Array): Happening[] {
  const [, account = '', symbol] = subject.split('.')
  if (subject === 'positions._epoch') return [takeOver('pnl-updater')]
  if (subject === 'positions._watermark') return []
  if (symbol === undefined) {
    const { equity, realizedPnl, unrealizedPnl, fees } = decodeAccountPosition(data)
    const text = `${account} equity ${numberText(equity)}, ${results(realizedPnl, unrealizedPnl, fees)}`
    return [{ account, text }]
  }
  const { quantity, avgPx, realizedPnl, unrealizedPnl, fees } = decodePosition(data)
  const held = avgPx === undefined ? 'flat' : `${numberText(quantity)} @ ${numberText(avgPx)}`
  return [{ account, symbol, text: `${account} ${symbol} ${held}, ${results(realizedPnl, unrealizedPnl, fees)}` }]
}

type Amount = number | string | undefined

function results(realized: Amount, unrealized: Amount, fees: Amount): string {
  return `realised ${numberText(realized)}, unrealised ${numberText(unrealized)}, fees ${numberText(fees)}`
}
