import { connect as connectSocket } from 'node:net'
import t, { type Test } from 'tap'
import { JetStreamApiError } from '@nats-io/jetstream'
import { audit } from '../../src/cli/audit.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { type Client, startClient } from '../support/client.ts'
import { settled } from '../support/processes.ts'
import { connectTestNats, startTestNats, startTestWorkers } from '../support/stack.ts'
import {
  accepted,
  type Body,
  invalids,
  order,
  outOfRange,
  type Row,
  rules,
  sized,
  taken,
  unreadables,
} from './bad-inputs.ts'

async function play(t: Test, client: Client, row: Row): Promise<{ sequence: number; sent: Body }> {
  const ids: string[] = []
  for (const body of row.before ?? []) {
    const sequence = await client.send('orders.new', body)
    t.match(await client.answerTo(sequence), { reports: [{ execType: 'New' }] })
    ids.push(`o-${sequence}`)
  }
  if (row.cancelled) await client.send('orders.cancel', { orderId: ids[0] })
  const sent = typeof row.body === 'function' ? row.body(ids) : row.body
  const sequence = await client.send(row.subject ?? 'orders.new', sent)
  const id = `o-${sequence}`
  const { subject, reports } = await client.answerTo(sequence)
  const { text, ...rest } = typeof row.report === 'function' ? row.report(ids) : row.report
  t.equal(subject, `executions.${row.on}`)
  t.equal(reports.length, 1)
  const { text: actualText, ...actual } = reports[0] ?? {}
  if (row.byEither) t.match(actual, rest)
  else t.strictSame(actual, { orderId: id, ...rest })
  if (text instanceof RegExp) t.match(actualText, text)
  else t.equal(actualText, text)
  return { sequence, sent }
}

async function checkDeadLetter(t: Test, nats: Nats, sequence: number, row: Row, sent: Body): Promise<void> {
  const letter = await nats.jsm.streams.getMessage('DLQ', { last_by_subj: `dlq.risk-gate.ORDERS.${sequence}` })
  t.strictSame(letter?.data, new Uint8Array(Buffer.from(sent as string)), 'the bytes as they came')
  t.match(letter?.header.get('Reason'), /^INVALID_MESSAGE: (not |nested )/)
  t.equal(letter?.header.get('Subject'), row.subject)
  t.equal(letter?.header.get('In-Seq'), String(sequence))
}

void t.test('P1.20 whatever a client sends has exactly one answer, and the next order goes through', async (t) => {
  const server = await startTestNats(t)
  const workers = await startTestWorkers(t, server.url)
  const nats = await connectTestNats(t, server.url)
  const client = await startClient(t, nats)
  const state = async (stream: string) => (await nats.jsm.streams.info(stream)).state

  const checkGoodOrder = async (t: Test) => {
    const sequence = await client.send('orders.new', { ...order, account: 'good' })
    t.strictSame((await client.answerTo(sequence)).reports, [accepted({ orderId: `o-${sequence}`, account: 'good' })])
  }
  const answered = async (t: Test, row: Row) => {
    const { sequence, sent } = await play(t, client, row)
    if (unreadables.includes(row)) await checkDeadLetter(t, nats, sequence, row, sent)
    await checkGoodOrder(t)
  }
  for (const row of [...unreadables, ...invalids, ...outOfRange, ...rules, ...taken])
    await t.test(`P1.20 ${row.name}`, (t) => answered(t, row))

  await t.test('P1.20 a mass cancel that meets nothing has an answer without reports', async (t) => {
    const { subject, reports } = await client.answerTo(await client.send('orders.mass_cancel', { account: 'nobody' }))
    t.equal(subject, 'executions._all')
    t.same(reports, [])
  })

  await t.test('P1.20 what the stream does not take, its publisher is told', async (t) => {
    const before = (await state('ORDERS')).last_seq
    const code = (body: Body, headers?: Record<string, string>) =>
      client.send('orders.new', body, headers).then(
        () => 'stored',
        (error: unknown) => (error instanceof JetStreamApiError ? error.code : String(error)),
      )
    const filled = (size: number) => sized(`1${' '.repeat(size - sized('1').length)}`)
    t.equal(await code(filled(16 * 1024 + 1)), 10054, 'message size exceeds maximum allowed')
    t.equal(await code(order, { 'Nats-Rollup': 'all' }), 10111, 'rollup not permitted')
    t.equal(await code(order, { 'Nats-TTL': '1s' }), 10166, 'per-message TTL is disabled')
    t.equal(await code(order, { 'Nats-Schedule': '@every 1s' }), 10188, 'message schedules is disabled')
    t.match(await code('x'.repeat(2 * 2 ** 20)), /max_payload/, 'the client knows what the server takes')
    t.match(await overlarge(server.port, 2 * 2 ** 20), /-ERR 'Maximum Payload Violation'/, 'and the server insists')
    t.equal((await state('ORDERS')).last_seq, before)
    await checkGoodOrder(t)
    t.equal(await code(filled(16 * 1024)), 'stored')
  })

  await t.test('P1.20 nothing of it doubles when the workers start again', async (t) => {
    await settled(nats)
    await workers.stop()
    const before = { executions: await state('EXECUTIONS'), dlq: await state('DLQ'), risk: await state('RISK') }
    t.equal(before.dlq.messages, unreadables.length)
    t.equal(before.dlq.num_subjects, unreadables.length)
    await startTestWorkers(t, server.url)
    await checkGoodOrder(t)
    await settled(nats)
    // An epoch record each, and the good order.
    t.equal((await state('EXECUTIONS')).last_seq, before.executions.last_seq + 2)
    t.equal((await state('RISK')).last_seq, before.risk.last_seq + 2)
    t.equal((await state('DLQ')).last_seq, before.dlq.last_seq)
    t.ok(client.answerCounts().every((count) => count === 1))
    const found = await audit(nats)
    t.match(found, { ok: true, unanswered: 0, doubled: 0, deadLetters: { 'risk-gate': unreadables.length } })
    t.equal(found.commands, (await state('ORDERS')).messages)
  })
})

/** What the server says to a publish of `size` bytes. */
function overlarge(port: number, size: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = connectSocket(port, '127.0.0.1')
    socket.on('data', (data) => (said += data.toString()))
    socket.on('error', reject)
    socket.on('close', () => resolve(said))
    socket.write(`CONNECT {"verbose":false}\r\nPUB orders.new ${size}\r\n`)
  })
}
