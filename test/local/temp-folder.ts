import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A folder of this run alone (`t.testdir` is the same for every run of a test), removed when the test is over. */
export function tempFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'trade2026-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}
