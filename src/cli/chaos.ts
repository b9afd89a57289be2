import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { assert } from '../base/assert.ts'
import { exitCodes } from '../base/errors.ts'
import { startTcpProxy, type TcpProxy } from '../local/tcp-proxy.ts'
import { settingsFrom } from '../runtime/config.ts'
import { connectNats } from '../runtime/nats.ts'
import { ChaosRun, type ChaosReport, type FaultRecord } from './chaos-run.ts'
import { faultText } from './chaos-schedule.ts'
import { jsonOption } from './connect.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { wholeNumber } from './options.ts'
import { durationText, endWithReader, printJson, printLine, say } from './output.ts'
import { type Stack, startStack } from './stack.ts'
import { type Layout, layouts } from './stack-layout.ts'

interface ChaosOptions {
  readonly minutes: number
  readonly seed: number
  readonly layout: Layout
  readonly rate: number
  readonly minio: boolean
  readonly dataDir?: string
  readonly json: boolean
}

/** Settings of a run, where the environment does not say otherwise. */
const tight = { STREAMS_MAX_BYTES: String(512 * 2 ** 20), SNAPSHOT_GROWTH_PERCENT: '1' }

export function addChaosCommand(program: Command): void {
  program
    .command('chaos')
    .description('break a stack of its own in every way, again and again, under load, and prove that nothing is lost')
    .option('--minutes <n>', 'how long faults come', positive, 5)
    .option('--seed <n>', 'the same seed gives the same faults in the same order', wholeNumber, Date.now() % 1_000_000)
    .addOption(
      new Option('--layout <layout>', 'workers in few processes or one process each')
        .choices(layouts)
        .default('compact'),
    )
    .option('--rate <n>', 'commands a second', wholeNumber, 200)
    .option('--minio', 'the lake in a MinIO, which meets faults as well', false)
    .option(
      '--data-dir <folder>',
      'keep streams and logs there; otherwise a temporary folder is removed when all is well',
    )
    .addOption(jsonOption('one JSON document on stdout, and the faults on stderr'))
    .addHelpText(
      'after',
      `
Starts servers and workers on free ports, a stand-by of the chain besides, and sends orders, ticks and documents all the
while. Faults: kill -9 of workers and servers at random and at named points, also while they recover; SIGTERM;
SIGSTOP and SIGCONT, so that a stand-by takes over and a zombie wakes up; connections cut; answers of the server lost.
It ends with what \`verify\` does.

Examples:
  trade2026 chaos --minutes 2
  trade2026 chaos --minutes 60 --layout separate --minio --seed 7 --json

Exit code: 0 nothing lost, nothing twice, everything agrees; 1 otherwise, and the data folder is kept.`,
    )
    .action(chaos)
}

const minutesMax = 10_000

function positive(text: string): number {
  const minutes = Number(text)
  if (!(minutes > 0 && minutes <= minutesMax))
    throw new InvalidArgumentError(`must be above 0, and ${minutesMax} at most`)
  return minutes
}

async function chaos(options: ChaosOptions): Promise<void> {
  endWithReader()
  // Little room, so that snapshots are taken and streams are trimmed all the while.
  for (const [name, value] of Object.entries(tight)) process.env[name] ??= value
  const settings = settingsFrom({ ...process.env, LAKE_URI: '', NATS_URL: '', REDIS_URL: '' })
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'trade2026-chaos-'))
  const crashDir = mkdtempSync(join(tmpdir(), 'trade2026-crash-'))
  let starting: Promise<Stack> | undefined
  let proxy: TcpProxy | undefined
  const stop = async () => {
    const stack = await starting?.catch(() => undefined)
    // A paused process hears of a stop when it goes on.
    for (const { process } of stack?.parts ?? []) process.kill('SIGCONT')
    proxy?.open()
    await stack?.stop()
    proxy?.close()
    rmSync(crashDir, { recursive: true, force: true })
  }
  const remove = () => {
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
  }
  onInterrupt(async () => {
    await stop()
    remove()
  })
  const tell = options.json ? say : printLine
  tell(`seed ${options.seed}, ${options.layout}: starting servers and workers`)
  try {
    starting = startStack({
      dataDir,
      layout: options.layout,
      settings,
      minio: options.minio,
      ports: 'free',
      signal: interrupted,
      onProgress: () => undefined,
      onRestarted: () => undefined,
      trouble: {
        crashDir,
        natsUrl: async (port) => {
          proxy = await startTcpProxy(port)
          return `nats://127.0.0.1:${proxy.port}`
        },
      },
    })
    const stack = await starting
    assert(proxy, 'the server is one of ours')
    const nats = await connectNats(stack.urls.nats, 'chaos')
    const run = new ChaosRun({ nats, stack, proxy, crashDir, ...options, onFault: (record) => tell(lineOf(record)) })
    const report = await run.run(tell)
    await nats.close()
    await stop()
    if (interrupted.aborted) return
    if (report.ok) remove()
    else say(`the data folder and its logs are kept: ${dataDir}`)
    if (options.json) printJson(report)
    else printLine(summaryOf(report))
    process.exit(report.ok ? exitCodes.ok : exitCodes.failed)
  } catch (error) {
    await stop()
    if (!interrupted.aborted && options.dataDir === undefined) say(`the data folder and its logs are kept: ${dataDir}`)
    throw error
  }
}

function lineOf({ number, atMs, answeredMs, recoveredMs, remark, ...fault }: FaultRecord): string {
  const flow = answeredMs === null ? 'ORDERS DO NOT FLOW' : `orders flow after ${durationText(answeredMs)}`
  const work = recoveredMs === null ? 'NOT EVERYTHING IS AT WORK' : `all at work after ${durationText(recoveredMs)}`
  const time = durationText(atMs).padStart(8)
  return `${time}  ${String(number).padStart(4)}  ${faultText(fault)}: ${remark === null ? '' : `${remark}; `}${flow}, ${work}`
}

function summaryOf({
  ok,
  seed,
  faults,
  byKind,
  commands,
  answered,
  lost,
  doubled,
  verify,
  problems,
}: ChaosReport): string {
  const kinds = Object.entries(byKind).map(
    ([kind, { count, answeredMs }]) =>
      `  ${kind.padEnd(14)} ${String(count).padStart(5)}   orders flow again after P50 ${durationText(answeredMs.p50)}, at most ${durationText(answeredMs.max)}`,
  )
  const checks = verify.checks.map(
    ({ name, ok: isGood, compared, differences, first }) =>
      `  ${name.padEnd(22)} ${isGood ? 'ok' : 'DIFFERS'}   ${compared} compared, ${differences} differ${first === null ? '' : `; first: ${first}`}`,
  )
  return [
    '',
    `faults      ${faults.length}`,
    ...kinds,
    `commands    ${commands}, answered ${answered}, lost ${lost}, doubled ${doubled}`,
    'verify',
    ...checks,
    ...problems.map((problem) => `PROBLEM     ${problem}`),
    `seed        ${seed}`,
    ok ? 'ok' : 'NOT OK',
  ].join('\n')
}
