import t from 'tap'
import { errorsIn } from '../../src/cli/doctor-logs.ts'

void t.test('P2.14 what logs name an error, since a time', (t) => {
  const pino = (level: number, time: number, msg: string) => JSON.stringify({ level, time, pid: 1, name: 'w', msg })
  const sinceMs = new Date(2026, 10, 22, 9, 30, 0).getTime()
  const log = [
    'RangeError: before anything that has a time',
    pino(50, sinceMs - 1, 'old'),
    'TypeError: of then',
    pino(30, sinceMs, 'information'),
    pino(40, sinceMs, 'warning'),
    pino(50, sinceMs, 'error'),
    pino(60, sinceMs + 5, 'fatal'),
    'TypeError: x is not a function',
    '    at y (file.ts:1:1)',
    'trade2026: TimeoutError: timeout',
    'trade2026: STREAM_GAP: messages are gone',
    'trade2026: a remark',
    '{"level":50,"time":',
    '[7] 2026/11/22 09:29:59.999999 [ERR] old of nats-server',
    '[7] 2026/11/22 09:30:01.000001 [ERR] of nats-server',
    '[7] 2026/11/22 09:30:01.000001 [WRN] a warning',
    '[7] 2026/11/22 09:30:01.000001 [FTL] the end of nats-server',
    '7:M 22 Nov 2026 09:30:01.000 # WARNING of valkey',
  ].join('\n')
  t.same(errorsIn(log, sinceMs), [
    'error',
    'fatal',
    'TypeError: x is not a function',
    'trade2026: TimeoutError: timeout',
    'trade2026: STREAM_GAP: messages are gone',
    'of nats-server',
    'the end of nats-server',
  ])
  t.end()
})
