import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Option } from 'commander'
import { isPipelineError } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import { connectNats, type Nats } from '../runtime/nats.ts'
import type { StreamName } from '../subjects/contract.ts'
import { type NatsOption, natsUrlDefault, withNats } from './connect.ts'
import { interrupted } from './interrupt.ts'
import { say } from './output.ts'
import { restartedText, type Stack, startStack } from './stack.ts'

export interface StackChoice extends NatsOption {
  readonly start: boolean
}

export function startOption(): Option {
  return new Option(
    '--start',
    'start a temporary stack on free ports and remove it at the end, as without --nats, NATS_URL and a running stack',
  )
    .default(false)
    .conflicts('nats')
}

export interface OwnStack extends Stack {
  readonly dataDir: string
}

/**
 * Runs a command against the stack that runs, else against a temporary one that is stopped and removed afterwards.
 * A server that was named must be there.
 * @param prepare makes ready the folder of a stack of our own and may give its configuration
 * @param run gets `own` undefined when the stack was there before
 */
export async function withAnyStack<T>(
  options: StackChoice,
  needs: readonly StreamName[],
  prepare: (dataDir: string) => string | undefined,
  run: (nats: Nats, own: OwnStack | undefined) => Promise<T>,
): Promise<T> {
  const isNamed = options.nats !== undefined || Boolean(process.env['NATS_URL'])
  if (!options.start && (isNamed || (await isServerThere(natsUrlDefault))))
    return withNats(options, needs, (nats) => run(nats, undefined))
  say(options.start ? 'starting a temporary stack' : `nothing runs at ${natsUrlDefault}: starting a temporary stack`)
  const dataDir = mkdtempSync(join(tmpdir(), 'trade2026-own-'))
  let stack: Stack | undefined
  try {
    const configDir = prepare(dataDir)
    stack = await startStack({
      dataDir,
      layout: 'compact',
      settings: { ...settingsFrom(process.env), NATS_URL: '' },
      ...(configDir === undefined ? {} : { configDir }),
      ports: 'free',
      signal: interrupted,
      onProgress: () => undefined,
      onRestarted: (restarted, why) => say(restartedText(restarted, why)),
    })
    const own = { ...stack, dataDir }
    return await withNats({ nats: stack.urls.nats }, needs, (nats) => run(nats, own))
  } finally {
    await stack?.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function isServerThere(url: string): Promise<boolean> {
  try {
    await (await connectNats(url, 'trade2026')).close()
    return true
  } catch (error) {
    // Anything else is no reason to start another.
    return !isPipelineError(error, 'NATS_UNREACHABLE')
  }
}
