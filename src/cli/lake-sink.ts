import { assert } from '../base/assert.ts'
import { textFromUtf8, utf8FromText } from '../base/json.ts'
import { readFiles } from '../lake/active-files.ts'
import { scheduleCheckpoints } from '../lake/checkpoint-schedule.ts'
import { checkpointProcess } from '../lake/checkpoint-process.ts'
import { readLastFiles } from '../lake/data-file-read.ts'
import { DeltaTable } from '../lake/delta-table.ts'
import type { TableDefinition } from '../lake/schema.ts'
import type { Snapshot } from '../lake/snapshot.ts'
import { type ObjectStore, storeBelow } from '../lake/store.ts'
import type { NameStore } from '../runtime/known-names.ts'
import type { LastIds } from '../runtime/recent-ids.ts'
import type { SinkAppended, SinkCommit, SinkTable, SinkTableState } from '../runtime/sink-table.ts'

/** Of the files that the last commits have added; many small ones take long to read. */
const lastFilesMax = 4_000
const hashId = /^[0-9a-f]{16}$/

export interface NamedTable extends TableDefinition {
  readonly name: string
}

/** A table of the lake as a sink sees it. */
export class LakeSinkTable implements SinkTable {
  readonly #lake: ObjectStore
  readonly #store: ObjectStore
  readonly #definition: NamedTable
  readonly #onCommit: (snapshot: Snapshot) => void
  #table: DeltaTable | undefined

  /** @param onCheckpointError is told why there is no newer checkpoint, which the next one makes good */
  constructor(lake: ObjectStore, definition: NamedTable, onCheckpointError: (error: unknown) => void) {
    this.#lake = lake
    this.#store = storeBelow(lake, `${definition.name}/`)
    this.#definition = definition
    this.#onCommit = scheduleCheckpoints(checkpointProcess(lake.uri, definition.name, process.env), onCheckpointError)
  }

  async read(): Promise<SinkTableState> {
    if (this.#table) await this.#table.refresh()
    else {
      await this.#lake.check()
      this.#table = await DeltaTable.open(this.#store, this.#definition, { onCommit: this.#onCommit })
    }
    const { snapshot, version } = this.#table
    return {
      version,
      transactions: new Map(Array.from(snapshot.txns, ([appId, txn]) => [appId, Number(txn.version)])),
      hasRows: async () => {
        for await (const _ of readFiles(this.#store, snapshot)) return true
        return false
      },
    }
  }

  async append(commit: SinkCommit): Promise<SinkAppended> {
    const { appId, expected, partitions, firstSequence, lastSequence, ...counts } = commit
    const extras = { firstStreamSeq: firstSequence, lastStreamSeq: lastSequence, ...counts }
    const outcome = await this.#opened().append(partitions, { appId, version: lastSequence, expected, extras })
    return outcome.outcome === 'committed' ? outcome : { outcome: 'superseded', watermark: outcome.watermark ?? 0 }
  }

  /** Keeps names beside the tables: to find them in the log takes the longer the more files there are. */
  nameStore(partitionColumn: string): NameStore {
    const key = `_names/${this.#definition.name}`
    return {
      load: async () => {
        const data = await this.#lake.get(key)
        return data && namesFrom(data)
      },
      rebuild: async () => {
        const names = new Set<string>()
        for await (const { partitionValues } of readFiles(this.#store, this.#opened().snapshot)) {
          const name = partitionValues[partitionColumn] ?? null
          if (name !== null) names.add(name)
        }
        return names
      },
      save: (names) => this.#lake.put(key, utf8FromText(JSON.stringify(names))),
    }
  }

  /** @param named column without which a row has no id that counts */
  lastIds(named: string): LastIds {
    return async (count) => {
      const ids: (readonly [string, number])[] = []
      let files = 0
      for await (const rows of readLastFiles(this.#store, this.#opened().version, ['hash_id', 'stream_seq', named])) {
        for (const row of rows) {
          const { hash_id: id, stream_seq: sequence } = row
          // Other writers may leave them out.
          if (row[named] === null || typeof id !== 'string' || !hashId.test(id) || sequence === null) continue
          ids.push([id, Number(sequence)])
        }
        files += 1
        if (ids.length >= count || files >= lastFilesMax) break
      }
      return ids
    }
  }

  #opened(): DeltaTable {
    assert(this.#table, 'a table is read before it is written')
    return this.#table
  }
}

/** @returns undefined when it is no list of names: the table itself knows them */
function namesFrom(data: Uint8Array): readonly string[] | undefined {
  try {
    const names: unknown = JSON.parse(textFromUtf8(data))
    return Array.isArray(names) && names.every((name) => typeof name === 'string') ? names : undefined
  } catch {
    return undefined
  }
}
