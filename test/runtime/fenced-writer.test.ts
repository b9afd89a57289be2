import { DiscardPolicy, type StreamConfig } from '@nats-io/jetstream'
import t, { type Test } from 'tap'
import { isPipelineError } from '../../src/base/errors.ts'
import { AckedPublisher, type PubAck, wrongLastSequence } from '../../src/runtime/acks.ts'
import { fenceLines, FencedWriter } from '../../src/runtime/fenced-writer.ts'
import { createLog } from '../../src/runtime/log.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { headerLine } from '../../src/runtime/wire-headers.ts'
import { startProxy } from '../support/proxy.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const server = await startTestNats(t)
/** Of the same name as its subject. Each test has one of its own: one deleted and made again at once may come with its old messages. */
let stream = 'S0'

async function emptyStream(t: Test, config: Partial<StreamConfig> = {}): Promise<Nats> {
  const nats = await connectTestNats(t, server.url)
  stream = `S${Number(stream.slice(1)) + 1}`
  await nats.jsm.streams.add({ name: stream, subjects: [stream], discard: DiscardPolicy.New, ...config })
  return nats
}

interface Desk {
  readonly writer: FencedWriter
  readonly publisher: AckedPublisher
  /** Writes the next `count` messages; their bodies are numbers from 1. */
  write(count: number): void
  /** `sequence body` in the order in which the writer said that they are stored. */
  readonly stored: string[]
  readonly fatals: Error[]
}

/** A writer that has just taken over. */
async function takeOver(
  t: Test,
  nats: Nats,
  options: { timeoutMs?: number; bodyBytes?: number; writerId?: string } = {},
): Promise<Desk> {
  const { writerId = 'a', bodyBytes = 0 } = options
  const publisher = new AckedPublisher(nats.connection, options.timeoutMs)
  const lastSequence = (await nats.jsm.streams.info(stream)).state.last_seq
  const ack = await publisher.request(stream, 'epoch', fenceLines(writerId, lastSequence, true))
  t.match(ack, { outcome: 'stored', sequence: lastSequence + 1 })
  const stored: string[] = []
  const fatals: Error[] = []
  const writer = new FencedWriter({
    nats,
    publisher,
    stream,
    writerId,
    logicVersion: 1,
    lastSequence: lastSequence + 1,
    log: createLog('test', 'silent'),
    onFatal: (error) => fatals.push(error),
  })
  t.teardown(() => {
    writer.close()
    publisher.close()
  })
  let written = 0
  const write = (count: number) => {
    for (let left = count; left > 0; left -= 1) {
      const body = String((written += 1))
      const position = { inSeq: written, inIndex: 0 }
      writer.write({ subject: stream, body: body.padEnd(bodyBytes), position, srcSeq: written }, (sequence) =>
        stored.push(`${sequence} ${body}`),
      )
    }
  }
  return { writer, publisher, write, stored, fatals }
}

/** What the stream holds, as `sequence body`. */
async function contents(nats: Nats): Promise<string[]> {
  const { first_seq: first, last_seq: last } = (await nats.jsm.streams.info(stream)).state
  const found: string[] = []
  for (let seq = first; seq <= last; seq += 1) {
    const message = await nats.jsm.streams.getMessage(stream, { seq })
    found.push(`${seq} ${message?.string().trim()}`)
  }
  return found
}

/** An epoch record, then the messages 1 to `count`. */
const inOrder = (count: number) => [
  '1 epoch',
  ...Array.from({ length: count }, (_, index) => `${index + 2} ${index + 1}`),
]

async function allStored(t: Test, nats: Nats, { stored, writer, fatals }: Desk, count: number): Promise<void> {
  await until(`${count} stored`, () => stored.length >= count)
  const expected = inOrder(count)
  t.same(await contents(nats), expected, 'the stream holds each once, in order')
  t.same(stored, expected.slice(1), 'and each was told once, in order')
  t.equal(writer.pending, 0)
  t.equal(writer.storedSequence, count + 1)
  t.equal(writer.blockedReason, undefined)
  t.same(fatals, [])
}

void t.test('P1.08 pipelined writes arrive once, in order, with their position', async (t) => {
  const nats = await emptyStream(t)
  const desk = await takeOver(t, nats)
  desk.write(1_500)
  t.equal(desk.writer.pending, 1_500, 'none waits for another')
  await allStored(t, nats, desk, 1_500)
  const { header } = (await nats.jsm.streams.getMessage(stream, { seq: 3 })) ?? {}
  t.equal(header?.get('In-Seq'), '2')
  t.equal(header?.get('In-Index'), '0')
  t.equal(header?.get('Src-Seq'), '2')
  t.notOk(header?.has('In-Part'))
})

