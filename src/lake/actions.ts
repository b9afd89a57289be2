import { messageOf, PipelineError } from '../base/errors.ts'
import { hasLongNumber, isObject } from '../base/json.ts'

/**
 * The actions of a commit that this package reads and writes; fields that it does not know survive as they are.
 *
 * @see Delta protocol, "Actions"
 */
export interface Protocol {
  readonly minReaderVersion: number
  readonly minWriterVersion: number
  readonly readerFeatures?: readonly string[]
  readonly writerFeatures?: readonly string[]
}

export interface MetaData {
  readonly id: string
  readonly name?: string
  readonly description?: string
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> }
  /** JSON of the struct type of all columns. */
  readonly schemaString: string
  readonly partitionColumns: readonly string[]
  readonly configuration: Readonly<Record<string, string>>
  readonly createdTime?: number
}

export interface Add {
  /** Relative to the table or absolute, URI-encoded. */
  readonly path: string
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly size: number
  readonly modificationTime: number
  readonly dataChange: boolean
  /** JSON: numRecords, minValues, maxValues, nullCount. */
  readonly stats?: string
  readonly tags?: Readonly<Record<string, string | null>>
}

export interface Remove {
  readonly path: string
  readonly deletionTimestamp?: number
  readonly dataChange: boolean
  readonly extendedFileMetadata?: boolean
  readonly partitionValues?: Readonly<Record<string, string | null>>
  readonly size?: number
}

/** How far an application has come: the version it gives to what it has committed last. */
export interface Txn {
  readonly appId: string
  /** A bigint when it is beyond 2^53, which only another application's can be. */
  readonly version: number | bigint
  readonly lastUpdated?: number
}

/** Free-form, by the protocol; what we write ourselves is `CommitInfo` in commit-info.ts. */
export type CommitInfoFields = Readonly<Record<string, unknown>>

export type Action =
  | { readonly protocol: Protocol }
  | { readonly metaData: MetaData }
  | { readonly add: Add }
  | { readonly remove: Remove }
  | { readonly txn: Txn }
  | { readonly commitInfo: CommitInfoFields }

/** JSON of integers that a double cannot hold, which `JSON.parse` gives as bigint here; TypeScript does not know it yet. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown }

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string'
const isFlag: Check = (value) => typeof value === 'boolean'
const isWhole: Check = (value) => Number.isSafeInteger(value)
const isLong: Check = (value) => isWhole(value) || typeof value === 'bigint'
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText)
const isTextMap: Check = (value) => isObject(value) && Object.values(value).every(isText)
const isNullableTextMap: Check = (value) =>
  isObject(value) && Object.values(value).every((entry) => entry === null || isText(entry))
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

/** The fields that we rely on; others pass. */
const fieldsOf: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  protocol: {
    minReaderVersion: isWhole,
    minWriterVersion: isWhole,
    readerFeatures: optional(isTexts),
    writerFeatures: optional(isTexts),
  },
  metaData: {
    id: isText,
    name: optional(isText),
    description: optional(isText),
    format: (value) => isObject(value) && isText(value['provider']),
    schemaString: isText,
    partitionColumns: isTexts,
    configuration: isTextMap,
    createdTime: optional(isWhole),
  },
  add: {
    path: isText,
    partitionValues: isNullableTextMap,
    size: isWhole,
    modificationTime: isWhole,
    dataChange: isFlag,
    stats: optional(isText),
    tags: optional(isNullableTextMap),
  },
  remove: {
    path: isText,
    deletionTimestamp: optional(isWhole),
    dataChange: isFlag,
    extendedFileMetadata: optional(isFlag),
    partitionValues: optional(isNullableTextMap),
    size: optional(isWhole),
  },
  txn: { appId: isText, version: isLong, lastUpdated: optional(isWhole) },
  commitInfo: {},
}

/**
 * The actions of a commit file: one JSON object a line, in order. Actions of a kind that we do not know are left out, as
 * the protocol wants it: those that matter come with a feature, which features.ts refuses. Fields that we do not know
 * stay; whole numbers beyond 2^53 come as bigint.
 *
 * @param log whose it is, for the message
 * @throws PipelineError LAKE_LOG_UNREADABLE with version and line
 */
export function parseCommit(text: string, version: number, log = 'the log'): Action[] {
  const unreadable = (what: string, cause?: unknown) =>
    new PipelineError('LAKE_LOG_UNREADABLE', `version ${version} of ${log}${what}`, { cause })
  if (text.trim() === '') throw unreadable(' is empty')
  const actions: Action[] = []
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const problem = (what: string, cause?: unknown) => unreadable(`, line ${index + 1}: ${what}`, cause)
    let value: unknown
    try {
      value = parseExact(line)
    } catch (error) {
      throw problem(messageOf(error), error)
    }
    if (!isObject(value)) throw problem('not an object')
    for (const [kind, body] of Object.entries(value)) {
      if (body === null || !Object.hasOwn(fieldsOf, kind)) continue
      actions.push(checkedAction(kind, body, problem))
    }
  }
  return actions
}

/** @throws what `problem` makes of the fields that are wrong */
export function checkedAction(kind: string, body: unknown, problem: (what: string) => Error): Action {
  if (!isObject(body)) throw problem(`${kind} is not an object`)
  const present =
    kind === 'commitInfo' ? body : Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
  const wrong = Object.entries(fieldsOf[kind] ?? {}).filter(([name, check]) => !check(present[name]))
  if (wrong.length > 0) throw problem(`${kind} has no or a wrong ${wrong.map(([name]) => name).join(', ')}`)
  // The checks above are what makes it one.
  return { [kind]: present } as unknown as Action
}

/** @throws SyntaxError */
function parseExact(text: string): unknown {
  if (!hasLongNumber(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value: unknown, context?: { source?: string }) => {
    const source = context?.source
    if (typeof value !== 'number' || Number.isSafeInteger(value) || source === undefined) return value
    return /^-?\d+$/.test(source) ? BigInt(source) : value
  })
}

/** A commit file of these actions; `parseCommit` gives them back. */
export function formatCommit(actions: readonly Action[]): string {
  return actions.map((action) => `${JSON.stringify(action, exact)}\n`).join('')
}

function exact(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? rawJSON(value.toString()) : value
}
