import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { exitCodes } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import { connectNats } from '../runtime/nats.ts'
import { audit, type Audit } from './audit.ts'
import { FeedPlayer } from './market-feed.ts'
import { auditTables, type TableAudit } from './table-audit.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { Load, type LoadProgress, type LoadResult } from './load.ts'
import { wholeNumber } from './options.ts'
import { orderFlow } from './order-flow.ts'
import { showProgress } from './progress.ts'
import { restartedText, type Stack, startStack } from './stack.ts'
import { type Layout, layouts } from './stack-layout.ts'

/** Ticks and documents for each order. */
const feedShare = 0.25

interface DemoOptions {
  readonly seed: number
  readonly orders: number
  readonly rate: number | 'max'
  readonly dataDir?: string
  readonly keep: boolean
  readonly layout: Layout
  readonly json: boolean
}

export function addDemoCommand(program: Command): void {
  program
    .command('demo')
    .description('start real servers and workers, play orders, ticks and documents, and check that it all adds up')
    .option('--seed <n>', 'the same seed gives the same orders', wholeNumber, 1)
    .option('--orders <n>', 'how many commands', wholeNumber, 20_000)
    .option('--rate <n|max>', 'commands a second', (text) => (text === 'max' ? text : wholeNumber(text)), 2_000)
    .option('--data-dir <folder>', 'keep streams and logs there; otherwise a temporary folder is removed at the end')
    .option('--keep', 'stay up after the summary, on the documented ports, until Ctrl-C', false)
    .addOption(
      new Option('--layout <layout>', 'workers in few processes or one process each')
        .choices(layouts)
        .default('compact'),
    )
    .option('--json', 'the summary as one JSON document on stdout', false)
    .action(demo)
}

async function demo(options: DemoOptions): Promise<void> {
  const say = (message: string) => process.stderr.write(`${message}\n`)
  // Its tables belong to its streams, which are its own.
  const settings = settingsFrom({ ...process.env, LAKE_URI: '' })
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'trade2026-demo-'))
  let starting: Promise<Stack> | undefined
  let bar: { stop(): void } | undefined
  const stop = async () => {
    bar?.stop()
    const stack = await starting?.catch(() => undefined)
    await stack?.stop()
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
  }
  onInterrupt(stop)
  try {
    starting = startStack({
      dataDir,
      layout: options.layout,
      settings,
      ports: options.keep ? 'contract' : 'free',
      portRemedy: 'leave out --keep, which takes the documented ports',
      signal: interrupted,
      onProgress: say,
      onRestarted: (restarted, why) => say(restartedText(restarted, why)),
    })
    const stack = await starting
    const nats = await connectNats(stack.urls.nats, 'demo')
    const load = new Load(nats)
    await load.open((error) => say(`cannot follow the answers: ${error.message}`))
    const commandsBefore = (await nats.jsm.streams.info('ORDERS')).state.messages
    const progress = showProgress(options.orders)
    bar = progress
    const run = `d${options.seed}-${commandsBefore}`
    const feed = new FeedPlayer(nats, options.seed, run)
    const result = await load.run(orderFlow(options.seed, run), options.orders, options.rate, (at) => {
      feed.upTo(Math.floor(at.sent * feedShare))
      progress.update(at.answered, detailsOf(at, load))
    })
    const feedRefused = await feed.end()
    progress.stop()
    say('checking that everything adds up')
    const audited = await audit(nats)
    const tables = await auditTables(nats, stack.lakeUri, stack.urls, audited.reports)
    await load.close()
    await nats.close()
    const ok =
      audited.ok &&
      result.sent === options.orders &&
      result.refused + feedRefused === 0 &&
      tables.every(({ problems }) => problems.length === 0)
    report(options.json, ok, result, audited, tables)
    if (options.keep) {
      say(`still running; gateway at ${stack.urls.gateway}, NATS at ${stack.urls.nats}. Ctrl-C ends it.`)
      return
    }
    await stop()
    if (!interrupted.aborted) process.exit(ok ? exitCodes.ok : exitCodes.failed)
  } catch (error) {
    await stop()
    throw error
  }
}

function detailsOf({ sent, answered, elapsedMs }: LoadProgress, load: Load): string {
  const { p50, p99 } = load.latencyMs().report
  const rate = Math.round((answered / Math.max(1, elapsedMs)) * 1_000)
  return `${rate} orders/s | ${sent - answered} in flight | report P50 ${p50} ms, P99 ${p99} ms`
}

function report(asJson: boolean, ok: boolean, result: LoadResult, audited: Audit, tables: readonly TableAudit[]): void {
  const { commands, answers, unanswered, doubled, rejects, trades, positions, conservation, deadLetters } = audited
  const { latencyMs, ordersPerSecond } = result
  if (asJson) {
    const document = {
      ok,
      commands,
      answers,
      unanswered,
      doubled,
      rejects,
      trades,
      latencyMs,
      ordersPerSecond,
      positions: positions.map((position) => ({ ...position, quantity: Number(position.quantity) })),
      conservation,
      deadLetters,
      tables,
    }
    process.stdout.write(`${JSON.stringify(document)}\n`)
    return
  }
  const percentiles = ({ p50, p90, p99 }: LoadResult['latencyMs']['report']) =>
    `P50 ${p50} ms   P90 ${p90} ms   P99 ${p99} ms`
  const lines = [
    '',
    `commands            ${commands}, answered ${answers}, unanswered ${unanswered}, doubled ${doubled}`,
    `trades              ${trades}`,
    `refused             ${listOf(rejects)}`,
    `dead letters        ${listOf(deadLetters)}`,
    `throughput          ${ordersPerSecond} orders/s`,
    `order to report     ${percentiles(latencyMs.report)}`,
    `order to position   ${percentiles(latencyMs.position)}`,
    `positions           ${positions.length} of ${new Set(positions.map(({ account }) => account)).size} accounts`,
    ...positions
      .slice(0, 10)
      .map(
        ({ account, symbol, quantity, realizedPnl, fees }) =>
          `  ${account.padEnd(12)} ${symbol.padEnd(10)} ${quantity.padStart(14)}   realised ${realizedPnl.padStart(16)}   fees ${fees.padStart(14)}`,
      ),
    ...(positions.length > 10 ? [`  … and ${positions.length - 10} more`] : []),
    conservation.ok
      ? 'conservation        quantity, cash and fees add up to zero; POSITIONS agrees with every fill'
      : `conservation        BROKEN: ${conservation.problems.join('; ')}`,
    ...tables.map(
      ({ name, version, rows, messages, duplicates, deadLetters: letters, problems }) =>
        `table               ${name.padEnd(12)} version ${version}, ${rows} rows of ${messages} messages, ${duplicates} repeats, ${letters} dead letters${problems.length === 0 ? '' : ` WRONG: ${problems.join('; ')}`}`,
    ),
    ok ? 'ok' : 'NOT OK',
    '',
  ]
  process.stdout.write(lines.join('\n'))
}

function listOf(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).sort(([, a], [, b]) => b - a)
  return entries.length === 0 ? 'none' : entries.map(([name, count]) => `${name} ${count}`).join(', ')
}
