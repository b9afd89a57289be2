import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { errorCodes, exitCodes } from '../../src/base/errors.ts'
import { builtInLimits } from '../../src/domain/risk-rules.ts'
import { DoorError, type DoorErrorCode } from '../../src/http/gateway-answers.ts'
import { definitionOf, instrumentConfigSchema } from '../../src/schemas/instrument.ts'
import { limitSetSchema } from '../../src/schemas/limits.ts'
import { rejectReasons } from '../../src/schemas/reject-reasons.ts'
import { settingsSchema } from '../../src/schemas/settings.ts'
import { workerSpecs } from '../../src/subjects/contract.ts'
import { runCli } from '../support/cli.ts'
import { root } from './imports.ts'

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const readme = read('README.md')
const errors = read('docs/errors.md')

type Row = Readonly<Record<string, string>>

/** The first table below a heading: its rows by the titles of the columns, without code marks. */
function tableBelow(document: string, heading: string): Row[] {
  const lines = document.split('\n')
  const start = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, '') === heading)
  const first = lines.findIndex((line, index) => index > start && line.startsWith('|'))
  if (start === -1 || first === -1) throw new RangeError(`no table below ${heading}`)
  const length = lines.slice(first).findIndex((line) => !line.startsWith('|'))
  const [titles = [], , ...rows] = lines.slice(first, length === -1 ? undefined : first + length).map(cellsOf)
  return rows.map((cells) => Object.fromEntries(titles.map((title, index) => [title, cells[index] ?? ''])))
}

function cellsOf(line: string): string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.replaceAll('\\|', '|').replaceAll('`', '').trim())
}

const column = (rows: readonly Row[], title: string) => rows.map((row) => row[title] ?? '')
/** Rows with an empty cell. */
const withGaps = (rows: readonly Row[]) => rows.filter((row) => Object.values(row).includes(''))
const sorted = (names: Iterable<string>) => [...names].sort()

void t.test('P1.24 docs/errors.md explains every reject reason, and no other', (t) => {
  const rows = tableBelow(errors, 'Reject reasons')
  t.same(sorted(column(rows, 'reason')), sorted(rejectReasons))
  t.same(withGaps(rows), [])
  t.end()
})

void t.test('P1.24 docs/errors.md explains every error code with its exit code, and no other', (t) => {
  const rows = tableBelow(errors, 'Errors')
  t.same(sorted(column(rows, 'code')), sorted(errorCodes))
  t.same(withGaps(rows), [])
  const given = read('src/cli/main.ts').matchAll(/^ {2}([A-Z_]+): exitCodes\.(\w+),$/gm)
  const names = new Map(Array.from(given, ([, code = '', name = '']) => [code, name]))
  t.ok(names.size > 0, 'the exit codes are found')
  for (const { code = '', 'exit code': exitCode } of rows)
    t.equal(exitCode, String(exitCodes[(names.get(code) ?? 'failed') as keyof typeof exitCodes]), code)
  t.end()
})

void t.test('P1.24 docs/errors.md has every code of the HTTP door with its status and Retry-After', (t) => {
  const rows = tableBelow(errors, 'HTTP errors')
  const codes = Array.from(
    read('src/http/gateway-answers.ts').matchAll(/^ {2}([A-Z_]+): \d{3},$/gm),
    ([, code]) => code as DoorErrorCode,
  )
  t.ok(codes.includes('ROUTE_UNKNOWN'), 'the codes are found')
  const expected = codes.map((code) => {
    const { status, retryAfterSeconds } = new DoorError(code, '')
    return [code, String(status), retryAfterSeconds === undefined ? '-' : `${retryAfterSeconds} s`]
  })
  t.same(rows.map((row) => [row['error'], row['status'], row['Retry-After']]).sort(), expected.sort())
  t.end()
})

