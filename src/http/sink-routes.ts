import type { FastifyInstance } from 'fastify'
import { isPipelineError } from '../base/errors.ts'
import type { FlushAnswer, SinkStats } from '../schemas/http.ts'
import { takeJsonBodies } from './bodies.ts'
import { DoorError } from './gateway-answers.ts'

/** What the port of a sink asks of it. */
export interface FlushingSink {
  /** Which process is active when this one is a stand-by. */
  standbyOf(): string | undefined
  /** Commits what the stream holds now. @throws PipelineError LAKE_STORE_UNAVAILABLE when that takes too long */
  flush(timeoutMs: number): Promise<FlushAnswer>
  stats(): SinkStats
}

const flushTimeoutMs = 30_000

/** Adds `POST /flush`, which answers after the commit, and `GET /stats` (contract, section 4). */
export function addSinkRoutes(app: FastifyInstance, sink: FlushingSink): void {
  takeJsonBodies(app)
  app.post('/flush', async () => {
    const holder = sink.standbyOf()
    if (holder !== undefined) throw new DoorError('SYSTEM_UNAVAILABLE', `this sink is a stand-by: ${holder} is active`)
    try {
      return await sink.flush(flushTimeoutMs)
    } catch (error) {
      if (isPipelineError(error) && error.retriable) throw new DoorError('SYSTEM_UNAVAILABLE', error.message)
      throw error
    }
  })
  app.get('/stats', () => sink.stats())
}
