import { PipelineError } from '../base/errors.ts'
import type { MetaData, Protocol } from './actions.ts'
import { isReadable } from './table-properties.ts'

/**
 * What may be done to a table. read: name its files and let an engine read them. append: add files with rows, and columns.
 * compact: the same rows in other files. vacuum: delete files that are not in it. checkpoint: write checkpoints and
 * clean up the log before them.
 */
export type Operation = 'read' | 'append' | 'compact' | 'vacuum' | 'checkpoint'

interface TableState {
  readonly protocol: Protocol
  readonly metaData: MetaData
}

interface Feature {
  /** The version of the protocol for readers, for writers, that has it without naming it. */
  readonly readerVersion?: number
  readonly writerVersion?: number
  /** Whether a table uses it; without, a table does whose protocol has it. */
  readonly isUsed?: (metaData: MetaData) => boolean
  /** What we cannot do to a table that uses it. */
  readonly refuses: readonly Operation[]
}

const all: readonly Operation[] = ['read', 'append', 'compact', 'vacuum', 'checkpoint']
const allWrites: readonly Operation[] = ['append', 'compact', 'vacuum', 'checkpoint']

/** Keys of metadata of columns stand in the schema as they are; a comment with the same words has escaped quotes. */
const hasColumnWith =
  (key: string) =>
  ({ schemaString }: MetaData) =>
    schemaString.replaceAll('\\"', '').includes(`"${key}`)

/**
 * Every feature we know, with what it keeps us from. Where it keeps us from little: rows that a compaction moves have met
 * all conditions before, and a vacuum deletes only files that no commit within the retention names.
 *
 * @see Delta protocol, "Valid Feature Names in Table Features"
 */
const features: Readonly<Record<string, Feature>> = {
  appendOnly: { writerVersion: 2, refuses: [] },
  invariants: { writerVersion: 2, isUsed: hasColumnWith('delta.invariants'), refuses: ['append'] },
  checkConstraints: {
    writerVersion: 3,
    isUsed: ({ configuration }) => Object.keys(configuration).some((key) => key.startsWith('delta.constraints.')),
    refuses: ['append'],
  },
  // Added files are their own change data, and a compaction changes nothing.
  changeDataFeed: { writerVersion: 4, refuses: [] },
  generatedColumns: { writerVersion: 4, isUsed: hasColumnWith('delta.generationExpression'), refuses: ['append'] },
  columnMapping: {
    readerVersion: 2,
    writerVersion: 5,
    isUsed: ({ configuration }) => (configuration['delta.columnMapping.mode'] ?? 'none') !== 'none',
    refuses: all,
  },
  identityColumns: { writerVersion: 6, isUsed: hasColumnWith('delta.identity.'), refuses: ['append'] },
  allowColumnDefaults: { isUsed: hasColumnWith('CURRENT_DEFAULT'), refuses: ['append'] },
  // Commits carry it, see commit-info.ts.
  inCommitTimestamp: { refuses: [] },
  // Every vacuum here looks at the protocol.
  vacuumProtocolCheck: { refuses: [] },
  timestampNtz: { refuses: ['compact'] },
  deletionVectors: { refuses: all },
  v2Checkpoint: { refuses: all },
  typeWidening: { refuses: all },
  'typeWidening-preview': { refuses: all },
  variantType: { refuses: all },
  'variantType-preview': { refuses: all },
  variantShredding: { refuses: all },
  'variantShredding-preview': { refuses: all },
  catalogManaged: { refuses: all },
  'catalogOwned-preview': { refuses: all },
  'coordinatedCommits-preview': { refuses: all },
  rowTracking: { refuses: ['append', 'compact', 'checkpoint'] },
  domainMetadata: { refuses: ['append', 'compact', 'checkpoint'] },
  clustering: { refuses: ['append', 'compact', 'checkpoint'] },
  materializePartitionColumns: { refuses: ['append', 'compact'] },
  icebergCompatV1: { refuses: allWrites },
  icebergCompatV2: { refuses: allWrites },
  checkpointProtection: { refuses: ['checkpoint'] },
}

interface Property {
  /** Values that ask for nothing; all, when absent. */
  readonly isHarmless: (value: string) => boolean
  /** What another value keeps us from. */
  readonly refuses: readonly Operation[]
}

const harmless: Property = { isHarmless: () => true, refuses: [] }
const unlessFalse = (refuses: readonly Operation[]): Property => ({
  isHarmless: (value) => value.toLowerCase() === 'false',
  refuses,
})

