import type { Layout } from '../src/cli/stack-layout.ts'
import { checkBench } from './check.ts'
import { compactionBench } from './compaction.ts'
import { flatBench, type FlatOptions } from './flat.ts'
import { httpBench } from './http.ts'
import { lakeBench } from './lake.ts'
import { matcherFileBench } from './matcher-file.ts'
import { matcherBench, type MatcherBenchRow, matcherDepthBench } from './matcher.ts'
import { parquetBench } from './parquet.ts'
import { type LoadLevel, pipelineBench } from './pipeline.ts'
import { publishBench } from './publish.ts'
import type { Row } from './rows.ts'
import type { Session } from './session.ts'

/** @param options.file an order-flow file instead of made commands */
export async function matcherRows(
  { onProgress }: Session,
  { commands, rounds, file }: { commands: number; rounds: number; file?: string },
): Promise<Row[]> {
  onProgress('matcher')
  if (file !== undefined) return matcherFileBench({ file, commands, rounds })
  return matcherBench({ commands, rounds }).map(rowOfMatcher)
}

/** Books of other sizes in process, then accounts and symbols of a stack. */
export async function flatRows(session: Session, options: FlatOptions, commands: number): Promise<Row[]> {
  session.onProgress('matcher, books of other sizes')
  const depth = matcherDepthBench({ commands, rounds: options.rounds }).map(rowOfMatcher)
  return [...depth, ...(await flatBench(session, options))]
}

function rowOfMatcher({ restingOrders, ...row }: MatcherBenchRow): Row {
  return { ...row, load: `${restingOrders} resting`, figures: {} }
}

const quick = {
  commands: 50_000,
  messages: 4_000,
  orders: 2_000,
  requests: 500,
  checks: 500,
  rate: 500,
  seconds: 1,
  accounts: 1_000,
  symbols: 100,
  versions: 1_000,
  ticks: 5_000,
  files: 40,
  rows: 20_000,
}
const full = {
  commands: 500_000,
  messages: 40_000,
  orders: 50_000,
  requests: 5_000,
  checks: 10_000,
  rate: 1_000,
  seconds: 5,
  accounts: 100_000,
  symbols: 10_000,
  versions: 100_000,
  ticks: 50_000,
  files: 1_000,
  rows: 2_000_000,
}

/** Every scenario but the soak. */
export async function allRows(
  session: Session,
  { isQuick, layouts }: { isQuick: boolean; layouts: readonly Layout[] },
): Promise<Row[]> {
  const { commands, messages, orders, requests, checks, rate, ...size } = isQuick ? quick : full
  const rounds = isQuick ? 1 : 3
  const loads: LoadLevel[] = isQuick ? ['idle', rate, 'max'] : ['idle', 100, 1_000, 5_000, 'max']
  const [layout = 'compact'] = layouts
  return [
    ...(await matcherRows(session, { commands, rounds })),
    ...(await publishBench(session, { messages, rounds })),
    ...(await pipelineBench(session, { layouts, rounds, loads, orders, seconds: size.seconds })),
    ...(await httpBench(session, { layouts, rounds, requests })),
    ...(await checkBench(session, { layouts, rounds, requests: checks })),
    ...(await parquetBench(session, { rows: size.ticks, fileRows: [size.ticks, 250], rounds })),
    ...(await lakeBench(session, { versions: size.versions, fileActions: size.versions * 10, rounds: 1 })),
    ...(await compactionBench(session, { files: size.files, rows: size.rows, rounds: 1 })),
    ...(await flatRows(session, { layout, rounds, ratePerSecond: rate, ...size }, commands)),
  ]
}
