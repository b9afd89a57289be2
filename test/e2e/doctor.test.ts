import { appendFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli } from '../support/cli.ts'
import { firstDocument, startCli } from '../support/cli-process.ts'
import { connectTestNats } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

interface DoctorDocument {
  ok: boolean
  stack: string
  checks: { name: string; ok: boolean; measured: number | null; limit: number; detail: string }[]
}

const names = [
  'servicesNotHealthy',
  'orderP50Ms',
  'riskP50Ms',
  'ordersPerSecond',
  'memoryMb',
  'cpuPercent',
  'logErrors',
  'streamsNotPersisted',
]

void t.test('P2.14 `doctor` measures the stack that runs, and leaves nothing behind', async (t) => {
  const tmp = tempDir(t)
  const dataDir = join(tmp, 'data')
  const up = startCli(t, ['up', '--data-dir', dataDir, '--free-ports', '--json'])
  const { urls } = (await firstDocument(up)) as { urls: { nats: string; risk: string } }
  const doctor = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCli(
      ['doctor', '--nats', urls.nats, '--risk-url', urls.risk, '--seconds', '3', '--json', ...args],
      { NATS_URL: '', TMPDIR: tmp },
    )
    t.equal(stdout.trim().split('\n').length, 1, stderr)
    return { code, ...(JSON.parse(stdout) as DoctorDocument) }
  }

  await t.test('every figure of the checklist', async (t) => {
    const { code, ok, stack, checks } = await doctor('--data-dir', dataDir)
    t.same(
      checks.map(({ name }) => name),
      names,
    )
    const failed = checks.filter((check) => !check.ok)
    t.equal(code, ok ? 0 : 1)
    t.equal(stack, 'running')
    // What a machine that others use may be too slow for is measured at least.
    t.same(
      failed.filter(({ name }) => !/Ms$|Percent$/.test(name)),
      [],
    )
    for (const { name, measured, limit, ok: isMet } of checks) {
      t.type(measured, 'number', name)
      if (/Ms$|Percent$|Mb$/.test(name)) t.equal(isMet, (measured ?? Infinity) < limit, name)
      if (/Ms$|Percent$|Mb$|PerSecond$/.test(name)) t.ok((measured ?? 0) > 0, name)
    }
    t.match(checks.at(-1)?.detail, /in files; sync_interval 2m: survives kill -9/)
  })

  await t.test('nothing is left: no open order, no position', async (t) => {
    const nats = await connectTestNats(t, urls.nats)
    const { subjects = {} } = (await nats.jsm.streams.info('POSITIONS', { subjects_filter: 'positions.doctor-*' }))
      .state
    t.same(Object.keys(subjects), [])
    const last = await nats.jsm.streams.getMessage('ORDERS', { last_by_subj: 'orders.mass_cancel.*' })
    const account = last?.json<{ account: string }>().account ?? ''
    t.match(account, /^doctor-/)
    const { stdout } = await runCli(['order', 'list', '--nats', urls.nats, '--account', account, '--json'])
    t.match(JSON.parse(stdout), { orders: [] })
  })

  await t.test('a miss: 1, and why', async (t) => {
    appendFileSync(join(dataDir, 'logs', 'chain.log'), `{"level":50,"time":${Date.now()},"msg":"it broke"}\n`)
    const [broken, elsewhere] = await Promise.all([doctor('--data-dir', dataDir), doctor('--data-dir', tmp)])
    t.equal(broken.code, 1)
    t.match(
      broken.checks.find(({ name }) => name === 'logErrors'),
      { ok: false, measured: 1, detail: /chain\.log: it broke/ },
    )
    t.equal(elsewhere.code, 1)
    const unknown = elsewhere.checks.filter(({ measured }) => measured === null)
    t.same(
      unknown.map(({ name }) => name),
      ['memoryMb', 'cpuPercent', 'logErrors'],
    )
    for (const { ok, detail } of unknown) t.match({ ok, detail }, { ok: false, detail: /--data-dir/ })
  })

  await t.test('no risk-gate where it was said to be', async (t) => {
    const { code, checks } = await doctor('--data-dir', dataDir, '--risk-url', 'http://127.0.0.1:1')
    t.equal(code, 1)
    t.match(
      checks.find(({ name }) => name === 'riskP50Ms'),
      { ok: false, measured: null, detail: /127\.0\.0\.1:1.*--risk-url/ },
    )
  })
  t.same(readdirSync(tmp), ['data'])
})

void t.test('P2.14 `doctor --start` brings a stack of its own and prints a table', async (t) => {
  const tmp = tempDir(t)
  const env = { TMPDIR: tmp, NATS_URL: '', STREAMS_MAX_BYTES: String(512 * 2 ** 20) }
  const { stdout, stderr } = await runCli(['doctor', '--start', '--seconds', '2'], env)
  t.match(stdout, /^ {3}check +measured +wanted +how$/m, stderr)
  t.match(stdout, /^✓ {2}all services healthy +0 +≤ 0 {2}/m)
  t.match(stdout, /^✓ {2}memory of all processes, MB +\d+ +< 4000 {2}/m)
  t.match(stdout, /^✓ {2}data persisted +0 /m)
  t.match(stdout, /\n\n(not )?fit\n$/)
  t.same(readdirSync(tmp), [], 'nothing is left')
})
