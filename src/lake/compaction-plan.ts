import type { Add, MetaData } from './actions.ts'
import { fileStats } from './file-stats.ts'
import { fieldsOf } from './table-schema.ts'

export interface CompactionPolicy {
  /** Columns that rows are ordered by within a file, the first one a long; none: the order that they are found in. */
  readonly orderBy: readonly string[]
  /**
   * A partition column with dates: once its day (UTC) is over for `closedAfterMs`, a partition becomes one file, or a few
   * of 256 MiB at most.
   */
  readonly dateColumn: string | undefined
  readonly closedAfterMs: number
  /** Of a file of a day that is not over: about, and never more by what its sources sum up to. */
  readonly targetBytes: number
  /** Fewer files of such a day are not worth a commit. */
  readonly filesMin: number
}

export const compactionDefaults = { closedAfterMs: 3_600_000, targetBytes: 64 * 2 ** 20, filesMin: 2 } as const

/** A file of the table, as far as it matters here. */
export interface SourceFile {
  readonly path: string
  readonly size: number
  readonly partitionValues: Add['partitionValues']
  /** By its statistics. */
  readonly rows: number | undefined
  /** Least value of the first column of the order, by its statistics. */
  readonly from: bigint | undefined
  readonly modificationTime: number
}

/** Files of one partition that become one. */
export interface FileGroup {
  readonly partitionValues: Add['partitionValues']
  readonly files: readonly SourceFile[]
  readonly bytes: number
}

/** It is in memory once when it is uploaded. */
const closedBytesMax = 256 * 2 ** 20
/** DuckDB takes some 6 KB for each. */
const groupFilesMax = 2_000
const planFilesMax = 5_000

/**
 * What to compact, the partitions with most files to merge first. Only so much that it can be done and committed in
 * minutes: plan again when it is done, until nothing is left.
 *
 * Keeps a count for each partition, and the files of those that are chosen.
 *
 * @param files of the table at one version; read twice
 */
export async function planCompaction(
  files: () => AsyncIterable<Add>,
  policy: CompactionPolicy,
  nowMs: number,
): Promise<FileGroup[]> {
  const counts = new Map<string, number>()
  for await (const file of files()) {
    if (!isCandidate(file, policy, nowMs)) continue
    const name = partitionName(file)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  const hottest = [...counts].filter(([, count]) => count > 1).sort(([, a], [, b]) => b - a)
  const chosen = new Map<string, SourceFile[]>()
  let planned = 0
  for (const [name, count] of hottest) {
    if (planned > 0 && planned + count > planFilesMax) break
    planned += count
    chosen.set(name, [])
  }
  if (chosen.size === 0) return []
  for await (const file of files())
    if (isCandidate(file, policy, nowMs)) chosen.get(partitionName(file))?.push(sourceOf(file, policy))
  return [...chosen.values()].flatMap((sources) => groupsOf(sources, policy, nowMs))
}

function partitionName({ partitionValues }: Add): string {
  return JSON.stringify(Object.entries(partitionValues).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Whether nothing more is expected for a partition. */
function isClosed({ partitionValues }: Pick<Add, 'partitionValues'>, policy: CompactionPolicy, nowMs: number): boolean {
  const day = policy.dateColumn === undefined ? undefined : partitionValues[policy.dateColumn]
  // NaN for what is no date.
  return day ? nowMs >= Date.parse(`${day}T00:00:00Z`) + 86_400_000 + policy.closedAfterMs : false
}

/** Files near the target stay as they are while their day lasts. */
function isCandidate(file: Add, policy: CompactionPolicy, nowMs: number): boolean {
  return file.size < policy.targetBytes * 0.75 || isClosed(file, policy, nowMs)
}

function sourceOf(file: Add, { orderBy }: CompactionPolicy): SourceFile {
  const { path, size, partitionValues, modificationTime } = file
  const { numRecords, minValues } = fileStats(file)
  const from = String(minValues?.[orderBy[0] ?? ''])
  return {
    ...{ path, size, partitionValues, modificationTime, rows: numRecords },
    from: /^-?\d+$/.test(from) ? BigInt(from) : undefined,
  }
}

function inOrder(a: SourceFile, b: SourceFile): number {
  if (a.from !== undefined && b.from !== undefined && a.from !== b.from) return a.from < b.from ? -1 : 1
  return a.modificationTime - b.modificationTime || (a.path < b.path ? -1 : 1)
}

/** @param sources of one partition */
function groupsOf(sources: readonly SourceFile[], policy: CompactionPolicy, nowMs: number): FileGroup[] {
  const [first] = sources
  if (!first) return []
  const closed = isClosed(first, policy, nowMs)
  const bytesMax = closed ? closedBytesMax : policy.targetBytes
  const runs: SourceFile[][] = [[]]
  let bytes = 0
  for (const source of [...sources].sort(inOrder)) {
    const isFull = bytes + source.size > bytesMax || (runs.at(-1)?.length ?? 0) === groupFilesMax
    if (isFull) runs.push([])
    bytes = (isFull ? 0 : bytes) + source.size
    runs.at(-1)?.push(source)
  }
  return runs
    .map((run) => (closed ? run : withoutLarge(run)))
    .filter((run) => run.length >= (closed ? 2 : policy.filesMin))
    .map((files) => ({ partitionValues: first.partitionValues, files, bytes: bytesOf(files) }))
}

/** A file this many times as large as all others of a group together is not written again for their sake. */
const outweighs = 4

/** Without it the rows of a day would be written again at every turn; so each row is in some twenty turns at most. */
function withoutLarge(files: readonly SourceFile[]): readonly SourceFile[] {
  const largest = files.reduce<SourceFile | undefined>(
    (max, file) => (max && max.size >= file.size ? max : file),
    undefined,
  )
  if (!largest || largest.size <= outweighs * (bytesOf(files) - largest.size)) return files
  return withoutLarge(files.filter((file) => file !== largest))
}

function bytesOf(files: readonly SourceFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0)
}

/**
 * How a table is compacted: rows by those of the columns it has, days by its first partition column with dates.
 * @param orderBy names, the most significant first
 */
export function compactionPolicyOf(
  metaData: MetaData,
  orderBy: readonly string[],
  filesMin: number = compactionDefaults.filesMin,
): CompactionPolicy {
  const fields = fieldsOf(metaData)
  const inFiles = (name: string) =>
    fields.some((field) => field.name === name) && !metaData.partitionColumns.includes(name)
  const isDate = (name: string) => fields.some((field) => field.name === name && field.type === 'date')
  return {
    ...compactionDefaults,
    filesMin,
    orderBy: orderBy.filter(inFiles),
    dateColumn: metaData.partitionColumns.find(isDate),
  }
}