void t.test('P1.09 a pipeline that another writer breaks into', async (t) => {
  await t.test('P1.09 a fence of sequences alone has a hole', async (t) => {
    const nats = await emptyStream(t)
    const publisher = new AckedPublisher(nats.connection)
    t.teardown(() => publisher.close())
    const expecting = (lastSequence: number) => headerLine('Nats-Expected-Last-Sequence', String(lastSequence))
    const acks: Promise<PubAck>[] = []
    const publish = (body: string, lastSequence: number) =>
      acks.push(publisher.request(stream, body, expecting(lastSequence)))
    publish('epoch of a', 0)
    publish('a1', 1)
    publish('epoch of b', 2)
    for (const lastSequence of [2, 3, 4]) publish(`a${lastSequence}`, lastSequence)
    t.same(
      (await Promise.all(acks)).map((ack) => (ack.outcome === 'stored' ? ack.sequence : ack.outcome)),
      [1, 2, 3, 'refused', 4, 5],
    )
    t.same(await contents(nats), ['1 epoch of a', '2 a1', '3 epoch of b', '4 a3', '5 a4'])
  })

  await t.test('P1.09 the chain of message ids closes it', async (t) => {
    const nats = await emptyStream(t)
    const desk = await takeOver(t, nats)
    desk.write(5)
    // These are a burst of their own, on their way.
    await Promise.resolve()
    const epoch = desk.publisher.request(stream, 'epoch of b', fenceLines('b', 6, true))
    desk.write(20)
    t.match(await epoch, { outcome: 'stored', sequence: 7 })
    await until('the end', () => desk.fatals.length > 0)
    const [fatal] = desk.fatals
    t.ok(isPipelineError(fatal, 'WRITER_FENCED'), String(fatal))
    t.match(fatal?.message, `${stream} holds a message at 7 that another process wrote`)
    const before = [...inOrder(5), '7 epoch of b']
    t.same(await contents(nats), before)
    t.same(desk.stored, inOrder(5).slice(1))
    desk.write(1)
    await nats.connection.flush()
    t.same(await contents(nats), before, 'it sends nothing more')
    t.equal(desk.fatals.length, 1)
  })

  await t.test('P1.09 a writer that is idle finds out by its next message', async (t) => {
    const nats = await emptyStream(t)
    const first = await takeOver(t, nats)
    first.write(1)
    await until('it', () => first.stored.length === 1)
    const second = await takeOver(t, nats, { writerId: 'b' })
    first.write(3)
    second.write(1)
    await until('the end', () => first.fatals.length > 0)
    t.ok(isPipelineError(first.fatals[0], 'WRITER_FENCED'))
    await until('the second', () => second.stored.length === 1)
    t.same(await contents(nats), ['1 epoch', '2 1', '3 epoch', '4 1'])
    t.same(second.fatals, [])
  })
})

void t.test('P1.08 answers that are lost', async (t) => {
  await t.test('P1.08 stored, but nobody said so', async (t) => {
    const direct = await emptyStream(t)
    const proxy = await startProxy(t, server.port)
    const nats = await connectTestNats(t, proxy.url)
    const desk = await takeOver(t, nats, { timeoutMs: 1_000 })
    desk.write(50)
    await until('the first', () => desk.stored.length === 50)
    proxy.dropAnswers()
    desk.write(50)
    await until('the server to have them', async () => (await direct.jsm.streams.info(stream)).state.last_seq === 101)
    t.equal(desk.writer.pending, 50)
    proxy.cut()
    await until('the doubt', () => desk.writer.blockedReason === `${stream}: no answer`)
    desk.write(25)
    proxy.open()
    await allStored(t, direct, desk, 125)
  })

  await t.test('P1.08 stored and overwritten already, where only the latest of a subject is kept', async (t) => {
    const direct = await emptyStream(t, { max_msgs_per_subject: 1 })
    const proxy = await startProxy(t, server.port)
    const nats = await connectTestNats(t, proxy.url)
    const desk = await takeOver(t, nats, { timeoutMs: 1_000 })
    proxy.dropAnswers()
    desk.write(20)
    await until('the server to have them', async () => (await direct.jsm.streams.info(stream)).state.last_seq === 21)
    proxy.cut()
    proxy.open()
    await until('all to be known as stored', () => desk.stored.length === 20)
    t.same(desk.fatals, [], 'it is not taken for another writer')
    t.same(
      desk.stored,
      Array.from({ length: 20 }, (_, index) => `${index + 2} ${index + 1}`),
    )
  })

  await t.test('P1.08 a connection that is cut again and again', async (t) => {
    const direct = await emptyStream(t)
    const proxy = await startProxy(t, server.port)
    const nats = await connectTestNats(t, proxy.url)
    const desk = await takeOver(t, nats, { timeoutMs: 1_000 })
    const rounds = 4
    for (let round = 1; round <= rounds; round += 1) {
      desk.write(200)
      // In the middle of the pipeline: some have arrived, some not, some were answered.
      await until('some to arrive', async () => {
        return (await direct.jsm.streams.info(stream)).state.last_seq > (round - 1) * 200 + 1
      })
      proxy.cut()
      desk.write(100)
      await until('the loss to be seen', () => !nats.isConnected())
      proxy.open()
      desk.write(100)
      await until('all of the round', () => desk.stored.length === round * 400)
    }
    await allStored(t, direct, desk, rounds * 400)
  })
})

