import { type Command, Option } from 'commander'
import { wholeNumber } from './options.ts'
import { type Layout, layouts } from './stack.ts'

const say = (message: string) => process.stderr.write(`${message}\n`)

export function addBenchCommand(program: Command): void {
  const bench = program
    .command('bench')
    .description('measure this machine; bench/README.md says how each figure is made')
    .addHelpText('after', '\nFigures move with whatever else the machine does: look at min and max, and at the ratios.')
  bench
    .command('matcher')
    .description('the matcher in process, report values included, beside nodejs-order-book in the same run')
    .option('--commands <n>', 'commands of a round', wholeNumber, 500_000)
    .option('--rounds <n>', 'rounds, ours and the peer’s in turn', wholeNumber, 5)
    .option('--json', 'rows as one JSON document on stdout', false)
    .action(async ({ commands, rounds, json }: { commands: number; rounds: number; json: boolean }) => {
      const { matcherBench } = await import('../../bench/matcher.ts')
      print(matcherBench({ commands, rounds }), json)
    })
  bench
    .command('publish')
    .description('publishing with an awaited answer a message, beside js.publish in the same run')
    .option('--messages <n>', 'messages of a round', wholeNumber, 40_000)
    .option('--rounds <n>', 'rounds, ours and js.publish in turn', wholeNumber, 5)
    .option('--json', 'rows as one JSON document on stdout', false)
    .action(async ({ messages, rounds, json }: { messages: number; rounds: number; json: boolean }) => {
      const { publishBench } = await import('../../bench/publish.ts')
      print(await publishBench({ messages, rounds }), json)
    })
  bench
    .command('pipeline')
    .description('a whole stack on free ports: throughput, latency at 1,000 orders/s, POST latency, memory, CPU')
    .addOption(new Option('--layout <layout>', 'only this layout').choices(layouts))
    .option('--rounds <n>', 'rounds, layouts in turn', wholeNumber, 3)
    .option('--orders <n>', 'commands of a round at full speed', wholeNumber, 50_000)
    .option('--seconds <n>', 'length of a round at 1,000 orders/s', wholeNumber, 10)
    .option('--json', 'rows as one JSON document on stdout', false)
    .action(async (options: { layout?: Layout; rounds: number; orders: number; seconds: number; json: boolean }) => {
      const { pipelineBench } = await import('../../bench/pipeline.ts')
      const chosen = options.layout === undefined ? layouts : [options.layout]
      print(await pipelineBench({ ...options, layouts: chosen, onProgress: say }), options.json)
    })
}

function print(rows: readonly object[], asJson: boolean): void {
  if (asJson) {
    process.stdout.write(`${JSON.stringify(rows)}\n`)
    return
  }
  for (const row of rows) {
    for (const [name, value] of Object.entries(row))
      process.stdout.write(`${name.padEnd(18)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}\n`)
    process.stdout.write('\n')
  }
}
