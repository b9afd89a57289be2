import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError } from 'commander'
import { rfc3339FromUs, usFromRfc3339 } from '../base/clock.ts'
import { exitCodes, messageOf, PipelineError } from '../base/errors.ts'
import { AckedPublisher } from '../runtime/acks.ts'
import type { Nats } from '../runtime/nats.ts'
import { storedMessage } from '../runtime/position.ts'
import { tailStream } from '../runtime/tail.ts'
import { headerLine } from '../runtime/wire-headers.ts'
import { orderIdOf } from '../schemas/execution.ts'
import { type StreamName, streamSpec, streamSpecs } from '../subjects/contract.ts'
import { headerNames } from '../subjects/names.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { interrupted } from './interrupt.ts'
import { endWithReader, printJson, printLine, say, visible } from './output.ts'
import { numeric, renderTable } from './table.ts'

const prefix = 'dlq.'
/** A letter by its subject, without or with the `dlq.` before it. */
const letterRegExp = /^(?:dlq\.)?([a-z-]+)\.([A-Z]+)\.(\d+)$/
const replayHeader = 'Replayed-From'

interface DlqOptions extends NatsOption {
  readonly json: boolean
}

interface Letter {
  /** `<worker>.<stream>.<sequence>`. */
  readonly letter: string
  readonly worker: string
  readonly stream: string
  readonly sequence: number
  /** When the worker met it, RFC 3339. */
  readonly seen: string
  readonly reason: string
  readonly bytes: number
}

export function addDlqCommand(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('what could not be read: look at it, send it again, drop it')
    .addHelpText(
      'after',
      `
Examples:
  trade2026 dlq ls
  trade2026 dlq ls --each --stream ORDERS
  trade2026 dlq show risk-gate.ORDERS.17
  trade2026 dlq replay risk-gate.ORDERS.17 --body corrected.json
  trade2026 dlq drop risk-gate.ORDERS.17`,
    )
  const command = (name: string, about: string) =>
    dlq.command(name).description(about).addOption(natsOption()).addOption(jsonOption())

  command('ls', 'how many letters there are, by worker, stream and reason')
    .option('--each', 'every letter on a line of its own', false)
    .option('--worker <name>', 'only what this worker could not read')
    .option('--stream <name>', 'only what came from this stream', streamName)
    .action(list)
  command('show', 'one letter: its headers and the message as it came')
    .argument('<letter>', '<worker>.<stream>.<sequence>, as `ls --each` names it', letterId)
    .action(show)
  command('replay', 'send the message of a letter to its stream again, as a new message')
    .argument('<letters...>', 'letters as `ls --each` names them')
    .option('--body <file>', 'send this instead of what came; - reads stdin; for one letter')
    .option('--drop', 'drop the letter when the message is stored', false)
    .addHelpText(
      'after',
      `
A replayed command is a new command: it gets an order id of its own and is decided as of now. The letter stays until it is
dropped. What a single worker writes (EXECUTIONS) cannot be sent again.`,
    )
    .action(replay)
  command('drop', 'remove letters for good')
    .argument('[letters...]', 'letters as `ls --each` names them')
    .option('--all', 'all, or all of --worker and --stream', false)
    .option('--worker <name>', 'with --all: only of this worker')
    .option('--stream <name>', 'with --all: only of this stream', streamName)
    .action(drop)
}

function letterId(text: string): string {
  const [, worker = '', stream = '', sequence = ''] = letterRegExp.exec(text) ?? []
  if (worker === '') throw new InvalidArgumentError('say <worker>.<stream>.<sequence>, e.g. risk-gate.ORDERS.17')
  return `${worker}.${stream}.${sequence}`
}

function streamName(text: string): string {
  const name = text.toUpperCase()
  if (streamSpecs.some((spec) => spec.name === name)) return name
  throw new InvalidArgumentError(`say one of ${streamSpecs.map((spec) => spec.name).join(', ')}`)
}

interface Filter {
  readonly worker?: string
  readonly stream?: string
}

