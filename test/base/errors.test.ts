import t from 'tap'
import { assert, BugError, unreachable } from '../../src/base/assert.ts'
import { errorCodes, exitCodes, isPipelineError, messageOf, PipelineError } from '../../src/base/errors.ts'

void t.test('P1.20 an operational error has a code, a message, and says whether to try again', (t) => {
  const cause = new Error('refused')
  const error = new PipelineError('NATS_UNREACHABLE', 'no server', { retriable: true, cause })
  t.match(error, { name: 'PipelineError', code: 'NATS_UNREACHABLE', message: 'no server', retriable: true, cause })
  const plain = new PipelineError('USAGE', 'wrong')
  t.equal(plain.retriable, false)
  t.notOk('cause' in plain)
  t.ok(isPipelineError(error))
  t.ok(isPipelineError(error, 'NATS_UNREACHABLE'))
  t.notOk(isPipelineError(error, 'USAGE'))
  t.notOk(isPipelineError(cause))
  t.notOk(isPipelineError({ code: 'USAGE' }))
  t.equal(messageOf(error), 'no server')
  t.equal(messageOf('text'), 'text')
  t.equal(messageOf(undefined), 'undefined')
  t.end()
})

void t.test('P1.20 codes are a list without repeats; exit codes are the contract’s', (t) => {
  t.equal(new Set(errorCodes).size, errorCodes.length)
  for (const code of errorCodes) t.match(code, /^[A-Z]+(_[A-Z]+)*$/)
  t.same(exitCodes, { ok: 0, failed: 1, usage: 64, unavailable: 69, interrupted: 130 })
  t.end()
})

void t.test('P1.20 a broken invariant is a bug, not an operational error', (t) => {
  assert(true, 'holds')
  for (const falsy of [false, 0, '', undefined, null])
    t.throws(() => assert(falsy, 'broken'), { name: 'BugError', message: 'broken' })
  t.throws(() => unreachable({ x: 1 } as never), { name: 'BugError', message: 'unreachable: {"x":1}' })
  t.notOk(isPipelineError(new BugError('broken')))
  t.end()
})