void t.test('P1.09 a stream that is full', async (t) => {
  const nats = await emptyStream(t, { max_bytes: 64 * 1024 })
  const desk = await takeOver(t, nats, { bodyBytes: 1_024 })
  desk.write(100)
  await until('the stream to be full', () => desk.writer.blockedReason !== undefined)
  t.equal(desk.writer.blockedReason, `${stream}: maximum bytes exceeded`)
  const { messages } = (await nats.jsm.streams.info(stream)).state
  t.ok(messages > 10 && messages < 100, `${messages} fit`)
  await until('the writer to know them', () => desk.stored.length === messages - 1)
  t.equal(desk.writer.pending, 100 - desk.stored.length)
  t.same(desk.fatals, [])
  const { config } = await nats.jsm.streams.info(stream)
  await nats.jsm.streams.update(stream, { ...config, max_bytes: 2 ** 20 })
  await allStored(t, nats, desk, 100)
})

void t.test('P1.09 a message that the stream will never take', async (t) => {
  const nats = await emptyStream(t, { max_msg_size: 500 })
  const desk = await takeOver(t, nats, { bodyBytes: 600 })
  desk.write(1)
  await until('the end', () => desk.fatals.length > 0)
  t.ok(isPipelineError(desk.fatals[0], 'STREAM_ROOM'))
  t.match(desk.fatals[0]?.message, `${stream} refuses a message: message size exceeds maximum allowed`)
  t.same(await contents(nats), ['1 epoch'])
})

void t.test('P1.09 one in the middle of a burst that the stream will never take', async (t) => {
  const nats = await emptyStream(t, { max_msg_size: 500 })
  const desk = await takeOver(t, nats)
  desk.write(5)
  desk.writer.write({ subject: stream, body: 'x'.repeat(600), position: { inSeq: 6, inIndex: 0 } }, () =>
    t.fail('it is not stored'),
  )
  desk.write(5)
  await until('the end', () => desk.fatals.length > 0)
  t.ok(isPipelineError(desk.fatals[0], 'STREAM_ROOM'), String(desk.fatals[0]))
  t.same(await contents(nats), inOrder(5), 'those before it are stored, those behind it are not')
  t.same(desk.stored, inOrder(5).slice(1))
})

void t.test('P1.09 what AckedPublisher says of one publish', async (t) => {
  const nats = await emptyStream(t)
  const publisher = new AckedPublisher(nats.connection, 1_000)
  t.teardown(() => publisher.close())
  t.same(await publisher.request(stream, 'x'), { outcome: 'stored', sequence: 1, duplicate: false })
  t.match(await publisher.request('nobody.listens', 'x'), { outcome: 'refused', errCode: 503 })
  t.match(await publisher.request(stream, 'x', fenceLines('a', 7, true)), {
    outcome: 'refused',
    errCode: wrongLastSequence,
    description: 'wrong last sequence: 1',
  })
  const once = headerLine('Nats-Msg-Id', 'once')
  t.same(await publisher.request(stream, 'x', once), { outcome: 'stored', sequence: 2, duplicate: false })
  t.same(await publisher.request(stream, 'x', once), { outcome: 'stored', sequence: 2, duplicate: true })

  let answerLate: (() => void) | undefined
  nats.connection.subscribe('says.nothing', {
    callback: (_error, message) => {
      answerLate = () => message.respond('{"stream":"RISK","seq":9}')
    },
  })
  const acks: PubAck[] = []
  publisher.publish('says.nothing', 'x', '', (ack) => acks.push(ack))
  await until('the time-out', () => acks.length > 0)
  t.same(acks, [{ outcome: 'unknown' }])
  answerLate?.()
  await nats.connection.flush()
  t.equal(acks.length, 1, 'an answer that comes later is not told')

  t.throws(() => publisher.publish(stream, 'x'.repeat(2 * 2 ** 20), '', () => t.fail('told')), /max_payload/)
  const open = publisher.request('says.nothing', 'x')
  publisher.close()
  t.same(await open, { outcome: 'unknown' }, 'closing leaves nobody waiting')
})