void t.test('P1.24 the README names every setting with its default, unit, range and meaning, and no other', (t) => {
  interface SettingSchema {
    readonly description: string
    readonly default: string | number | boolean
    readonly minimum?: number
    readonly maximum?: number
  }
  const schemas = settingsSchema.properties as unknown as Readonly<Record<string, SettingSchema>>
  const rows = tableBelow(readme, 'Settings')
  t.same(sorted(column(rows, 'setting')), sorted(Object.keys(schemas)))
  const units: readonly (readonly [ending: string, unit: string])[] = [
    ['_MS', 'ms'],
    ['_BYTES', 'bytes'],
    ['_PERCENT', '%'],
  ]
  for (const row of rows) {
    const name = row['setting'] ?? ''
    const schema = schemas[name]
    if (!schema) continue
    t.equal(row['default'], schema.default === '' ? 'unset' : String(schema.default), `${name}: default`)
    t.ok(row['meaning']?.startsWith(schema.description), `${name}: meaning, "${schema.description}"`)
    for (const [ending, unit] of units) if (name.endsWith(ending)) t.equal(row['unit'], unit, `${name}: unit`)
    if (schema.minimum !== undefined && schema.maximum !== undefined) {
      const [least, most] = [schema.minimum, schema.maximum].map((bound) => bound.toLocaleString('en'))
      t.equal(row['range'], `${least} to ${most}`, `${name}: range`)
    }
  }
  t.end()
})

void t.test('P1.24 the README names every limit, instrument key and port, and no other', (t) => {
  const limits = tableBelow(readme, 'Limits')
  t.same(sorted(column(limits, 'key')), sorted(Object.keys(limitSetSchema.properties)))
  for (const { key = '', default: fallback } of limits)
    t.equal(fallback?.replaceAll(',', ''), String(builtInLimits[key as keyof typeof builtInLimits]), key)

  const instruments = tableBelow(readme, 'Instruments')
  t.same(sorted(column(instruments, 'key')), sorted(Object.keys(instrumentConfigSchema.properties)))
  const builtIn = definitionOf({ default: {}, instruments: {} }, 'X') as unknown as Readonly<
    Record<string, string | number>
  >
  for (const { key = '', default: fallback } of instruments) t.equal(fallback, String(builtIn[key] ?? 'none'), key)

  const ports = new Map(tableBelow(readme, 'Ports').map((row) => [row['process'], row['port']]))
  for (const { name, httpPort } of workerSpecs) t.equal(ports.get(name), String(httpPort), name)
  t.match(read('deploy/nats.conf'), `\nport: ${ports.get('nats-server')}\n`)
  t.match(read('deploy/valkey.conf'), `\nport ${ports.get('valkey')}\n`)
  t.equal(ports.get('minio'), '9000')
  t.equal(ports.size, workerSpecs.length + 3)
  t.end()
})

interface Usage {
  /** As the help prints it, without `[options]`. */
  readonly usage: string
  readonly options: readonly string[]
}

/** What `--help` says of a command, or of all below it. */
async function usagesBelow(path: readonly string[]): Promise<Usage[]> {
  const { stdout } = await runCli([...path, '--help'])
  const section = (title: string) => stdout.split(`\n${title}:\n`)[1]?.split('\n\n')[0] ?? ''
  const names = Array.from(section('Commands').matchAll(/^ {2}([a-z-]+)/gm), ([, name = '']) => name)
  if (names.length > 0) {
    const below = names.filter((name) => name !== 'help').map((name) => usagesBelow([...path, name]))
    return (await Promise.all(below)).flat()
  }
  const usage = /^Usage: trade2026 (.*)/.exec(stdout)?.[1]?.replace('[options]', '').replace(/\s+/g, ' ').trim() ?? ''
  const options = Array.from(section('Options').matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm), ([, name = '']) => name)
  return [{ usage, options: sorted(options.filter((name) => name !== '--help')) }]
}

let usages: Promise<Usage[]> | undefined
/** Asking every command for its help takes seconds. */
const allUsages = () => (usages ??= usagesBelow([]))

void t.test('P1.24 the README names every command with its arguments and options, and no other', async (t) => {
  const documented = tableBelow(readme, 'Commands').map(({ command = '', options = '' }) => ({
    usage: command,
    options: sorted(options.match(/--[a-z-]+/g) ?? []),
  }))
  const byUsage = (a: Usage, b: Usage) => (a.usage < b.usage ? -1 : 1)
  const actual = await allUsages()
  t.ok(
    actual.some(({ usage }) => usage === 'worker <names...>'),
    'the commands are found',
  )
  t.same(documented.sort(byUsage), actual.sort(byUsage))
})

