import { readFiles } from '../lake/active-files.ts'
import type { MetaData } from '../lake/actions.ts'
import { fileStats } from '../lake/file-stats.ts'
import { readHistory, type TableCommit } from '../lake/table-history.ts'
import { fieldsOf } from '../lake/table-schema.ts'
import { interrupted } from './interrupt.ts'
import {
  chosenTables,
  type LakeOptions,
  openAt,
  type OpenedTable,
  type VersionOptions,
  withLake,
} from './lake-place.ts'
import { bytesText, printJson, printLine, visible } from './output.ts'
import { numeric, renderTable } from './table.ts'

/** What a version of a table holds, by its log. */
interface Size {
  readonly files: number
  /** null when a file does not say. */
  readonly rows: number | null
  readonly bytes: number
  readonly partitions: number
}

async function sizeOf({ store, snapshot }: OpenedTable): Promise<Size> {
  const partitions = new Set<string>()
  let [files, bytes] = [0, 0]
  let rows: number | null = 0
  for await (const add of readFiles(store, snapshot)) {
    interrupted.throwIfAborted()
    files += 1
    bytes += add.size
    const own = fileStats(add).numRecords
    rows = rows === null || own === undefined ? null : rows + own
    partitions.add(JSON.stringify(add.partitionValues))
  }
  return { files, rows, bytes, partitions: partitions.size }
}

async function lastCommit({ store, snapshot }: OpenedTable): Promise<TableCommit | undefined> {
  for await (const commit of readHistory(store, snapshot)) return commit
  return undefined
}

