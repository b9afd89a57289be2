import { accessSync, constants, mkdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PipelineError } from '../base/errors.ts'
import { type Lock, tryLock } from './lock.ts'
import { poll } from './process.ts'

const installWaitMs = 600_000

/** Opens the folder of what we installed: TRADE2026_CACHE, else the user's cache, else a temporary folder of the user's. */
export function openCache(env: NodeJS.ProcessEnv): string {
  if (env.TRADE2026_CACHE) {
    mkdirSync(env.TRADE2026_CACHE, { recursive: true })
    return env.TRADE2026_CACHE
  }
  const userCache = env.XDG_CACHE_HOME || (env.HOME && join(env.HOME, '.cache'))
  if (userCache) {
    try {
      const folder = join(userCache, 'trade2026')
      mkdirSync(folder, { recursive: true })
      accessSync(folder, constants.W_OK)
      return folder
    } catch {
      // A home that cannot be written to.
    }
  }
  const uid = process.getuid?.() ?? 0
  const folder = join(tmpdir(), `trade2026-${uid}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // Anybody may make folders there, and what stands in it is run.
  if (statSync(folder).uid === uid) return folder
  throw new PipelineError(
    'COMPONENT_MISSING',
    `${folder} belongs to somebody else: set TRADE2026_CACHE to a folder of yours`,
  )
}

/** Takes the lock of something that is being installed there, when nobody holds it any more. */
export async function waitForLock(path: string, onProgress?: (message: string) => void): Promise<Lock> {
  let lock = tryLock(path)
  if (typeof lock !== 'number') return lock
  onProgress?.(`waiting for pid ${lock}, which is installing it`)
  await poll(installWaitMs, () => typeof (lock = tryLock(path)) !== 'number')
  if (typeof lock !== 'number') return lock
  throw new PipelineError('COMPONENT_MISSING', `pid ${lock} has held ${path} for too long`)
}
