#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { exitCodes, isPipelineError, messageOf, type ErrorCode } from '../base/errors.ts'
import { interrupted } from './interrupt.ts'

/** Which errors mean that something else is missing or unreachable, and which that the call was wrong. */
const exitCodeOf: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: exitCodes.usage,
  FILE_INVALID: exitCodes.usage,
  USAGE: exitCodes.usage,
  COMPONENT_MISSING: exitCodes.unavailable,
  COMPONENT_VERSION: exitCodes.unavailable,
  COMPONENT_START: exitCodes.unavailable,
  PORT_IN_USE: exitCodes.unavailable,
  DATA_DIR_IN_USE: exitCodes.unavailable,
  DATA_DIR_UNUSABLE: exitCodes.usage,
  NATS_UNREACHABLE: exitCodes.unavailable,
  NATS_VERSION: exitCodes.unavailable,
  PUBLISH_UNRESOLVED: exitCodes.unavailable,
  LAKE_STORE_UNAVAILABLE: exitCodes.unavailable,
}

/** A command loads only what it runs with; help and completion load them all. */
const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  demo: async () => (await import('./demo.ts')).addDemoCommand,
  up: async () => (await import('./up.ts')).addUpCommand,
  worker: async () => (await import('./worker.ts')).addWorkerCommand,
  streams: async () => (await import('./streams.ts')).addStreamsCommand,
  order: async () => (await import('./order.ts')).addOrderCommand,
  book: async () => (await import('./book.ts')).addBookCommand,
  positions: async () => (await import('./positions.ts')).addPositionsCommand,
  limits: async () => (await import('./limits.ts')).addLimitsCommand,
  halt: async () => (await import('./halt.ts')).addHaltCommand,
  resume: async () => (await import('./halt.ts')).addResumeCommand,
  tail: async () => (await import('./tail.ts')).addTailCommand,
  replay: async () => (await import('./replay.ts')).addReplayCommand,
  lag: async () => (await import('./lag.ts')).addLagCommand,
  verify: async () => (await import('./verify.ts')).addVerifyCommand,
  chaos: async () => (await import('./chaos.ts')).addChaosCommand,
  'replay-risk': async () => (await import('./replay-risk.ts')).addReplayRiskCommand,
  rebuild: async () => (await import('./rebuild.ts')).addRebuildCommand,
  snapshots: async () => (await import('./snapshots.ts')).addSnapshotsCommand,
  trim: async () => (await import('./trim.ts')).addTrimCommand,
  dlq: async () => (await import('./dlq.ts')).addDlqCommand,
  doctor: async () => (await import('./doctor.ts')).addDoctorCommand,
  lake: async () => (await import('./lake.ts')).addLakeCommand,
  bench: async () => (await import('./bench.ts')).addBenchCommand,
  completion: async () => (await import('./completion.ts')).addCompletionCommand,
}

const program = new Command('trade2026')
  .description('Event-driven order pipeline over NATS JetStream: every command answered exactly once.')
  .version('0.1.0')
  .option('--no-color', 'no colours, as with NO_COLOR set, before or after the command')
  .showHelpAfterError('(`trade2026 --help` and `trade2026 <command> --help` say more)')
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'trade2026: USAGE: ')) })
  // What stands behind a command is its own, `lake query --version` too.
  .enablePositionalOptions()
  .exitOverride()

const args = process.argv.slice(2).filter((arg) => arg !== '--no-color')
if (args.length < process.argv.length - 2) {
  process.env['NO_COLOR'] = '1'
  delete process.env['FORCE_COLOR']
}
const [named = ''] = args
const isAlone = Object.hasOwn(commands, named) && named !== 'completion'
for (const [name, load] of Object.entries(commands)) if (!isAlone || name === named) (await load())(program)

try {
  await program.parseAsync(args, { from: 'user' })
} catch (error) {
  if (!interrupted.aborted) endWith(error)
}

function endWith(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage)
  if (isPipelineError(error)) {
    process.stderr.write(`trade2026: ${error.code}: ${error.message}\n`)
    process.exit(exitCodeOf[error.code] ?? exitCodes.failed)
  }
  process.stderr.write(`trade2026: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`)
  process.exit(exitCodes.failed)
}
