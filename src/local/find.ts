import { accessSync, constants, cpSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { PipelineError, messageOf } from '../base/errors.ts'
import { openCache, waitForLock } from './cache.ts'
import type { Component } from './components.ts'
import { isVersionBelow } from './install.ts'
import { run } from './process.ts'

export interface Found {
  path: string
  version: string
  /** `explicit`, `PATH`, `cache`, or the tool that has just installed it. */
  source: string
}

export interface FindOptions {
  explicitPath?: string
  env?: NodeJS.ProcessEnv
  onProgress?: (message: string) => void
}

/**
 * Finds a component: explicit path (option, then environment), PATH, our cache; else installs it into the cache with
 * the first tool that can.
 * @throws PipelineError COMPONENT_VERSION when an explicit path names one too old; COMPONENT_MISSING, with each thing
 * that was tried
 */
export async function findServer(component: Component, options: FindOptions = {}): Promise<Found> {
  const env = options.env ?? process.env
  const explicitPath = options.explicitPath ?? env[component.pathVariable]
  if (explicitPath) return findExplicit(component, explicitPath)

  const tried: string[] = []
  const look = async (paths: string[], source: string): Promise<Found | undefined> => {
    for (const path of paths) {
      try {
        return { path, version: await acceptableVersion(component, path), source }
      } catch (error) {
        tried.push(`${source}: ${path}: ${messageOf(error)}`)
      }
    }
    return undefined
  }

  const onPath = component.binaries.flatMap((name) => onSearchPath(name, env))
  if (onPath.length === 0) tried.push(`PATH: no ${component.binaries.join(', no ')}`)
  const cacheDir = openCache(env)
  const cached = (): string[] => component.binaries.map((name) => join(cacheDir, name)).filter(isExecutable)
  const found = (await look(onPath, 'PATH')) ?? (await look(cached(), 'cache'))
  if (found) return found

  const lock = await waitForLock(join(cacheDir, `${component.name}.lock`), options.onProgress)
  try {
    const meanwhile = await look(cached(), 'cache')
    if (meanwhile) return meanwhile
    for (const installer of component.installers) {
      const [tool] = onSearchPath(installer.tool, env)
      if (tool === undefined) {
        tried.push(`${installer.tool}: not on the PATH`)
        continue
      }
      const folder = mkdtempSync(join(cacheDir, 'install-'))
      try {
        options.onProgress?.(`installing ${component.name} with ${installer.tool}`)
        const binary = await installer.install(tool, folder, env)
        const path = join(cacheDir, component.binaries[0] ?? component.name)
        // Copied beside its place first, so that the place never holds half a file.
        cpSync(binary, `${folder}.new`, { dereference: true })
        const version = await acceptableVersion(component, `${folder}.new`)
        renameSync(`${folder}.new`, path)
        return { path, version, source: installer.tool }
      } catch (error) {
        tried.push(`${installer.tool}: ${messageOf(error)}`)
      } finally {
        rmSync(folder, { recursive: true, force: true })
        rmSync(`${folder}.new`, { force: true })
      }
    }
  } finally {
    lock.release()
  }
  throw new PipelineError(
    'COMPONENT_MISSING',
    [
      `${component.name} ${component.versionMin} or newer was not found and could not be installed.`,
      `Install it so that it is on the PATH, or set ${component.pathVariable} to its binary. Tried:`,
      ...tried.map((line) => `- ${line}`),
    ].join('\n'),
  )
}

async function findExplicit(component: Component, path: string): Promise<Found> {
  let version: string
  try {
    version = await versionOf(component, path)
  } catch (error) {
    const message = `${path}, given as ${component.name}, cannot be run: ${messageOf(error)}`
    throw new PipelineError('COMPONENT_MISSING', message, { cause: error })
  }
  if (!isTooOld(component, version)) return { path, version, source: 'explicit' }
  throw new PipelineError(
    'COMPONENT_VERSION',
    `${path}, given as ${component.name}, is ${version}: ${component.versionMin} or newer is needed`,
  )
}

async function versionOf(component: Component, path: string): Promise<string> {
  const { versionFlag = '--version', versionPattern = /\d+\.\d+\.\d+/ } = component
  const output = await run(path, [versionFlag])
  const version = versionPattern.exec(output)?.[0]
  if (version === undefined) throw new Error(`${versionFlag} says no version: ${output.trim().slice(0, 80)}`)
  return version
}

async function acceptableVersion(component: Component, path: string): Promise<string> {
  const version = await versionOf(component, path)
  if (isTooOld(component, version)) {
    throw new Error(`is ${version}, ${component.versionMin} or newer is needed`)
  }
  return version
}

function isTooOld({ versionMin }: Component, version: string): boolean {
  return /\d/.test(version) && isVersionBelow(version, versionMin)
}

function onSearchPath(name: string, env: NodeJS.ProcessEnv): string[] {
  const folders = new Set((env.PATH ?? '').split(delimiter).filter(Boolean))
  return [...folders].map((folder) => join(folder, name)).filter(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
