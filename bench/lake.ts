import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assert } from '../src/base/assert.ts'
import { v8Flags } from '../src/cli/process-memory.ts'
import { lastCheckpointKey, logFileOf, logPrefix } from '../src/lake/log-files.ts'
import { marketTicks } from '../src/workers/tick-sink.ts'
import type { AppenderFigures } from './lake-appender.ts'
import { logAppId, writeLog } from './lake-log.ts'
import { type Round, type Row, rowOf } from './rows.ts'
import type { Session } from './session.ts'

const unit = 'coldStartSeconds'

/**
 * A process that opens a table with a long log, appends to it and writes a checkpoint: how long it takes from its start to
 * the first append, and the memory it takes.
 */
export async function lakeBench(
  session: Session,
  options: { readonly versions: number; readonly fileActions: number; readonly rounds: number },
): Promise<Row[]> {
  const lakeFolder = session.folder()
  const folder = join(lakeFolder, marketTicks.name)
  session.onProgress('writing the log')
  const { version, files } = await writeLog(folder, options)
  const hint = readFileSync(join(folder, lastCheckpointKey))
  const rounds: Round[] = []
  for (let round = 1; round <= options.rounds; round += 1) {
    session.onProgress(`lake, round ${round} of ${options.rounds}`)
    rounds.push(await appenderRound(session, lakeFolder))
    restored(folder, hint)
  }
  const load = `${options.versions} versions, ${options.fileActions} adds and removes`
  return [rowOf({ scenario: 'lake', load, note: `${files} files in version ${version}` }, unit, rounds)]
}

async function appenderRound(session: Session, lakeFolder: string): Promise<Round> {
  const child = fork(
    fileURLToPath(new URL('lake-appender.ts', import.meta.url)),
    [lakeFolder, marketTicks.name, logAppId],
    {
      execArgv: [...v8Flags(['tick-sink'])],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  )
  session.own(() => void child.kill('SIGKILL'))
  const [answer] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [AppenderFigures | number]
  assert(typeof answer === 'object', 'the appender has told its figures')
  return { ...answer }
}

/** The next round finds no newer checkpoint than this one did. */
function restored(folder: string, hint: Buffer): void {
  const { version } = JSON.parse(hint.toString()) as { version: number }
  const newer = readdirSync(join(folder, logPrefix)).filter((name) => {
    const file = logFileOf(logPrefix + name)
    return file?.kind === 'checkpoint' && file.version > version
  })
  for (const name of newer) rmSync(join(folder, logPrefix, name))
  writeFileSync(join(folder, lastCheckpointKey), hint)
}
