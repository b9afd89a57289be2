import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../runtime/log.ts'
import { isUnavailable } from '../runtime/query.ts'
import { DoorError, tooLarge } from './gateway-answers.ts'

type Refuse = (error: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply

/** Answers with what was thrown, as a DoorError. @param isConnected whether NATS is there */
export function refusalOf(isConnected: () => boolean, log: Log): Refuse {
  return (error, _request, reply) => sendError(reply, doorErrorOf(error, isConnected(), log))
}

/** Errors of routes, and routes that are not there, are answered as DoorErrors. */
export function addRefusals(app: FastifyInstance, refuse: Refuse): void {
  app.setErrorHandler(refuse)
  app.setNotFoundHandler((request, reply) =>
    sendError(reply, new DoorError('ROUTE_UNKNOWN', `no ${request.method} ${request.url}`)),
  )
}

function sendError(reply: FastifyReply, error: DoorError): FastifyReply {
  if (error.retryAfterSeconds !== undefined) reply.header('retry-after', error.retryAfterSeconds)
  // As an Error it would come back to the error handler.
  return reply.code(error.status).send(error.toJSON())
}

function doorErrorOf(error: unknown, isConnected: boolean, log: Log): DoorError {
  if (error instanceof DoorError) return error
  const { statusCode = 500, message = '' } = error as { statusCode?: number; message?: string }
  if (statusCode === 413) return tooLarge()
  if (statusCode === 415) return new DoorError('MEDIA_TYPE', 'send the command as content-type: application/json')
  if (statusCode < 500) return new DoorError('INVALID_MESSAGE', message)
  if (!isConnected || isUnavailable(error))
    return new DoorError('SYSTEM_UNAVAILABLE', `NATS did not answer: ${message}`)
  log.error({ err: error }, 'a request failed')
  return new DoorError('INTERNAL', 'this is a fault of the door; its log says more')
}
