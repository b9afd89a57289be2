import { type Command, InvalidArgumentError, Option } from 'commander'
import { fileURLToPath } from 'node:url'
import type { ChainOptions, LoadLevel } from '../../bench/pipeline.ts'
import type { Row } from '../../bench/rows.ts'
import type { Session } from '../../bench/session.ts'
import { jsonOption } from './connect.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { wholeNumber } from './options.ts'
import { printJson, printLine, say } from './output.ts'
import { type Layout, layouts } from './stack.ts'

const resultsFolder = fileURLToPath(new URL('../../bench/results', import.meta.url))

interface CommonOptions {
  readonly rounds: number
  readonly results: string
  readonly json: boolean
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
      .option('--results <folder>', 'where the results are kept as a file', resultsFolder)
      .addOption(jsonOption('rows as one JSON document on stdout'))
  const onStack = (name: string, about: string, rounds: number) =>
    scenario(name, about, rounds).addOption(new Option('--layout <layout>', 'only this layout').choices(layouts))
  const onChain = (name: string, about: string, loads: readonly LoadLevel[]) =>
    onStack(name, about, 3)
      .option('--loads <list>', 'idle, commands a second, or max, with commas between', loadList, loads)
      .option('--orders <n>', 'commands of a round at max', wholeNumber, 50_000)
      .option('--seconds <n>', 'length of a round at any other load', wholeNumber, 5)

  scenario('matcher', 'the matcher in process, report values included, beside nodejs-order-book', 5)
    .option('--commands <n>', 'commands of a round', wholeNumber, 500_000)
    .action(async (options: CommonOptions & { commands: number }) => {
      await runBench(options, async () => {
        const { matcherBench } = await import('../../bench/matcher.ts')
        return matcherBench(options).map(({ restingOrders, ...row }) => ({
          ...row,
          load: `${restingOrders} resting`,
          figures: {},
        }))
      })
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
}

type HttpFlags = StackOptions & { readonly requests: number }
type ChainFlags = StackOptions & Omit<ChainOptions, 'layouts'>

function chainOptions(flags: ChainFlags): ChainOptions {
  return { ...flags, layouts: layoutsOf(flags) }
}

function layoutsOf({ layout }: StackOptions): readonly Layout[] {
  return layout === undefined ? layouts : [layout]
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
  { results, json }: CommonOptions,
  measure: (session: Session) => Promise<readonly Row[]>,
): Promise<void> {
  const [{ createSession }, { createProgress }, { renderRows }, { writeResults }, { machineFacts, versionFacts }] =
    await Promise.all([
      import('../../bench/session.ts'),
      import('../../bench/progress.ts'),
      import('../../bench/print.ts'),
      import('../../bench/results.ts'),
      import('../../bench/machine.ts'),
    ])
  const progress = createProgress()
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
