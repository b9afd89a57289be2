import { Ajv } from 'ajv'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readResults, rowsSchema } from '../../bench/results.ts'
import type { Row } from '../../bench/rows.ts'
import { runCli } from '../support/cli.ts'
import { tempDir } from '../support/stack.ts'

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
      const { reportP99Ms, positionP50Ms, positionP999Ms, generatorCpuUs, ordersPerSecond } = open?.figures ?? {}
      t.ok((positionP50Ms?.median ?? 0) > (open?.median ?? Infinity) / 2, 'a position takes its time')
      t.ok((reportP99Ms?.median ?? 0) >= (open?.median ?? Infinity))
      t.ok((positionP999Ms?.median ?? 0) >= (positionP50Ms?.median ?? Infinity))
      t.ok((generatorCpuUs?.median ?? 0) > 0, 'the generator says what it costs')
      t.ok(Math.abs((ordersPerSecond?.median ?? 0) - 200) < 60, 'the load is what was asked for')
      t.equal(full?.ratioToBareChain, Number(((full?.median ?? 0) / (bare?.median ?? 1)).toPrecision(4)))
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
