import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { freePort } from '../../src/local/ports.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { startWorkerChild } from '../support/processes.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

/** A lake, and a stream of ticks for it. */
async function setUp(t: Test) {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  mkdirSync(lake)
  const env = { TICK_FLUSH_MS: '10', LEASE_MS: '300', LAKE_URI: lake }
  const log = join(lake, 'market_ticks/_delta_log')
  return {
    lake,
    log,
    feed: startTickFeed(t, nats, lake),
    /** Path of the commit of a version. */
    commit: (version: number) => join(log, `${String(version).padStart(20, '0')}.json`),
    newest: () => readdirSync(log).filter((name) => /^\d{20}\.json$/.test(name)).length - 1,
    start: () => startWorkerChild(t, server.url, ['tick-sink'], { env }),
    /** Starts a sink that is expected to refuse. */
    refused: async (more: Readonly<Record<string, string>> = {}): Promise<CliResult> => {
      const args = ['worker', 'tick-sink', '--instance', 'test-tick-sink', '--port', String(await freePort())]
      return runCli(args, { ...env, NATS_URL: server.url, ...more })
    },
  }
}

void t.test(
  'P3.16 a log with garbage: the sink stops by name, writes nothing, and goes on when it is repaired',
  async (t) => {
    const { lake, log, feed, commit, newest, start, refused } = await setUp(t)
    const sink = await start()
    for (let version = 1; version <= 3; version += 1) {
      await feed.publish(50)
      await feed.allThere()
    }
    // Half a commit of somebody else, just where the next one would go.
    const foreign = newest() + 1
    const foreignName = commit(foreign)
    writeFileSync(foreignName, '{"commitInfo":{"operation":"WRITE"}}\n{"add":{"path":"x.par')
    await feed.publish(50)
    const named = new RegExp(`LAKE_LOG_UNREADABLE.*version ${foreign}\\b.*line 2`)
    await until('the sink to stop and say why, twice', () => sink.restarts() > 1, 20_000)
    t.match(readFileSync(sink.logFile, 'utf8'), named)
    t.equal(newest(), foreign, 'nothing is written behind it')
    rmSync(foreignName)
    await feed.allThere()
    await sink.stop(5_000)

    const damages: readonly (readonly [string, RegExp, (path: string) => void])[] = [
      ['a line more that is no JSON', /line \d/, (path) => appendFileSync(path, 'nope\n')],
      ['cut', /line \d/, (path) => truncateSync(path, readFileSync(path).length - 30)],
      ['empty', /version \d/, (path) => truncateSync(path, 0)],
      ['gone', /version \d/, (path) => rmSync(path)],
    ]
    const version = newest() - 1
    for (const [name, where, damage] of damages) {
      const good = readFileSync(commit(version))
      damage(commit(version))
      const files = readdirSync(log).join()
      const { code, stdout, stderr } = await refused()
      t.equal(code, 1, name)
      t.match(stdout + stderr, /LAKE_LOG_UNREADABLE/, name)
      t.match(stdout + stderr, new RegExp(`version ${version}\\b`), `${name}: the version is named`)
      t.match(stdout + stderr, where, name)
      t.equal(readdirSync(log).join(), files, `${name}: the log is as it was`)
      writeFileSync(commit(version), good)
    }
    await start()
    await feed.publish(50)
    await feed.allThere()
    await feed.check(t, { LAKE_URI: lake })
  },
)

void t.test('P3.05 a folder without hard links is refused at start, by name', async (t) => {
  const { lake, refused } = await setUp(t)
  const preload = fileURLToPath(new URL('../support/no-hard-links.ts', import.meta.url))
  const { code, stdout, stderr } = await refused({ NODE_OPTIONS: `--import=${preload}` })
  t.equal(code, 1)
  t.match(stdout + stderr, /LAKE_STORE_UNSUITABLE/)
  t.match(stdout + stderr, /no hard links.*name a folder on another one/)
  t.notOk(readdirSync(lake).includes('market_ticks'), 'no table is made')
})

void t.test('P3.16 a checkpoint that lies is passed over', async (t) => {
  const { lake, log, feed, commit, newest, start } = await setUp(t)
  const first = await start()
  const hint = join(log, '_last_checkpoint')
  await until('the table', () => existsSync(log))
  for (let version = 1; version <= 100; version += 1) {
    await feed.publish(1)
    await until('a version more', () => newest() >= version)
  }
  await until('its checkpoint', () => existsSync(hint), 20_000)
  await first.stop(5_000)
  const checkpoint = commit(100).replace('.json', '.checkpoint.parquet')
  const good = readFileSync(checkpoint)
  const lies: readonly (readonly [string, () => void])[] = [
    ['the hint names a checkpoint that is not there', () => writeFileSync(hint, '{"version":90,"size":3}')],
    ['the hint is beyond the end', () => writeFileSync(hint, '{"version":9000,"size":3}')],
    ['the hint is garbage', () => writeFileSync(hint, '{"vers')],
    ['the checkpoint is empty', () => truncateSync(checkpoint)],
    ['the checkpoint is cut', () => writeFileSync(checkpoint, good.subarray(0, good.length / 2))],
  ]
  for (const [name, lie] of lies) {
    lie()
    const sink = await start()
    await feed.publish(5)
    await feed.allThere()
    t.equal(sink.restarts(), 0, name)
    await sink.stop(5_000)
  }
  await feed.check(t, { LAKE_URI: lake })
})
