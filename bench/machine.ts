import { execFileSync } from 'node:child_process'
import { cpus, release, totalmem, type } from 'node:os'
import { natsServer, valkeyServer, type Component } from '../src/local/components.ts'
import { findServer } from '../src/local/find.ts'

/** On what figures were made: without it they say little. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly system: string
}

export interface Versions {
  readonly node: string
  readonly natsServer: string
  readonly valkey: string
  /** Of this repository; `+` when files are changed, `unknown` outside a clone. */
  readonly revision: string
}

export function machineFacts(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
  }
}

export async function versionFacts(): Promise<Versions> {
  const of = async (component: Component) => {
    try {
      return (await findServer(component)).version
    } catch {
      return 'none'
    }
  }
  return {
    node: process.versions.node,
    natsServer: await of(natsServer),
    valkey: await of(valkeyServer),
    revision: revision(),
  }
}

function revision(): string {
  const git = (...args: readonly string[]) =>
    execFileSync('git', args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  try {
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+')
    )
  } catch {
    return 'unknown'
  }
}
