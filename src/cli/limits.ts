import type { Command } from 'commander'
import { decimalTextOf, parseDecimal } from '../base/decimal.ts'
import { PipelineError } from '../base/errors.ts'
import { builtInLimits } from '../domain/risk-rules.ts'
import { readLimitsEntries } from '../runtime/limits-bucket.ts'
import type { Nats } from '../runtime/nats.ts'
import { limitEntries } from '../schemas/config-files.ts'
import { type LimitSet, parseLimitsKey } from '../schemas/limits.ts'
import { readLimits, readLimitsFile } from './config-folder.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { checkEntry, readEntry, untilInForce, writeEntry, type WrittenEntry } from './limits-change.ts'
import { timeoutOption } from './options.ts'
import { printJson, printLine } from './output.ts'
import { numeric, renderTable } from './table.ts'

interface GetOptions extends NatsOption {
  readonly json: boolean
}

interface ChangeOptions extends GetOptions {
  readonly timeoutMs: number
}

type LimitName = keyof LimitSet

const limitNames = Object.keys(builtInLimits) as readonly LimitName[]
const keyHelp = 'default, account.<account> or symbol.<SYMBOL>'

export function addLimitsCommand(program: Command): void {
  const limits = program
    .command('limits')
    .description('look at the limits in force and change them while everything runs')
    .addHelpText(
      'after',
      `
Examples:
  trade2026 limits get                                         all entries
  trade2026 limits get account.alice                           what holds for alice, and where it comes from
  trade2026 limits set account.alice maxPosition=500 maxOpenOrders=20
  trade2026 limits set account.alice maxPosition=              back to the default
  trade2026 limits set symbol.DOGEUSDT blocked=true
  trade2026 limits reload                                      make KV LIMITS what config/limits.json says

Limits: ${limitNames.join(' ')}.
An account takes what its entry leaves out from default; an order must pass its account’s and its symbol’s.
Halts (\`trade2026 halt\`) are left as they are.`,
    )
  const subcommand = (name: string, about: string) =>
    limits.command(name).description(about).addOption(natsOption()).addOption(jsonOption())
  subcommand('get', 'show the limits').argument('[key]', keyHelp).action(get)
  subcommand('set', 'change limits of one entry; what is not given stays')
    .argument('<key>', keyHelp)
    .argument('<limit=value...>', 'no value: the limit is removed from the entry')
    .addOption(timeoutOption())
    .action(set)
  subcommand('reload', 'make KV LIMITS agree with a file')
    .argument('[file]', 'unset: config/limits.json')
    .addOption(timeoutOption())
    .action(reload)
}

interface StoredSet {
  readonly limits: LimitSet
  readonly revision: number
}

interface Stored {
  readonly sets: ReadonlyMap<string, StoredSet>
  /** Revision of every key that has or had an entry. */
  readonly revisions: ReadonlyMap<string, number>
  /** Keys that have no effect. */
  readonly strays: readonly string[]
}

async function readStored(nats: Nats): Promise<Stored> {
  const entries = await readLimitsEntries(nats)
  const sets = new Map<string, StoredSet>()
  const strays: string[] = []
  for (const { key, text, revision } of [...entries.values()].sort(
    (a, b) => rankOf(a.key) - rankOf(b.key) || (a.key < b.key ? -1 : 1),
  )) {
    if (text === null) continue
    const entry = readEntry(key, text)
    if (!entry) strays.push(key)
    else if (entry.kind === 'limits' && entry.limits) sets.set(key, { limits: entry.limits, revision })
  }
  return { sets, revisions: new Map([...entries].map(([key, { revision }]) => [key, revision])), strays }
}

/** `default` stands first. */
function rankOf(key: string): number {
  return key === 'default' ? 0 : 1
}

/** @throws PipelineError USAGE */
function checkKey(key: string): void {
  if (parseLimitsKey(key)?.kind !== 'limits')
    throw new PipelineError('USAGE', `there are no limits under ${key}; say ${keyHelp}, symbols in capitals`)
}

function textOf(value: LimitSet[LimitName]): string {
  return value === undefined ? '-' : String(value)
}

async function get(key: string | undefined, options: GetOptions): Promise<void> {
  if (key !== undefined) checkKey(key)
  await withNats(options, [], async (nats) => {
    const { sets } = await readStored(nats)
    if (key === undefined) showAll(sets, options)
    else showOne(key, sets, options)
  })
}

function showAll(sets: ReadonlyMap<string, StoredSet>, { json }: GetOptions): void {
  if (json) {
    printJson({ entries: [...sets].map(([key, { limits, revision }]) => ({ key, revision, limits })) })
    return
  }
  const rows = [...sets].map(([key, { limits, revision }]) => [
    key,
    ...limitNames.map((name) => textOf(limits[name])),
    String(revision),
  ])
  printLine(renderTable(['key', ...limitNames.map(numeric), numeric('revision')], rows))
}

function showOne(key: string, sets: ReadonlyMap<string, StoredSet>, { json }: GetOptions): void {
  const { limits: own = {}, revision } = sets.get(key) ?? {}
  const fallbacks: [from: string, limits: LimitSet][] = [[key, own]]
  if (!key.startsWith('symbol.')) {
    if (key !== 'default') fallbacks.push(['default', sets.get('default')?.limits ?? {}])
    fallbacks.push(['built in', builtInLimits])
  }
  const found = limitNames.map((name) => {
    const [from, limits] = fallbacks.find(([, candidate]) => candidate[name] !== undefined) ?? []
    return { name, value: limits?.[name], from }
  })
  if (json) {
    const effective = Object.fromEntries(found.map(({ name, value }) => [name, value]))
    printJson({ key, revision: revision ?? null, limits: own, effective })
  } else
    printLine(
      renderTable(
        ['limit', numeric('value'), 'from'],
        found.map(({ name, value, from = 'no limit' }) => [name, textOf(value), from]),
      ),
    )
}

