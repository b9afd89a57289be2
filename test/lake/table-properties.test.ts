import t from 'tap'
import { intervalMs, isReadable, tableProperties } from '../../src/lake/table-properties.ts'

const dayMs = 86_400_000

const intervals: readonly (readonly [text: string, ms: number | undefined])[] = [
  ['interval 30 days', 30 * dayMs],
  ['interval 1 week', 7 * dayMs],
  ['7 days', 7 * dayMs],
  ['INTERVAL 2 Weeks', 14 * dayMs],
  ['interval 1 day 12 hours', 1.5 * dayMs],
  ['interval 90 minutes', 5_400_000],
  ['interval 10 seconds 500 milliseconds 2000 microseconds', 10_502],
  ['interval 0 hours', 0],
  ['interval 1 month', undefined],
  ['interval 1 year 2 days', undefined],
  ['interval -1 days', undefined],
  ['interval 1.5 days', undefined],
  ['interval days', undefined],
  ['interval', undefined],
  ['30', undefined],
  ['P30D', undefined],
  ['interval 1 constructor', undefined],
  ['', undefined],
]

void t.test('P3.02 intervals are read as Spark writes them', (t) => {
  for (const [text, ms] of intervals) t.equal(intervalMs(text), ms, text)
  t.end()
})

void t.test('P3.02 properties with their defaults', (t) => {
  const propertiesOf = (configuration: Record<string, string>) =>
    tableProperties({
      id: '',
      format: { provider: 'parquet', options: {} },
      schemaString: '',
      partitionColumns: [],
      configuration,
    })
  const defaults = {
    appendOnly: false,
    checkpointInterval: 100,
    logRetentionMs: 30 * dayMs,
    deletedFileRetentionMs: 7 * dayMs,
    enableExpiredLogCleanup: true,
    enableInCommitTimestamps: false,
  }
  t.same(propertiesOf({}), defaults)
  t.same(propertiesOf({ 'delta.checkpointInterval': '0', 'delta.appendOnly': 'maybe' }), defaults)
  t.same(
    propertiesOf({
      'delta.appendOnly': 'TRUE',
      'delta.checkpointInterval': '7',
      'delta.logRetentionDuration': 'interval 0 seconds',
      'delta.deletedFileRetentionDuration': '1 day',
      'delta.enableExpiredLogCleanup': 'false',
      'delta.enableInCommitTimestamps': 'true',
      'other.thing': 'x',
    }),
    {
      appendOnly: true,
      checkpointInterval: 7,
      logRetentionMs: 0,
      deletedFileRetentionMs: dayMs,
      enableExpiredLogCleanup: false,
      enableInCommitTimestamps: true,
    },
  )
  t.equal(isReadable('delta.checkpointInterval', '-1'), false)
  t.equal(isReadable('delta.checkpointInterval', '10'), true)
  t.equal(isReadable('delta.appendOnly', 'constructor'), false)
  t.equal(isReadable('delta.targetFileSize', '10'), undefined)
  t.end()
})
