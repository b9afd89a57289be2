import { existsSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { JetStreamApiError, type StreamConfig } from '@nats-io/jetstream'
import t, { type Test } from 'tap'
import { startWorkerProcess } from '../../src/cli/worker-process.ts'
import { isPipelineError } from '../../src/base/errors.ts'
import { withPorts } from '../../src/local/ports.ts'
import { startNats } from '../../src/local/start-nats.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { driftsOf, ensureStreams, streamConfigOf } from '../../src/runtime/streams.ts'
import { streamSpec, streamSpecs } from '../../src/subjects/contract.ts'
import { startClient } from '../support/client.ts'
import { connectTestNats, startTestNats, startTestWorkers, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const mib = 2 ** 20
const room = 512 * mib
const kib = 1024
const names = streamSpecs.map(({ name }) => name)
const buckets = ['KV_LIMITS', 'KV_HEALTH', 'KV_LEASES', 'KV_attempts', 'KV_SNAPSHOTS']

const infoOf = (nats: Nats, name: string) => nats.jsm.streams.info(name)
const configsOf = (nats: Nats) =>
  Promise.all([...names, ...buckets].map(async (name) => (await infoOf(nats, name)).config))

/** What the contract (section 2) says of each stream, in the server's words. */
const expected: Readonly<Record<string, Partial<StreamConfig>>> = {
  ORDERS: {
    subjects: ['new', 'cancel', 'replace', 'mass_cancel'].flatMap((kind) => [`orders.${kind}`, `orders.${kind}.*`]),
    max_msg_size: 16 * kib,
    deny_delete: true,
  },
  RISK: { subjects: ['risk.decisions'], deny_delete: true },
  EXECUTIONS: {
    subjects: ['w.executions.>'],
    subject_transform: { src: 'w.executions.>', dest: 'executions.>' },
    republish: { src: 'executions.>', dest: 'executions.>' },
    deny_delete: true,
  },
  POSITIONS: {
    subjects: ['w.positions.>'],
    subject_transform: { src: 'w.positions.>', dest: 'positions.>' },
    republish: { src: 'positions.>', dest: 'positions.>' },
    max_msgs_per_subject: 1,
  },
  TICKS: { subjects: ['market.tick.*.*'], max_msg_size: 16 * kib, deny_delete: true },
  ALT: { subjects: ['alt.norm.*'], max_msg_size: 512 * kib, deny_delete: true },
  DLQ: { subjects: ['dlq.*.*.*'], discard: 'old' },
}

void t.test('P1.05 the streams are what the contract says', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  t.same(await ensureStreams(nats, room), [])

  for (const [name, own] of Object.entries(expected)) {
    const { config } = await infoOf(nats, name)
    t.match(
      config,
      {
        ...{ retention: 'limits', storage: 'file', discard: 'new', num_replicas: 1, max_age: 0, max_msgs: -1 },
        ...{ max_msg_size: -1, max_msgs_per_subject: -1, deny_purge: false, allow_rollup_hdrs: false },
        ...own,
      },
      name,
    )
    t.same(config.subjects, own.subjects, `${name} listens to nothing else`)
    for (const field of ['deny_delete', 'subject_transform', 'republish', 'allow_msg_ttl', 'allow_msg_schedules'])
      if (!(field in own)) t.notOk((config as unknown as Record<string, unknown>)[field], `${name} has no ${field}`)
  }
  const sizes = new Map((await configsOf(nats)).map(({ name, max_bytes: bytes }) => [name, bytes]))
  const sizeOf = (name: string) => sizes.get(name) ?? NaN
  const unit = sizeOf('ORDERS')
  for (const [name, times] of [
    ['RISK', 2],
    ['EXECUTIONS', 6],
  ] as const)
    t.ok(Math.abs(sizeOf(name) - times * unit) <= times, `${name} has ${times} times the room of ORDERS`)
  const sum = [...sizes.values()].reduce((total, bytes) => total + bytes, 0)
  t.ok(sum <= room && sum > room - 20, `together all have ${sum} of ${room}`)
  t.ok([...sizes.values()].every((bytes) => bytes > 0))
  t.ok((unit * 9) / sum > 0.8, 'most of it is the chain’s')

  await t.test('P1.05 a second time changes nothing', async (t) => {
    await nats.js.publish('orders.new', '{}')
    const before = await configsOf(nats)
    t.same(await ensureStreams(nats, 2 * room), [], 'whatever the setting is')
    t.same(await configsOf(nats), before)
    t.equal((await infoOf(nats, 'ORDERS')).state.messages, 1)
  })

  await t.test('P1.05 what comes in under w. is stored and republished without it', async (t) => {
    const seen: string[] = []
    for (const subject of ['executions.>', 'positions.>', 'w.>'])
      nats.connection.subscribe(subject, {
        callback: (_error, { subject, headers, data }) => {
          seen.push(`${subject} ${headers?.get('Nats-Sequence') ?? ''} ${Buffer.from(data).toString()}`)
        },
      })
    for (const [stream, name] of [
      ['EXECUTIONS', 'executions.BTCUSDT'],
      ['POSITIONS', 'positions.alice.BTCUSDT'],
    ] as const) {
      seen.length = 0
      const ack = await nats.js.publish(`w.${name}`, 'one')
      t.match(ack, { stream, seq: 1 })
      await until('both', () => seen.length === 2)
      t.same(seen.sort(), [`${name} 1 one`, `w.${name}  one`])
      t.equal((await nats.jsm.streams.getMessage(stream, { seq: 1 }))?.subject, name)
      nats.connection.publish(name, 'two')
      await nats.connection.flush()
      t.equal((await infoOf(nats, stream)).state.last_seq, 1, 'what comes in without it is not stored')
    }
  })

  await t.test('P1.05 nothing can be deleted one by one', async (t) => {
    for (const stream of ['ORDERS', 'EXECUTIONS'])
      await t.rejects(nats.jsm.streams.deleteMessage(stream, 1), { message: /message delete not permitted|deny/ })
    t.equal((await infoOf(nats, 'ORDERS')).state.messages, 1)
  })

  await t.test('P1.05 a position is overwritten, also in a full stream; nothing else is', async (t) => {
    const { config } = await infoOf(nats, 'POSITIONS')
    await nats.jsm.streams.update('POSITIONS', { ...config, max_bytes: 2_000 })
    const full = (error: unknown) => error instanceof JetStreamApiError && error.code === 10077
    let refused: unknown
    for (let account = 0; refused === undefined && account < 100; account += 1)
      await nats.js.publish(`w.positions.a${account}`, 'x'.repeat(100)).catch((error: unknown) => (refused = error))
    t.ok(full(refused), String(refused))
    t.match(await nats.js.publish('w.positions.a0', 'y'.repeat(100)), { stream: 'POSITIONS' })
    await nats.jsm.streams.update('POSITIONS', config)
  })
})

void t.test('P1.05 several processes make them at once', async (t) => {
  const server = await startTestNats(t)
  const clients = await Promise.all([1, 2, 3, 4].map(() => connectTestNats(t, server.url)))
  // All that the server has, so that none can reserve twice.
  const results = await Promise.all(clients.map((nats) => ensureStreams(nats, 9.9e9)))
  t.same(results, [[], [], [], []])
  const [nats] = clients
  if (nats) t.equal((await nats.jsm.streams.list().next()).length, names.length + buckets.length)
})

void t.test('P1.05 every difference is reported by stream and field', async (t) => {
  const other: Readonly<Record<string, unknown>> = {
    subjects: ['elsewhere.>'],
    subject_transform: { src: 'a.>', dest: 'b.>' },
    republish: { src: 'a.>', dest: 'b.>' },
    retention: 'workqueue',
    storage: 'memory',
    discard: 'other',
    max_age: 1,
    max_msgs: 1,
    max_msg_size: 1,
    max_msgs_per_subject: 7,
    duplicate_window: 5,
    allow_direct: false,
    allow_rollup_hdrs: true,
    deny_purge: true,
    allow_msg_ttl: true,
    allow_msg_schedules: true,
    sealed: true,
    no_ack: true,
    mirror: { name: 'X' },
    sources: [{ name: 'X' }],
  }
  for (const spec of streamSpecs) {
    const config = streamConfigOf(spec, 1) as StreamConfig
    t.same(driftsOf(spec, config), [], `${spec.name} as it should be`)
    t.same(driftsOf(spec, { ...config, max_bytes: 99, num_replicas: 3, description: 'ours' }), [], 'the operator may')
    for (const [field, value] of Object.entries({ ...other, deny_delete: !config.deny_delete })) {
      const drifts = driftsOf(spec, { ...config, [field]: value })
      t.same(
        drifts.map((drift) => [drift.stream, drift.field, drift.actual]),
        [[spec.name, field, JSON.stringify(value)]],
        `${spec.name} ${field}`,
      )
    }
  }

  await t.test('P1.05 on a server too, and nothing is changed there', async (t) => {
    const server = await startTestNats(t)
    const nats = await connectTestNats(t, server.url)
    await ensureStreams(nats, room)
    const changes = { max_msg_size: 99, max_age: 3_600_000_000_000, allow_rollup_hdrs: true, duplicate_window: 7e9 }
    const { config } = await infoOf(nats, 'TICKS')
    await nats.jsm.streams.update('TICKS', { ...config, ...changes })
    const drifts = await ensureStreams(nats, room)
    t.same(
      drifts.sort((a, b) => a.field.localeCompare(b.field)),
      [
        { stream: 'TICKS', field: 'allow_rollup_hdrs', expected: 'false', actual: 'true' },
        { stream: 'TICKS', field: 'duplicate_window', expected: '120000000000', actual: '7000000000' },
        { stream: 'TICKS', field: 'max_age', expected: '0', actual: '3600000000000' },
        { stream: 'TICKS', field: 'max_msg_size', expected: '16384', actual: '99' },
      ],
    )
    t.match((await infoOf(nats, 'TICKS')).config, changes)
  })
})

void t.test('P1.05 too little room is refused by name', async (t) => {
  const dataDir = tempDir(t)
  const server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  const nats = await connectTestNats(t, server.url)
  const refusal = async (settingBytes: number, storeDir?: string) => {
    try {
      await ensureStreams(nats, settingBytes, storeDir)
    } catch (error) {
      return isPipelineError(error, 'STREAM_ROOM') ? error.message : String(error)
    }
    return 'none'
  }
  t.match(await refusal(64 * mib), /only \d+ MiB of room for streams, 64 MiB are the least: free some disk/)
  t.equal((await nats.jsm.streams.list().next()).length, 0, 'nothing was begun')
  t.match(
    await refusal(20e9),
    /the server has no room to reserve \d+ MiB for EXECUTIONS: set STREAMS_MAX_BYTES to less than its max_file, or raise/,
  )
  for (const { config } of await nats.jsm.streams.list().next()) await nats.jsm.streams.delete(config.name)

  const { bavail, bsize } = statfsSync(dataDir)
  t.equal(await refusal(0, dataDir), 'none')
  const sum = (await configsOf(nats)).reduce((total, { max_bytes: bytes }) => total + bytes, 0)
  const allowed = Math.min(10e9, (bavail * bsize) / 2)
  // Others write to the disk meanwhile.
  t.ok(sum <= allowed * 1.01 && sum >= allowed * 0.9, `${sum} of ${allowed}`)
})

void t.test('P1.05 a stream made anew behind a worker’s back', async (t) => {
  const dataDir = tempDir(t)
  const server = await startNats({ dataDir, port: 0 })
  t.teardown(() => server.stop(2_000))
  const nats = await connectTestNats(t, server.url)
  const order = { symbol: 'BTCUSDT', side: 'BUY', ordType: 'LIMIT', quantity: 1, price: 100 }
  const workers = await startTestWorkers(t, server.url)
  await until('the streams', () => infoOf(nats, 'EXECUTIONS').catch(() => undefined))
  const client = await startClient(t, nats)
  for (let count = 0; count < 3; count += 1) await client.answerTo(await client.send('orders.new', order))
  await workers.stop()

  const remake = async (t: Test, more: Partial<StreamConfig>) => {
    const { config } = await infoOf(nats, 'ORDERS')
    await nats.jsm.streams.delete('ORDERS')
    // One of the same name made before they are gone would find them.
    const files = join(dataDir, 'jetstream', 'jetstream', '$G', 'streams', 'ORDERS')
    await until('its files to be gone', () => !existsSync(files))
    await nats.jsm.streams.add({ ...streamConfigOf(streamSpec('ORDERS'), config.max_bytes), ...more })
    t.equal((await infoOf(nats, 'ORDERS')).state.messages, 0)
  }

  await t.test('P1.05 the gate refuses to start and says what to do', async (t) => {
    await remake(t, {})
    await nats.js.publish('orders.new', JSON.stringify(order))
    const fatals: Error[] = []
    const started = await withPorts([0], '', ([port = 0]) =>
      startWorkerProcess({
        workers: ['risk-gate'],
        settings: settingsFrom({ NATS_URL: server.url, LOG_LEVEL: 'silent', STREAMS_MAX_BYTES: String(room) }),
        instance: 'test',
        ports: { 'risk-gate': port },
        onFatal: (error) => fatals.push(error),
      }),
    )
    t.teardown(() => started.stop())
    const fatal = await until('the refusal', () => fatals[0])
    t.ok(isPipelineError(fatal, 'STREAM_REWOUND'), String(fatal))
    t.match(
      fatal.message,
      'ORDERS ends at 1, but risk-gate has already answered 3: the stream was made anew behind its back. Restore it, or make it again with first_seq 4',
    )
    await started.stop()
    t.same(client.answerCounts(), [1, 1, 1], 'nothing was answered')
  })

  await t.test('P1.05 and with that done it goes on', async (t) => {
    await remake(t, { first_seq: 4 })
    const workers = await startTestWorkers(t, server.url)
    const sequence = await client.send('orders.new', order)
    t.equal(sequence, 4)
    t.match((await client.answerTo(sequence)).reports, [{ orderId: 'o-4', execType: 'New' }])
    await workers.stop()
  })
})
