import { exitCodes, PipelineError } from '../base/errors.ts'
import { utf8FromText } from '../base/json.ts'
import { AckedPublisher, messageTooLarge, type PubAck } from '../runtime/acks.ts'
import { CommandPublisher } from '../runtime/command-publisher.ts'
import type { Nats } from '../runtime/nats.ts'
import { tailStream } from '../runtime/tail.ts'
import { decodeCommand } from '../schemas/command.ts'
import { decodeExecution, type ExecutionMessage, type ExecutionReport, orderIdOf } from '../schemas/execution.ts'
import type { CommandKind } from '../schemas/risk.ts'
import { type NatsOption, withNats } from './connect.ts'
import { describeRefusal, describeReport } from './describe.ts'
import { exactJson, printJson, printLine, say } from './output.ts'

export interface SendOptions extends NatsOption {
  readonly json: boolean
  readonly timeoutMs: number
}

/** A command as the client writes it; decimals as text. */
export type CommandBody = Readonly<Record<string, string | boolean | undefined>>

/**
 * Brings a command to ORDERS, waits for its stored report and prints it. Sets the exit code: 0 accepted, 1 refused,
 * 69 not answered in time.
 * @throws PipelineError USAGE when the command is wrong: then nothing is published
 */
export async function sendCommand(kind: CommandKind, body: CommandBody, options: SendOptions): Promise<void> {
  const data = utf8FromText(JSON.stringify(body))
  const decoded = decodeCommand(kind, data)
  if (decoded.outcome !== 'command')
    throw new PipelineError('USAGE', decoded.outcome === 'invalid' ? decoded.text : decoded.problem)
  const { timeoutMs, json } = options
  const { sequence, messages } = await withNats(options, ['ORDERS', 'EXECUTIONS'], async (nats) => {
    const deadlineMs = Date.now() + timeoutMs
    const { last_seq: before } = (await nats.jsm.streams.info('EXECUTIONS')).state
    const account = typeof body['account'] === 'string' ? body['account'] : undefined
    const sequence = await publish(
      nats,
      { kind, body: data, ...(account === undefined ? {} : { account }) },
      deadlineMs,
    )
    return { sequence, messages: await answerTo(nats, sequence, before, deadlineMs - Date.now()) }
  })
  const reports = messages?.flatMap((message) => decodeExecution(message).reports) ?? []
  const orderId = kind === 'new' ? orderIdOf(sequence) : (reports[0]?.orderId ?? body['orderId'])
  if (json)
    printJson({
      ...(kind === 'mass_cancel' ? {} : { orderId }),
      seq: sequence,
      answered: messages !== undefined,
      reports: (messages ?? []).flatMap((message) => (exactJson(message) as ExecutionMessage).reports),
    })
  else for (const report of reports) printLine(describeReport(report))
  if (messages === undefined) {
    say(
      `the command is stored (ORDERS ${sequence}) and not answered after ${timeoutMs} ms; it will be when the workers run. \`trade2026 lag\` says which do not${kind === 'new' ? `, \`trade2026 order show ${orderIdOf(sequence)}\` what became of it` : ''}`,
    )
    process.exitCode = exitCodes.unavailable
  } else conclude(reports, json)
}

function conclude([first]: readonly ExecutionReport[], json: boolean): void {
  if (first === undefined) {
    if (!json) say('no open order fits: nothing to cancel')
  } else if (first.ordRejReason !== undefined) {
    say(`refused: ${describeRefusal(first)}`)
    process.exitCode = exitCodes.failed
  }
}

/** Cancels what an account has open in a symbol. @returns whether that was answered in time */
export async function massCancel(nats: Nats, account: string, symbol: string, timeoutMs = 5_000): Promise<boolean> {
  const deadlineMs = Date.now() + timeoutMs
  const { last_seq: before } = (await nats.jsm.streams.info('EXECUTIONS')).state
  const body = utf8FromText(JSON.stringify({ account, symbol }))
  const sequence = await publish(nats, { kind: 'mass_cancel', body, account }, deadlineMs)
  return (await answerTo(nats, sequence, before, deadlineMs - Date.now())) !== undefined
}

/** @returns sequence in ORDERS */
async function publish(
  nats: Nats,
  command: { readonly kind: CommandKind; readonly body: Uint8Array; readonly account?: string },
  deadlineMs: number,
): Promise<number> {
  const publisher = new AckedPublisher(nats.connection, Math.max(1, deadlineMs - Date.now()))
  try {
    return sequenceOf(await new CommandPublisher(nats, publisher).publish(command, deadlineMs))
  } finally {
    publisher.close()
  }
}

function sequenceOf(ack: PubAck): number {
  switch (ack.outcome) {
    case 'stored':
      return ack.sequence
    case 'refused':
      if (ack.errCode === messageTooLarge) throw new PipelineError('USAGE', 'the command is larger than ORDERS takes')
      throw new PipelineError('STREAM_ROOM', `ORDERS refused the command, nothing was stored: ${ack.description}`)
    case 'unknown':
      throw new PipelineError(
        'PUBLISH_UNRESOLVED',
        'NATS did not say whether it took the command, so it may have. An order with --cl-ord-id may be sent again: it is taken once at most',
      )
  }
}

/** All parts of the answer to a command. @returns undefined when they are not there in time */
async function answerTo(
  nats: Nats,
  sequence: number,
  executionsBefore: number,
  timeoutMs: number,
): Promise<Uint8Array[] | undefined> {
  const parts: Uint8Array[] = []
  const signal = AbortSignal.timeout(Math.max(0, timeoutMs))
  for await (const { message } of tailStream(nats, 'EXECUTIONS', { sequence: executionsBefore + 1 }, signal)) {
    if (message.srcSeq !== sequence) continue
    parts.push(message.data)
    const [part, count] = decodeExecution(message.data).part?.split('/') ?? []
    if (part === count) return parts
  }
  return undefined
}
