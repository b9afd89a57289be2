import { Ajv } from 'ajv'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readResults, rowsSchema } from '../../bench/results.ts'
import type { Row } from '../../bench/rows.ts'
import { runCli } from '../support/cli.ts'
import { signalAndCheck, startCli } from '../support/cli-process.ts'
import { until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

t.setTimeout(600_000)

const validate = new Ajv().compile(rowsSchema)

/** Runs a scenario; its rows as `--json` prints them, which are also what is kept. */
async function benchRows(t: Test, ...args: readonly string[]): Promise<Row[]> {
  const results = tempDir(t)
  const { code, stdout, stderr } = await runCli(['bench', ...args, '--results', results, '--json'], {
    NATS_URL: '',
    REDIS_URL: '',
  })
  t.equal(code, 0, stderr)
  const rows = JSON.parse(stdout) as Row[]
  t.ok(validate(rows), JSON.stringify(validate.errors))
  const [file = ''] = readdirSync(results)
  const kept = readResults(join(results, file))
  t.same(kept.rows, rows, 'the file has the same rows')
  t.match(kept, { machine: { cores: Number }, versions: { node: process.versions.node, natsServer: /^\d/ } })
  for (const { min, median, max } of rows) t.ok(min <= median && median <= max, 'min, median, max are in order')
  return rows
}

const layoutsShort = ['compact', 'separate'] as const
for (const layout of layoutsShort)
  void t.test(
    `P2.12 bench pipeline, ${layout}: every command finished, throughput beside the bare chain`,
    async (t) => {
      const flags = [
        '--layout',
        layout,
        '--loads',
        'idle,200,max',
        '--rounds',
        '1',
        '--orders',
        '1000',
        '--seconds',
        '1',
      ]
      const [bare, ...rows] = await benchRows(t, 'pipeline', ...flags)
      t.match(bare, { scenario: 'chain-bare', layout, load: 'max', unit: 'ordersPerSecond' })
      t.same(
        rows.map(({ scenario, load, unit }) => [scenario, load, unit]),
        [
          ['pipeline', 'idle', 'rssMb'],
          ['pipeline', '200/s', 'reportP50Ms'],
          ['pipeline', 'max', 'ordersPerSecond'],
        ],
      )
      const [idle, open, full] = rows
      const process = layout === 'compact' ? 'risk-gate+oms-matcher+pnl-updater+tape' : 'oms-matcher'
      t.ok((idle?.figures[`rssMb.${process}`]?.median ?? 0) > 20)
      t.ok((idle?.figures['rssMb.nats-server']?.median ?? 0) > 5)
      const { reportP99Ms, positionP50Ms, positionP999Ms, positionMaxMs, generatorCpuUs, ordersPerSecond } =
        open?.figures ?? {}
      t.ok((positionP50Ms?.median ?? 0) > (open?.median ?? Infinity) / 2, 'a position takes its time')
      t.ok((reportP99Ms?.median ?? 0) >= (open?.median ?? Infinity))
      t.ok((positionP999Ms?.median ?? 0) >= (positionP50Ms?.median ?? Infinity))
      t.ok((generatorCpuUs?.median ?? 0) > 0, 'the generator says what it costs')
      // The time of 200 orders ends when the last is finished. For that it waits no longer than the slowest did.
      const seconds = 200 / (ordersPerSecond?.median ?? 0)
      const waitSeconds = (positionMaxMs?.median ?? Infinity) / 1_000
      t.ok(seconds > 200 / 260 && seconds - waitSeconds < 200 / 140, 'the load is what was asked for')
      const ratio = (full?.median ?? 0) / (bare?.median ?? 1)
      t.ok(Math.abs((full?.ratioToBareChain ?? 0) / ratio - 1) < 0.01, 'the ratio is that of the medians')
    },
  )

void t.test('P2.12 bench http: every answered POST has its stored report', async (t) => {
  const rows = await benchRows(t, 'http', '--layout', 'compact', '--rounds', '1', '--requests', '500')
  t.same(
    rows.map(({ load, unit }) => [load, unit]),
    [
      ['1 connection', 'postP50Ms'],
      ['50 connections', 'requestsPerSecond'],
      ['1000/s', 'postP50Ms'],
      ['1000 at once', 'requestsPerSecond'],
    ],
  )
  for (const { load, figures } of rows) {
    t.equal(figures['successPercent']?.median, 100, `${load}: success`)
    t.equal(figures['orders']?.median, figures['requests']?.median, `${load}: every answer names its order`)
  }
  const burst = rows.at(-1)
  t.equal(burst?.figures['requests']?.median, 1_000)
  t.ok((burst?.figures['seconds']?.median ?? 0) > 0)
})

void t.test('P2.12 bench check: beside an answer without a check', async (t) => {
  const rows = await benchRows(t, 'check', '--layout', 'compact', '--rounds', '1', '--requests', '500')
  t.same(
    rows.map(({ load, unit }) => [load, unit]),
    [
      ['1 connection', 'checkP50Ms'],
      ['50 connections', 'requestsPerSecond'],
    ],
  )
  for (const { ratioToPeer = 0, figures } of rows) {
    t.ok(ratioToPeer > 0)
    t.equal(figures['successPercent']?.median, 100)
  }
})

void t.test('P2.12 bench publish: beside js.publish and nats bench', async (t) => {
  const rows = await benchRows(t, 'publish', '--rounds', '1', '--messages', '2000')
  t.ok(rows.some(({ scenario, ratioToPeer = 0 }) => scenario === 'publish' && ratioToPeer > 0))
  t.equal(rows.filter(({ scenario }) => scenario === 'publish-js').length, 2)
  const natsBench = rows.filter(({ scenario }) => scenario === 'publish-nats-bench')
  if (process.env['TRADE2026_CI']) t.equal(natsBench.filter(({ median }) => median > 0).length, 2, 'nats bench was run')
  else t.ok(natsBench.length === 2 || natsBench[0]?.note?.startsWith('not run'), 'nats bench was run, or is named')
})

void t.test('P3.17 bench tick-sink: a backlog, and how soon rows are visible', async (t) => {
  const flags = ['--ticks', '5000', '--symbols', '3', '--rate', '200', '--seconds', '1', '--lake', 'folder']
  const [backlog, visible] = await benchRows(t, 'tick-sink', ...flags)
  t.ok((backlog?.median ?? 0) > 0, 'the backlog came into the table')
  t.ok((visible?.median ?? 0) > 0, 'rows became visible')
})

void t.test('P3.04 bench parquet: ours beside three other writers', async (t) => {
  const rows = await benchRows(t, 'parquet', '--rounds', '1', '--rows', '500', '--file-rows', '250')
  t.same(
    rows.map(({ scenario }) => scenario),
    ['parquet', 'parquet-parquetjs-lite', 'parquet-parquet-wasm', 'parquet-duckdb'],
  )
  t.ok(rows.every(({ median, figures }) => median > 0 && (figures['bytesPerRow']?.median ?? 0) > 5))
})

void t.test('P3.17 bench lake: a long log is opened, appended to and checkpointed', async (t) => {
  const [row] = await benchRows(t, 'lake', '--versions', '200', '--file-actions', '2000')
  t.ok((row?.median ?? 0) > 0 && (row?.figures['checkpointSeconds']?.median ?? 0) > 0)
  t.match(row?.note, '800 files in version 200')
})

void t.test('P3.12 bench compaction: fewer files, the same rows, and the memory it took', async (t) => {
  const [row] = await benchRows(t, 'compaction', '--files', '40', '--rows', '4000')
  t.match(row, { scenario: 'compaction', load: '4000 rows in 40 files', unit: 'rowsPerSecond' })
  t.match(row?.figures, { filesBefore: { median: 40 }, filesAfter: { median: 20 } })
  for (const name of [
    'durationMs',
    'maintenanceRssMb',
    'duckDbRssMb',
    'afterBytesPerRow',
    'scanAfterMs',
    'lookUpBeforeMs',
  ])
    t.ok((row?.figures[name]?.median ?? 0) > 0, name)
})

void t.test('P4.02 bench recovery: every worker, folding again and from a snapshot', async (t) => {
  const rows = await benchRows(t, 'recovery', '--orders', '2000')
  t.match(
    rows.map(({ scenario, load }) => [scenario, load]),
    [
      ...['2000 records', 'snapshot of 2000 resting orders'].flatMap((what) =>
        ['risk-gate', 'oms-matcher', 'pnl-updater'].map((worker) => ['recovery', `${worker}, ${what}`]),
      ),
      ...['risk-gate', 'oms-matcher', 'pnl-updater'].map((worker) => ['snapshot', `${worker}, 2000 resting orders`]),
    ],
  )
})

void t.test('P2.12 bench soak: every interval, and whether something grows', async (t) => {
  const [row] = await benchRows(t, 'soak', '--rate', '200', '--seconds', '3', '--interval-seconds', '1')
  t.match(row, { scenario: 'soak', layout: 'compact', load: '200/s', rounds: 3, note: /^(no growth|grows: )/ })
  for (const name of ['rssMb', 'reportP50Ms', 'backlogMax', 'cpuPercent'])
    t.equal(row?.series?.[name]?.filter((value) => value > 0).length, 3, name)
})

void t.test('P2.12 bench flat: few and many, of resting orders, accounts and symbols', async (t) => {
  const sizes = ['--accounts', '2000', '--symbols', '200', '--rate', '300', '--seconds', '1', '--rounds', '1']
  const rows = await benchRows(t, 'flat', '--commands', '10000', ...sizes)
  t.same(
    rows.filter(({ scenario }) => scenario === 'flat').map(({ load, ratioToPeer = 0 }) => [load, ratioToPeer > 0]),
    [
      ['10 accounts', false],
      ['2000 accounts', true],
      ['1 symbol', false],
      ['200 symbols', true],
    ],
  )
  t.ok(rows.some(({ scenario, load }) => scenario === 'matcher-depth' && load === '1000000 resting'))
})

void t.test('P2.12 bench matcher on an order-flow file: both fill the same orders', async (t) => {
  const file = join(tempDir(t), 'flow.csv')
  const rows = Array.from({ length: 200 }, (_, index) => {
    const side = index % 3 === 0 ? 'buy' : 'sell'
    return index % 7 === 6
      ? `${1_000 + index},cancel,${index - 3},,,`
      : `${1_000 + index},new,${index},${side},${100 + (index % 5) / 100},0.${1 + (index % 9)}`
  })
  writeFileSync(file, ['ts_ms,event,id,side,price,size', ...rows].join('\n'))
  const [row] = await benchRows(t, 'matcher', '--rounds', '1', '--commands', '1000', '--file', file)
  t.match(row, { scenario: 'matcher', load: 'file flow.csv', unit: 'commandsPerSecond' })
  t.ok((row?.ratioToPeer ?? 0) > 0)
  t.ok((row?.figures['trades']?.median ?? 0) > 10)
})

void t.test('P2.12 bench compare: a table for people, a document for programs', async (t) => {
  const folder = tempDir(t)
  const path = (name: string) => join(folder, name)
  const spread = (median: number) => ({ median, min: median * 0.98, max: median * 1.02 })
  const results = (ordersPerSecond: number) => ({
    date: '2026-01-02T03:04:05.000Z',
    command: 'trade2026 bench pipeline',
    machine: { cpu: 'x', cores: 2, memoryGb: 8, system: 'Linux' },
    versions: { node: '24', natsServer: '2', valkey: '9', revision: 'abc' },
    rows: [{ scenario: 'pipeline', rounds: 3, unit: 'ordersPerSecond', ...spread(ordersPerSecond), figures: {} }],
  })
  writeFileSync(path('a.json'), JSON.stringify(results(10_000)))
  writeFileSync(path('b.json'), JSON.stringify(results(12_000)))
  const table = await runCli(['bench', 'compare', path('a.json'), path('b.json')])
  t.equal(table.code, 0, table.stderr)
  t.match(table.stdout, /pipeline +ordersPerSecond +10 000 \(9 800–10 200\) +12 000 .* \+20 % +better/)
  t.match(table.stdout, '1 of 1 figures differ by more than the noise')
  const json = await runCli(['bench', 'compare', path('a.json'), path('b.json'), '--json'])
  t.match(JSON.parse(json.stdout), [{ figure: 'ordersPerSecond', changePercent: 20, verdict: 'better' }])
  writeFileSync(path('c.json'), '{"rows": 1}')
  const wrong = await runCli(['bench', 'compare', path('a.json'), path('c.json')])
  t.equal(wrong.code, 64)
  t.match(wrong.stderr, 'is no file of bench results')
})

for (const moment of ['start', '300/s'])
  void t.test(`P2.12 Ctrl-C during a bench (${moment}) leaves no process, folder or file behind`, async (t) => {
    const [tmp, results] = [tempDir(t), tempDir(t)]
    const flags = ['--layout', 'compact', '--loads', '300', '--seconds', '60', '--results', results]
    const run = startCli(t, ['bench', 'pipeline', ...flags], { TMPDIR: tmp })
    await until(moment, () => run.stderr().includes(moment), 60_000)
    await signalAndCheck(t, run, tmp)
    t.same(readdirSync(tmp), [])
    t.same(readdirSync(results), [])
  })

void t.test('P2.12 bench report: one page with plots and nothing to load', async (t) => {
  const folder = tempDir(t)
  const figures = (p50: number) => ({
    reportP90Ms: { median: p50 * 2, min: p50, max: p50 * 3 },
    reportP99Ms: { median: p50 * 5, min: p50, max: p50 * 9 },
  })
  const row = (load: string, p50: number) => ({
    scenario: 'pipeline',
    layout: 'compact',
    load,
    rounds: 3,
    unit: 'reportP50Ms',
    ...{ median: p50, min: p50, max: p50 },
    figures: figures(p50),
  })
  const soak = { ...row('1000/s', 1), scenario: 'soak', series: { 'rssMb.chain': [100, 110, 120] }, note: 'a < b' }
  const results = {
    date: '2026-01-02T03:04:05.000Z',
    command: 'trade2026 bench all',
    machine: { cpu: 'x', cores: 2, memoryGb: 8, system: 'Linux' },
    versions: { node: '24', natsServer: '2', valkey: '9', revision: 'abc' },
    rows: [row('100/s', 0.8), row('1000/s', 1), soak],
  }
  writeFileSync(join(folder, 'a.json'), JSON.stringify(results))
  const out = join(folder, 'page.html')
  const { code, stderr } = await runCli(['bench', 'report', join(folder, 'a.json'), '--out', out])
  t.equal(code, 0, stderr)
  const page = readFileSync(out, 'utf8')
  for (const title of ['Latency against load, compact', 'Percentiles: to report', 'Memory, soak compact 1000/s'])
    t.match(page, `>${title}</text>`)
  t.match(page, 'a &lt; b')
  t.notMatch(page, /NaN|undefined|Infinity/)
  t.notMatch(page, /(src|href)=|url\(|@import/, 'it loads nothing')
})
