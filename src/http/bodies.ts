import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { DoorError } from './gateway-answers.ts'

/**
 * Bodies are taken as they came, so that their numbers keep every digit. Content types other than JSON are refused: a
 * browser sends them from any page without asking.
 */
export function takeJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/,
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  )
}

/** @throws DoorError INVALID_MESSAGE */
export function bodyOf({ body }: FastifyRequest): Buffer {
  if (Buffer.isBuffer(body)) return body
  throw new DoorError('INVALID_MESSAGE', 'the request has no body')
}

export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(json)
}
