import { PipelineError } from '../base/errors.ts'
import type { StreamName } from '../subjects/contract.ts'
import type { SinkTableState } from './sink-table.ts'

/** Names a sink in the log of its table; a stream that is made anew is another one. */
export function appIdOf(stream: StreamName, created: string, table: string): string {
  return `${stream}@${created}/${table}`
}

/** Of the transaction whose version is the last sequence up to which messages of the stream may be missing. */
export function gapsAppIdOf(appId: string): string {
  return `${appId}/gaps`
}

/** Where a sink goes on. */
export interface SinkPosition {
  readonly appId: string
  /** Last sequence that the table has recorded; undefined when none. */
  readonly watermark: number | undefined
  /** First sequence that is not in the table. */
  readonly from: number
  /** Messages up to here may be missing: it was agreed to. */
  readonly gapsTo: number
}

/**
 * The position that a table has recorded.
 * @throws PipelineError LAKE_STREAM_REWOUND, LAKE_STREAM_GAP, LAKE_TXN_MISSING when the table and the stream do not
 *   belong together
 */
export async function positionIn(
  stream: StreamName,
  info: {
    readonly created: string
    readonly config: { readonly first_seq?: number }
    readonly state: { readonly first_seq: number; readonly last_seq: number }
  },
  table: string,
  found: SinkTableState,
): Promise<SinkPosition> {
  const { created, config, state } = info
  const appId = appIdOf(stream, created, table)
  const watermark = found.transactions.get(appId)
  const gapsTo = found.transactions.get(gapsAppIdOf(appId)) ?? 0
  const adopt = `or let the table go on with the stream as it is: trade2026 lake adopt ${table}`
  if (watermark === undefined) {
    const other = [...found.transactions.keys()].find(
      (name) => name.startsWith(`${stream}@`) && name.endsWith(`/${table}`),
    )
    if (other !== undefined)
      throw new PipelineError(
        'LAKE_STREAM_REWOUND',
        `${table} has been filled from ${other.slice(0, other.lastIndexOf('/'))}, and ${stream} was made anew at ${created}. Restore the stream, ${adopt}`,
      )
    if (await found.hasRows())
      throw new PipelineError(
        'LAKE_TXN_MISSING',
        `${table} has rows, and nothing in it says how far ${stream} has been read. Name another place with LAKE_URI, ${adopt}`,
      )
    const first = Math.max(1, config.first_seq ?? 1)
    if (state.first_seq > first)
      throw new PipelineError(
        'LAKE_STREAM_GAP',
        `${table} is empty, and ${first} to ${state.first_seq - 1} of ${stream} are gone. If it had rows, restore it or correct LAKE_URI; else begin without these: trade2026 lake adopt ${table}`,
      )
    return { appId, watermark, from: first, gapsTo }
  }
  if (state.last_seq < watermark)
    throw new PipelineError(
      'LAKE_STREAM_REWOUND',
      `${stream} ends at ${state.last_seq}, and ${table} has been filled up to ${watermark}: the stream was restored from before. Restore what came later, ${adopt}`,
    )
  if (state.first_seq > Math.max(watermark, gapsTo) + 1)
    throw streamGap(stream, `${watermark + 1} to ${state.first_seq - 1}`, table)
  return { appId, watermark, from: watermark + 1, gapsTo }
}

/** @param range sequences that are gone, `k to n` */
export function streamGap(stream: StreamName, range: string, table: string): PipelineError {
  return new PipelineError(
    'LAKE_STREAM_GAP',
    `${stream}: ${range} are gone and never came into ${table}. Restore the stream, or go on without them: trade2026 lake adopt ${table}`,
  )
}
