import type { Test } from 'tap'
import { connectTestNats, startTestNats, startTestWorkers } from './stack.ts'

/** What a door answered. */
export interface Answered {
  readonly status: number
  readonly text: string
  readonly json: Record<string, unknown>
  readonly retryAfter: string | null
}

export type Ask = (
  method: string,
  path: string,
  body?: string | Uint8Array,
  headers?: Record<string, string>,
) => Promise<Answered>

/** Requests to a door on this port. */
export function asker(port: number | undefined): Ask {
  return async (method, path, body, headers = { 'content-type': 'application/json' }) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(body === undefined ? {} : { body, headers }),
    })
    const text = await response.text()
    let json: Record<string, unknown> = {}
    if (response.headers.get('content-type')?.startsWith('application/json'))
      json = JSON.parse(text) as Record<string, unknown>
    return { status: response.status, text, json, retryAfter: response.headers.get('retry-after') }
  }
}

const chain = ['risk-gate', 'oms-matcher', 'pnl-updater', 'tape'] as const

/** nats-server, the chain (or not) and a door in this process. */
export async function startDoor(t: Test, options: { env?: Record<string, string>; isAlone?: boolean } = {}) {
  const server = await startTestNats(t)
  const env = options.env ?? {}
  const startChain = () => startTestWorkers(t, server.url, { workers: chain, env })
  if (options.isAlone !== true) await startChain()
  const startGateway = (instance: string) => startTestWorkers(t, server.url, { workers: ['gateway'], env, instance })
  const gateway = await startGateway('door')
  const nats = await connectTestNats(t, server.url)
  return { server, nats, gateway, startChain, startGateway, ask: asker(gateway.ports.gateway) }
}

/** The body of a limit order. */
export function limitOrder(account: string, side: string, quantity: string, price: string, more = ''): string {
  return `{"account":"${account}","symbol":"BTCUSDT","side":"${side}","type":"limit","quantity":${quantity},"price":${price}${more}}`
}
