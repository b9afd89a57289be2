import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { parseUnit, type Unit } from '../base/decimal.ts'
import { exitCodes, PipelineError } from '../base/errors.ts'
import type { Nats } from '../runtime/nats.ts'
import { symbolPattern } from '../schemas/command.ts'
import { instrumentFrom, type InstrumentsConfig, definitionOf } from '../schemas/instrument.ts'
import { withAnyStack, type StackChoice, startOption } from './any-stack.ts'
import { jsonOption, natsOption } from './connect.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { massCancel } from './order-send.ts'
import { wholeNumber } from './options.ts'
import { durationText, printJson, printLine, say } from './output.ts'
import { showProgress } from './progress.ts'
import { type Cause, causes, type Comparison, toleranceMs } from './replay-compare.ts'
import { type FlowSummary, readFlow, summarise } from './replay-file.ts'
import { liftLimits } from './replay-limits.ts'
import { Replay, type ReplayAccounts } from './replay-run.ts'

interface ReplayOptions extends StackChoice {
  readonly symbol?: string
  readonly tick?: Unit
  readonly lot?: Unit
  readonly speed: number | 'max'
  readonly keepOrders: boolean
  readonly atLeast?: number
  readonly json: boolean
}

export function addReplayCommand(program: Command): void {
  program
    .command('replay')
    .description('play an order-flow file through the pipeline and compare the trades with the file’s tape')
    .argument('<file>', 'CSV, gzipped or plain: ts_ms,event,id,side,price,size')
    .addOption(natsOption())
    .addOption(startOption())
    .option('--symbol <symbol>', 'trade it under this symbol; unset: one that nobody else uses', symbolName)
    .option('--tick <tick>', 'price step; unset: from the file’s decimals', unitOf)
    .option('--lot <lot>', 'quantity step; unset: from the file’s decimals', unitOf)
    .option('--speed <n|max>', '1: as fast as it happened, 10: ten times faster; max: no waiting', speedOf, 'max')
    .option('--keep-orders', 'leave what rests at the end in the book instead of cancelling it', false)
    .option('--at-least <n>', 'fail when fewer trades of the tape are reproduced', wholeNumber)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 replay morning.csv.gz                 the stack that runs; where none does, a temporary one
  trade2026 replay morning.csv.gz --start         a temporary one in any case
  trade2026 replay morning.csv --speed 60 --symbol BTCUSD --json

\`new\` becomes a LIMIT order, GTC; \`cancel\` a cancel of it; \`trade\` is what the exchange reported: it is compared, never
sent. All reach ORDERS in the order of the file. Buyers are the account replay-<run>-a, sellers replay-<run>-b; their
limits are lifted while the replay runs.

A trade of the tape is reproduced when ours has the same price and the same size within 5 s of the file's time; each
counts once. The others are counted by what kept them from being reproduced.

A temporary stack counts in the file's tick and lot. One that runs counts as its config/instruments.json says, by
default in 0.01 and 0.00000001: for a file in finer steps add an entry there, start it again, and name it with --symbol.

Exit code: 0 every command was answered, every order taken, nobody else traded in the symbol, and --at-least met; 1 not
so; 64 the file or the call is wrong; 69 no server.`,
    )
    .action(replay)
}

function symbolName(text: string): string {
  const symbol = text.toUpperCase()
  if (!new RegExp(symbolPattern).test(symbol)) throw new InvalidArgumentError(`must match ${symbolPattern}`)
  return symbol
}

function unitOf(text: string): Unit {
  try {
    return parseUnit(text)
  } catch {
    throw new InvalidArgumentError('must be a step such as 0.01')
  }
}

function speedOf(text: string): number | 'max' {
  if (text === 'max') return text
  const speed = Number(text)
  if (!(speed > 0 && speed <= 1e6)) throw new InvalidArgumentError('must be greater than 0, or max')
  return speed
}

async function replay(file: string, options: ReplayOptions): Promise<void> {
  const work = play(file, options)
  onInterrupt(() => work)
  await work
}

interface Outcome {
  readonly comparison: Comparison
  readonly run: Replay
  readonly elapsedMs: number
}

async function play(file: string, options: ReplayOptions): Promise<void> {
  const summary = await summarise(file, { tick: options.tick, lot: options.lot })
  const run = Date.now().toString(36)
  const symbol = options.symbol ?? `REPLAY-${run.toUpperCase()}`
  const { tick, lot } = summary
  const instruments: InstrumentsConfig = { default: { tick, lot }, instruments: {} }
  checkInstrument(file, instruments, symbol)
  const configure = (dataDir: string) => writeConfig(join(dataDir, 'config'), instruments)
  const outcome = await withAnyStack(options, ['ORDERS', 'RISK', 'EXECUTIONS'], configure, (nats) =>
    playOn(nats, file, summary, symbol, { BUY: `replay-${run}-a`, SELL: `replay-${run}-b` }, options),
  )
  if (interrupted.aborted) return
  const { misfit } = outcome.run
  if (misfit)
    throw new PipelineError(
      'FILE_INVALID',
      `${file}, line ${misfit.line}: refused: ${misfit.text}. The file counts in ticks of ${tick} and lots of ${lot}: give ${options.symbol ?? 'a symbol'} such an entry in config/instruments.json, start the stack again and say --symbol; or take a stack for this replay alone with --start`,
    )
  report(file, summary, symbol, outcome, options)
}

