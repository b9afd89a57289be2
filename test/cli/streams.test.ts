import { spawnSync } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { natsServer } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { renderNatsConfig } from '../../src/local/start-nats.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { bucketSpecs, permissionsOf, streamSpecs, workerSpecs } from '../../src/subjects/contract.ts'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

interface StreamsDocument {
  ok: boolean
  streams: { name: string; state: string; messages: number; sizeBytesMax: number; lastSequence: number }[]
  buckets: { name: string; state: string }[]
  drifts: { stream: string; field: string; expected: string; actual: string }[]
  created?: string[]
  changed?: { stream: string; field: string }[]
  refused?: { stream: string; field: string; reason: string }[]
}

const parse = (text: string) => JSON.parse(text) as StreamsDocument
const roomBytes = 512 * 2 ** 20

void t.test('P1.02 without a server `streams` says what to do, exit 69', async (t) => {
  const { code, stdout, stderr } = await runCli(['streams', '--json', '--nats', 'nats://127.0.0.1:1'])
  t.equal(code, 69)
  t.equal(stdout, '')
  t.match(stderr, /no NATS server answers at nats:\/\/127\.0\.0\.1:1.*trade2026 up.*NATS_URL/)
})

void t.test('P1.02 `streams` shows what is missing and what differs, and --apply repairs it', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url, STREAMS_MAX_BYTES: String(roomBytes) }
  const nats = await connectTestNats(t, server.url)
  const { jsm } = nats

  const empty = await runCli(['streams', '--json'], env)
  t.equal(empty.code, 1)
  t.same(
    parse(empty.stdout).streams.map(({ name, state }) => [name, state]),
    streamSpecs.map(({ name }) => [name, 'missing']),
  )

  await ensureStreams(nats, roomBytes)
  const good = await runCli(['streams', '--json'], env)
  t.equal(good.code, 0, good.stderr)
  t.match(parse(good.stdout), { ok: true, drifts: [] })
  t.same(
    [...parse(good.stdout).streams, ...parse(good.stdout).buckets].map(({ name, state }) => [name, state]),
    [...streamSpecs, ...bucketSpecs].map(({ name }) => [name, 'ok']),
  )

  await nats.js.publish('orders.new', '{}')
  await jsm.streams.update('ORDERS', {
    subjects: ['orders.new', 'orders.something'],
    max_age: 3_600_000_000_000,
    max_msg_size: -1,
    allow_rollup_hdrs: true,
  })
  await jsm.streams.update('RISK', { max_msgs: 1_000, republish: { src: 'risk.decisions', dest: 'copy.risk' } })
  await jsm.streams.update('EXECUTIONS', { republish: { src: 'executions.>', dest: 'x.>', headers_only: true } })
  await jsm.streams.update('KV_LIMITS', { max_msgs_per_subject: 1 })
  await jsm.streams.delete('TICKS')
  await jsm.streams.delete('KV_LEASES')
  const expected = [
    ['ORDERS', 'allow_rollup_hdrs'],
    ['ORDERS', 'max_age'],
    ['ORDERS', 'max_msg_size'],
    ['ORDERS', 'subjects'],
    ['RISK', 'max_msgs'],
    ['RISK', 'republish'],
    ['EXECUTIONS', 'republish'],
    ['KV_LIMITS', 'max_msgs_per_subject'],
  ]
  const drifted = await runCli(['streams', '--json'], env)
  t.equal(drifted.code, 1)
  const found = parse(drifted.stdout)
  t.same(found.drifts.map(({ stream, field }) => [stream, field]).toSorted(), expected.toSorted())
  t.match(
    found.drifts.find(({ field }) => field === 'max_age'),
    { expected: '0', actual: '3600000000000' },
  )
  t.same(
    [...found.streams, ...found.buckets].filter(({ state }) => state === 'missing').map(({ name }) => name),
    ['TICKS', 'LEASES'],
  )

  const table = await runCli(['streams'], env)
  t.equal(table.code, 1)
  t.match(table.stdout, /^ORDERS +drift +1 /m)
  t.match(table.stdout, /^TICKS +missing$/m)
  t.match(table.stdout, /^ORDERS +max_msg_size +-1 +16384$/m)
  t.notMatch(table.stdout, '\x1b')
  t.match(table.stderr, /streams --apply/)

  const applied = await runCli(['streams', '--apply', '--json'], env)
  t.equal(applied.code, 0, applied.stderr)
  const repaired = parse(applied.stdout)
  t.match(repaired, { ok: true, drifts: [], created: ['TICKS', 'KV_LEASES'], refused: [] })
  t.same(repaired.changed?.map(({ stream, field }) => [stream, field]).toSorted(), expected.toSorted())
  t.equal(repaired.streams[0]?.messages, 1, 'nothing was deleted')
  await nats.js.publish('orders.cancel', '{}')
})

void t.test('P1.02 `streams --apply` says what it cannot change', async (t) => {
  const server = await startTestNats(t)
  const env = { NATS_URL: server.url, STREAMS_MAX_BYTES: String(roomBytes) }
  const { jsm } = await connectTestNats(t, server.url)
  await jsm.streams.add({ name: 'ALT', subjects: ['alt.other'], storage: 'memory', max_bytes: 2 ** 20 })
  const { code, stdout, stderr } = await runCli(['streams', '--apply'], env)
  t.equal(code, 1)
  t.match(stderr, /made ORDERS\n/)
  t.match(stderr, /changed subjects of ALT\n/)
  t.match(stderr, /storage of ALT cannot be changed in place: .*storage/)
  t.match(stdout, /^ALT +drift /m)
  t.match(stdout, /^ALT +storage +"memory" +"file"$/m)
  t.notMatch(stdout, /^ALT +subjects/m, 'the rest was repaired all the same')
})

void t.test('P1.06 `streams --permissions` prints users that nats-server takes', async (t) => {
  const { code, stdout } = await runCli(['streams', '--permissions'])
  t.equal(code, 0)
  const folder = tempDir(t)
  const config = join(folder, 'nats.conf')
  writeFileSync(config, renderNatsConfig({ port: 0, monitorPort: 0, storeDir: folder }))
  appendFileSync(config, `\n${stdout}`)
  const { path } = await findServer(natsServer, {})
  const check = (env: Record<string, string>) =>
    spawnSync(path, ['-t', '--config', config], { env: { ...process.env, ...env }, encoding: 'utf8' })
  const passwords = Object.fromEntries(
    ['admin', ...workerSpecs.map(({ name }) => name)].map((user) => [
      `${user.toUpperCase().replaceAll('-', '_')}_PASSWORD`,
      `secret-${user}`,
    ]),
  )
  const good = check(passwords)
  t.equal(good.status, 0, good.stderr)
  t.not(check({}).status, 0, 'without the passwords it does not start')

  const document = await runCli(['streams', '--permissions', '--json'])
  const { users } = JSON.parse(document.stdout) as { users: { user: string; permissions?: unknown }[] }
  t.same(
    users.map(({ user, permissions }) => [user, permissions]),
    [['admin', undefined], ...workerSpecs.map((spec) => [spec.name, permissionsOf(spec)])],
  )
})
