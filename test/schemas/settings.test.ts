import t from 'tap'
import { parseSettings, settingsSchema } from '../../src/schemas/settings.ts'

void t.test('P1.07 settings: defaults, and values from the environment by their type', (t) => {
  const defaults = parseSettings({})
  t.match(defaults, { BATCH_MAX: 10, BATCH_WAIT_MS: 10, ORDER_WAIT_MS: 5_000, NATS_URL: '', CACHE_ENABLED: true })
  t.match(defaults, { CLORDID_MEMORY: 100_000, DAY_END_UTC: '24:00', ORDER_WAIT_MS: 5_000, LOG_LEVEL: 'info' })
  t.ok(Object.isFrozen(defaults))
  t.same(Object.keys(defaults).sort(), Object.keys(settingsSchema.properties).sort(), 'every setting has a default')
  const env = { BATCH_MAX: '1000', CACHE_ENABLED: 'false', LOG_LEVEL: 'debug', DAY_END_UTC: '17:30', BATCH_WAIT_MS: '' }
  t.match(parseSettings({ ...env, PATH: '/bin' }), {
    BATCH_MAX: 1_000,
    CACHE_ENABLED: false,
    LOG_LEVEL: 'debug',
    DAY_END_UTC: '17:30',
    BATCH_WAIT_MS: 10,
  })
  t.notOk('PATH' in parseSettings({ PATH: '/bin' }))
  t.end()
})

void t.test('P1.20 settings: all bad ones are reported at once, without their values', (t) => {
  const secret = 'hunter2'
  const problems = parseSettings({
    BATCH_MAX: '0',
    BATCH_WAIT_MS: '1.5',
    ORDER_WAIT_MS: secret,
    LOG_LEVEL: secret,
    CACHE_ENABLED: 'yes',
    DAY_END_UTC: '00:00',
    STARTING_CASH: '-1',
    STORAGE_REFUSE_PERCENT: '96',
    LEASE_MS: '2000',
  })
  t.ok(Array.isArray(problems))
  const names = Array.isArray(problems) ? problems.map(({ name }) => name).sort() : []
  t.same(names, [
    'BATCH_MAX',
    'BATCH_WAIT_MS',
    'CACHE_ENABLED',
    'DAY_END_UTC',
    'LOG_LEVEL',
    'ORDER_WAIT_MS',
    'STARTING_CASH',
    'STORAGE_REFUSE_PERCENT',
  ])
  t.notMatch(JSON.stringify(problems), secret)
  t.match(problems, [{ name: 'LOG_LEVEL', problem: 'must be one of trace debug info warn error fatal silent' }])
  for (const value of ['24:01', '7:30', '25:00', '12:60', 'noon'])
    t.match(parseSettings({ DAY_END_UTC: value }), [{ name: 'DAY_END_UTC' }], value)
  for (const value of ['00:01', '23:59', '24:00'])
    t.match(parseSettings({ DAY_END_UTC: value }), { DAY_END_UTC: value })
  t.end()
})
