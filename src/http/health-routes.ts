import fastify, { type FastifyInstance } from 'fastify'
import type { Log } from '../runtime/log.ts'
import type { HealthBody, HealthStatus } from '../schemas/health.ts'
import type { WorkerName } from '../subjects/contract.ts'
import { addOpenApi } from './openapi.ts'
import { addProfileRoute } from './profile-routes.ts'
import { addRefusals, refusalOf } from './refusals.ts'

export type { FastifyInstance }

/** What a process serves about one of its workers. */
export interface Served {
  body(): HealthBody
  readonly status: HealthStatus
  readonly isReady: boolean
  /** Prometheus text. */
  metrics(): Promise<string>
}

/** Adds `/health` (200 while healthy or degraded, else 503), `/health/detailed`, `/live`, `/ready` and `/metrics`. */
export function addHealthRoutes(app: FastifyInstance, served: Served): void {
  const answer = (path: string, isGood: () => boolean) =>
    app.get(path, async (_request, reply) => reply.code(isGood() ? 200 : 503).send(served.body()))
  answer('/health', () => served.status !== 'unhealthy')
  answer('/health/detailed', () => served.status !== 'unhealthy')
  answer('/health/ready', () => served.isReady)
  app.get('/health/live', () => ({ status: 'alive' }))
  app.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await served.metrics()),
  )
}

/** The port of a worker that has no door of its own. */
export function createWorkerHttp(
  service: WorkerName,
  served: Served,
  isConnected: () => boolean,
  log: Log,
): FastifyInstance {
  const refuse = refusalOf(isConnected, log)
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    frameworkErrors: (error, request, reply) => void refuse(error, request, reply),
  })
  addOpenApi(app, service)
  addRefusals(app, refuse)
  addHealthRoutes(app, served)
  addProfileRoute(app)
  return app
}