async function* lettersOf(nats: Nats, filter: Filter): AsyncGenerator<Letter> {
  const { messages, first_seq: first } = (await nats.jsm.streams.info('DLQ')).state
  if (messages === 0) return
  for await (const { message, reason = '' } of tailStream(nats, 'DLQ', { sequence: first }, interrupted)) {
    const [, worker = '', stream = '', sequence = ''] = message.subject.split('.')
    if ((filter.worker ?? worker) === worker && (filter.stream ?? stream) === stream)
      yield {
        letter: message.subject.slice(prefix.length),
        ...{ worker, stream, sequence: Number(sequence) },
        seen: rfc3339FromUs(message.timeUs),
        ...{ reason, bytes: message.data.length },
      }
    if (message.pending === 0) return
  }
}

async function list({ each, json, ...options }: DlqOptions & Filter & { each: boolean }): Promise<void> {
  endWithReader()
  await withNats(options, ['DLQ'], async (nats) => {
    const groups = new Map<string, { letter: Letter; lastSeen: string; count: number }>()
    for await (const letter of lettersOf(nats, options)) {
      const { worker, stream, reason, seen } = letter
      // What a reason quotes from the message differs from one to the next.
      const key = each ? letter.letter : [worker, stream, codeOf(reason)].join(' ')
      const group = groups.get(key)
      if (group) {
        group.count += 1
        group.lastSeen = seen
      } else groups.set(key, { letter, lastSeen: seen, count: 1 })
    }
    const found = [...groups.values()]
    if (json) printJson({ letters: found.map((group) => jsonOf(group, each)) })
    else if (found.length === 0) printLine('no letters')
    else if (each)
      printLine(
        renderTable(
          ['letter', 'seen', numeric('bytes'), 'reason'],
          found.map(({ letter: { letter, seen, bytes, reason } }) => [letter, seen, String(bytes), visible(reason)]),
        ),
      )
    else
      printLine(
        renderTable(
          ['worker', 'stream', numeric('count'), 'first seen', 'last seen', 'first letter', 'its reason'],
          found.map(({ letter: { worker, stream, seen, letter, reason }, lastSeen, count }) => [
            ...[worker, stream, String(count), seen, lastSeen, letter, visible(reason)],
          ]),
        ),
      )
  })
}

function jsonOf(group: { letter: Letter; lastSeen: string; count: number }, each: boolean) {
  const { letter, worker, stream, sequence, seen, reason, bytes } = group.letter
  if (each) return { letter, worker, stream, sequence, seen, reason, bytes }
  return { worker, stream, reason, count: group.count, firstSeen: seen, lastSeen: group.lastSeen, firstLetter: letter }
}

/** `INVALID_MESSAGE: not JSON, …` */
function codeOf(reason: string): string {
  return /^[A-Z_]+(?=:)/.exec(reason)?.[0] ?? reason
}

interface Stored extends Omit<Letter, 'bytes'> {
  /** Of the message as it came. */
  readonly subject: string
  readonly dlqSequence: number
  readonly data: Uint8Array
}

/** @throws PipelineError USAGE when there is none */
async function letterOf(nats: Nats, letter: string): Promise<Stored> {
  const message = await storedMessage(nats.jsm, 'DLQ', { last_by_subj: prefix + letter })
  if (!message) throw new PipelineError('USAGE', `there is no letter ${letter}; \`trade2026 dlq ls --each\` lists them`)
  const [worker = '', stream = ''] = letter.split('.')
  const { header, data, seq, timestamp } = message
  return {
    ...{ letter, worker, stream, sequence: Number(header.get(headerNames.inSeq)) },
    seen: rfc3339FromUs(usFromRfc3339(timestamp) ?? 0),
    ...{ reason: header.get('Reason'), subject: header.get('Subject'), dlqSequence: seq, data },
  }
}

