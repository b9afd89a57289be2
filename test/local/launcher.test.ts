import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { tempDir } from '../support/temp-dir.ts'

const launcher = new URL('../../trade2026', import.meta.url).pathname

interface Result {
  code: number
  stdout: string
  stderr: string
}

async function start(command: string, args: string[], cwd: string, env: NodeJS.ProcessEnv): Promise<Result> {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const result = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (result.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (result.stderr += text))
  const [code] = (await once(child, 'close')) as [number]
  return { code, ...result }
}

/** A project whose command line prints its arguments, an old system Node, and an npm that brings the Node of this test. */
function project(t: Test, npm = 'mkdir -p node_modules/node/bin && ln -s "$REAL_NODE" node_modules/node/bin/node') {
  const folder = tempDir(t)
  for (const name of ['home', 'bin', 'elsewhere']) mkdirSync(join(folder, name))
  const dir = join(folder, 'project')
  const bin = join(folder, 'bin')
  mkdirSync(join(dir, 'src/cli'), { recursive: true })
  writeFileSync(join(dir, 'src/cli/main.ts'), 'console.log(JSON.stringify(process.argv.slice(2)) as string)')
  writeFileSync(join(dir, 'package-lock.json'), '{}')
  cpSync(launcher, join(dir, 'trade2026'))
  script(join(bin, 'node'), 'echo v20.0.0')
  script(join(bin, 'npm'), `echo "$*" >>"${folder}/npm-calls"; ${npm} && echo {} >node_modules/.package-lock.json`)
  return {
    folder,
    dir,
    run: (args: string[] = [], path = join(dir, 'trade2026'), env: NodeJS.ProcessEnv = {}) =>
      start(path, args, join(folder, 'elsewhere'), {
        PATH: `${bin}:/usr/bin:/bin`,
        HOME: join(folder, 'home'),
        REAL_NODE: process.execPath,
        ...env,
      }),
    npmCalls: () =>
      existsSync(`${folder}/npm-calls`) ? readFileSync(`${folder}/npm-calls`, 'utf8').split('\n').length - 1 : 0,
  }
}

function script(path: string, body: string): void {
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
}

void t.test('P1.01 the first start installs, the next ones do not, from any folder and through links', async (t) => {
  const { dir, folder, run, npmCalls } = project(t)
  const first = await run(['demo', 'two words', '*'])
  t.strictSame(JSON.parse(first.stdout), ['demo', 'two words', '*'])
  t.equal(first.stderr, 'trade2026: installing dependencies…\n')
  t.equal(npmCalls(), 1)

  symlinkSync('project', join(folder, 'alias'))
  symlinkSync('../alias/trade2026', join(folder, 'bin/trade2026'))
  for (const path of [join(dir, 'trade2026'), join(folder, 'bin/trade2026')]) {
    t.strictSame(await run(['up'], path), { code: 0, stdout: '["up"]\n', stderr: '' })
  }
  t.strictSame(await run([], undefined, { HOME: '' }), { code: 0, stdout: '[]\n', stderr: '' })
  t.equal(npmCalls(), 1)
})

void t.test('P1.01 another package-lock.json is installed, even one with an old date', async (t) => {
  const { dir, run, npmCalls } = project(
    t,
    'rm -rf node_modules && mkdir -p node_modules/node/bin && ln -s "$REAL_NODE" node_modules/node/bin/node',
  )
  await run()
  writeFileSync(join(dir, 'package-lock.json'), '{"packages":{}}')
  utimesSync(join(dir, 'package-lock.json'), 1e9, 1e9)
  t.equal((await run()).code, 0)
  t.equal(npmCalls(), 2)
  await run()
  t.equal(npmCalls(), 2)
})

void t.test('P1.01 an install by hand counts', async (t) => {
  const { dir, run, npmCalls } = project(t)
  mkdirSync(join(dir, 'node_modules/node/bin'), { recursive: true })
  symlinkSync(process.execPath, join(dir, 'node_modules/node/bin/node'))
  writeFileSync(join(dir, 'node_modules/.package-lock.json'), '{}')
  t.equal((await run()).code, 0)
  t.equal(npmCalls(), 0)
})

void t.test('P1.01 the packages of another project, to which node_modules is a link, stay', async (t) => {
  const { dir, folder, run } = project(
    t,
    'rm -rf node_modules/* && mkdir -p node_modules/node/bin && ln -s "$REAL_NODE" node_modules/node/bin/node',
  )
  mkdirSync(join(folder, 'other'))
  writeFileSync(join(folder, 'other/package'), '')
  symlinkSync('../other', join(dir, 'node_modules'))
  t.equal((await run()).code, 0)
  t.ok(existsSync(join(folder, 'other/package')))
  t.notOk(existsSync(join(folder, 'other/node')))
})

void t.test(
  'P1.01 two first starts at once install once; a lock left by a killed start does not hold them up',
  async (t) => {
    const { dir, run, npmCalls } = project(
      t,
      'sleep 0.3; mkdir -p node_modules/node/bin && ln -s "$REAL_NODE" node_modules/node/bin/node',
    )
    symlinkSync('999999999', join(dir, '.installing'))
    const results = await Promise.all([run(['a']), run(['b'])])
    t.strictSame(
      results.map(({ code, stdout }) => [code, stdout]),
      [
        [0, '["a"]\n'],
        [0, '["b"]\n'],
      ],
    )
    t.equal(npmCalls(), 1)
    t.notOk(existsSync(join(dir, '.installing')))
  },
)

void t.test('P1.01 what is missing is said, with exit code 69', async (t) => {
  const failing = await project(t, 'echo "no network" >&2; false').run()
  t.equal(failing.code, 69)
  t.match(failing.stderr, /no network\ntrade2026: npm ci failed/)

  const withoutScripts = await project(t, 'mkdir node_modules').run()
  t.equal(withoutScripts.code, 69)
  t.match(withoutScripts.stderr, /install Node\.js 24/)

  const { dir, folder, run } = project(t)
  for (const tool of ['dirname', 'readlink', 'cmp']) symlinkSync(`/usr/bin/${tool}`, join(folder, 'elsewhere', tool))
  const withoutNode = await run([], join(dir, 'trade2026'), { PATH: join(folder, 'elsewhere') })
  t.equal(withoutNode.code, 69)
  t.match(withoutNode.stderr, /needs Node\.js 20 or newer with npm/)
})

void t.test('P1.01 a system Node of 24 or newer is used as it is', async (t) => {
  const { folder, run } = project(t, 'mkdir -p node_modules')
  script(join(folder, 'bin/node'), 'case $1 in --version) echo v24.1.0 ;; *) echo "system node $2" ;; esac')
  t.strictSame((await run(['lag'])).stdout, 'system node lag\n')
})

void t.test('P1.01 npm scripts run on the Node that npm ci brings', async (t) => {
  const root = new URL('../..', import.meta.url).pathname
  const { stdout } = await start('npm', ['exec', '--call', 'node --version'], root, process.env)
  t.ok(Number(/^v(\d+)/.exec(stdout)?.[1]) >= 24, stdout)
})
