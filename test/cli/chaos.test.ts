import t from 'tap'
import { crashPoints } from '../../src/base/crash-points.ts'
import { AnswerCount } from '../../src/cli/answer-count.ts'
import { faultSchedule, type FaultTarget, pointsOf } from '../../src/cli/chaos-schedule.ts'
import { ensureStreams } from '../../src/runtime/streams.ts'
import { runCli } from '../support/cli.ts'
import { connectTestNats, startTestNats, until } from '../support/stack.ts'

const targets: readonly FaultTarget[] = [
  { label: 'chain', workers: ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] },
  { label: 'sinks', workers: ['tick-sink', 'alt-sink', 'execution-sink'] },
  { label: 'janitor', workers: ['janitor'] },
  { label: 'nats-server', workers: [] },
]

function faults(seed: number, count: number) {
  const schedule = faultSchedule(seed, targets)
  return Array.from({ length: count }, () => schedule.next().value)
}

void t.test('P4.13 a seed gives the same faults; every kind, target and point comes', (t) => {
  t.same(faults(7, 300), faults(7, 300))
  t.notSame(faults(7, 300), faults(8, 300))
  const many = faults(1, 3_000)
  const seen = (of: (fault: (typeof many)[number]) => string | undefined) => [...new Set(many.map(of))].sort()
  t.same(
    seen(({ kind }) => kind),
    ['crash', 'cut', 'kill', 'lost-answers', 'pause', 'terminate'],
  )
  t.same(
    seen(({ target }) => target),
    ['chain', 'janitor', 'nats', 'nats-server', 'sinks'],
  )
  t.same(
    seen(({ point }) => point).filter((point) => point !== undefined),
    Object.keys(crashPoints).sort(),
  )
  for (const { kind, target, point } of many)
    if (kind === 'crash' && point !== undefined) {
      const { workers = [] } = targets.find(({ label }) => label === target) ?? {}
      t.ok(pointsOf({ label: target, workers }).includes(point), `${target} comes by ${point}`)
    }
  t.end()
})

void t.test('P4.13 an answer that is missing and one that comes twice are counted', async (t) => {
  const server = await startTestNats(t)
  const nats = await connectTestNats(t, server.url)
  await ensureStreams(nats, 512 * 2 ** 20)
  const answers = new AnswerCount(0)
  await answers.follow(nats, (error) => t.fail(error.message))
  t.teardown(() => answers.stop())
  const { headers } = await import('@nats-io/transport-node')
  const answer = async (srcSeq: number, part?: string) => {
    const lines = headers()
    lines.set('Src-Seq', String(srcSeq))
    if (part !== undefined) lines.set('In-Part', part)
    await nats.js.publish('w.executions.X', '{}', { headers: lines })
  }
  await answer(1)
  await answer(2, '1/2')
  await answer(2, '2/2')
  await answer(0)
  await answer(4)
  await answer(4)
  await answer(5)
  await until('all to be counted', () => answers.last === 5)
  t.match(answers, { answered: 4, skipped: 1, doubled: 1 })
})

for (const layout of ['compact', 'separate'])
  void t.test(`P4.13 chaos for a short time, ${layout}`, async (t) => {
    const args = ['chaos', '--minutes', '0.25', '--rate', '100', '--layout', layout, '--json']
    const { code, stdout, stderr } = await runCli(args)
    t.equal(code, 0, stderr)
    const { seed, faults, commands, answered, ...report } = JSON.parse(stdout) as Record<string, unknown> & {
      faults: unknown[]
    }
    t.match(report, { ok: true, lost: 0, doubled: 0, problems: [], verify: { ok: true } }, `seed ${String(seed)}`)
    t.ok(faults.length > 0, 'there were faults')
    t.equal(answered, commands)
    t.ok(Number(commands) > 500, 'there was load')
  })

void t.test('P4.13 what cannot be meant is refused', async (t) => {
  t.match(await runCli(['chaos', '--minutes', '0']), { code: 64, stderr: /--minutes/ })
})
