import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  type ParquetRowRange,
  type ParquetScan,
  parquetScan,
  readColumnIndex,
  readOffsetIndex,
  type RowGroup,
  type SchemaElement,
} from 'hyparquet'
import { isPipelineError, messageOf, PipelineError } from '../base/errors.ts'
import { type Action, checkedAction } from './actions.ts'
import { blockBuffer } from './block-buffer.ts'
import { type ActionKind, actionKinds, fieldNames } from './checkpoint-schema.ts'
import { decompressors } from './decompressors.ts'
import type { ObjectStore } from './store.ts'

/** Decoded at once; as many as other writers put into a page. */
const rowsAtOnce = 20_000

/**
 * The actions of a classic checkpoint, of these kinds alone; the columns of others are not read. Memory does not grow with
 * the checkpoint when its pages can be found one by one, which is so of those that we, delta-rs and Spark write.
 *
 * @param keys of its file, or of its parts
 * @throws PipelineError LAKE_LOG_UNREADABLE when it is none, which may show only on the way
 */
export async function* readCheckpoint(
  store: ObjectStore,
  keys: readonly string[],
  kinds: readonly ActionKind[],
): AsyncGenerator<Action> {
  for (const key of keys) {
    try {
      yield* readFile(store, key, kinds)
    } catch (error) {
      if (isPipelineError(error)) throw error
      throw new PipelineError('LAKE_LOG_UNREADABLE', `${key} of ${store.uri}: ${messageOf(error)}`, { cause: error })
    }
  }
}

async function* readFile(store: ObjectStore, key: string, kinds: readonly ActionKind[]): AsyncGenerator<Action> {
  const source = await openCheckpoint(store, key)
  const there = kinds.filter((kind) => source.metadata.schema.some((each) => each.name === kind && each.num_children))
  const pruned = await scanOf(source, (kind, field) => there.includes(kind) && fieldNames(kind).includes(field))
  let groupStart = 0
  for (const group of pruned.metadata.row_groups) {
    for (const kind of there)
      for (const range of await rangesOf(source.file, pruned.metadata, group, groupStart, kind))
        for (const body of await readRows(pruned, kind, range))
          if (body !== null && body !== undefined) yield actionOf(kind, body)
    groupStart += Number(group.num_rows)
  }
}

/** A file of a checkpoint and its footer. */
export interface CheckpointFile {
  readonly file: AsyncBuffer
  readonly metadata: FileMetaData
}

/** @throws Error when it is none, or PipelineError of the store */
export async function openCheckpoint(store: ObjectStore, key: string): Promise<CheckpointFile> {
  const file = blockBuffer(store, key, await bytesOf(store, key))
  return { file, metadata: await parquetMetadataAsync(file) }
}

/** A file without the columns that are not kept, so that they are neither read nor made values of. */
export function scanOf(
  { file, metadata }: CheckpointFile,
  isKept: (kind: ActionKind, field: string) => boolean,
): Promise<ParquetScan> {
  return parquetScan({ file, metadata: prunedTo(metadata, isKept), compressors: decompressors })
}

/** The bodies of actions, null or undefined in rows of other kinds. @throws Error when the data are broken */
export async function readRows(scan: ParquetScan, kind: ActionKind, range: ParquetRowRange): Promise<unknown[]> {
  const bodies: ArrayLike<unknown> = await scan.readColumn({ column: kind, ...range })
  if (bodies.length !== range.rowEnd - range.rowStart) throw new Error(`${kind} has not all rows`)
  return Array.from(bodies)
}

/** @throws Error when a field that we rely on is missing or wrong */
export function actionOf(kind: ActionKind, body: unknown): Action {
  return checkedAction(kind, plainOf(body), (what) => new Error(`${kind}: ${what}`))
}

async function bytesOf(store: ObjectStore, key: string): Promise<number> {
  for await (const info of store.list(key)) if (info.key === key) return info.bytes
  throw new Error('it is not there')
}

/**
 * Rows of a group among which are all actions of the kind, as far as statistics and the index of pages say, in parts small
 * enough to be decoded at once. Without an index of the pages all of them are decoded again for every part: it stays whole.
 */
async function rangesOf(
  file: AsyncBuffer,
  { schema }: FileMetaData,
  { columns, num_rows: groupRows }: RowGroup,
  groupStart: number,
  kind: ActionKind,
): Promise<ParquetRowRange[]> {
  const groupEnd = groupStart + Number(groupRows)
  const chunks = columns.filter(({ meta_data: data }) => data?.path_in_schema[0] === kind)
  const [marker] = fieldNames(kind)
  const chunk = chunks.find(({ meta_data: data }) => data?.path_in_schema[1] === marker)
  if (!chunk) throw new Error(`${kind} has no ${marker ?? ''}`)
  if (chunk.meta_data?.statistics?.null_count === groupRows) return []
  const whole = [{ rowStart: groupStart, rowEnd: groupEnd }]
  if (groupRows <= rowsAtOnce || chunks.some((each) => each.offset_index_offset === undefined)) return whole
  const offsets = readOffsetIndex(await readerOf(file, chunk.offset_index_offset, chunk.offset_index_length))
  const element = schema.find(({ name }) => name === marker)
  const isIndexed = element !== undefined && chunk.column_index_offset !== undefined
  const nullPages = isIndexed
    ? readColumnIndex(await readerOf(file, chunk.column_index_offset, chunk.column_index_length), element).null_pages
    : []
  const ranges: ParquetRowRange[] = []
  for (const [page, { first_row_index: first }] of offsets.page_locations.entries()) {
    if (nullPages[page]) continue
    const end = groupStart + Number(offsets.page_locations[page + 1]?.first_row_index ?? groupRows)
    for (let rowStart = groupStart + Number(first); rowStart < end; rowStart += rowsAtOnce)
      ranges.push({ rowStart, rowEnd: Math.min(rowStart + rowsAtOnce, end) })
  }
  return ranges
}

async function readerOf(file: AsyncBuffer, start = 0n, length = 0): Promise<{ view: DataView; offset: number }> {
  return { view: new DataView(await file.slice(Number(start), Number(start) + length)), offset: 0 }
}

function prunedTo(metadata: FileMetaData, isKeptField: (kind: ActionKind, field: string) => boolean): FileMetaData {
  const isKept = ([name, field]: readonly string[]) => {
    const kind = actionKinds.find((kind) => kind === name)
    if (!kind) return false
    return field === undefined ? fieldNames(kind).some((each) => isKeptField(kind, each)) : isKeptField(kind, field)
  }
  const schema: SchemaElement[] = []
  let next = 0
  /** Takes the element at `next` with what is below it. @returns whether it was kept */
  const take = (above: readonly string[]): boolean => {
    const element = metadata.schema[next]
    if (!element) throw new Error('its schema ends early')
    const path = next === 0 ? [] : [...above, element.name]
    const keeps = next === 0 || isKept(path)
    next += 1
    const at = schema.length
    if (keeps) schema.push(element)
    let children = 0
    for (let child = 0; child < (element.num_children ?? 0); child += 1) if (take(path)) children += 1
    if (keeps && element.num_children !== undefined) schema[at] = { ...element, num_children: children }
    return keeps
  }
  take([])
  const groups = metadata.row_groups.map((group) => ({
    ...group,
    columns: group.columns.filter(({ meta_data: data }) => isKept(data?.path_in_schema ?? [])),
  }))
  return { ...metadata, schema, row_groups: groups }
}

/** Without fields that have no value; longs as numbers where they fit. */
function plainOf(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (Array.isArray(value)) return value.map(plainOf)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(entries.map(([name, each]) => [name, plainOf(each)]))
}
