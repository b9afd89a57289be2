import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { exitCodes, PipelineError } from '../base/errors.ts'
import { lockDataDir } from '../local/data-dir.ts'
import { startNats } from '../local/start-nats.ts'
import { settingsFrom } from '../runtime/config.ts'
import { holdRoom } from '../runtime/hold-room.ts'
import { isRedisThere } from '../runtime/redis-records.ts'
import type { Settings } from '../schemas/settings.ts'
import { createLog } from '../runtime/log.ts'
import { connectNats, type Nats } from '../runtime/nats.ts'
import { readInstruments } from './config-folder.ts'
import { jsonOption, type NatsOption, natsOption, redisUrlDefault, withNats } from './connect.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { endWithReader, printJson, printLine, visible } from './output.ts'
import { showSteps } from './progress.ts'
import { numeric, paint, renderTable } from './table.ts'
import { cutOf, verifyAnswers, verifyDecisions } from './verify-chain.ts'
import type { Check, CheckResult } from './verify-check.ts'
import { verifyPositions } from './verify-positions.ts'
import { verifyTables } from './verify-tables.ts'

const needs = ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS'] as const

interface VerifyOptions extends NatsOption {
  readonly dataDir?: string
  readonly redis?: string
  readonly uri?: string
  readonly tables: boolean
  readonly configDir?: string
  readonly json: boolean
}

export interface VerifyReport {
  readonly ok: boolean
  readonly checks: readonly CheckResult[]
}

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .description('prove that streams, positions, Redis and tables say the same; prints the first record that does not')
    .addOption(natsOption().conflicts('dataDir'))
    .option('--data-dir <folder>', 'the data folder of a stack that is stopped, instead of one that runs')
    .option('--redis <url>', 'Redis or Valkey; unset: REDIS_URL, else that of `trade2026 up`, if it answers')
    .option('--uri <uri>', 'the lake; unset: LAKE_URI, else data/lake or that of the data folder, if it is there')
    .option('--no-tables', 'leave the tables out')
    .option('--config-dir <folder>', 'folder with instruments.json, as the gate has it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 verify
  trade2026 verify --data-dir data --json | jq '.checks[] | select(.ok | not)'

  orders-risk          every command has one record, in order, and is decided so again
  risk-executions      every record has its answers once, in order, byte for byte what the matcher makes of it
  executions-positions every position is what its fills say, as of its own EXECUTIONS sequence
  executions-redis     so is what Redis has; what it has not is missing, not different
  conservation         quantity, cash and fees add up to zero
  …-table              every message that its stream still has is in the table, with every value

On a running system it looks at a cut: EXECUTIONS up to the last message as it begins. Meanwhile nothing is trimmed. What
has been trimmed is taken from the oldest snapshots. Needs the settings of the workers (CLORDID_MEMORY, DAY_END_UTC,
STARTING_CASH).
Exit code: 0 all is well, 1 something differs, 69 no server.`,
    )
    .action(verify)
}

async function verify(options: VerifyOptions): Promise<void> {
  endWithReader()
  const steps = showSteps()
  const run = async (nats: Nats) => {
    const report = await verifyAll(nats, options, steps.update)
    steps.stop()
    if (options.json) printJson(report)
    else printLine(render(report))
    if (!report.ok) process.exitCode = exitCodes.failed
  }
  try {
    await (options.dataDir === undefined ? withNats(options, needs, run) : withStopped(options.dataDir, run))
  } finally {
    steps.stop()
  }
}

/** Starts the server of a stack that is stopped, and nothing else. */
async function withStopped(dataDir: string, run: (nats: Nats) => Promise<void>): Promise<void> {
  const folder = resolve(dataDir)
  if (!existsSync(join(folder, 'jetstream')))
    throw new PipelineError('USAGE', `${dataDir} is no data folder of \`trade2026 up\`: it has no folder jetstream`)
  const lock = lockDataDir(folder)
  const server = await startNats({ dataDir: folder, port: 0 })
  onInterrupt(() => server.stop(2_000))
  try {
    const nats = await connectNats(server.url, 'trade2026')
    try {
      await run(nats)
    } finally {
      await nats.close()
    }
  } finally {
    await server.stop(2_000)
    lock.release()
  }
}

/** @param onProgress told which step is being done, and how much of it */
export async function verifyAll(
  nats: Nats,
  options: Pick<VerifyOptions, 'nats' | 'dataDir' | 'redis' | 'uri' | 'tables' | 'configDir'>,
  onProgress: (step: string, part?: number) => void,
): Promise<VerifyReport> {
  const settings = settingsFrom(process.env)
  const parts = {
    ...{ nats, settings, onProgress, signal: interrupted },
    instruments: readInstruments(options.configDir),
    log: createLog('verify', 'error'),
  }
  const release = await holdRoom(nats)
  try {
    const cut = await cutOf(nats)
    const redisUrl = options.redis ?? (await redisUrlOf(options, settings))
    const checks: Check[] = [
      await verifyDecisions(parts, cut),
      await verifyAnswers(parts, cut),
      ...(await verifyPositions(parts, redisUrl)),
    ]
    const lake = options.uri ?? (settings.LAKE_URI || join(options.dataDir ?? 'data', 'lake'))
    const isThere = options.uri !== undefined || settings.LAKE_URI !== '' || existsSync(lake)
    if (options.tables && isThere) checks.push(...(await verifyTables(parts, lake)))
    const results = checks.map((check) => check.result())
    return { ok: results.every(({ ok }) => ok), checks: results }
  } finally {
    await release()
  }
}

/** Of a stack that runs the one that it names, else that of `up`; empty: none. */
async function redisUrlOf(
  { dataDir, nats }: Pick<VerifyOptions, 'dataDir' | 'nats'>,
  { REDIS_URL: named, NATS_URL: natsUrl }: Settings,
): Promise<string> {
  if (dataDir !== undefined || named !== '') return dataDir === undefined ? named : ''
  const isOther = nats !== undefined || natsUrl !== ''
  return !isOther && (await isRedisThere(redisUrlDefault)) ? redisUrlDefault : ''
}

function render({ ok, checks }: VerifyReport): string {
  const rows = checks.map((check) => [
    check.name,
    check.ok ? paint('ok', 'good') : paint('differs', 'bad'),
    String(check.compared),
    String(check.differences),
  ])
  const firsts = checks.flatMap(({ name, first }) => (first === null ? [] : [`${name}: ${visible(first)}`]))
  return [
    renderTable(['check', 'result', ...['compared', 'differences'].map(numeric)], rows),
    ...(firsts.length === 0 ? [] : ['', 'the first of each:', ...firsts]),
    '',
    ok ? 'everything agrees' : 'not everything agrees',
  ].join('\n')
}
