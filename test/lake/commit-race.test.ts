import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Action } from '../../src/lake/actions.ts'
import { openLocalStore } from '../../src/lake/local-store.ts'
import { readCommits } from '../../src/lake/log-files.ts'
import { loadSnapshot } from '../../src/lake/snapshot.ts'
import { tempDir } from '../support/temp-dir.ts'
import { readTables } from '../support/lake-readers.ts'
import { logProblems } from './log-tools.ts'

const script = fileURLToPath(new URL('race-writer.ts', import.meta.url))
const end = 120

void t.test('P3.06 P3.05 processes race for a table in a folder: contiguous versions, each row once', async (t) => {
  const folder = join(tempDir(t), 'table')
  // Two sinks of one stream by mistake, and two of other streams.
  const writers = ['ticks', 'ticks', 'docs', 'reports'].map((appId, at) => {
    const child = spawn(process.execPath, [script, folder, appId, String(2 + at), String(end)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    return Promise.all([text(child.stdout), once(child, 'exit')])
  })
  const outcomes = (await Promise.all(writers)).map(([stdout]) => JSON.parse(stdout) as Record<string, number>)
  const sum = (name: string) => outcomes.reduce((total, each) => total + (each[name] ?? NaN), 0)

  const store = openLocalStore(folder)
  const version = (await loadSnapshot(store))?.version ?? NaN
  t.equal(version, sum('committed'), 'a version a batch')
  const commits: (readonly Action[])[] = []
  for await (const { actions } of readCommits(store, 0, version)) commits.push(actions ?? [])
  t.same(
    logProblems(commits, (key) => existsSync(join(folder, key)), ['ticks', 'docs', 'reports'], end),
    [],
  )
  t.comment(`${version} versions, ${sum('superseded')} batches superseded`)

  const sql = 'select symbol, count(*) n, count(distinct seq) d, sum(seq) s from t group by symbol order by symbol'
  const [reading] = await readTables([
    { uri: folder, sql, appIds: ['ticks', 'docs', 'reports'], engines: ['deltalake', 'duckdb'] },
  ])
  t.same(reading?.log.transactions, { ticks: String(end), docs: String(end), reports: String(end) })
  const rows = ['docs', 'reports', 'ticks'].map((symbol) => ({
    symbol,
    n: String(end),
    d: String(end),
    s: String((end * (end + 1)) / 2),
  }))
  for (const { engine, rows: found } of reading?.engines ?? []) t.same(found, rows, engine)
})
