#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { exitCodes, isPipelineError, messageOf, type ErrorCode } from '../base/errors.ts'
import { addBenchCommand } from './bench.ts'
import { addDemoCommand } from './demo.ts'
import { addLagCommand } from './lag.ts'
import { addOrderCommand } from './order.ts'
import { addPositionsCommand } from './positions.ts'
import { addStreamsCommand } from './streams.ts'
import { addTailCommand } from './tail.ts'
import { addUpCommand } from './up.ts'
import { addWorkerCommand } from './worker.ts'

/** Which errors mean that something else is missing or unreachable, and which that the call was wrong. */
const exitCodeOf: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: exitCodes.usage,
  USAGE: exitCodes.usage,
  COMPONENT_MISSING: exitCodes.unavailable,
  COMPONENT_VERSION: exitCodes.unavailable,
  COMPONENT_START: exitCodes.unavailable,
  PORT_IN_USE: exitCodes.unavailable,
  DATA_DIR_IN_USE: exitCodes.unavailable,
  NATS_UNREACHABLE: exitCodes.unavailable,
  NATS_VERSION: exitCodes.unavailable,
  PUBLISH_UNRESOLVED: exitCodes.unavailable,
}

const program = new Command('trade2026')
  .description('Event-driven order pipeline over NATS JetStream: every command answered exactly once.')
  .version('0.1.0')
  .showHelpAfterError('(`trade2026 --help` and `trade2026 <command> --help` say more)')
  .exitOverride()

addBenchCommand(program)
addDemoCommand(program)
addUpCommand(program)
addLagCommand(program)
addOrderCommand(program)
addPositionsCommand(program)
addStreamsCommand(program)
addTailCommand(program)
addWorkerCommand(program)

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? exitCodes.ok : exitCodes.usage)
  if (isPipelineError(error)) {
    process.stderr.write(`trade2026: ${error.code}: ${error.message}\n`)
    process.exit(exitCodeOf[error.code] ?? exitCodes.failed)
  }
  process.stderr.write(`trade2026: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}\n`)
  process.exit(exitCodes.failed)
}
