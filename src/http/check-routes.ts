import type { FastifyInstance, FastifyReply } from 'fastify'
import { quote } from '../base/json.ts'
import type { CheckResult } from '../domain/risk-check.ts'
import { decodeCommand, type NewOrder } from '../schemas/command.ts'
import { bodyOf, sendJson } from './bodies.ts'
import { commandBytesMax, DoorError } from './gateway-answers.ts'

/** Counts of `/check` since the start. */
export class CheckCounts {
  approved = 0
  fastPath = 0
  readonly refused = new Map<string, number>()

  add({ reason, fastPath }: CheckResult): void {
    if (fastPath) this.fastPath += 1
    if (reason === null) this.approved += 1
    else this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1)
  }

  body(): Record<string, unknown> {
    return { approved: this.approved, refused: Object.fromEntries(this.refused), fast_path: this.fastPath }
  }
}

/**
 * Adds `POST /check`: takes the body of a new order, answers what would become of it, and holds nothing.
 * @param check may throw a DoorError when it cannot say now
 */
export function addCheckRoute(
  app: FastifyInstance,
  check: (command: NewOrder) => CheckResult | Promise<CheckResult>,
  counts: CheckCounts,
): void {
  const answer = (reply: FastifyReply, result: CheckResult) => {
    counts.add(result)
    return sendJson(reply, encodeCheckAnswer(result))
  }
  app.post('/check', { bodyLimit: commandBytesMax }, (request, reply) => {
    const decoded = decodeCommand('new', bodyOf(request))
    if (decoded.outcome === 'unreadable') throw new DoorError('INVALID_MESSAGE', decoded.problem)
    if (decoded.outcome === 'invalid') throw new DoorError('INVALID_FIELD', decoded.text, decoded.fields)
    // Decoded as one, it is one.
    const result = check(decoded.command as NewOrder)
    return result instanceof Promise ? result.then((later) => answer(reply, later)) : answer(reply, result)
  })
}

/** `{approved, risk_level, reason, warnings, fast_path}` (contract, section 4). */
function encodeCheckAnswer({ reason, level, warnings, fastPath }: CheckResult): string {
  const code = reason === null ? 'null' : `"${reason}"`
  return `{"approved":${reason === null},"risk_level":"${level}","reason":${code},"warnings":[${warnings.map(quote).join(',')}],"fast_path":${fastPath}}`
}