/** Properties by their names without `delta.`. What we act on is in table-properties.ts; these are the others. */
const properties: Readonly<Record<string, Property>> = {
  // Wishes about sizes and statistics, and what other writers do with their own.
  autoOptimize: harmless,
  'autoOptimize.autoCompact': harmless,
  'autoOptimize.optimizeWrite': harmless,
  checkpointRetentionDuration: harmless,
  dataSkippingNumIndexedCols: harmless,
  dataSkippingStatsColumns: harmless,
  'dropFeatureTruncateHistory.retentionDuration': harmless,
  enableFullRetentionRollback: harmless,
  ignoreProtocolDefaults: harmless,
  isolationLevel: harmless,
  randomPrefixLength: harmless,
  sampleRetentionDuration: harmless,
  targetFileSize: harmless,
  tuneFileSizesForRewrites: harmless,
  // The protocol says what holds.
  minReaderVersion: harmless,
  minWriterVersion: harmless,
  // Parts of features that are looked at above.
  'columnMapping.maxColumnId': harmless,
  'columnMapping.mode': harmless,
  enableChangeDataCapture: harmless,
  enableChangeDataFeed: harmless,
  inCommitTimestampEnablementTimestamp: harmless,
  inCommitTimestampEnablementVersion: harmless,
  enableDeletionVectors: unlessFalse(allWrites),
  enableIcebergCompatV1: unlessFalse(allWrites),
  enableIcebergCompatV2: unlessFalse(allWrites),
  enableRowTracking: unlessFalse(allWrites),
  enableTypeWidening: unlessFalse(allWrites),
  enableVariantShredding: unlessFalse(allWrites),
  // Another system would have to be told of every commit.
  'compatibility.symlinkFormatManifest.enabled': unlessFalse(['append', 'compact']),
  'universalFormat.enabledFormats': { isHarmless: (value) => value === '', refuses: ['append', 'compact'] },
  // Our own txn would be forgotten.
  setTransactionRetentionDuration: { isHarmless: () => false, refuses: ['append'] },
  randomizeFilePrefixes: unlessFalse(['append', 'compact']),
  'parquet.compression.codec': {
    isHarmless: (value) => value.toLowerCase() === 'zstd',
    refuses: ['append', 'compact'],
  },
  'parquet.format.version': { isHarmless: (value) => /^2\.\d+\.\d+$/.test(value), refuses: ['append', 'compact'] },
  checkpointPolicy: { isHarmless: (value) => value.toLowerCase() === 'classic', refuses: ['checkpoint'] },
  'checkpoint.writeStatsAsJson': { isHarmless: (value) => value.toLowerCase() === 'true', refuses: ['checkpoint'] },
  'checkpoint.writeStatsAsStruct': unlessFalse(['checkpoint']),
}

/** The features that a protocol has, by name; those only for writers do not keep anybody from reading. */
function featuresOf({ minReaderVersion, minWriterVersion, readerFeatures = [], writerFeatures = [] }: Protocol) {
  const names = Object.entries(features)
    .filter(
      ([, { readerVersion = Infinity, writerVersion = Infinity }]) =>
        (minReaderVersion < 3 && readerVersion <= minReaderVersion) ||
        (minWriterVersion < 7 && writerVersion <= minWriterVersion),
    )
    .map(([name]) => name)
  return {
    names: new Set([
      ...names,
      ...(minReaderVersion >= 3 ? readerFeatures : []),
      ...(minWriterVersion >= 7 ? writerFeatures : []),
    ]),
    forReaders: new Set(readerFeatures),
  }
}

/** Names of the features and properties of a table that keep us from an operation. */
export function unsupported(operation: Operation, { protocol, metaData }: TableState): string[] {
  const found: string[] = []
  const { minReaderVersion, minWriterVersion } = protocol
  if (minReaderVersion > 3) found.push(`minReaderVersion ${minReaderVersion}`)
  if (minWriterVersion > 7 && operation !== 'read') found.push(`minWriterVersion ${minWriterVersion}`)
  const { names, forReaders } = featuresOf(protocol)
  for (const name of names) {
    if (!Object.hasOwn(features, name) && (operation !== 'read' || forReaders.has(name))) found.push(name)
  }
  for (const [name, { isUsed, refuses }] of Object.entries(features))
    if (refuses.includes(operation) && (isUsed ? isUsed(metaData) : names.has(name))) found.push(name)
  for (const [key, value] of Object.entries(metaData.configuration))
    if (operation !== 'read' && refusesProperty(operation, key, value)) found.push(`${key}=${value}`)
  if (metaData.format.provider !== 'parquet') found.push(`format ${metaData.format.provider}`)
  return found
}

function refusesProperty(operation: Operation, key: string, value: string): boolean {
  if (!key.startsWith('delta.') || key.startsWith('delta.feature.') || key.startsWith('delta.constraints.'))
    return false
  const readable = isReadable(key, value)
  if (readable !== undefined) return !readable
  const name = key.slice('delta.'.length)
  const property = Object.hasOwn(properties, name) ? properties[name] : undefined
  if (!property) return true
  return property.refuses.includes(operation) && !property.isHarmless(value)
}

const verbs: Readonly<Record<Operation, string>> = {
  read: 'read',
  append: 'append to',
  compact: 'compact',
  vacuum: 'vacuum',
  checkpoint: 'write checkpoints of',
}

/** @throws PipelineError LAKE_FEATURE_UNSUPPORTED with the name of all that keeps us from the operation */
export function requireSupport(operation: Operation, table: TableState, uri: string): void {
  const found = unsupported(operation, table)
  if (found.length === 0) return
  throw new PipelineError(
    'LAKE_FEATURE_UNSUPPORTED',
    `cannot ${verbs[operation]} the table in ${uri}, it uses what we do not support: ${found.join(', ')}`,
  )
}
