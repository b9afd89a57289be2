import { join } from 'node:path'
import { Option } from 'commander'
import { usFromEpoch, usFromRfc3339 } from '../base/clock.ts'
import { isPipelineError, PipelineError } from '../base/errors.ts'
import { DeltaTable } from '../lake/delta-table.ts'
import { tableNames } from '../lake/lake-tables.ts'
import { logPrefix } from '../lake/log-files.ts'
import { openStore } from '../lake/open-store.ts'
import { loadSnapshot, type Snapshot } from '../lake/snapshot.ts'
import { type ObjectStore, storeBelow } from '../lake/store.ts'
import { versionAt } from '../lake/time-travel.ts'
import { onInterrupt } from './interrupt.ts'
import { wholeNumberFrom0 } from './options.ts'
import { endWithReader } from './output.ts'

export interface LakeOptions {
  readonly uri?: string
  readonly dataDir: string
  readonly json: boolean
}

export function uriOption(): Option {
  return new Option('--uri <uri>', 'the lake: s3://bucket/prefix or a folder; unset: LAKE_URI, else <data-dir>/lake')
}

export function dataDirOption(): Option {
  return new Option('--data-dir <folder>', 'data folder of the stack whose lake it is').default('data')
}

/** Which state of a table is meant. */
export interface VersionOptions {
  readonly version?: number
  readonly timestamp?: number
}

export function versionOption(): Option {
  return new Option('--version <n>', 'as of this version').argParser(wholeNumberFrom0)
}

export function timestampOption(): Option {
  return new Option('--timestamp <time>', 'as of this time: RFC 3339 or an epoch number')
    .argParser(timeMs)
    .conflicts('version')
}

function timeMs(text: string): number {
  const us = usFromRfc3339(text) ?? usFromEpoch(text)
  if (us === undefined)
    throw new PipelineError(
      'USAGE',
      `--timestamp must be RFC 3339, as 2026-11-23T12:00:00Z, or an epoch number, not ${text}`,
    )
  return us / 1_000
}

/**
 * Runs a command on a lake. Ctrl-C aborts `interrupted`, and the command comes to an orderly end.
 * @throws PipelineError LAKE_STORE_UNAVAILABLE, USAGE when the place is a table
 */
export async function withLake(options: LakeOptions, run: (lake: ObjectStore) => Promise<void>): Promise<void> {
  endWithReader()
  const lake = await openStore(options.uri ?? (process.env['LAKE_URI'] || join(options.dataDir, 'lake')), process.env)
  const ended = (async () => {
    try {
      await refuseTable(lake)
      await run(lake)
    } catch (error) {
      throw isPipelineError(error, 'LAKE_STORE_UNAVAILABLE') ? withRemedy(error) : error
    } finally {
      lake.close()
    }
  })()
  onInterrupt(() => ended.catch(() => undefined))
  await ended
}

async function refuseTable(lake: ObjectStore): Promise<void> {
  for await (const { key } of lake.list(logPrefix))
    if (key !== '') throw new PipelineError('USAGE', `${lake.uri} is a table; name the lake it is in: the folder above`)
}

function withRemedy(error: PipelineError): PipelineError {
  const message = `${error.message}; say where the lake is with --uri, LAKE_URI or --data-dir`
  return new PipelineError('LAKE_STORE_UNAVAILABLE', message, { retriable: true, cause: error })
}

/**
 * Names of the tables that are meant: those that are named, or all.
 * @throws PipelineError USAGE for one that is not there
 */
export async function chosenTables(lake: ObjectStore, named: readonly string[]): Promise<readonly string[]> {
  const there = await tableNames(lake)
  for (const name of named) if (!there.includes(name)) throw noTable(lake, name, there)
  return named.length > 0 ? [...new Set(named)] : there
}

function noTable(lake: ObjectStore, name: string, there: readonly string[]): PipelineError {
  const others = there.length === 0 ? 'it has none' : `there are ${there.join(', ')}`
  return new PipelineError('USAGE', `no table ${name} in ${lake.uri}; ${others}`)
}

export interface OpenedTable {
  readonly store: ObjectStore
  readonly snapshot: Snapshot
}

/** @throws PipelineError USAGE when there is no such table, LAKE_VERSION_MISSING */
export async function openAt(
  lake: ObjectStore,
  name: string,
  { version, timestamp }: VersionOptions = {},
): Promise<OpenedTable> {
  const store = storeBelow(lake, `${name}/`)
  const at = timestamp === undefined ? version : await versionAt(store, timestamp)
  const snapshot = await loadSnapshot(store, { version: at })
  if (!snapshot) throw noTable(lake, name, await tableNames(lake))
  return { store, snapshot }
}

/** To write to. @throws PipelineError USAGE when there is no such table */
export async function openTable(lake: ObjectStore, name: string): Promise<DeltaTable> {
  const table = await DeltaTable.openExisting(storeBelow(lake, `${name}/`))
  if (!table) throw noTable(lake, name, await tableNames(lake))
  return table
}
