import t from 'tap'
import { type Evidence, judge } from '../../src/runtime/judge.ts'
import { LagTracker } from '../../src/runtime/lag.ts'
import type { HealthStatus } from '../../src/schemas/health.ts'

const thresholds = { LAG_DEGRADED_MS: 2_000, LAG_UNHEALTHY_MS: 30_000, STORAGE_REFUSE_PERCENT: 85 }
const well: Evidence = {
  isConnected: true,
  probeAgeMs: 1_900,
  readingAgeMs: 900,
  phase: 'active',
  phaseMs: 10_000,
  holder: undefined,
  lags: [{ stream: 'RISK', messages: 3, ms: 1_999 }],
  blocked: undefined,
  databaseProblem: undefined,
  isCommitting: false,
  redisProblem: undefined,
  warnings: [],
  fullest: { stream: 'RISK', usedPercent: 84.9 },
}
const lag = (ms: number) => ({ lags: [{ stream: 'RISK', messages: 3, ms }] })
const full = (usedPercent: number) => ({ fullest: { stream: 'RISK', usedPercent } })

void t.test('P1.14 what each piece of evidence means', (t) => {
  const rows: [Partial<Evidence>, HealthStatus, string?, HealthStatus?][] = [
    [{}, 'healthy'],
    [{ phase: 'open' }, 'healthy'],
    [{ isConnected: false }, 'unhealthy', 'NATS disconnected'],
    [{ isConnected: false, probeAgeMs: 60_000, readingAgeMs: 60_000 }, 'unhealthy', 'NATS disconnected'],
    [{ probeAgeMs: 3_500 }, 'healthy'],
    [{ probeAgeMs: 3_600 }, 'unhealthy', 'no successful write for 3.6 s'],
    [{ readingAgeMs: 5_100 }, 'degraded', 'state of the streams not known for 5.1 s'],
    [{ phase: 'stopped' }, 'unhealthy', 'stopped'],
    [{ phase: 'recovering', phaseMs: 1_200 }, 'degraded', 'recovering for 1.2 s'],
    [{ phase: 'waiting', phaseMs: 700 }, 'degraded', 'asking for the lease for 0.7 s'],
    [{ phase: 'waiting', holder: 'a (pid 1)' }, 'healthy', 'stand-by: a (pid 1) is active'],
    [{ ...lag(60_000), isCommitting: true }, 'degraded', 'lag of 3 messages in RISK, the oldest 60.0 s old'],
    [{ databaseProblem: 'Delta Lake unavailable: x' }, 'unhealthy', 'Delta Lake unavailable: x'],
    [{ databaseProblem: 'x', isCommitting: true }, 'unhealthy', 'x'],
    [{ redisProblem: 'Redis disconnected' }, 'degraded', 'Redis disconnected'],
    [{ warnings: ['KV LIMITS foo means nothing'] }, 'degraded', 'KV LIMITS foo means nothing'],
    [lag(2_000), 'degraded', 'lag of 3 messages in RISK, the oldest 2.0 s old'],
    [lag(29_999), 'degraded', 'lag of 3 messages in RISK, the oldest 30.0 s old'],
    [lag(30_000), 'unhealthy', 'lag of 3 messages in RISK, the oldest 30.0 s old'],
    [lag(1_000), 'degraded', 'lag of 3 messages in RISK, the oldest 1.0 s old', 'degraded'],
    [lag(999), 'healthy', '', 'degraded'],
    [lag(15_000), 'unhealthy', 'lag of 3 messages in RISK, the oldest 15.0 s old', 'unhealthy'],
    [lag(14_999), 'degraded', 'lag of 3 messages in RISK, the oldest 15.0 s old', 'unhealthy'],
    [{ blocked: { reason: 'X: full', ms: 0 } }, 'degraded', 'X: full'],
    [{ blocked: { reason: 'X: full', ms: 30_000 } }, 'unhealthy', 'X: full'],
    [
      { ...lag(30_000), blocked: { reason: 'X: full', ms: 29_900 } },
      'unhealthy',
      'X: full; lag of 3 messages in RISK, the oldest 30.0 s old',
    ],
    [
      { ...lag(30_000), isCommitting: true, blocked: { reason: 'X: full', ms: 0 } },
      'degraded',
      'X: full; lag of 3 messages in RISK, the oldest 30.0 s old',
    ],
    [full(85), 'degraded', 'stream RISK is 85.0 % full'],
    [full(95), 'unhealthy', 'stream RISK is 95.0 % full'],
    [{ ...full(85), isConnected: false }, 'unhealthy', 'NATS disconnected; stream RISK is 85.0 % full'],
  ]
  for (const [evidence, status, reasons = '', previous = 'healthy'] of rows) {
    const judged = judge({ ...well, ...evidence }, thresholds, previous)
    t.equal(judged.status, status, `${JSON.stringify(evidence)} after ${previous}`)
    t.equal(judged.reasons.join('; '), reasons)
  }
  t.end()
})

