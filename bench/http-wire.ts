import { connect, type Socket } from 'node:net'

/** A keep-alive HTTP/1.1 connection with one request at a time, for a load generator: requests are bytes made before. */
export class HttpWire {
  readonly #socket: Socket
  #received = ''
  #onResponse: (status: number, body: string) => void = () => undefined

  private constructor(socket: Socket, onFatal: (error: Error) => void) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', onFatal)
    socket.on('end', () => onFatal(new Error('the server has closed a connection')))
  }

  static connect({ host, port }: Address, onFatal: (error: Error) => void): Promise<HttpWire> {
    return new Promise((resolve) => {
      const socket = connect(port, host, () => resolve(wire))
      const wire = new HttpWire(socket, onFatal)
    })
  }

  send(request: Uint8Array, onResponse: (status: number, body: string) => void): void {
    this.#onResponse = onResponse
    this.#socket.write(request)
  }

  close(): void {
    this.#socket.removeAllListeners('end')
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    this.#received += chunk.toString('latin1')
    const headEnd = this.#received.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const head = this.#received.slice(0, headEnd)
    const bodyEnd = headEnd + 4 + Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1])
    if (Number.isNaN(bodyEnd)) throw new Error(`an answer without its length: ${head}`)
    if (this.#received.length < bodyEnd) return
    const body = this.#received.slice(headEnd + 4, bodyEnd)
    this.#received = ''
    this.#onResponse(Number(head.slice(9, 12)), body)
  }
}

export interface Address {
  readonly host: string
  readonly port: number
}

export function encodeRequest(method: string, path: string, { host, port }: Address, body = ''): Buffer {
  const length = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n${length}\r\n${body}`)
}