function checkInstrument(file: string, instruments: InstrumentsConfig, symbol: string): void {
  const definition = definitionOf(instruments, symbol)
  try {
    if (definition) instrumentFrom(definition)
  } catch (error) {
    throw new PipelineError(
      'FILE_INVALID',
      `${file} counts in steps finer than the pipeline can (tick ${definition?.tick}, lot ${definition?.lot}): together they must not be finer than 1e-18`,
      { cause: error },
    )
  }
}

/** @returns the folder */
function writeConfig(folder: string, instruments: InstrumentsConfig): string {
  mkdirSync(folder)
  writeFileSync(join(folder, 'instruments.json'), JSON.stringify(instruments))
  writeFileSync(join(folder, 'limits.json'), JSON.stringify({ default: {}, accounts: {}, symbols: {} }))
  return folder
}

async function playOn(
  nats: Nats,
  file: string,
  { counts, firstMs, lastMs }: FlowSummary,
  symbol: string,
  accounts: ReplayAccounts,
  { speed, keepOrders }: ReplayOptions,
): Promise<Outcome> {
  const names = Object.values(accounts)
  const limits = await liftLimits(nats, names)
  const run = new Replay(nats, symbol, accounts, interrupted)
  const bar = showProgress(counts.new + counts.cancel)
  const update = () => {
    const { answered, trades, elapsedMs, fileMs } = run.progress()
    const pace = Math.round((answered / Math.max(1, elapsedMs)) * 1_000)
    bar.update(
      answered,
      `${pace} commands/s | ${trades} trades | ${durationText(fileMs)} of ${durationText(lastMs - firstMs)}`,
    )
  }
  const updating = setInterval(update, 200)
  try {
    await run.play(readFlow(file), speed)
    if (!interrupted.aborted) update()
    return { comparison: run.comparison, run, elapsedMs: run.progress().elapsedMs }
  } finally {
    clearInterval(updating)
    bar.stop()
    await run.close()
    if (!keepOrders) await cancelAll(nats, names, symbol)
    await limits.remove()
  }
}

async function cancelAll(nats: Nats, accounts: readonly string[], symbol: string): Promise<void> {
  for (const account of accounts)
    if (!(await massCancel(nats, account, symbol).catch(() => false)))
      say(`open orders of ${account} may be left: \`trade2026 order mass-cancel --account ${account}\` cancels them`)
}

function report(
  file: string,
  { counts, firstMs, lastMs, tick, lot }: FlowSummary,
  symbol: string,
  { comparison, run, elapsedMs }: Outcome,
  { json, atLeast = 0 }: ReplayOptions,
): void {
  const { trades, tape, reproduced, unreproduced, notOnTape } = comparison
  const { unanswered, refused, newRefused, isInOrder, othersFills } = run
  const ok = unanswered === 0 && newRefused === 0 && isInOrder && othersFills === 0 && reproduced >= atLeast
  const commandsPerSecond = Math.round((run.progress().answered / Math.max(1, elapsedMs)) * 1_000)
  if (!ok) process.exitCode = exitCodes.failed
  if (reproduced < atLeast) say(`fewer than ${atLeast} trades of the tape are reproduced`)
  if (newRefused > 0) say(`${newRefused} orders were refused, so that it is not the whole file that was played`)
  if (othersFills > 0)
    say(
      `others traded in ${symbol} meanwhile (${othersFills} fills of theirs), so that the book was not the file's alone: leave out --symbol, or give one in which nobody trades`,
    )
  if (!isInOrder) say('commands did not reach ORDERS in the order of the file: NATS was away')
  if (json) {
    const { new: orders, cancel } = counts
    const figures = { trades, tape, reproduced, unreproduced, notOnTape, unanswered, isInOrder, othersFills, refused }
    const pace = { elapsedMs: Math.round(elapsedMs), fileMs: lastMs - firstMs, commandsPerSecond }
    printJson({ ok, new: orders, cancel, ...figures, symbol, tick, lot, toleranceMs, ...pace })
    return
  }
  const share = tape === 0 ? '' : ` (${((100 * reproduced) / tape).toFixed(1)} %)`
  const refusals = Object.entries(refused).map(([reason, count]) => `${reason} ${count}`)
  const lines = [
    `file            ${basename(file)}: ${durationText(lastMs - firstMs)}, tick ${tick}, lot ${lot}, as ${symbol}`,
    `commands        ${counts.new} new, ${counts.cancel} cancel, unanswered ${unanswered}, ${commandsPerSecond} a second`,
    `refused         ${refusals.join(', ') || 'none'}`,
    `own trades      ${trades}, of which ${notOnTape} are not on the tape`,
    `tape            ${tape} trades, ${reproduced} reproduced${share}`,
    ...Object.entries(causes).map(
      ([cause, about]) => `  ${String(unreproduced[cause as Cause]).padStart(12)}  ${about}`,
    ),
    ok ? 'ok' : 'NOT OK',
  ]
  for (const line of lines) printLine(line)
}
