import { assert } from '../base/assert.ts'
import { PipelineError } from '../base/errors.ts'
import { type StreamName, streamSpec, type WorkerSpec } from '../subjects/contract.ts'
import { headerNames } from '../subjects/names.ts'
import type { Nats } from './nats.ts'
import { storedMessage } from './position.ts'
import type { InputMessage } from './reader.ts'
import { listSnapshots, type SnapshotMeta } from './snapshots.ts'

/**
 * Which rules an output was made by. A worker's `logicVersion` grows with every change after which the same input leads
 * to something else; what another version has made is not folded again, but gone on from by its snapshot (docs/adr/0015).
 */
type Output = Pick<InputMessage, 'sequence' | 'logicVersion' | 'data'>

/** The header line of an output; version 1 goes without, so that only a change costs anything. */
export function logicVersionLine(logicVersion: number): string {
  return logicVersion === 1 ? '' : `${headerNames.logicVersion}: ${logicVersion}\r\n`
}

/** @param header empty: there is none */
export function logicVersionFrom(header: string | undefined): number {
  return Number(header === undefined || header === '' ? 1 : header)
}

/**
 * @throws PipelineError LOGIC_CHANGED, or LOGIC_NEWER, when an output was made by another version; that one took over
 * makes nothing yet
 */
export function assertOwnLogic(stream: StreamName, output: Output, logicVersion: number): void {
  const { sequence, logicVersion: found } = output
  if (found === logicVersion || isEpoch(output)) return
  throw found > logicVersion ? logicNewer(`${stream} ${sequence}`, found, logicVersion) : changed(stream, output)
}

function logicNewer(what: string, found: number, logicVersion: number): PipelineError {
  return new PipelineError(
    'LOGIC_NEWER',
    `${what} is of logicVersion ${found}, this is ${logicVersion}: start the newer version`,
  )
}

function changed(stream: StreamName, { sequence, logicVersion }: Output): PipelineError {
  return new PipelineError(
    'LOGIC_CHANGED',
    `${stream} ${sequence} was made by logicVersion ${logicVersion}, and no snapshot follows it: \`trade2026 snapshots --take\` of that version makes one`,
  )
}

/** Of the records of all single-writer streams only those of a take-over have the field `epoch`. */
function isEpoch({ data }: Output): boolean {
  return (JSON.parse(Buffer.from(data).toString()) as { readonly epoch?: number }).epoch !== undefined
}

/**
 * The snapshots that this version can go on from. Between the outputs of two versions there is one, of the earlier: what
 * comes before it is folded by that version alone.
 * @returns `since`: the output after which all are of this version; 0: from the first on
 * @throws PipelineError LOGIC_CHANGED, LOGIC_NEWER when another version has written after the newest
 */
export async function snapshotsOfLogic(
  nats: Nats,
  { name, output, positionSubject }: WorkerSpec,
  logicVersion: number,
): Promise<{ since: number; newestFirst: SnapshotMeta[] }> {
  assert(output, `${name} has no stream of its own`)
  const newestFirst = await listSnapshots(nats, name)
  const [newest] = newestFirst
  if (newest && newest.logicVersion > logicVersion)
    throw logicNewer(`the snapshot ${newest.id} of ${name}`, newest.logicVersion, logicVersion)
  await assertOwnLogicAfter(nats, output, positionSubject, newest?.ownSequence ?? 0, logicVersion)
  const since = logicSinceOf(newest, logicVersion)
  return { since, newestFirst: newestFirst.filter(({ ownSequence }) => ownSequence >= since) }
}

/** Looks at the first output after a sequence. */
async function assertOwnLogicAfter(
  nats: Nats,
  stream: StreamName,
  subject = '>',
  after: number,
  logicVersion: number,
): Promise<void> {
  for (let sequence = after + 1; ;) {
    // The type of the client does not know that both go together.
    const query = { seq: sequence, next_by_subj: subject }
    const stored = await storedMessage(nats.jsm, stream, query)
    if (!stored) return
    const found = logicVersionFrom(stored.header.get(headerNames.logicVersion))
    const output = { sequence: stored.seq, logicVersion: found, data: stored.data }
    assertOwnLogic(stream, output, logicVersion)
    if (!isEpoch(output)) return
    sequence = stored.seq + 1
  }
}

/**
 * Of a stream that somebody goes on writing.
 * @throws PipelineError LOGIC_CHANGED, LOGIC_NEWER when that is another version
 */
export async function assertOwnWriter(nats: Nats, stream: StreamName, logicVersion: number): Promise<void> {
  const writing = await writingLogicVersion(nats, stream)
  if (writing > logicVersion) throw logicNewer(`what writes ${stream}`, writing, logicVersion)
  if (writing < logicVersion)
    throw new PipelineError('LOGIC_CHANGED', `logicVersion ${writing} writes ${stream}, this is ${logicVersion}`)
}

/** The version of who has taken over a stream last, or of its last output; 1: nobody yet. */
export async function writingLogicVersion(nats: Nats, stream: StreamName): Promise<number> {
  const { epoch } = streamSpec(stream)
  assert(epoch, `${stream} has many writers`)
  const last = await storedMessage(nats.jsm, stream, { last_by_subj: epoch.subject })
  return logicVersionFrom(last?.header.get(headerNames.logicVersion))
}

/**
 * The output after which all are of this version, when the newest snapshot is this one.
 * @param newest undefined: there is none
 */
export function logicSinceOf(newest: SnapshotMeta | undefined, logicVersion: number): number {
  if (!newest) return 0
  return newest.logicVersion === logicVersion ? (newest.logicSince ?? 0) : newest.ownSequence
}
