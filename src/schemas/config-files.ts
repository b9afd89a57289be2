import { Ajv, type ValidateFunction } from 'ajv'
import { PipelineError, messageOf } from '../base/errors.ts'
import { definitionOf, instrumentFrom, type InstrumentsConfig, instrumentsConfigSchema } from './instrument.ts'
import {
  type Halt,
  haltSchema,
  type LimitsConfig,
  limitsConfigSchema,
  type LimitSet,
  limitSetSchema,
  parseLimitsKey,
} from './limits.ts'
import type { HaltTarget } from './risk.ts'

const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
const validInstruments = ajv.compile<InstrumentsConfig>(instrumentsConfigSchema)
const validLimits = ajv.compile<LimitsConfig>(limitsConfigSchema)
const validLimitSet = ajv.compile<LimitSet>(limitSetSchema)
const validHalt = ajv.compile<Halt>(haltSchema)

/** @throws PipelineError CONFIG_INVALID naming every bad entry */
export function parseInstruments(text: string, file: string): InstrumentsConfig {
  const config = parse(text, file, validInstruments)
  // `default` is checked as a symbol of its own, in a strict configuration too.
  const places = [
    ['default', 'DEFAULT'],
    ...Object.keys(config.instruments).map((symbol) => [`instruments/${symbol}`, symbol]),
  ]
  const problems = places.flatMap(([place = '', symbol = '']) => {
    const definition = definitionOf({ ...config, strict: false }, symbol)
    try {
      if (definition) instrumentFrom(definition)
      return []
    } catch (error) {
      return [`/${place} ${messageOf(error)}`]
    }
  })
  if (problems.length > 0) throw new PipelineError('CONFIG_INVALID', `${file}: ${problems.join('; ')}`)
  return config
}

/** @throws PipelineError CONFIG_INVALID naming every bad entry */
export function parseLimits(text: string, file: string): LimitsConfig {
  return parse(text, file, validLimits)
}

/** What an entry of KV LIMITS says. */
export type LimitsEntry =
  | { readonly kind: 'limits'; readonly key: string; readonly limits: LimitSet | null }
  | { readonly kind: 'halt'; readonly target: HaltTarget; readonly halt: Halt }

/**
 * Reads an entry of KV LIMITS.
 * @param text null: the entry was removed
 * @throws PipelineError CONFIG_INVALID naming the key, and every field that is wrong
 */
export function parseLimitsEntry(key: string, text: string | null): LimitsEntry {
  const place = `KV LIMITS ${key}`
  const about = parseLimitsKey(key)
  if (!about) {
    const keys = 'default, account.<account>, symbol.<SYMBOL>, halt.all, halt.account.<account>, halt.symbol.<SYMBOL>'
    throw new PipelineError('CONFIG_INVALID', `${place} means nothing and has no effect; there are ${keys}`)
  }
  if (about.kind === 'limits')
    return { kind: 'limits', key, limits: text === null ? null : parse(text, place, validLimitSet) }
  const halt = text === null ? { halted: false } : parse(text, place, validHalt)
  return { kind: 'halt', target: about.target, halt }
}

/** The entries with which config/limits.json seeds KV LIMITS. */
export function limitEntries(config: LimitsConfig): [key: string, limits: LimitSet][] {
  return [
    ['default', config.default],
    ...Object.entries(config.accounts).map(([name, limits]): [string, LimitSet] => [`account.${name}`, limits]),
    ...Object.entries(config.symbols).map(([name, limits]): [string, LimitSet] => [`symbol.${name}`, limits]),
  ]
}

function parse<T>(text: string, file: string, validate: ValidateFunction<T>): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new PipelineError('CONFIG_INVALID', `${file} is not JSON: ${messageOf(error)}`, { cause: error })
  }
  if (validate(value)) return value
  const list = (validate.errors ?? []).map(
    ({ instancePath, message, params }) =>
      `${instancePath || '/'} ${message ?? 'is invalid'}${'additionalProperty' in params ? ` (${String(params['additionalProperty'])})` : ''}`,
  )
  throw new PipelineError('CONFIG_INVALID', `${file}: ${list.join('; ')}`)
}
