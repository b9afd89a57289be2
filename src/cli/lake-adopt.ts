import { createInterface } from 'node:readline/promises'
import { exitCodes, PipelineError } from '../base/errors.ts'
import { readFiles } from '../lake/active-files.ts'
import type { DeltaTable } from '../lake/delta-table.ts'
import { fileStats } from '../lake/file-stats.ts'
import { sequencePresent } from '../runtime/reader.ts'
import { appIdOf, gapsAppIdOf } from '../runtime/sink-position.ts'
import type { StreamName } from '../subjects/contract.ts'
import { type NatsOption, withNats } from './connect.ts'
import { interrupted } from './interrupt.ts'
import { type LakeOptions, openTable, withLake } from './lake-place.ts'
import { printJson, printLine, say } from './output.ts'

interface AdoptOptions extends LakeOptions, NatsOption {
  readonly stream?: StreamName
  readonly sequence?: number
  readonly restored: boolean
  readonly yes: boolean
}

/** Which stream the sink of a table reads. */
const streamOf: Readonly<Record<string, StreamName>> = {
  market_ticks: 'TICKS',
  alt_docs: 'ALT',
  executions: 'EXECUTIONS',
}

interface StreamState {
  readonly name: StreamName
  readonly created: string
  readonly firstSequence: number
  readonly lastSequence: number
  /** Whether messages are gone between the first and the last. */
  readonly hasGaps: boolean
  /** Whether it holds a message behind this one. */
  readonly hasMore: (sequence: number) => Promise<boolean>
}

interface Plan {
  readonly appId: string
  /** What the table is to hold up to here. */
  readonly sequence: number
  readonly before: number | null
  /** Up to where the table holds rows, or what has become of messages, of any stream of that name. */
  readonly heldSequence: number
  /** Up to where further messages may be missing; null when none are. */
  readonly gapsTo: number | null
}

export async function adopt(name: string, options: AdoptOptions): Promise<void> {
  const streamName = options.stream ?? streamOf[name]
  if (streamName === undefined)
    throw new PipelineError('USAGE', `no sink of ours fills ${name}: say whose stream it is with --stream`)
  await withNats(options, [streamName], async (nats) => {
    const { created, state } = await nats.jsm.streams.info(streamName)
    const stream: StreamState = {
      name: streamName,
      created,
      firstSequence: state.first_seq,
      lastSequence: state.last_seq,
      hasGaps: state.num_deleted > 0,
      hasMore: async (sequence) => (await sequencePresent(nats, streamName, sequence + 1)) !== undefined,
    }
    await withLake(options, async (lake) => {
      const table = await openTable(lake, name)
      const plan = await planOf(table, name, stream, options)
      const gapsBefore = table.transactionVersion(gapsAppIdOf(plan.appId)) ?? 0
      if (plan.before === plan.sequence && (plan.gapsTo ?? 0) <= gapsBefore) {
        finish(name, stream, plan, table.version, false, options)
        return
      }
      if (!options.json) printLine(textOf(name, stream, plan))
      if (!options.yes) await confirm()
      const version = await commit(table, stream, plan)
      finish(name, stream, plan, version, true, options)
    })
  })
}

/** @throws PipelineError USAGE when only whoever made the stream knows what its sequences are */
async function planOf(
  table: DeltaTable,
  name: string,
  stream: StreamState,
  { sequence, restored }: Pick<AdoptOptions, 'sequence' | 'restored'>,
): Promise<Plan> {
  const appId = appIdOf(stream.name, stream.created, name)
  const before = table.transactionVersion(appId) ?? null
  const heldSequence = await heldSequenceOf(table, name, stream.name)
  const { firstSequence, lastSequence } = stream
  const plan = async (at: number): Promise<Plan> => {
    const hasGaps = stream.hasGaps && at < lastSequence
    // Without a message behind them the sink would not learn of it.
    if (hasGaps && sequence === undefined && !(await stream.hasMore(at)))
      return { appId, sequence: lastSequence, before, heldSequence, gapsTo: null }
    return { appId, sequence: at, before, heldSequence, gapsTo: hasGaps ? lastSequence : null }
  }
  if (sequence !== undefined) return plan(sequence)
  if (restored && heldSequence <= lastSequence) return plan(heldSequence)
  if (restored)
    throw new PipelineError(
      'USAGE',
      `${stream.name} ends at ${lastSequence}, and ${name} holds what came up to ${heldSequence}: restore the stream from a later back-up, or the table from an earlier one`,
    )
  // Nothing that the stream holds can be in the table yet.
  if (firstSequence > heldSequence) return plan(Math.max(0, firstSequence - 1))
  if (before !== null && lastSequence >= before) return plan(before)
  throw new PipelineError(
    'USAGE',
    `${stream.name} of ${stream.created} has the sequences ${firstSequence} to ${lastSequence}, and ${name} holds what came up to ${heldSequence}. ` +
      `Say --restored if these are the same messages, so that the sink goes on behind them; ` +
      `say --sequence ${Math.max(0, firstSequence - 1)} if they are others, which then repeat values of stream_seq. ` +
      `A new stream is best made with first_seq ${heldSequence + 1}`,
  )
}

