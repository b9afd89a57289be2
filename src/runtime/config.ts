import { PipelineError } from '../base/errors.ts'
import { parseSettings, type Settings } from '../schemas/settings.ts'

/** @throws PipelineError CONFIG_INVALID naming every bad setting */
export function settingsFrom(env: Readonly<Record<string, string | undefined>>): Settings {
  const parsed = parseSettings(env)
  if (!Array.isArray(parsed)) return parsed
  const list = parsed.map(({ name, problem }) => `${name} ${problem}`).join('; ')
  throw new PipelineError('CONFIG_INVALID', `settings: ${list}`)
}

/** Microseconds after midnight of a `HH:MM` time of day. */
export function dayTimeUs(text: string): number {
  return (Number(text.slice(0, 2)) * 60 + Number(text.slice(3))) * 60_000_000
}
