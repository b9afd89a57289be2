import type { FastifyInstance } from 'fastify'
import { accountPattern } from '../schemas/command.ts'
import { sendJson } from './bodies.ts'
import { invalidField } from './gateway-answers.ts'

/** What the gate's port tells about risk; each may throw a DoorError when it cannot say now. JSON texts. */
export interface RiskReader {
  totals(): Promise<string>
  portfolio(account: string): Promise<string>
  alerts(): string
  stats(): Record<string, unknown>
}

const validAccount = new RegExp(accountPattern)

/** Adds `GET /risk/portfolio`, `GET /risk/alerts` and `GET /stats`. */
export function addRiskRoutes(app: FastifyInstance, reader: RiskReader): void {
  app.get<{ Querystring: { account?: string } }>('/risk/portfolio', async ({ query: { account } }, reply) => {
    if (account === undefined) return sendJson(reply, await reader.totals())
    if (!validAccount.test(account)) throw invalidField('account', `must match ${accountPattern}`)
    return sendJson(reply, await reader.portfolio(account))
  })
  app.get('/risk/alerts', (_request, reply) => sendJson(reply, reader.alerts()))
  app.get('/stats', () => reader.stats())
}
