import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, PipelineError } from '../base/errors.ts'
import { parseInstruments, parseLimits } from '../schemas/config-files.ts'
import type { InstrumentsConfig } from '../schemas/instrument.ts'
import type { LimitsConfig } from '../schemas/limits.ts'

const shippedDir = fileURLToPath(new URL('../../config', import.meta.url))

/**
 * @param configDir unset: the one that comes with the program
 * @throws PipelineError CONFIG_INVALID naming the file
 */
export function readInstruments(configDir = shippedDir): InstrumentsConfig {
  return readConfig(join(configDir, 'instruments.json'), parseInstruments)
}

/**
 * @param configDir unset: the one that comes with the program
 * @throws PipelineError CONFIG_INVALID naming the file
 */
export function readLimits(configDir = shippedDir): LimitsConfig {
  return readLimitsFile(join(configDir, 'limits.json'))
}

/** @throws PipelineError CONFIG_INVALID naming the file */
export function readLimitsFile(file: string): LimitsConfig {
  return readConfig(file, parseLimits)
}

function readConfig<T>(file: string, parse: (text: string, file: string) => T): T {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new PipelineError('CONFIG_INVALID', `${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
  return parse(text, file)
}
