import t from 'tap'
import type { MetaData, Protocol } from '../../src/lake/actions.ts'
import { requireSupport, unsupported, type Operation } from '../../src/lake/features.ts'

const operations: readonly Operation[] = ['read', 'append', 'compact', 'vacuum', 'checkpoint']
const writes = operations.slice(1)

interface Case {
  readonly protocol?: readonly [reader: number, writer: number, features?: readonly string[]]
  readonly configuration?: Readonly<Record<string, string>>
  readonly column?: Readonly<Record<string, unknown>>
  readonly provider?: string
  /** What is refused, and by which name; nothing otherwise. */
  readonly refused?: readonly Operation[]
  readonly by?: readonly string[]
}

const bothWays = (feature: string, refused: readonly Operation[] = operations): Case => ({
  protocol: [3, 7, [feature]],
  refused,
  by: [feature],
})
const forWriters = (feature: string, refused: readonly Operation[]): Case => ({
  protocol: [1, 7, [feature]],
  refused,
  by: [feature],
})
const property = (key: string, value: string, refused: readonly Operation[] = []): Case => ({
  configuration: { [key]: value },
  refused,
  by: [`${key}=${value}`],
})

const cases: readonly Case[] = [
  { protocol: [1, 1] },
  { protocol: [1, 2], configuration: { 'delta.appendOnly': 'true' } },
  // What the versions of the protocol allow is refused where it is used.
  { protocol: [1, 6] },
  { protocol: [2, 5] },
  { protocol: [1, 2], column: { 'delta.invariants': '{}' }, refused: ['append'], by: ['invariants'] },
  { protocol: [1, 2], column: { comment: 'about "delta.invariants"' } },
  {
    protocol: [1, 3],
    configuration: { 'delta.constraints.c': 'x > 3' },
    refused: ['append'],
    by: ['checkConstraints'],
  },
  { protocol: [1, 4], column: { 'delta.generationExpression': 'y' }, refused: ['append'], by: ['generatedColumns'] },
  { protocol: [1, 4], configuration: { 'delta.enableChangeDataFeed': 'true' } },
  { protocol: [2, 5], configuration: { 'delta.columnMapping.mode': 'none' } },
  {
    protocol: [2, 5],
    configuration: { 'delta.columnMapping.mode': 'name' },
    refused: operations,
    by: ['columnMapping'],
  },
  { protocol: [1, 6], column: { 'delta.identity.start': 1 }, refused: ['append'], by: ['identityColumns'] },
  { protocol: [4, 8], refused: operations, by: ['minReaderVersion 4', 'minWriterVersion 8'] },
  { protocol: [1, 8], refused: writes, by: ['minWriterVersion 8'] },
  { provider: 'csv', refused: operations, by: ['format csv'] },
  // Features by name.
  {
    protocol: [
      3,
      7,
      ['appendOnly', 'invariants', 'checkConstraints', 'generatedColumns', 'columnMapping', 'identityColumns'],
    ],
  },
  { protocol: [3, 7, ['changeDataFeed', 'vacuumProtocolCheck', 'inCommitTimestamp']] },
  { protocol: [1, 7, ['allowColumnDefaults']] },
  {
    protocol: [1, 7, ['allowColumnDefaults']],
    column: { CURRENT_DEFAULT: '1' },
    refused: ['append'],
    by: ['allowColumnDefaults'],
  },
  bothWays('deletionVectors'),
  bothWays('v2Checkpoint'),
  bothWays('typeWidening'),
  bothWays('variantType-preview'),
  bothWays('catalogManaged'),
  bothWays('timestampNtz', ['compact']),
  bothWays('somethingNew'),
  forWriters('somethingNew', writes),
  forWriters('constructor', writes),
  forWriters('rowTracking', ['append', 'compact', 'checkpoint']),
  forWriters('domainMetadata', ['append', 'compact', 'checkpoint']),
  forWriters('clustering', ['append', 'compact', 'checkpoint']),
  forWriters('icebergCompatV2', writes),
  forWriters('materializePartitionColumns', ['append', 'compact']),
  forWriters('checkpointProtection', ['checkpoint']),
  // Properties.
  property('delta.dataSkippingNumIndexedCols', '3'),
  property('delta.dataSkippingStatsColumns', 'a,b'),
  property('delta.targetFileSize', '64mb'),
  property('delta.minReaderVersion', '1'),
  property('delta.feature.appendOnly', 'supported'),
  property('owner', 'me'),
  property('delta.enableExpiredLogCleanup', 'false'),
  property('delta.logRetentionDuration', 'interval 1 day'),
  property('delta.logRetentionDuration', 'interval 1 month', writes),
  property('delta.checkpointInterval', '0', writes),
  property('delta.somethingNew', 'false', writes),
  property('delta.constructor', 'false', writes),
  property('delta.enableDeletionVectors', 'true', writes),
  property('delta.enableDeletionVectors', 'false'),
  property('delta.enableRowTracking', 'true', writes),
  property('delta.checkpointPolicy', 'v2', ['checkpoint']),
  property('delta.checkpointPolicy', 'classic'),
  property('delta.checkpoint.writeStatsAsStruct', 'true', ['checkpoint']),
  property('delta.checkpoint.writeStatsAsJson', 'false', ['checkpoint']),
  property('delta.setTransactionRetentionDuration', 'interval 1 day', ['append']),
  property('delta.randomizeFilePrefixes', 'true', ['append', 'compact']),
  property('delta.compatibility.symlinkFormatManifest.enabled', 'true', ['append', 'compact']),
  property('delta.universalFormat.enabledFormats', 'iceberg', ['append', 'compact']),
  property('delta.parquet.compression.codec', 'ZSTD'),
  property('delta.parquet.compression.codec', 'snappy', ['append', 'compact']),
  property('delta.parquet.format.version', '1.0.0', ['append', 'compact']),
]

function tableOf({ protocol = [1, 2], configuration = {}, column = {}, provider = 'parquet' }: Case) {
  const [minReaderVersion, minWriterVersion, features] = protocol
  const written: Protocol = {
    minReaderVersion,
    minWriterVersion,
    ...(features && minReaderVersion === 3 ? { readerFeatures: features } : {}),
    ...(features ? { writerFeatures: features } : {}),
  }
  const schemaString = JSON.stringify({
    type: 'struct',
    fields: [{ name: 'x', type: 'long', nullable: true, metadata: column }],
  })
  const metaData: MetaData = {
    id: '',
    format: { provider, options: {} },
    schemaString,
    partitionColumns: [],
    configuration,
  }
  return { protocol: written, metaData }
}

void t.test('P3.02 features and properties that we do not implement are refused by name, for each operation', (t) => {
  for (const each of cases)
    for (const operation of operations) {
      const isRefused = each.refused?.includes(operation) ?? false
      const expected = isRefused ? each.by?.filter((name) => operation !== 'read' || !name.startsWith('minWriter')) : []
      t.same(unsupported(operation, tableOf(each)), expected, `${operation}: ${JSON.stringify(each)}`)
    }
  t.end()
})

void t.test('P3.02 all that is refused is named at once', (t) => {
  const table = tableOf({
    protocol: [3, 7, ['deletionVectors', 'rowTracking']],
    configuration: { 'delta.constraints.c': 'x > 3', 'delta.somethingNew': '1' },
  })
  t.throws(() => requireSupport('append', table, 's3://lake/ticks'), {
    code: 'LAKE_FEATURE_UNSUPPORTED',
    message:
      'cannot append to the table in s3://lake/ticks, it uses what we do not support: checkConstraints, deletionVectors, rowTracking, delta.somethingNew=1',
  })
  t.end()
})