const notOurs: ReadonlySet<string> = new Set(['node_modules', '.tap', 'coverage', 'data'])
const documents = globSync('**/*.md', { cwd: root, exclude: (name) => notOurs.has(name) }).map((path) => ({
  path,
  text: read(path),
}))

/** Text without code, in which brackets mean other things. */
function withoutCode(text: string): string {
  return text.replace(/^(`{3,}).*?^\1$/gms, '').replace(/`[^`\n]*`/g, '')
}

/** The anchors that GitHub gives to headings. */
function anchorsOf(text: string): string[] {
  return Array.from(text.matchAll(/^#+ (.*)$/gm), ([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** Relative links of a document that lead nowhere. */
function brokenLinks(path: string, text: string): string[] {
  const targets = Array.from(withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g), ([, target = '']) => target)
  return targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false
    const [file = '', anchor] = target.split('#')
    const linked = file === '' ? path : join(dirname(path), file)
    if (!existsSync(join(root, linked))) return true
    return anchor !== undefined && !anchorsOf(read(linked)).includes(anchor)
  })
}

/** Files and folders of ours that a document names and that are not there. */
function missingPaths(text: string): string[] {
  const named = text.match(/(?<![\w/.-])(?:src|test|docs|config|deploy|bench|\.ci)\/[\w./-]*\w/g) ?? []
  return named.filter((path) => !existsSync(join(root, path)))
}

void t.test('P1.24 every link and every path in the documents leads somewhere', (t) => {
  t.ok(documents.length > 5, 'the documents are found')
  for (const { path, text } of documents) {
    t.same(brokenLinks(path, text), [], `links in ${path}`)
    t.same(missingPaths(text), [], `paths in ${path}`)
  }
  t.same(
    brokenLinks('docs/x.md', '[a](../README.md#settings) [b](nowhere.md) [c](../README.md#nowhere) `[d](code.md)`'),
    ['nowhere.md', '../README.md#nowhere'],
    'what is broken is seen',
  )
  t.same(missingPaths('`src/nowhere.ts`, src/base/clock.ts and `test/<folder>/<name>.test.ts`'), ['src/nowhere.ts'])
  t.end()
})

void t.test('P2.15 docs/from-the-guide.md names what there is, and a test for all that is here', async (t) => {
  const guide = read('docs/from-the-guide.md')
  const headings = Array.from(guide.matchAll(/^## (.+)$/gm), ([, heading = '']) => heading)
  const rows = headings.flatMap((heading) => tableBelow(guide, heading))
  t.ok(rows.length > 20)
  t.same(
    rows.filter((row) => !/^(here|otherwise|here, otherwise|to come)$/.test(row['state'] ?? '')),
    [],
    'a state each',
  )
  const unproven = rows.filter((row) => row['state'] !== 'to come' && !row['shown by']?.includes('.test.ts'))
  t.same(unproven, [], 'a test each')

  const commands = (await allUsages()).map(({ usage }) => usage.split(' <')[0]?.split(' [')[0])
  const sources = [...globSync('{src,deploy,bench}/**/*', { cwd: root, withFileTypes: true })]
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
  const isThere = (name: string) => {
    if (/^(src|test|docs|deploy|config|bench)\//.test(name)) return existsSync(join(root, name))
    if (name.startsWith('trade2026 ')) return commands.includes(name.slice('trade2026 '.length).split(' --')[0])
    if (/^(GET|POST) /.test(name)) return sources.some((source) => source.includes(`'${name.split(' ')[1]}'`))
    return sources.some((source) => source.includes(name.replace(/[<{].*/, '')))
  }
  const named = Array.from(guide.matchAll(/`([^`]+)`/g), ([, name = '']) => name)
  t.same(
    named.filter((name) => !isThere(name)),
    [],
    'all of it is there',
  )
})