async function show(letter: string, options: DlqOptions): Promise<void> {
  await withNats(options, ['DLQ'], async (nats) => {
    const { data, ...stored } = await letterOf(nats, letter)
    const text = Buffer.from(data).toString()
    const isText = Buffer.from(text).equals(data)
    if (options.json) {
      printJson({
        ...stored,
        bytes: data.length,
        ...(isText ? { text } : {}),
        base64: Buffer.from(data).toString('base64'),
      })
      return
    }
    printLine(`letter   ${stored.letter}`)
    printLine(`seen     ${stored.seen}`)
    printLine(`reason   ${visible(stored.reason)}`)
    printLine(`subject  ${visible(stored.subject)}`)
    printLine(`message  ${data.length} bytes${isText ? '' : ', not UTF-8; in base64'}`)
    printLine(isText ? visible(text) : Buffer.from(data).toString('base64'))
  })
}

async function replay(
  letters: readonly string[],
  options: DlqOptions & { readonly body?: string; readonly drop: boolean },
): Promise<void> {
  const ids = letters.map(known)
  if (options.body !== undefined && ids.length > 1)
    throw new PipelineError('USAGE', '--body is for one letter; replay the others without it')
  const body = options.body === undefined ? undefined : bodyOf(options.body)
  await withNats(options, ['DLQ'], async (nats) => {
    const replayed: Record<string, unknown>[] = []
    const publisher = new AckedPublisher(nats.connection)
    for (const id of ids) {
      const { stream, subject, data, dlqSequence } = await letterOf(nats, id)
      if (streamSpec(stream as StreamName).epoch)
        throw new PipelineError('USAGE', `${id}: ${stream} has one writer, and nobody else may send to it`)
      const ack = await publisher.request(subject, body ?? data, headerLine(replayHeader, prefix + id))
      if (ack.outcome !== 'stored')
        throw new PipelineError(
          'PUBLISH_UNRESOLVED',
          `${id}: ${ack.outcome === 'refused' ? `${stream} refuses it: ${ack.description}` : `${stream} did not say whether it stored it`}`,
        )
      if (options.drop) await nats.jsm.streams.deleteMessage('DLQ', dlqSequence)
      const what = { letter: id, stream, subject, sequence: ack.sequence, dropped: options.drop }
      replayed.push(stream === 'ORDERS' ? { ...what, orderId: orderIdOf(ack.sequence) } : what)
      if (!options.json)
        printLine(
          stream === 'ORDERS'
            ? `${id}: sent again as a new command, ORDERS ${ack.sequence} (${orderIdOf(ack.sequence)})`
            : `${id}: sent again as a new message, ${stream} ${ack.sequence}`,
        )
    }
    if (options.json) printJson({ replayed })
    else if (!options.drop) say('the letters stay; `trade2026 dlq drop` removes them')
  })
}

function known(letter: string): string {
  try {
    return letterId(letter)
  } catch (error) {
    throw new PipelineError('USAGE', `${letter}: ${messageOf(error)}`)
  }
}

function bodyOf(path: string): Uint8Array {
  try {
    return readFileSync(path === '-' ? 0 : path)
  } catch (error) {
    throw new PipelineError('USAGE', `--body ${path} cannot be read: ${messageOf(error)}`)
  }
}

async function drop(
  letters: readonly string[],
  options: DlqOptions & Filter & { readonly all: boolean },
): Promise<void> {
  if (options.all === letters.length > 0) throw new PipelineError('USAGE', 'say which letters to drop, or --all')
  if (!options.all && (options.worker ?? options.stream) !== undefined)
    throw new PipelineError('USAGE', '--worker and --stream go with --all')
  const ids = letters.map(known)
  await withNats(options, ['DLQ'], async (nats) => {
    const { worker = '*', stream = '*' } = options
    let dropped = ids.length
    if (options.all)
      dropped = (await nats.jsm.streams.purge('DLQ', { filter: `${prefix}${worker}.${stream}.*` })).purged
    else {
      // All are looked up first, so that a wrong name drops nothing.
      const stored = await Promise.all(ids.map((id) => letterOf(nats, id)))
      for (const { dlqSequence } of stored) await nats.jsm.streams.deleteMessage('DLQ', dlqSequence)
    }
    if (options.json) printJson({ dropped })
    else printLine(dropped === 1 ? '1 letter dropped' : `${dropped} letters dropped`)
    if (dropped === 0) process.exitCode = exitCodes.failed
  })
}
