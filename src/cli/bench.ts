import { type Command, InvalidArgumentError, Option } from 'commander'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { FlatOptions } from '../../bench/flat.ts'
import type { ChainOptions, LoadLevel } from '../../bench/pipeline.ts'
import type { Row } from '../../bench/rows.ts'
import type { Session } from '../../bench/session.ts'
import type { SoakOptions } from '../../bench/soak.ts'
import type { LakeKind } from '../../bench/tick-sink.ts'
import { jsonOption } from './connect.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { wholeNumber } from './options.ts'
import { printJson, printLine, say } from './output.ts'
import { type Layout, layouts } from './stack-layout.ts'

const resultsFolder = fileURLToPath(new URL('../../bench/results', import.meta.url))

const jsonAbout = 'rows as one JSON document on stdout'

function resultsOption(): Option {
  return new Option('--results <folder>', 'where the results are kept as a file').default(
    resultsFolder,
    'bench/results',
  )
}

interface KeptOptions {
  readonly results: string
  readonly json: boolean
}

interface CommonOptions extends KeptOptions {
  readonly rounds: number
}

interface StackOptions extends CommonOptions {
  readonly layout?: Layout
}

export function addBenchCommand(program: Command): void {
  const bench = program
    .command('bench')
    .description('measure this machine; bench/README.md says how each figure is made')
    .addHelpText('after', '\nFigures move with whatever else the machine does: look at min and max, and at the ratios.')
  const scenario = (name: string, about: string, rounds: number) =>
    bench
      .command(name)
      .description(about)
      .option('--rounds <n>', 'rounds, what is compared in turn', wholeNumber, rounds)
      .addOption(resultsOption())
      .addOption(jsonOption(jsonAbout))
  const onStack = (name: string, about: string, rounds: number) =>
    scenario(name, about, rounds).addOption(new Option('--layout <layout>', 'only this layout').choices(layouts))
  const onChain = (name: string, about: string, loads: readonly LoadLevel[]) =>
    onStack(name, about, 3)
      .option('--loads <list>', 'idle, commands a second, or max, with commas between', loadList, loads)
      .option('--orders <n>', 'commands of a round at max', wholeNumber, 50_000)
      .option('--seconds <n>', 'length of a round at any other load', wholeNumber, 5)

  scenario('matcher', 'the matcher in process, report values included, beside nodejs-order-book', 5)
    .option('--commands <n>', 'commands of a round', wholeNumber, 500_000)
    .option('--file <path>', 'an order-flow file, gzipped or plain, instead of made commands')
    .action(async (options: CommonOptions & { commands: number; file?: string }) => {
      await runBench(options, async (session) => (await import('../../bench/all.ts')).matcherRows(session, options))
    })
  scenario('publish', 'publishing with an awaited answer a message, beside js.publish and nats bench', 5)
    .option('--messages <n>', 'messages of a round', wholeNumber, 40_000)
    .action(async (options: CommonOptions & { messages: number }) => {
      await runBench(options, async (session) =>
        (await import('../../bench/publish.ts')).publishBench(session, options),
      )
    })
  onChain('chain-bare', 'three pass-through consumers, a message a hop: the baseline of pipeline', [
    1_000,
    'max',
  ]).action(async (options: ChainFlags) => {
    await runBench(options, async (session) =>
      (await import('../../bench/pipeline.ts')).bareChainBench(session, chainOptions(options)),
    )
  })
  onChain('pipeline', 'a whole stack, from a command to its report and position, beside chain-bare', [
    'idle',
    100,
    1_000,
    5_000,
    'max',
  ]).action(async (options: ChainFlags) => {
    await runBench(options, async (session) =>
      (await import('../../bench/pipeline.ts')).pipelineBench(session, chainOptions(options)),
    )
  })
  onStack('http', 'POST /orders: 1 and 50 connections, 1,000 a second, and 1,000 at once', 3)
    .option('--requests <n>', 'requests of a round', wholeNumber, 5_000)
    .action(async (options: HttpFlags) => {
      await runBench(options, async (session) =>
        (await import('../../bench/http.ts')).httpBench(session, { ...options, layouts: layoutsOf(options) }),
      )
    })
  onStack('check', 'POST /check of the risk gate: 1 and 50 connections, beside a bare answer', 3)
    .option('--requests <n>', 'requests of a round', wholeNumber, 10_000)
    .action(async (options: HttpFlags) => {
      await runBench(options, async (session) =>
        (await import('../../bench/check.ts')).checkBench(session, { ...options, layouts: layoutsOf(options) }),
      )
    })
  scenario('flat', 'whether latency stays flat: resting orders (in process), accounts and symbols (a stack)', 3)
    .addOption(new Option('--layout <layout>', 'of the stack').choices(layouts).default('compact'))
    .option('--accounts <n>', 'accounts, beside 10', wholeNumber, 100_000)
    .option('--symbols <n>', 'symbols, beside 1', wholeNumber, 10_000)
    .option('--commands <n>', 'commands of a round in process', wholeNumber, 500_000)
    .option('--rate <n>', 'commands a second of the stack', wholeNumber, 1_000)
    .option('--seconds <n>', 'length of a round of the stack', wholeNumber, 5)
    .action(async (options: CommonOptions & FlatFlags) => {
      await runBench(options, async (session) => {
        const { flatRows } = await import('../../bench/all.ts')
        return flatRows(session, { ...options, ratePerSecond: options.rate }, options.commands)
      })
    })
  scenario('tick-sink', 'ticks from JetStream into the table, in a folder and on MinIO', 1)
    .option('--ticks <n>', 'ticks of a backlog', wholeNumber, 500_000)
    .option('--symbols <list>', 'symbols the ticks are of, with commas between', numberList, [20, 100, 1_000])
    .option('--rate <n>', 'ticks a second of which the way to a visible row is timed', wholeNumber, 1_000)
    .option('--seconds <n>', 'length of that', wholeNumber, 20)
    .addOption(new Option('--lake <kind>', 'only there').choices(['folder', 'minio']))
    .action(async (options: CommonOptions & TickSinkFlags) => {
      await runBench(options, async (session) => {
        const { lakeKinds, tickSinkBench } = await import('../../bench/tick-sink.ts')
        const lakes = options.lake === undefined ? lakeKinds : [options.lake]
        return tickSinkBench(session, { ...options, lakes, ratePerSecond: options.rate })
      })
    })
  scenario('parquet', 'ticks as files of Parquet, beside parquetjs-lite, parquet-wasm and DuckDB', 5)
    .option('--rows <n>', 'ticks of a round', wholeNumber, 50_000)
    .option('--file-rows <list>', 'ticks of a file, with commas between', numberList, [50_000, 250])
    .action(async (options: CommonOptions & { rows: number; fileRows: readonly number[] }) => {
      await runBench(options, async (session) =>
        (await import('../../bench/parquet.ts')).parquetBench(session, options),
      )
    })
  scenario('lake', 'how soon a table with a long log is open, and the memory of its writer', 1)
    .option('--versions <n>', 'commits of the log', wholeNumber, 100_000)
    .option('--file-actions <n>', 'files that they add and remove', wholeNumber, 1_000_000)
    .action(async (options: CommonOptions & { versions: number; fileActions: number }) => {
      await runBench(options, async (session) => (await import('../../bench/lake.ts')).lakeBench(session, options))
    })
  scenario('compaction', 'what becomes of small files: speed and memory of a compaction, queries before and after', 1)
    .option('--files <n>', 'files of the table', wholeNumber, 1_000)
    .option('--rows <n>', 'rows in them', wholeNumber, 2_000_000)
    .action(async (options: CommonOptions & { files: number; rows: number }) => {
      await runBench(options, async (session) =>
        (await import('../../bench/compaction.ts')).compactionBench(session, options),
      )
    })
  scenario('recovery', 'how soon gate, matcher and PnL are back, folding again and from snapshots', 1)
    .option('--orders <n>', 'orders that rest', wholeNumber, 1_000_000)
    .action(async (options: CommonOptions & { orders: number }) => {
      await runBench(options, async (session) =>
        (await import('../../bench/recovery.ts')).recoveryBench(session, options),
      )
    })
  bench
    .command('soak')
    .description('a whole stack at a fixed rate for long: does memory, backlog or latency grow?')
    .addOption(new Option('--layout <layout>', 'of the stack').choices(layouts).default('compact'))
    .option('--rate <n>', 'commands a second', wholeNumber, 1_000)
    .option('--seconds <n>', 'how long', wholeNumber, 600)
    .option('--interval-seconds <n>', 'length of what one reading sums up', wholeNumber, 10)
    .addOption(resultsOption())
    .addOption(jsonOption(jsonAbout))
    .action(async (options: KeptOptions & SoakFlags) => {
      await runBench(options, async (session) =>
        (await import('../../bench/soak.ts')).soakBench(session, { ...options, ratePerSecond: options.rate }),
      )
    })
  bench
    .command('all')
    .description('every scenario but soak, one after the other')
    .option('--quick', 'one short round each: whether it runs, not how fast', false)
    .addOption(new Option('--layout <layout>', 'only this layout').choices(layouts))
    .addOption(resultsOption())
    .addOption(jsonOption(jsonAbout))
    .action(async (options: KeptOptions & { quick: boolean; layout?: Layout }) => {
      await runBench(options, async (session) =>
        (await import('../../bench/all.ts')).allRows(session, { isQuick: options.quick, layouts: layoutsOf(options) }),
      )
    })
  bench
    .command('compare')
    .description('what has changed between two files of results by more than their rounds differ')
    .argument('<before>', 'file of results')
    .argument('<after>', 'file of results')
    .addOption(jsonOption('every figure of both as one JSON document on stdout'))
    .action(async (beforeFile: string, afterFile: string, { json }: { json: boolean }) => {
      const { compareResults, renderComparison } = await import('../../bench/compare.ts')
      const { readResults } = await import('../../bench/results.ts')
      const [before, after] = [readResults(beforeFile), readResults(afterFile)]
      const comparisons = compareResults(before, after)
      if (json) printJson(comparisons)
      else printLine(renderComparison(before, after, comparisons))
    })
  bench
    .command('report')
    .description('files of results as one HTML page with plots, which needs no network')
    .argument('<files...>', 'files of results')
    .option('--out <file>', 'the page', 'bench-report.html')
    .action(async (files: readonly string[], { out }: { out: string }) => {
      const { renderReport } = await import('../../bench/report.ts')
      const { readResults } = await import('../../bench/results.ts')
      writeFileSync(out, renderReport(files.map(readResults)))
      printLine(out)
    })
}

