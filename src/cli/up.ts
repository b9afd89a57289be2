import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { PipelineError } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { restartedText, startStack } from './stack.ts'
import { type Layout, layouts } from './stack-layout.ts'

interface UpOptions {
  readonly dataDir: string
  readonly layout: Layout
  readonly freePorts: boolean
  readonly minio: boolean
  readonly json: boolean
}

export function addUpCommand(program: Command): void {
  program
    .command('up')
    .description('start everything on this machine and keep it running until Ctrl-C')
    .option('--data-dir <folder>', 'where streams, logs and the servers’ files go', 'data')
    .addOption(
      new Option('--layout <layout>', 'workers in few processes or one process each')
        .choices(layouts)
        .default('compact'),
    )
    .option('--free-ports', 'take whatever ports are free instead of the documented ones', false)
    .option('--minio', 'run a MinIO and put the lake there, instead of into a folder', false)
    .option('--json', 'one JSON document a line on stdout: first when ready, then one a restart', false)
    .addHelpText(
      'after',
      `
Ports: NATS 4222, Valkey 6379, gateway 8099, pnl-updater 8100, oms-matcher 8101, risk-gate 8103, tape 8104,
tick-sink 8111, alt-sink 8112, execution-sink 8113, MinIO 9000 with --minio.
With NATS_URL or REDIS_URL set, that server is used and none is started.
Every setting is an environment variable; the README lists them.`,
    )
    .action(up)
}

async function up({ dataDir, layout, freePorts, minio, json }: UpOptions): Promise<void> {
  const say = (message: string) => process.stderr.write(`${message}\n`)
  if (minio && process.env['LAKE_URI'])
    throw new PipelineError('USAGE', 'LAKE_URI names another place for the lake: give up --minio, or unset it')
  onInterrupt(async () => {
    say('stopping')
    const stack = await starting.catch(() => undefined)
    await stack?.stop()
  })
  const starting = startStack({
    dataDir,
    layout,
    settings: settingsFrom(process.env),
    minio,
    ports: freePorts ? 'free' : 'contract',
    portRemedy: 'take free ones with --free-ports',
    signal: interrupted,
    onProgress: say,
    onRestarted: (restarted, why) => {
      if (json) process.stdout.write(`${JSON.stringify({ event: 'restarted', ...restarted, why })}\n`)
      else say(restartedText(restarted, why))
    },
  })
  const { processes, urls } = await starting
  if (json) {
    process.stdout.write(`${JSON.stringify({ ready: true, processes, urls })}\n`)
    return
  }
  say('ready')
  process.stdout.write(
    [
      `gateway  ${urls.gateway}   e.g. curl -s ${urls.gateway}/health`,
      `risk     ${urls.risk}`,
      `pnl      ${urls.pnl}`,
      `sinks    ${urls['tick-sink']} (ticks), ${urls['alt-sink']} (documents), ${urls['execution-sink']} (executions)`,
      `nats     ${urls.nats}`,
      `redis    ${urls.redis ?? 'none'}`,
      ...(urls.minio === undefined
        ? []
        : [`minio    ${urls.minio}   its access key is in ${join(dataDir, 'minio.env')}`]),
      '',
    ].join('\n'),
  )
}
