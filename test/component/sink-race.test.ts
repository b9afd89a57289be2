import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { checkLake, readTable } from '../support/lake.ts'
import { readTables } from '../support/lake-readers.ts'
import { startWorkerChild } from '../support/processes.ts'
import { pythonPath } from '../support/python.ts'
import { connectTestNats, startTestNats } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'
import { startTickFeed } from '../support/tick-feed.ts'

// Where the readers are not there yet, they are installed.
t.setTimeout(390_000)

const script = fileURLToPath(new URL('../support/delta-rs-writer.py', import.meta.url))
const commitsEach = 100
const rowsEach = 3

void t.test('P3.16 a delta-rs writer races a sink for 100 commits each: every row of both once', async (t) => {
  const packages = await pythonPath()
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const lake = join(tempDir(t), 'lake')
  const table = join(lake, 'market_ticks')
  mkdirSync(lake)
  await startWorkerChild(t, server.url, ['tick-sink'], { env: { TICK_FLUSH_MS: '50', LAKE_URI: lake } })
  const feed = startTickFeed(t, nats, lake, 2)
  await feed.publish(10)
  await feed.allThere()

  const other = spawn('python3', [script, table, String(commitsEach), String(rowsEach)], {
    env: { ...process.env, PYTHONPATH: packages, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => other.kill('SIGKILL'))
  let stdout = ''
  other.stdout.setEncoding('utf8').on('data', (some: string) => (stdout += some))
  const said = Promise.all([text(other.stderr), once(other, 'close')])
  const theirs = () => stdout.split('\n').length - 1
  const versions = () => readdirSync(join(table, '_delta_log')).filter((name) => /^\d{20}\.json$/.test(name)).length
  // And one that made the table. The sink does not get far ahead: the other reads the whole log for each commit.
  while (other.exitCode === null || versions() < 2 * commitsEach + 1) {
    if (other.exitCode !== null || versions() < 2 * theirs() + 10) await feed.publish(7)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const [stderr] = await said
  t.equal(stdout.trim().split('\n').length, commitsEach, stderr)

  await feed.allThere()
  const { version, commits } = await readTable(lake, 'market_ticks')
  t.equal(versions(), version + 1, 'versions without a gap')
  const ours = commits.map(({ txnId }) => txnId !== undefined)
  t.equal(ours.filter((isOurs) => !isOurs).length, commitsEach)
  t.ok(ours.filter((isOurs) => isOurs).length >= commitsEach, 'the sink has made as many at least')
  const turns = ours.filter((isOurs, at) => isOurs !== ours[at - 1]).length
  t.ok(turns > commitsEach / 5, `they took turns ${turns} times`)

  const sql =
    'select venue, count(*) n, count(distinct stream_seq) s, max(stream_seq) m, count(distinct source_seq) d, max(source_seq) x from t group by venue order by venue'
  const [reading] = await readTables([{ uri: table, sql }])
  const rows = [
    { venue: 'BINANCE', n: feed.count, s: feed.count, m: feed.count, d: feed.count, x: feed.count - 1 },
    {
      venue: 'DELTA-RS',
      n: commitsEach * rowsEach,
      s: 0,
      m: null,
      d: commitsEach * rowsEach,
      x: commitsEach * rowsEach - 1,
    },
  ].map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, cell]) => [name, typeof cell === 'number' ? String(cell) : cell]),
    ),
  )
  for (const { engine, rows: found } of reading?.engines ?? []) t.same(found, rows, engine)
  await checkLake(t, { LAKE_URI: lake }, { market_ticks: feed.count + commitsEach * rowsEach })
})
