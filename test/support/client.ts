import type { Test } from 'tap'
import { headers as createHeaders } from '@nats-io/transport-node'
import { rfc3339FromUs } from '../../src/base/clock.ts'
import type { Nats } from '../../src/runtime/nats.ts'
import { followStream, type InputMessage } from '../../src/runtime/reader.ts'
import { until } from './stack.ts'

/** A message of EXECUTIONS as a client sees it, with the numbering of its reports checked and taken out. */
export interface Answer {
  readonly sequence: number
  readonly subject: string
  readonly symbol: string | undefined
  readonly reports: readonly Readonly<Record<string, unknown>>[]
}

/** A client that publishes to ORDERS and reads every answer of EXECUTIONS. */
export interface Client {
  /** @returns the sequence that the stream gave the command */
  send(subject: string, body: string | Uint8Array | object, headers?: Readonly<Record<string, string>>): Promise<number>
  /** Waits for the answer to a command, and checks that it is the only one so far. */
  answerTo(sequence: number): Promise<Answer>
  /** Of every command answered so far, how many messages did it. */
  answerCounts(): number[]
}

interface Body {
  readonly cmdSeq?: number
  readonly symbol?: string
  readonly transactTime?: string
  readonly reports: readonly Record<string, unknown>[]
}

export async function startClient(t: Test, nats: Nats): Promise<Client> {
  const answers = new Map<number, InputMessage[]>()
  const follower = await followStream(
    nats,
    'EXECUTIONS',
    1,
    (message) => {
      const { srcSeq = 0 } = message
      answers.set(srcSeq, [...(answers.get(srcSeq) ?? []), message])
    },
    (error) => t.fail(error.message),
  )
  t.teardown(() => follower.stop())
  return {
    send: async (subject, body, headers = {}) => {
      const data = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
      const natsHeaders = createHeaders()
      for (const [name, value] of Object.entries(headers)) natsHeaders.set(name, value)
      const ack = await nats.js.publish(subject, data, { headers: natsHeaders })
      return ack.seq
    },
    answerTo: async (sequence) => {
      const [message, ...others] = await until(`the answer to ${sequence}`, () => answers.get(sequence))
      if (!message || others.length > 0) throw new Error(`${sequence} has ${others.length + 1} answers`)
      return answerOf(message)
    },
    answerCounts: () => [...answers].filter(([srcSeq]) => srcSeq > 0).map(([, messages]) => messages.length),
  }
}

/** @throws Error when execId or transactTime do not agree with the message */
function answerOf({ sequence, subject, data }: InputMessage): Answer {
  const { cmdSeq, symbol, transactTime, reports } = JSON.parse(Buffer.from(data).toString()) as Body
  const time = Date.parse(String(transactTime))
  if (Math.abs(Date.now() - time) > 60_000 || transactTime?.length !== rfc3339FromUs(0).length)
    throw new Error(`EXECUTIONS ${sequence}: transactTime ${String(transactTime)}`)
  return {
    sequence,
    subject,
    symbol,
    reports: reports.map(({ execId, transactTime: reportTime, ...report }, index) => {
      if (execId !== `${cmdSeq}-${index + 1}` || reportTime !== transactTime)
        throw new Error(`EXECUTIONS ${sequence}: execId ${String(execId)}, transactTime ${String(reportTime)}`)
      return report
    }),
  }
}
