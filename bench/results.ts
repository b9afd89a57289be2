import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { messageOf, PipelineError } from '../src/base/errors.ts'
import type { Machine, Versions } from './machine.ts'
import type { Row } from './rows.ts'

/** A file of results: what was measured, when, and on what. */
export interface Results {
  /** RFC 3339. */
  readonly date: string
  readonly command: string
  readonly machine: Machine
  readonly versions: Versions
  readonly rows: readonly Row[]
}

const number = { type: 'number' } as const
const text = { type: 'string' } as const
const spread = {
  type: 'object',
  properties: { median: number, min: number, max: number },
  required: ['median', 'min', 'max'],
  additionalProperties: false,
} as const

/** What `--json` prints, and `rows` of a file of results. */
export const rowsSchema = {
  type: 'array',
  items: {
    type: 'object',
    properties: {
      scenario: text,
      layout: { enum: ['compact', 'separate'] },
      load: text,
      rounds: { type: 'integer', minimum: 0 },
      unit: text,
      ...spread.properties,
      figures: { type: 'object', additionalProperties: spread },
      ratioToBareChain: number,
      ratioToPeer: number,
      note: text,
      series: { type: 'object', additionalProperties: { type: 'array', items: number } },
    },
    required: ['scenario', 'rounds', 'unit', 'median', 'min', 'max', 'figures'],
    additionalProperties: false,
  },
} as const

const fileSchema = {
  type: 'object',
  properties: {
    date: text,
    command: text,
    machine: { type: 'object', properties: { cpu: text, cores: number, memoryGb: number, system: text } },
    versions: { type: 'object', properties: { node: text, natsServer: text, valkey: text, revision: text } },
    rows: rowsSchema,
  },
  required: ['date', 'command', 'machine', 'versions', 'rows'],
} as const

const validate = new Ajv().compile<Results>(fileSchema)

/** @returns the path: the date, then the revision */
export function writeResults(folder: string, results: Results): string {
  mkdirSync(folder, { recursive: true })
  const date = results.date.slice(0, 19).replaceAll(':', '')
  const path = join(folder, `${date}-${results.versions.revision.replace('+', '-changed')}.json`)
  writeFileSync(path, `${JSON.stringify(results, null, 2)}\n`)
  return path
}

/** @throws PipelineError USAGE when the file is none of ours */
export function readResults(path: string): Results {
  let document: unknown
  try {
    document = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new PipelineError('USAGE', `${path} cannot be read: ${messageOf(error)}`)
  }
  if (validate(document)) return document
  const [error] = validate.errors ?? []
  throw new PipelineError('USAGE', `${path} is no file of bench results: ${error?.instancePath} ${error?.message}`)
}
