import { connect, type Socket } from 'node:net'

export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * A keep-alive HTTP/1.1 connection with one request at a time, for a load generator: requests are bytes made before.
 * When the server has closed it with an answer, the next request opens it anew.
 */
export class HttpWire {
  readonly #address: Address
  readonly #onFatal: (error: Error) => void
  #socket: Socket | undefined
  #received = ''
  #onResponse: ((status: number, body: string) => void) | undefined

  private constructor(address: Address, onFatal: (error: Error) => void) {
    this.#address = address
    this.#onFatal = onFatal
  }

  static async connect(address: Address, onFatal: (error: Error) => void): Promise<HttpWire> {
    const wire = new HttpWire(address, onFatal)
    await new Promise<void>((resolve) => wire.#open(resolve))
    return wire
  }

  send(request: Uint8Array, onResponse: (status: number, body: string) => void): void {
    this.#onResponse = onResponse
    const socket = this.#socket ?? this.#open()
    socket.write(request)
  }

  close(): void {
    this.#socket?.removeAllListeners('close')
    this.#socket?.destroy()
  }

  #open(onOpen?: () => void): Socket {
    const socket = connect(this.#address.port, this.#address.host, onOpen)
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', this.#onFatal)
    socket.on('close', () => {
      if (this.#socket !== socket) return
      this.#socket = undefined
      if (this.#onResponse) this.#onFatal(new Error('the server has closed a connection without an answer'))
    })
    return socket
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
    if (/\r\nconnection: close/i.test(head)) {
      this.#socket?.destroy()
      this.#socket = undefined
    }
    const onResponse = this.#onResponse
    this.#onResponse = undefined
    onResponse?.(Number(head.slice(9, 12)), body)
  }
}

export function encodeRequest(method: string, path: string, { host, port }: Address, body = ''): Buffer {
  const length = body === '' ? '' : `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n${length}\r\n${body}`)
}