void t.test('P1.14 the age of a lag', async (t) => {
  const reading = (lastSequence: number, readMs: number) => ({ lastSequence, readMs })

  await t.test('P1.14 grows by itself while nothing moves, delivered or not', (t) => {
    const tracker = new LagTracker()
    t.same(tracker.read(undefined, 0, undefined, 1_000), { messages: 0, ms: 0 }, 'nothing is known yet')
    t.same(tracker.read(reading(5, 1_000), 5, undefined, 1_000), { messages: 0, ms: 0 })
    t.same(tracker.read(reading(7, 2_000), 5, undefined, 2_100), { messages: 2, ms: 100 })
    t.same(tracker.read(reading(7, 2_000), 5, undefined, 9_000), { messages: 2, ms: 7_000 }, 'an old reading too')
    t.same(tracker.read(reading(9, 9_500), 5, undefined, 10_000), { messages: 4, ms: 8_000 })
    t.same(tracker.read(reading(9, 9_500), 7, undefined, 10_000), { messages: 2, ms: 500 }, 'that of the oldest left')
    t.same(tracker.read(reading(9, 9_500), 9, undefined, 10_000), { messages: 0, ms: 0 })
    t.end()
  })

  await t.test('P1.14 of one that moves, but too slowly, grows too', (t) => {
    const tracker = new LagTracker()
    const ages: number[] = []
    // 100 messages a second come, 50 are settled.
    for (let second = 0; second <= 60; second += 1)
      ages.push(tracker.read(reading(100 * second, 1_000 * second), 50 * second, undefined, 1_000 * second).ms)
    t.ok(ages.every((age, index) => age >= (ages[index - 1] ?? 0)))
    t.ok((ages[60] ?? 0) >= 29_000)
    t.end()
  })

  await t.test('P1.14 is that of the message itself where it is known', (t) => {
    const tracker = new LagTracker()
    t.same(tracker.read(reading(7, 2_000), 5, 1_500, 2_000), { messages: 2, ms: 1_500 })
    t.same(tracker.read(reading(7, 2_000), 7, 1_500, 2_000), { messages: 0, ms: 0 })
    t.same(tracker.read(reading(7, 2_000), 9, undefined, 2_000), { messages: 0, ms: 0 }, 'ahead of an old reading')
    t.end()
  })

  await t.test('P1.14 starts anew with a stream that was made anew', (t) => {
    const tracker = new LagTracker()
    tracker.read(reading(700, 2_000), 700, undefined, 2_000)
    t.same(tracker.read(reading(3, 4_000), 1, undefined, 5_000), { messages: 2, ms: 1_000 })
    t.end()
  })

  await t.test('P1.14 of a reader that stands still for days takes no memory and is right', (t) => {
    const tracker = new LagTracker()
    let age = 0
    for (let second = 1; second <= 200_000; second += 1)
      age = tracker.read(reading(second, 1_000 * second), 0, undefined, 1_000 * second).ms
    t.equal(age, 199_999_000)
    t.end()
  })
})
