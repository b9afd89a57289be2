import type { FastifyInstance } from 'fastify'

/**
 * Bounds the connections that a process keeps open for its clients, over all its ports. All are served; while there are
 * more than `keepAliveMax`, an answer closes its connection.
 */
export class Connections {
  readonly #keepAliveMax: number
  #open = 0

  constructor(keepAliveMax: number) {
    this.#keepAliveMax = keepAliveMax
  }

  /** Watches over the connections of a port. @returns how many it has now */
  watch(app: FastifyInstance): () => number {
    let open = 0
    app.server.on('connection', (socket) => {
      open += 1
      this.#open += 1
      socket.once('close', () => {
        open -= 1
        this.#open -= 1
      })
    })
    app.addHook('onRequest', (_request, reply, done) => {
      if (this.#open > this.#keepAliveMax) reply.header('connection', 'close')
      done()
    })
    return () => open
  }
}
