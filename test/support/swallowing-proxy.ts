import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export interface SeenRequest {
  readonly method: string
  /** Of the URL, with its query. */
  readonly path: string
  /** It has If-None-Match. */
  readonly isConditional: boolean
  /** It was passed on to the server. */
  isForwarded: boolean
}

/**
 * What the proxy may do to a request.
 * swallow: passes it on, and cuts the connection instead of answering; mute: passes it on and never answers; half: passes
 * it on, answers half and then nothing more; cut: cuts the connection without passing it on; a status: answers that
 * without passing it on, or, with `isLate`, after it, with a `code` of S3; delayMs: passes it on that much later; until:
 * passes it on when that has resolved.
 */
export type ProxyFault =
  | 'swallow'
  | 'mute'
  | 'half'
  | 'cut'
  | { readonly status: number; readonly isLate?: boolean; readonly code?: string }
  | { readonly delayMs: number }
  | { readonly until: Promise<unknown> }

export interface SwallowingProxy {
  readonly url: string
  /** What came, in order. */
  readonly requests: readonly SeenRequest[]
  /** Does this to the next request that matches, or as many as said. */
  inject(fault: ProxyFault, matches?: (request: SeenRequest) => boolean, times?: number): void
}

/** An HTTP proxy in front of an object store, that loses what one sends to the other. @param target URL of the server */
export async function startSwallowingProxy(t: Test, target: string): Promise<SwallowingProxy> {
  const { hostname, port } = new URL(target)
  const agent = new Agent({ keepAlive: true })
  const requests: SeenRequest[] = []
  const faults: { fault: ProxyFault; matches: (request: SeenRequest) => boolean; left: number }[] = []

  function nextFault(seen: SeenRequest): ProxyFault | undefined {
    const injected = faults.find(({ matches, left }) => left > 0 && matches(seen))
    if (injected) injected.left -= 1
    return injected?.fault
  }

  function forward(incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const { method, url: path, headers } = incoming
    return new Promise((resolve, reject) => {
      // Host and all other headers stay as they are: they are signed.
      const outgoing = request({ hostname, port, method, path, headers, agent }, resolve)
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  async function serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = '', url: path = '', headers } = incoming
    const seen = { method, path, isConditional: headers['if-none-match'] !== undefined, isForwarded: false }
    requests.push(seen)
    const fault = nextFault(seen)
    // Whole, so that it can be passed on when the client has gone.
    const body = await buffer(incoming)
    if (fault === 'cut') {
      incoming.socket.destroy()
      return
    }
    if (typeof fault === 'object' && 'delayMs' in fault) await sleep(fault.delayMs)
    if (typeof fault === 'object' && 'until' in fault) await fault.until
    const isRefused = typeof fault === 'object' && 'status' in fault
    if (isRefused && fault.isLate !== true) {
      answer.writeHead(fault.status).end(fault.code && `<Error><Code>${fault.code}</Code></Error>`)
      return
    }
    const reply = await forward(incoming, body)
    seen.isForwarded = true
    if (fault === 'swallow' || fault === 'mute' || isRefused) {
      await buffer(reply)
      if (fault === 'swallow') incoming.socket.destroy()
      if (isRefused) answer.writeHead(fault.status).end()
      return
    }
    answer.writeHead(reply.statusCode ?? 502, reply.headers)
    if (fault !== 'half') {
      reply.pipe(answer)
      return
    }
    reply.once('data', (chunk: Buffer) => {
      reply.resume()
      answer.write(chunk.subarray(0, chunk.length / 2))
    })
  }

  const server = createServer((incoming, answer) => {
    serve(incoming, answer).catch(() => incoming.socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
    agent.destroy()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    inject: (fault, matches = () => true, times = 1) => faults.push({ fault, matches, left: times }),
  }
}
