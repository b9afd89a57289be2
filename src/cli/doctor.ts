import { resolve } from 'node:path'
import type { Command } from 'commander'
import { exitCodes } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import { workerSpec } from '../subjects/contract.ts'
import { type StackChoice, startOption, withAnyStack } from './any-stack.ts'
import { jsonOption, natsOption } from './connect.ts'
import { type Check, checkLogs, checkOrders, checkPersistence, checkRisk, checkServices } from './doctor-checks.ts'
import { interrupted, onInterrupt } from './interrupt.ts'
import { wholeNumber } from './options.ts'
import { massCancel } from './order-send.ts'
import { printJson, printLine, say } from './output.ts'
import { localUrl } from './stack-layout.ts'
import { numeric, paint, renderTable } from './table.ts'

interface DoctorOptions extends StackChoice {
  readonly dataDir: string
  readonly riskUrl?: string
  readonly seconds: number
  readonly json: boolean
}

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('measure whether a stack is fit: health, latency, throughput, memory, CPU, logs, storage')
    .addOption(natsOption())
    .addOption(startOption())
    .option('--data-dir <folder>', 'where the stack that runs keeps its logs and names its processes', 'data')
    .option('--risk-url <url>', 'the risk-gate of the stack that runs; unset: its documented port')
    .option('--seconds <n>', 'how long orders are sent, 100 a second', wholeNumber, 10)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 doctor                   the stack that runs; where none does, a temporary one
  trade2026 doctor --start           a temporary one in any case
  trade2026 doctor --json | jq '.checks[] | select(.ok | not)'

It sends 100 orders and cancels a second for some seconds, and 2000 at once, under an account and a symbol of its own;
none of them trades, and none is left. Memory and CPU are those of all processes of the stack, servers included, and are
measured on Linux. Errors in logs count since the stack was started.

Exit code: 0 fit, 1 something is not as it should be, 69 no server.`,
    )
    .action(doctor)
}

async function doctor(options: DoctorOptions): Promise<void> {
  const work = examine(options)
  onInterrupt(() => work)
  await work
}

async function examine(options: DoctorOptions): Promise<void> {
  const settings = settingsFrom(process.env)
  const run = Date.now().toString(36)
  const name = { account: `doctor-${run}`, symbol: `DOCTOR-${run.toUpperCase()}` }
  const { checks, isOwn } = await withAnyStack(
    options,
    ['ORDERS', 'RISK', 'EXECUTIONS', 'POSITIONS'],
    () => undefined,
    async (nats, own) => {
      const dataDir = resolve(own?.dataDir ?? options.dataDir)
      const riskUrl =
        own?.urls.risk ?? options.riskUrl ?? localUrl(settings.HTTP_HOST, workerSpec('risk-gate').httpPort)
      say('asking for risk checks')
      const risk = await checkRisk(riskUrl, name, interrupted)
      say(`sending orders for ${options.seconds + 1} s`)
      try {
        const [latency, pace, memory, cpu] = await checkOrders(nats, name, options.seconds, dataDir, interrupted)
        // By now those of a stack that has just started say more than that.
        const services = await checkServices(nats, settings)
        const persistence = await checkPersistence(nats, name, dataDir)
        const found = [services, latency, risk, pace, memory, cpu, checkLogs(dataDir), persistence]
        return { checks: found.filter((check) => check !== undefined), isOwn: own !== undefined }
      } finally {
        await massCancel(nats, name.account, name.symbol).catch(() => false)
      }
    },
  )
  if (interrupted.aborted) return
  const ok = checks.every((check) => check.ok)
  if (!ok) process.exitCode = exitCodes.failed
  if (options.json) printJson({ ok, stack: isOwn ? 'temporary' : 'running', checks })
  else printLine(`${render(checks)}\n\n${ok ? paint('fit', 'good') : paint('not fit', 'bad')}`)
}

const wantedSigns = { below: '<', 'at most': '≤', 'at least': '≥' } as const

function render(checks: readonly Check[]): string {
  return renderTable(
    ['', 'check', numeric('measured'), numeric('wanted'), 'how'],
    checks.map(({ ok, about, measured, wanted, limit, detail }) => [
      ok ? paint('✓', 'good') : paint('✗', 'bad'),
      about,
      measured === null ? '-' : String(measured),
      `${wantedSigns[wanted]} ${limit}`,
      detail,
    ]),
  )
}
