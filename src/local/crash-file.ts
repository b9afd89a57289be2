import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere } from './lock.ts'

/** Where and when a process is to end, as `chaos` says it to a process that starts. */
export interface PlannedCrash {
  readonly point: string
  /** How often it comes by there until then, from 1. */
  readonly occurrence: number
}

/** @param instance as the workers of the process call themselves */
export function planCrash(folder: string, instance: string, crash: PlannedCrash): void {
  const file = fileOf(folder, instance)
  writeFileSync(`${file}.new`, JSON.stringify(crash))
  renameSync(`${file}.new`, file)
}

/** What is planned for a process; it is planned no longer, so that the next start goes on. */
export function takePlannedCrash(folder: string, instance: string): PlannedCrash | undefined {
  const file = fileOf(folder, instance)
  const text = readIfThere(file)
  if (text === undefined) return undefined
  rmSync(file)
  return JSON.parse(text) as PlannedCrash
}

function fileOf(folder: string, instance: string): string {
  return join(folder, `${instance}.json`)
}
