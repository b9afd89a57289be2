import type { Command } from 'commander'
import { PipelineError } from '../base/errors.ts'
import { textFromUtf8 } from '../base/json.ts'
import { isOpen } from '../domain/order-views.ts'
import { settingsFrom } from '../runtime/config.ts'
import { createLog } from '../runtime/log.ts'
import { Replay } from '../runtime/replay.ts'
import { readLatest } from '../runtime/reader.ts'
import { RedisProjection } from '../runtime/redis.ts'
import { wipeProjection } from '../runtime/redis-records.ts'
import { sharedDecoder } from '../runtime/shared-decoder.ts'
import { lastOutputOf } from '../runtime/take-snapshot.ts'
import { decodeExecution } from '../schemas/execution.ts'
import { decodePosition } from '../schemas/position.ts'
import { workerSpec } from '../subjects/contract.ts'
import { readInstruments } from './config-folder.ts'
import { jsonOption, type NatsOption, natsOption, redisUrlDefault, withNats } from './connect.ts'
import { printJson, printLine } from './output.ts'
import { silentPnl } from './start-janitor.ts'

const pollMs = 20

interface RebuildOptions extends NatsOption {
  readonly redis?: string
  readonly configDir?: string
  readonly json: boolean
}

export function addRebuildCommand(program: Command): void {
  const rebuild = program.command('rebuild').description('make anew what follows from the streams')
  rebuild
    .command('redis')
    .description('empty the projection in Redis and write it again, also while the pipeline runs')
    .addOption(natsOption())
    .option('--redis <url>', `Redis or Valkey; unset: REDIS_URL, else ${redisUrlDefault}`)
    .option('--config-dir <folder>', 'folder with instruments.json, as the workers have it')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Removes position:*, order:* and account:*:orders, writes the positions as POSITIONS has them, and the open orders and the
last 10,000 that have ended, which it folds from EXECUTIONS, from the newest snapshot on. What the pipeline writes
meanwhile is newer and stays. It does so by itself when Redis has been away, or was emptied.`,
    )
    .action(rebuildRedis)
}

async function rebuildRedis(options: RebuildOptions): Promise<void> {
  const settings = settingsFrom(process.env)
  const url = options.redis ?? (settings.REDIS_URL || redisUrlDefault)
  const instruments = readInstruments(options.configDir)
  const log = createLog('rebuild', 'error')
  await withNats(options, ['EXECUTIONS', 'POSITIONS'], async (nats) => {
    const startedMs = performance.now()
    const removedKeys = await wipeProjection(url)
    const counts = { positions: 0, orders: 0 }
    const redis = new RedisProjection(url, log, () => pnl)
    const pnl = silentPnl(
      { settings, instruments, decodeExecution: sharedDecoder('EXECUTIONS', decodeExecution) },
      {
        // Those come from POSITIONS, as they are there.
        positions: () => undefined,
        orders: (views) => {
          counts.orders += views.filter(({ account }) => account !== undefined).length
          for (const view of views) redis.setOrder(view, isOpen(view))
        },
      },
    )
    const spec = workerSpec('pnl-updater')
    const replay = new Replay({ nats, spec, fold: pnl.fold, log })
    try {
      const target = await lastOutputOf(nats, spec)
      if (target > 0) await replay.finish(target)
      await until(() => redis.isUp, `Redis at ${url}`)
      pnl.activated()
      for (const [subject, { data }] of await readLatest(nats, 'POSITIONS', 'positions.>')) {
        const [, account = '', symbol] = subject.split('.')
        if (symbol === undefined) continue
        counts.positions += 1
        redis.setPosition(account, symbol, textFromUtf8(data), decodePosition(data).asOf)
      }
      // Nothing comes in any more: once all is written, all has been.
      while (redis.pending > 0 || redis.isWriting) await pause()
      if (redis.problem !== undefined) throw new PipelineError('COMPONENT_MISSING', `${url}: ${redis.problem}`)
    } finally {
      replay.stop()
      redis.close()
    }
    const tookMs = Math.round(performance.now() - startedMs)
    if (options.json) printJson({ removedKeys, ...counts, asOf: pnl.asOf, tookMs })
    else
      printLine(
        `${removedKeys} keys removed; ${counts.positions} positions and ${counts.orders} orders written as of EXECUTIONS ${pnl.asOf}, in ${tookMs} ms`,
      )
  })
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 5_000
  while (!isTrue()) {
    if (performance.now() > deadlineMs) throw new PipelineError('COMPONENT_MISSING', `${what} does not answer`)
    await pause()
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pollMs))
}
