import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { openCache, waitForLock } from '../../src/local/cache.ts'
import { run } from '../../src/local/process.ts'

/** Delta readers of others. DuckDB's extensions are files, so that none is fetched at run time. */
const requirements = [
  'deltalake==1.6.6',
  'duckdb==1.5.5',
  'duckdb-extension-delta==1.5.5',
  'duckdb-extension-httpfs==1.5.5',
  'polars==2.1.0',
  'pyarrow==26.0.1',
  // DuckDB gives times with a zone through it.
  'pytz==2026.6',
]
const installTimeoutMs = 600_000

/** `PYTHONPATH` with the packages above for this machine's python3, which must have pip; installed when they are not. */
export async function pythonPath(onProgress?: (message: string) => void): Promise<string> {
  const python = await run('python3', ['--version'])
  const key = createHash('sha256')
    .update([python.trim(), ...requirements].join('\n'))
    .digest('hex')
    .slice(0, 16)
  const cache = openCache(process.env)
  const place = join(cache, `python-${key}`)
  if (existsSync(place)) return place
  const lock = await waitForLock(`${place}.lock`, onProgress)
  try {
    if (existsSync(place)) return place
    onProgress?.('installing Delta readers with pip')
    const folder = mkdtempSync(join(cache, 'install-'))
    try {
      const pip = ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', '--disable-pip-version-check']
      // A folder and no virtual environment: those need a package of Debian's that is often not there.
      await run('python3', [...pip, '--target', folder, ...requirements], { timeoutMs: installTimeoutMs })
      renameSync(folder, place)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  } finally {
    lock.release()
  }
  return place
}