interface TickSinkFlags {
  readonly ticks: number
  readonly symbols: readonly number[]
  readonly rate: number
  readonly seconds: number
  readonly lake?: LakeKind
}
type FlatFlags = Omit<FlatOptions, 'ratePerSecond'> & { readonly rate: number; readonly commands: number }
type SoakFlags = Omit<SoakOptions, 'ratePerSecond'> & { readonly rate: number }
type HttpFlags = StackOptions & { readonly requests: number }
type ChainFlags = StackOptions & Omit<ChainOptions, 'layouts'>

function chainOptions(flags: ChainFlags): ChainOptions {
  return { ...flags, layouts: layoutsOf(flags) }
}

function layoutsOf({ layout }: Pick<StackOptions, 'layout'>): readonly Layout[] {
  return layout === undefined ? layouts : [layout]
}

function numberList(text: string): number[] {
  return text.split(',').map((number) => wholeNumber(number))
}

function loadList(text: string): LoadLevel[] {
  return text.split(',').map((load) => {
    if (load === 'idle' || load === 'max') return load
    const rate = Number(load)
    if (Number.isSafeInteger(rate) && rate > 0) return rate
    throw new InvalidArgumentError('say idle, max, or commands a second, e.g. 100,1000,max')
  })
}

/** Measures, prints the rows and keeps them. Ctrl-C ends everything that runs and keeps nothing. */
async function runBench(
  { results, json }: KeptOptions,
  measure: (session: Session) => Promise<readonly Row[]>,
): Promise<void> {
  const [{ createSession }, { showSteps }, { renderRows }, { writeResults }, { machineFacts, versionFacts }] =
    await Promise.all([
      import('../../bench/session.ts'),
      import('./progress.ts'),
      import('../../bench/print.ts'),
      import('../../bench/results.ts'),
      import('../../bench/machine.ts'),
    ])
  const progress = showSteps()
  const session = createSession(interrupted, progress.update)
  const end = async () => {
    progress.stop()
    await session.end()
  }
  onInterrupt(end)
  let rows: readonly Row[]
  try {
    rows = await measure(session)
  } finally {
    await end()
  }
  const [machine, versions] = [machineFacts(), await versionFacts()]
  const command = ['trade2026', ...process.argv.slice(2)].join(' ')
  const path = writeResults(results, { date: new Date().toISOString(), command, machine, versions, rows })
  if (json) printJson(rows)
  else {
    printLine(renderRows(rows))
    printLine('')
    printLine(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}`)
    printLine(
      `node ${versions.node}, nats-server ${versions.natsServer}, valkey ${versions.valkey}, trade2026 ${versions.revision}`,
    )
  }
  say(`kept in ${path}`)
  process.exit()
}