async function heldSequenceOf(table: DeltaTable, name: string, stream: StreamName): Promise<number> {
  const { snapshot, store } = table
  let held = 0
  for (const { appId, version } of snapshot.txns.values())
    if (appId.startsWith(`${stream}@`) && appId.endsWith(`/${name}`)) held = Math.max(held, Number(version))
  for await (const file of readFiles(store, snapshot)) {
    interrupted.throwIfAborted()
    held = Math.max(held, Number(fileStats(file).maxValues?.['stream_seq'] ?? 0))
  }
  return held
}

function textOf(name: string, stream: StreamState, { appId, sequence, before, heldSequence, gapsTo }: Plan): string {
  const skipped = sequence - heldSequence
  const repeated = heldSequence - sequence
  return [
    `${name} gets the transaction ${appId}, up to ${sequence}${before === null ? '' : ` (it is ${before} now)`}.`,
    `Its sink goes on with sequence ${sequence + 1} of ${stream.name}, which has ${stream.firstSequence} to ${stream.lastSequence}.`,
    ...(skipped > 0 ? [`Sequences ${heldSequence + 1} to ${sequence} never come into the table.`] : []),
    ...(gapsTo === null ? [] : [`Of what follows up to ${gapsTo}, messages that are gone never come into the table.`]),
    ...(repeated > 0
      ? [`Rows with a stream_seq from ${sequence + 1} to ${heldSequence} may come twice, of different messages.`]
      : []),
  ].join('\n')
}

/** @throws PipelineError USAGE */
async function confirm(): Promise<void> {
  if (!process.stdin.isTTY) throw new PipelineError('USAGE', 'nothing was done: say --yes to do it')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question('Do it? [y/N] ', { signal: interrupted })
    if (!/^y(es)?$/i.test(answer.trim())) throw new PipelineError('USAGE', 'nothing was done')
  } finally {
    terminal.close()
  }
}

async function commit(table: DeltaTable, stream: StreamState, plan: Plan): Promise<number> {
  const { appId, sequence, before, heldSequence, gapsTo } = plan
  const lastUpdated = Date.now()
  const skipped = Math.max(0, sequence - heldSequence)
  const version = await table.commit('append', (snapshot) => {
    const now = snapshot.txns.get(appId)?.version ?? null
    if ((now === null ? null : Number(now)) !== before)
      throw new PipelineError('USAGE', `nothing was done: a sink has written meanwhile, up to ${String(now)}`)
    return {
      info: {
        operation: 'ADOPT STREAM',
        operationParameters: { stream: stream.name, created: stream.created, sequence, before: before ?? 'none' },
        isBlindAppend: true,
        // So that `lake check` knows what became of them.
        extras: skipped > 0 ? { firstStreamSeq: heldSequence + 1, lastStreamSeq: sequence, skipped } : {},
      },
      actions: [
        { txn: { appId, version: sequence, lastUpdated } },
        ...(gapsTo === null ? [] : [{ txn: { appId: gapsAppIdOf(appId), version: gapsTo, lastUpdated } }]),
      ],
    }
  })
  if (version === undefined) throw new PipelineError('USAGE', 'nothing was done')
  return version
}

function finish(
  table: string,
  stream: StreamState,
  { appId, sequence, before, gapsTo }: Plan,
  version: number,
  isChanged: boolean,
  { json }: AdoptOptions,
): void {
  if (json)
    printJson({
      table,
      stream: stream.name,
      created: stream.created,
      appId,
      sequence,
      before,
      gapsTo,
      version,
      changed: isChanged,
    })
  else if (isChanged) say(`done in version ${version} of ${table}; its sink may be started`)
  else printLine(`${table} goes on behind sequence ${sequence} of ${stream.name} already; nothing to do`)
  process.exitCode = exitCodes.ok
}