/** When it was made, by its writer, else by the store. */
function timeMsOf({ info, modifiedMs }: TableCommit): number {
  const { timestamp } = info
  return typeof timestamp === 'number' ? timestamp : modifiedMs
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

function countText(count: number | null | undefined): string {
  return count === null || count === undefined ? '-' : String(count)
}

export async function list(options: LakeOptions): Promise<void> {
  await withLake(options, async (lake) => {
    const tables = []
    for (const name of await chosenTables(lake, [])) {
      const opened = await openAt(lake, name)
      const commit = await lastCommit(opened)
      tables.push({
        table: name,
        version: opened.snapshot.version,
        ...(await sizeOf(opened)),
        partitionColumns: opened.snapshot.metaData.partitionColumns,
        lastCommitMs: commit ? timeMsOf(commit) : null,
      })
    }
    if (options.json) printJson({ uri: lake.uri, tables })
    else if (tables.length === 0) printLine(`no tables in ${lake.uri}`)
    else
      printLine(
        renderTable(
          [
            'table',
            ...['version', 'rows', 'files', 'bytes', 'partitions'].map(numeric),
            'partitioned by',
            'last commit',
          ],
          tables.map(({ table, version, rows, files, bytes, partitions, partitionColumns, lastCommitMs }) => [
            ...[visible(table), String(version), countText(rows), String(files), bytesText(bytes), String(partitions)],
            visible(partitionColumns.join(', ')) || '-',
            lastCommitMs === null ? '-' : timeText(lastCommitMs),
          ]),
        ),
      )
  })
}

interface TableColumn {
  readonly name: string
  readonly type: string
  readonly nullable: boolean
  readonly isPartition: boolean
  readonly comment: string | null
}

function columnsOf(metaData: MetaData): TableColumn[] {
  return fieldsOf(metaData).map(({ name, type, nullable, metadata }) => ({
    ...{ name, type: typeText(type), nullable },
    isPartition: metaData.partitionColumns.includes(name),
    comment: typeof metadata['comment'] === 'string' ? metadata['comment'] : null,
  }))
}

function typeText(type: unknown): string {
  if (typeof type === 'string') return type
  const { type: kind, elementType } = type as { readonly type?: unknown; readonly elementType?: unknown }
  return kind === 'array' ? `array<${typeText(elementType)}>` : JSON.stringify(type)
}

export async function describe(name: string, options: LakeOptions & VersionOptions): Promise<void> {
  await withLake(options, async (lake) => {
    const opened = await openAt(lake, name, options)
    const { protocol, metaData, txns, version } = opened.snapshot
    const size = await sizeOf(opened)
    const columns = columnsOf(metaData)
    const transactions = [...txns.values()].map(({ appId, version: upTo, lastUpdated = null }) => ({
      ...{ appId, version: Number(upTo), lastUpdatedMs: lastUpdated },
    }))
    const { id, description = null, partitionColumns, configuration, createdTime: createdMs = null } = metaData
    if (options.json) {
      printJson({
        ...{ table: name, uri: opened.store.uri, id, description, createdMs, version, protocol, columns },
        ...{ partitionColumns, properties: configuration, transactions, ...size },
      })
      return
    }
    const rows = columns.map(({ name: column, type, nullable, isPartition, comment }) => [
      ...[visible(column), type, nullable ? 'yes' : 'no', isPartition ? 'partition' : '', visible(comment ?? '')],
    ])
    const facts = [
      ['table', opened.store.uri],
      ['description', visible(description ?? '-')],
      ['version', String(version)],
      [
        'rows',
        `${countText(size.rows)} in ${size.files} files of ${bytesText(size.bytes)}, ${size.partitions} partitions`,
      ],
      ['made', createdMs === null ? '-' : timeText(createdMs)],
      ['id', id],
      ['protocol', `reader ${protocol.minReaderVersion}, writer ${protocol.minWriterVersion}${featuresText(protocol)}`],
      ...Object.entries(configuration).map(([key, value]) => [visible(key), visible(value)]),
    ]
    printLine(
      [
        facts
          .map(([what = '', is = '']) => `${what.padEnd(Math.max(...facts.map(([key = '']) => key.length)))}  ${is}`)
          .join('\n'),
        renderTable(['column', 'type', 'nullable', '', 'comment'], rows),
        transactions.length === 0
          ? 'no transactions'
          : renderTable(
              ['transactions of', numeric('up to'), 'at'],
              transactions.map(({ appId, version: upTo, lastUpdatedMs }) => [
                ...[visible(appId), String(upTo), lastUpdatedMs === null ? '-' : timeText(lastUpdatedMs)],
              ]),
            ),
      ].join('\n\n'),
    )
  })
}

function featuresText({ readerFeatures = [], writerFeatures = [] }: OpenedTable['snapshot']['protocol']): string {
  const names = [...new Set([...readerFeatures, ...writerFeatures])]
  return names.length === 0 ? '' : `: ${names.join(', ')}`
}

export async function history(name: string, options: LakeOptions & { readonly limit: number }): Promise<void> {
  await withLake(options, async (lake) => {
    const { store, snapshot } = await openAt(lake, name)
    const commits: TableCommit[] = []
    for await (const commit of readHistory(store, snapshot)) {
      commits.push(commit)
      if (commits.length === options.limit) break
    }
    if (options.json) {
      const entries = commits.map(({ txns, ...commit }) => ({
        ...commit,
        timeMs: timeMsOf(commit as TableCommit),
        txns,
      }))
      printJson({ table: name, commits: entries.map((entry) => exact(entry)) })
    } else showHistory(commits)
  })
}

/** A transaction may count further than a double. */
function exact(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? String(each) : each)))
}

function showHistory(commits: readonly TableCommit[]): void {
  printLine(
    renderTable(
      [
        ...[numeric('version'), 'time', 'operation'],
        ...['rows', 'files', 'removed', 'bytes', 'first seq', 'last seq', 'duplicates', 'dead letters'].map(numeric),
      ],
      commits.map((commit) => {
        const { version, info, rowsAdded, filesAdded, filesRemoved, bytesAdded } = commit
        const said = (field: string) => {
          const value = info[field]
          return typeof value === 'number' || typeof value === 'string' ? visible(String(value)) : '-'
        }
        return [
          ...[String(version), timeText(timeMsOf(commit)), said('operation'), countText(rowsAdded)],
          ...[String(filesAdded), String(filesRemoved), bytesText(bytesAdded)],
          ...[said('firstStreamSeq'), said('lastStreamSeq'), said('duplicates'), said('deadLetters')],
        ]
      }),
    ),
  )
}
