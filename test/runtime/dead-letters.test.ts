import t from 'tap'
import { AckedPublisher } from '../../src/runtime/acks.ts'
import { settingsFrom } from '../../src/runtime/config.ts'
import { createLog } from '../../src/runtime/log.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import type { Fold } from '../../src/runtime/fold.ts'
import { WorkerLoop } from '../../src/runtime/worker-loop.ts'
import { workerSpec } from '../../src/subjects/contract.ts'
import { riskSubject } from '../../src/subjects/names.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

void t.test('P1.20 a dead letter is stored once, before the output that covers its message', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  const room = 128 * 2 ** 20
  await ensureStreams(nats, room)
  const publisher = new AckedPublisher(nats.connection)
  t.teardown(() => publisher.close())
  let handled = 0
  const fold: Fold = {
    handle: (batch) => {
      handled += batch.length
      const outputs = batch.map(({ sequence: inSeq }) => {
        return { subject: riskSubject, body: `{"records":[${inSeq}]}`, position: { inSeq, inIndex: 0 } }
      })
      const deadLetters = batch
        .filter(({ data }) => Buffer.from(data).toString() !== 'good')
        .map((message) => ({ message, reason: 'bad: ünreadable\n' }))
      return { outputs, deadLetters }
    },
  }
  const loop = new WorkerLoop({
    nats,
    spec: workerSpec('risk-gate'),
    fold,
    settings: settingsFrom({ BATCH_MAX: '1' }),
    log: createLog('test', 'silent'),
    publisher,
    instance: 'test',
    lastSequenceOf: () => undefined,
    onFatal: (error) => t.fail(error.message),
  })
  t.teardown(() => loop.stop(0))
  await loop.start()
  const inSeqs = async () => {
    const { last_seq: last } = (await nats.jsm.streams.info('RISK')).state
    const sequences: string[] = []
    for (let seq = 2; seq <= last; seq += 1)
      sequences.push((await nats.jsm.streams.getMessage('RISK', { seq }))?.header.get('In-Seq') ?? '')
    return sequences
  }
  await nats.js.publish('orders.new', 'good')
  await until('the good one', async () => (await inSeqs()).length === 1)

  await nats.jsm.streams.delete('DLQ')
  await nats.js.publish('orders.new', 'bad')
  await nats.js.publish('orders.new', 'good')
  await until('both to be handled', () => handled === 3)
  // Whatever the loop has published is with the server by now.
  await nats.connection.flush()
  t.same(await inSeqs(), ['1'], 'neither its own output nor a later one')
  t.equal(loop.state().settledSequence, 1)

  await ensureStreams(nats, room)
  await until('the outputs', async () => (await inSeqs()).length === 3)
  t.same(await inSeqs(), ['1', '2', '3'])
  await until('all to be settled', () => loop.state().settledSequence === 3)
  t.equal(loop.state().deadLetters, 1)
  const letter = await nats.jsm.streams.getMessage('DLQ', { seq: 1 })
  t.equal(letter?.subject, 'dlq.risk-gate.ORDERS.2')
  t.equal(letter?.string(), 'bad')
  t.equal(letter?.header.get('Reason'), 'bad: ?nreadable?')
  t.equal(letter?.header.get('Subject'), 'orders.new')
  t.equal(letter?.header.get('In-Seq'), '2')

  // As an earlier life left it that ended between the two.
  await nats.js.publish('dlq.risk-gate.ORDERS.4', 'bad')
  await nats.js.publish('orders.new', 'bad')
  await until('its output', async () => (await inSeqs()).length === 4)
  await until('all to be settled', () => loop.state().settledSequence === 4)
  t.equal((await nats.jsm.streams.info('DLQ')).state.messages, 2, 'it is not stored again')
})