/** One limit of one entry that is not what it was. */
interface Difference {
  readonly key: string
  readonly limit: LimitName
  readonly was: LimitSet[LimitName] | null
  readonly is: LimitSet[LimitName] | null
}

function differences(key: string, was: LimitSet = {}, is: LimitSet = {}): Difference[] {
  return limitNames
    .filter((limit) => canonical(was[limit]) !== canonical(is[limit]))
    .map((limit) => ({ key, limit, was: was[limit] ?? null, is: is[limit] ?? null }))
}

function canonical(value: LimitSet[LimitName]): string | undefined {
  if (value === undefined || typeof value === 'boolean') return value === undefined ? value : String(value)
  const decimal = parseDecimal(String(value))
  return decimal && decimalTextOf(decimal.mantissa, decimal.scale)
}

async function set(key: string, assignments: readonly string[], options: ChangeOptions): Promise<void> {
  checkKey(key)
  const changes = assignments.map(parseAssignment)
  await withNats(options, ['RISK'], async (nats) => {
    const { sets, revisions } = await readStored(nats)
    const was = sets.get(key)?.limits ?? {}
    const next = new Map<string, unknown>(Object.entries(was))
    for (const { name, value } of changes)
      if (value === undefined) next.delete(name)
      else next.set(name, value)
    const is: LimitSet = Object.fromEntries(next)
    checkEntry(key, is)
    const differing = differences(key, was, is)
    const write = { key, text: next.size === 0 ? null : JSON.stringify(is), revision: revisions.get(key) }
    await change(nats, differing, differing.length > 0 ? [write] : [], [], options)
  })
}

/** @throws PipelineError USAGE naming the limit */
function parseAssignment(assignment: string): { name: LimitName; value: string | number | boolean | undefined } {
  const [, written = '', text = ''] = /^([^=]*)=(.*)$/.exec(assignment) ?? []
  const name = limitNames.find((candidate) => candidate === written)
  if (name === undefined)
    throw new PipelineError('USAGE', `${assignment}: say limit=value; there are ${limitNames.join(' ')}`)
  if (text === '') return { name, value: undefined }
  if (name === 'blocked') {
    if (text === 'true' || text === 'false') return { name, value: text === 'true' }
    throw new PipelineError('USAGE', `blocked must be true or false, not ${text}`)
  }
  const decimal = parseDecimal(text)
  const plain = decimal && decimal.mantissa >= 0n ? decimalTextOf(decimal.mantissa, decimal.scale) : undefined
  if (plain === undefined || (name === 'maxOpenOrders' && !/^\d{1,15}$/.test(plain)))
    throw new PipelineError(
      'USAGE',
      `${name} must be a ${name === 'maxOpenOrders' ? 'whole ' : ''}number, 0 or more, not ${text}`,
    )
  // A double may not hold every digit; text does.
  return { name, value: String(Number(plain)) === plain ? Number(plain) : plain }
}

async function reload(file: string | undefined, options: ChangeOptions): Promise<void> {
  const config = file === undefined ? readLimits() : readLimitsFile(file)
  const wanted = new Map(limitEntries(config))
  await withNats(options, ['RISK'], async (nats) => {
    const { sets, revisions, strays } = await readStored(nats)
    const keys = [...new Set([...wanted.keys(), ...sets.keys()])]
    const writes: Write[] = []
    const changed = keys.flatMap((key) => {
      const is = wanted.get(key)
      const differing = differences(key, sets.get(key)?.limits, is)
      const text = is === undefined ? null : JSON.stringify(is)
      if (differing.length > 0) writes.push({ key, text, revision: revisions.get(key) })
      return differing
    })
    await change(nats, changed, writes, strays, options)
  })
}

interface Write {
  readonly key: string
  readonly text: string | null
  /** Of what it replaces. */
  readonly revision: number | undefined
}

/** Writes entries, waits until the last is in force, and prints what has changed. */
async function change(
  nats: Nats,
  changed: readonly Difference[],
  writes: readonly Write[],
  strays: readonly string[],
  { json, timeoutMs }: ChangeOptions,
): Promise<void> {
  for (const key of strays) await writeEntry(nats, key, null)
  let last: WrittenEntry | undefined
  for (const { key, text, revision = 0 } of writes) last = await writeEntry(nats, key, text, revision)
  const taken = last && (await untilInForce(nats, last, timeoutMs))
  if (json) {
    printJson({ changed, removedKeys: strays, ...(taken ?? { revision: null, cmdSeq: null, recordAfterMs: null }) })
    return
  }
  for (const key of strays) printLine(`${key} is removed: it meant nothing`)
  if (changed.length > 0)
    printLine(
      renderTable(
        ['key', 'limit', numeric('was'), numeric('is')],
        changed.map(({ key, limit, was, is }) => [key, limit, textOf(was ?? undefined), textOf(is ?? undefined)]),
      ),
    )
  if (taken) printLine(`in force after ${taken.recordAfterMs} ms (record ${taken.cmdSeq}, revision ${taken.revision})`)
  else if (strays.length === 0) printLine('nothing to change')
}
