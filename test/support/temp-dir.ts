import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A folder of this run alone (`t.testdir` is the same for every run of a test), removed when the test is over. */
export function tempDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'trade2026-'))
  t.teardown(() => rm(dir, { recursive: true, force: true, maxRetries: 5 }))
  return dir
}
