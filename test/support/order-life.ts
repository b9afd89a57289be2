import type { Test } from 'tap'
import { readStream } from '../../src/runtime/reader.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { decodeCommand } from '../../src/schemas/command.ts'
import { decodeExecution } from '../../src/schemas/execution.ts'

/**
 * What the streams hold of each order: how often its clOrdId was accepted, and of each command, by its sequence in ORDERS,
 * how many answers it has and what its clOrdId is.
 */
export async function lifeOf(nats: Nats) {
  const last = async (stream: string) => (await nats.jsm.streams.info(stream)).state.last_seq
  const answers = new Map<number, number>()
  const accepted = new Map<string, number>()
  for await (const { data, srcSeq = 0 } of readStream(nats, 'EXECUTIONS', 1, await last('EXECUTIONS'))) {
    answers.set(srcSeq, (answers.get(srcSeq) ?? 0) + 1)
    for (const { execType, clOrdId = '' } of decodeExecution(data).reports)
      if (execType === 'New') accepted.set(clOrdId, (accepted.get(clOrdId) ?? 0) + 1)
  }
  const names = new Map<number, string | undefined>()
  for await (const { data, sequence } of readStream(nats, 'ORDERS', 1, await last('ORDERS'))) {
    const decoded = decodeCommand('new', data)
    names.set(sequence, decoded.outcome === 'command' ? decoded.command.clOrdId : undefined)
  }
  return { answers, accepted, names }
}

/**
 * Each order that a door acknowledged is in ORDERS under its number, was answered once, and accepted once.
 * @param acknowledged orderIds by clOrdId
 * @returns how often each clOrdId was accepted
 */
export async function checkAcknowledged(
  t: Test,
  nats: Nats,
  acknowledged: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, number>> {
  const { answers, accepted, names } = await lifeOf(nats)
  const lost = [...acknowledged].filter(([name, orderId]) => {
    const sequence = Number(orderId.slice(2))
    return names.get(sequence) !== name || answers.get(sequence) !== 1
  })
  t.same(lost, [], 'each is in ORDERS under its number, and answered once')
  t.same(
    [...acknowledged.keys()].filter((name) => accepted.get(name) !== 1),
    [],
    'each was accepted once, however often it was sent',
  )
  return accepted
}
