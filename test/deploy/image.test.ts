import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { v8Flags } from '../../src/cli/process-memory.ts'
import { freePort } from '../../src/local/ports.ts'
import { run } from '../../src/local/process.ts'
import { root } from '../repo/imports.ts'
import { startTestNats, until } from '../support/stack.ts'
import { tempDir } from '../support/temp-dir.ts'

const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll('\\\n', '')
const instructions = Array.from(dockerfile.matchAll(/^\s*([A-Z]+) (.*)$/gm), ([, name = '', rest = '']) => ({
  name,
  rest,
}))
const argumentsOf = (name: string) =>
  instructions.filter((instruction) => instruction.name === name).map(({ rest }) => rest)
const commandOf = (text = '') => JSON.parse(/\[.*\]$/.exec(text)?.[0] ?? '') as string[]
/** Of each COPY from the checkout: what, and where to. */
const copies = argumentsOf('COPY')
  .filter((rest) => !rest.startsWith('--from'))
  .map((rest) => ({ sources: rest.split(' ').slice(0, -1), target: rest.split(' ').at(-1) ?? '' }))

void t.test('P3.19 the image: Node 24 as in package.json, no root, only what it needs', (t) => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  t.same(
    argumentsOf('FROM').map((from) => from.split(' ')[0]),
    Array.from({ length: 2 }, () => `node:${dependencies['node']}-bookworm-slim`),
  )
  t.same(argumentsOf('USER'), ['node'])
  t.match(argumentsOf('RUN')[0], /^npm ci --omit=dev --ignore-scripts /)
  const [all, ...admitted] = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  t.equal(all, '*')
  t.same(admitted.sort(), [...new Set(copies.flatMap(({ sources }) => sources))].map((source) => `!${source}`).sort())
  t.end()
})

void t.test('P3.19 the image: what is in it runs, answers its health check, and ends on SIGTERM', async (t) => {
  const server = await startTestNats(t)
  const app = tempDir(t)
  // The last stage, without Docker: its files, its variables, its commands. The packages are those of the checkout.
  for (const { sources, target } of copies)
    for (const source of sources) {
      const place = join(app, target === './' ? source : target)
      mkdirSync(dirname(place), { recursive: true })
      cpSync(join(root, source), place, { recursive: true })
    }
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'))
  const variables = Array.from(
    argumentsOf('ENV')
      .join(' ')
      .matchAll(/(\w+)=(\S+)/g),
    ([, name = '', value = '']) => [name, value],
  )
  const image = Object.fromEntries(variables) as Record<string, string>
  t.match(image, { NODE_ENV: 'production', HTTP_HOST: '0.0.0.0' })
  const env = {
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    ...image,
    NODE_COMPILE_CACHE: join(app, 'compile-cache'),
    HTTP_HOST: '127.0.0.1',
    NATS_URL: server.url,
    LOG_LEVEL: 'fatal',
    STREAMS_MAX_BYTES: String(512 * 2 ** 20),
  }
  await run('sh', ['-c', (argumentsOf('RUN')[1] ?? '').replaceAll('/app/', `${app}/`)], { env, cwd: app })

  const port = await freePort()
  const [command = '', ...args] = [...commandOf(argumentsOf('ENTRYPOINT')[0]), ...commandOf(argumentsOf('CMD').at(-1))]
  const [node = '', script = '', documentedPort = '', path = ''] = commandOf(argumentsOf('HEALTHCHECK')[0])
  t.same([documentedPort, path], ['8099', '/health/live'])
  const check = (checkedPath: string) =>
    run(node, [script, String(port), checkedPath], { env, cwd: app }).then(
      () => true,
      () => false,
    )
  t.equal(await check(path), false, 'not before it listens')
  const worker = spawn(command, [...args, '--port', String(port)], { env, cwd: app, stdio: 'inherit' })
  const ended = new Promise((resolve) => worker.once('close', (code, signal) => resolve(code ?? signal)))
  t.teardown(() => worker.kill('SIGKILL'))
  await until('its health check', () => check(path), 20_000)
  await until('its health', () => check('/health'), 20_000)
  const said = readFileSync(`/proc/${worker.pid}/cmdline`, 'utf8')
  for (const flag of v8Flags(['gateway'])) t.match(said, flag, 'V8 is bounded as under `up`')
  t.equal(await check('/nothing'), false, 'an answer that is an error is not healthy')
  worker.kill('SIGTERM')
  t.equal(await ended, 0)
})
