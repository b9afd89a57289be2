import type { Command } from 'commander'
import { exitCodes } from '../base/errors.ts'
import { settingsFrom } from '../runtime/config.ts'
import type { Nats } from '../runtime/nats.ts'
import {
  type Drift,
  ensureStreams,
  fixedBucketSettingsOf,
  fixedSettingsOf,
  isStreamNotFound,
  repairStream,
  settingDrifts,
} from '../runtime/streams.ts'
import { bucketSpecs, permissionsOf, streamSpecs, workerSpecs } from '../subjects/contract.ts'
import { jsonOption, type NatsOption, natsOption, withNats } from './connect.ts'
import { bytesText, printJson, printLine, say } from './output.ts'
import { numeric, paint, renderTable } from './table.ts'

interface StreamsOptions extends NatsOption {
  readonly apply: boolean
  readonly permissions: boolean
  readonly json: boolean
}

export function addStreamsCommand(program: Command): void {
  program
    .command('streams')
    .description('show streams and buckets, and how they differ from what the workers rely on')
    .addOption(natsOption())
    .option('--apply', 'make what is missing and change what differs, as far as the server allows', false)
    .option('--permissions', 'print the users of nats.conf and what each may do; needs no server', false)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  trade2026 streams                      what there is, and how full
  trade2026 streams --apply              make it as it should be; STREAMS_MAX_BYTES bounds the room of new streams
  trade2026 streams --permissions > users.conf

Nothing is ever deleted: how large a stream may be, and its replicas, are yours to change.
Exit code: 0 as it should be, 1 something is missing or different, 69 no server.`,
    )
    .action(streams)
}

async function streams(options: StreamsOptions): Promise<void> {
  if (options.permissions) {
    if (options.json) printJson({ users: users() })
    else printLine(renderAuthorization())
    return
  }
  const { STREAMS_MAX_BYTES: roomBytes } = settingsFrom(process.env)
  const { found, applied } = await withNats(options, [], async (nats) => {
    const applied = options.apply ? await apply(nats, roomBytes) : undefined
    return { found: await inspect(nats), applied }
  })
  const ok = found.every(({ state }) => state === 'ok')
  if (options.json) printJson(documentOf(ok, found, applied))
  else show(ok, found, applied)
  if (!ok) process.exitCode = exitCodes.failed
}

/** A stream, or the stream behind a bucket. */
interface Target {
  readonly name: string
  readonly kind: 'stream' | 'bucket'
  /** Its name on the server. */
  readonly stream: string
  readonly settings: Record<string, unknown>
}

const targets: readonly Target[] = [
  ...streamSpecs.map((spec) => ({
    name: spec.name,
    kind: 'stream' as const,
    stream: spec.name,
    settings: fixedSettingsOf(spec),
  })),
  ...bucketSpecs.map((spec) => ({
    name: spec.name,
    kind: 'bucket' as const,
    stream: `KV_${spec.name}`,
    settings: fixedBucketSettingsOf(spec),
  })),
]

interface Found extends Target {
  readonly state: 'ok' | 'drift' | 'missing'
  readonly drifts: readonly Drift[]
  readonly info: Awaited<ReturnType<typeof infoOf>>
}

async function infoOf(nats: Nats, stream: string) {
  try {
    return await nats.jsm.streams.info(stream)
  } catch (error) {
    if (isStreamNotFound(error)) return undefined
    throw error
  }
}

async function inspect(nats: Nats): Promise<Found[]> {
  return Promise.all(
    targets.map(async (target) => {
      const info = await infoOf(nats, target.stream)
      const drifts = info ? settingDrifts(target.stream, target.settings, info.config) : []
      return { ...target, info, drifts, state: !info ? 'missing' : drifts.length > 0 ? 'drift' : 'ok' }
    }),
  )
}

interface Applied {
  readonly created: readonly string[]
  readonly changed: readonly { readonly stream: string; readonly field: string }[]
  readonly refused: readonly { readonly stream: string; readonly field: string; readonly reason: string }[]
}

async function apply(nats: Nats, roomBytes: number): Promise<Applied> {
  const before = await inspect(nats)
  const created = before.filter(({ state }) => state === 'missing').map(({ stream }) => stream)
  if (created.length > 0) await ensureStreams(nats, roomBytes)
  const changed: Applied['changed'][number][] = []
  const refused: Applied['refused'][number][] = []
  for (const { stream, settings, drifts } of before.filter(({ state }) => state === 'drift')) {
    const refusals = await repairStream(nats.jsm, stream, settings, drifts)
    refused.push(...refusals.map((refusal) => ({ stream, ...refusal })))
    for (const { field } of drifts)
      if (!refusals.some((refusal) => refusal.field === field)) changed.push({ stream, field })
  }
  return { created, changed, refused }
}

function usedPercentOf({ info }: Found): number | null {
  const { max_bytes: bytesMax = 0 } = info?.config ?? {}
  return info && bytesMax > 0 ? Number(((info.state.bytes / bytesMax) * 100).toFixed(2)) : null
}

function documentOf(ok: boolean, found: readonly Found[], applied: Applied | undefined): object {
  const rows = (kind: Found['kind']) =>
    found
      .filter((one) => one.kind === kind)
      .map((one) => ({
        name: one.name,
        state: one.state,
        subjects: one.info?.config.subjects ?? [],
        messages: one.info?.state.messages ?? 0,
        sizeBytes: one.info?.state.bytes ?? 0,
        sizeBytesMax: one.info?.config.max_bytes ?? null,
        usedPercent: usedPercentOf(one),
        firstSequence: one.info?.state.first_seq ?? 0,
        lastSequence: one.info?.state.last_seq ?? 0,
      }))
  return {
    ok,
    streams: rows('stream'),
    buckets: rows('bucket'),
    drifts: found.flatMap(({ drifts }) => drifts),
    ...applied,
  }
}

function show(ok: boolean, found: readonly Found[], applied: Applied | undefined): void {
  for (const name of applied?.created ?? []) say(`made ${name}`)
  for (const { stream, field } of applied?.changed ?? []) say(`changed ${field} of ${stream}`)
  for (const { stream, field, reason } of applied?.refused ?? [])
    say(`${field} of ${stream} cannot be changed in place: ${reason}`)
  const columns = [
    'name',
    'state',
    ...['messages', 'size', 'room', 'used', 'first', 'last'].map((title) => numeric(title)),
    'subjects',
  ]
  printLine(renderTable(columns, found.map(rowOf)))
  const drifts = found.flatMap((one) => one.drifts)
  if (drifts.length > 0)
    printLine(
      `\n${renderTable(
        ['differs', 'setting', 'is', 'should be'],
        drifts.map(({ stream, field, actual, expected }) => [stream, field, actual, expected]),
      )}`,
    )
  if (!ok && !applied) say('not as the workers need it; `trade2026 streams --apply` repairs what can be repaired')
  if (!ok && applied) say('what is left must be made anew, with its messages copied')
}

const tones = { ok: 'good', drift: 'warning', missing: 'bad' } as const

function rowOf(one: Found): string[] {
  const { kind, name, state, info } = one
  const title = kind === 'bucket' ? `KV ${name}` : name
  if (!info) return [title, paint(state, tones[state])]
  const { subjects, max_bytes: bytesMax } = info.config
  const used = usedPercentOf(one)
  return [
    title,
    paint(state, tones[state]),
    String(info.state.messages),
    bytesText(info.state.bytes),
    bytesMax > 0 ? bytesText(bytesMax) : 'unbounded',
    used === null ? '-' : `${used.toFixed(1)} %`,
    String(info.state.first_seq),
    String(info.state.last_seq),
    shortSubjects(subjects),
  ]
}

/** `orders.new[.*]` stands for `orders.new` and `orders.new.*`. */
function shortSubjects(subjects: readonly string[]): string {
  return subjects
    .filter((subject) => !subjects.some((other) => subject === `${other}.*`))
    .map((subject) => (subjects.includes(`${subject}.*`) ? `${subject}[.*]` : subject))
    .join(' ')
}

/** One user who may do everything, for making streams, and one a worker. */
function users() {
  const passwordOf = (user: string) => `$${user.toUpperCase().replaceAll('-', '_')}_PASSWORD`
  return [
    { user: 'admin', password: passwordOf('admin') },
    ...workerSpecs.map((spec) => ({
      user: spec.name,
      password: passwordOf(spec.name),
      permissions: permissionsOf(spec),
    })),
  ]
}

function renderAuthorization(): string {
  const list = (subjects: readonly string[]) =>
    `[\n${subjects.map((subject) => `          ${JSON.stringify(subject)}`).join('\n')}\n        ]`
  const rendered = users().map((one) => {
    const head = `    {\n      user: ${JSON.stringify(one.user)}\n      password: ${one.password}\n`
    if (!('permissions' in one)) return `${head}    }`
    const { publish, subscribe, allow_responses: mayRespond } = one.permissions
    const lines = [
      `        publish: ${list(publish)}`,
      `        subscribe: ${list(subscribe)}`,
      ...(mayRespond ? ['        allow_responses: true'] : []),
    ]
    return `${head}      permissions: {\n${lines.join('\n')}\n      }\n    }`
  })
  return `# Add this to nats.conf, or include it there. nats-server reads each password from its environment; begin them with
# a letter. \`admin\` makes the streams (\`trade2026 streams --apply\`); each worker gets its own user through NATS_URL:
# nats://risk-gate:<password>@127.0.0.1:4222
authorization: {
  users: [
${rendered.join('\n')}
  ]
}`
}
