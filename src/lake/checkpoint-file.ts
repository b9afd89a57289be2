import { ByteWriter, type ColumnSource, ParquetWriter } from 'hyparquet-writer'
import type { ColumnChunk, FileMetaData, RowGroup } from 'hyparquet'
import { assert } from '../base/assert.ts'
import type { Action } from './actions.ts'
import { type ActionKind, actionKinds, checkpointSchema, fieldNames } from './checkpoint-schema.ts'
import { zstdFrame } from './zstd.ts'

/** In the footer of our own checkpoints, of which whole row groups can be taken over: each has files, or tombstones, alone. */
const layout = { key: 'trade2026.layout', value: '1' }

export function hasOwnLayout({ key_value_metadata: values = [] }: FileMetaData): boolean {
  return values.some(({ key, value }) => key === layout.key && value === layout.value)
}

/** Small enough to be decoded and encoded at once. */
export const groupRowsMax = 20_000

/** Of another file, read at once. */
const pieceBytesMax = 1 << 20

interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Keeps what is written in pieces, some of which are yet to be taken from another file. */
class PieceWriter extends ByteWriter {
  readonly pieces: (Uint8Array | ByteRange)[] = []

  /** hyparquet-writer calls it after each row group. */
  flush(): void {
    if (this.index > 0) this.pieces.push(this.getBytes().slice())
    this.index = 0
  }

  leave(range: ByteRange): void {
    this.flush()
    for (let { start } = range; start < range.end; start += pieceBytesMax)
      this.pieces.push({ start, end: Math.min(start + pieceBytesMax, range.end) })
    this.offset += range.end - range.start
  }
}

/** Writes the file of a classic checkpoint. Keeps one row group of actions, and of what is done the compressed bytes. */
export class CheckpointFileWriter {
  readonly #writer = new PieceWriter()
  readonly #parquet = new ParquetWriter({
    writer: this.#writer,
    schema: [...checkpointSchema],
    codec: 'ZSTD',
    compressors: { ZSTD: zstdFrame },
    statistics: false,
    kvMetadata: [layout],
    createdBy: 'trade2026 version 1',
  })
  readonly #pending = new Map<ActionKind, object[]>()
  #rows = 0
  #files = 0

  get counts(): { readonly actions: number; readonly files: number } {
    return { actions: this.#rows, files: this.#files }
  }

  add(action: Action): void {
    for (const kind of actionKinds) {
      const body = (action as Partial<Record<ActionKind, object>>)[kind]
      if (!body) continue
      const pending = this.#pending.get(kind) ?? []
      this.#pending.set(kind, pending)
      pending.push(body)
      if (pending.length >= groupRowsMax) this.#writeGroup([kind])
    }
  }

  /** Takes over a row group of one kind from a file of our own layout, as it is. */
  take(group: RowGroup, kind: ActionKind): void {
    const ranges = group.columns.map(rangeOf)
    const start = Math.min(...ranges.map((range) => range.start))
    const end = Math.max(...ranges.map((range) => range.end))
    const shift = BigInt(this.#writer.offset - start)
    this.#writer.leave({ start, end })
    this.#pushGroup({ ...group, columns: group.columns.map((chunk) => shifted(chunk, shift)) }, kind)
    this.#parquet.num_rows += group.num_rows
  }

  /** @param read from the file of which row groups were taken over */
  async finish(read: (range: ByteRange) => Promise<Uint8Array>): Promise<Uint8Array> {
    this.#writeGroup(['add'])
    this.#writeGroup(['remove'])
    this.#writeGroup(['txn', 'metaData', 'protocol'])
    void this.#parquet.finish()
    this.#writer.flush()
    const data = new Uint8Array(this.#writer.offset)
    let at = 0
    for (const piece of this.#writer.pieces) {
      const bytes = piece instanceof Uint8Array ? piece : await read(piece)
      data.set(bytes, at)
      at += bytes.length
    }
    assert(at === data.length, 'every piece has the bytes that were counted')
    return data
  }

  #writeGroup(kinds: readonly ActionKind[]): void {
    const rows = kinds.flatMap((kind) => (this.#pending.get(kind) ?? []).map((body) => ({ kind, body: longsOf(body) })))
    for (const kind of kinds) this.#pending.delete(kind)
    if (rows.length === 0) return
    const columnData = actionKinds.map((name): ColumnSource => ({
      name,
      data: rows.map(({ kind, body }) => (kind === name ? body : null)),
      offsetIndex: false,
    }))
    void this.#parquet.write({ columnData, rowGroupSize: rows.length })
    const group = this.#parquet.row_groups.pop()
    assert(group, 'a row group was written')
    const [only, second] = kinds
    this.#pushGroup(group, second === undefined ? only : undefined)
  }

  /** Says in its statistics what a row group has none of, so that readers of other kinds pass it by. */
  #pushGroup(group: RowGroup, kind: ActionKind | undefined): void {
    const columns = group.columns.map((chunk) => {
      const [name, field] = chunk.meta_data?.path_in_schema ?? []
      const isMarker = name === kind && kind !== undefined && field === fieldNames(kind)[0]
      const isAbsent = kind === undefined ? name === 'add' || name === 'remove' : name !== kind
      const nulls = isMarker ? 0n : isAbsent ? group.num_rows : undefined
      if (!chunk.meta_data || nulls === undefined) return chunk
      return { ...chunk, meta_data: { ...chunk.meta_data, statistics: { null_count: nulls } } }
    })
    this.#parquet.row_groups.push({ ...group, columns })
    this.#rows += Number(group.num_rows)
    if (kind === 'add') this.#files += Number(group.num_rows)
  }
}

function rangeOf({ meta_data: data }: ColumnChunk): ByteRange {
  assert(data, 'a column chunk has metadata')
  const start = Number(data.dictionary_page_offset ?? data.data_page_offset)
  return { start, end: start + Number(data.total_compressed_size) }
}

function shifted(chunk: ColumnChunk, shift: bigint): ColumnChunk {
  const { meta_data: data } = chunk
  assert(data, 'a column chunk has metadata')
  const { dictionary_page_offset: dictionary } = data
  return {
    file_offset: chunk.file_offset + shift,
    meta_data: {
      ...data,
      data_page_offset: data.data_page_offset + shift,
      ...(dictionary === undefined ? {} : { dictionary_page_offset: dictionary + shift }),
    },
  }
}

const longFields = new Set(checkpointSchema.flatMap(({ name, type }) => (type === 'INT64' ? [name] : [])))

/** hyparquet-writer takes longs as bigint alone. */
function longsOf(body: object): object {
  return Object.fromEntries(
    Object.entries(body).map(([name, value]: [string, unknown]) => [
      name,
      typeof value === 'number' && longFields.has(name) ? BigInt(value) : value,
    ]),
  )
}
