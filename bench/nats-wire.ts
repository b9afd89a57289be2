import { connect, type Socket } from 'node:net'

/** A message as it lies in the receive buffer; valid only while it is handled. */
export interface WireMessage {
  /** `MSG subject sid [reply] size`, or `HMSG …` with the size of the headers before the last. */
  readonly line: string
  readonly buffer: Buffer
  readonly headerStart: number
  readonly bodyStart: number
  readonly bodyEnd: number
}

const newline = 10
const receiveBytes = 256 * 1_024
const empty: Buffer = Buffer.alloc(0)
const letter = { H: 72, M: 77, P: 80, minus: 45 } as const

/**
 * The NATS client protocol, as little of it as a load generator needs: it takes what is to be published as bytes made
 * beforehand, many messages in one write, and leaves what arrives in the receive buffer. That costs a few µs an order
 * where the client library costs tens, and what the generator does not use is left to the servers on the same cores.
 * @see https://docs.nats.io/reference/reference-protocols/nats-protocol
 */
export class NatsWire {
  readonly #socket: Socket
  readonly #handlers = new Map<string, (message: WireMessage) => void>()
  readonly #onFatal: (error: Error) => void
  #rest = empty
  #pong = (): void => undefined

  private constructor(port: number, host: string, onFatal: (error: Error) => void) {
    // One buffer for all reads, where a `data` event would bring a new one each.
    const buffer = Buffer.alloc(receiveBytes)
    const socket = connect({
      port,
      host,
      noDelay: true,
      onread: {
        buffer,
        callback: (bytes) => {
          this.#read(buffer.subarray(0, bytes))
          return true
        },
      },
    })
    this.#socket = socket
    this.#onFatal = onFatal
    socket.on('error', onFatal)
    socket.on('end', () => onFatal(new Error('the NATS server has closed the connection')))
  }

  /** @param url `nats://host:port` of a server that asks for no password */
  static async connect(url: string, name: string, onFatal: (error: Error) => void): Promise<NatsWire> {
    const { hostname, port } = new URL(url)
    const wire = new NatsWire(Number(port), hostname, onFatal)
    const options = { verbose: false, pedantic: false, headers: true, no_responders: true, lang: 'bench', protocol: 1 }
    wire.#socket.write(`CONNECT ${JSON.stringify({ ...options, version: '1', name })}\r\n`)
    await wire.flush()
    return wire
  }

  subscribe(subject: string, sid: string, handler: (message: WireMessage) => void): void {
    this.#handlers.set(sid, handler)
    this.#socket.write(`SUB ${subject} ${sid}\r\n`)
  }

  /** @param frames any number of whole PUB frames */
  write(frames: Uint8Array): void {
    this.#socket.write(frames)
  }

  /** Resolves when the server has read everything so far. */
  flush(): Promise<void> {
    this.#socket.write('PING\r\n')
    return new Promise((resolve) => {
      this.#pong = resolve
    })
  }

  close(): void {
    this.#socket.removeAllListeners('end')
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const buffer = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const lineEnd = buffer.indexOf(newline, at)
      if (lineEnd === -1) break
      const first = buffer[at]
      if (first === letter.M || first === letter.H) {
        const line = buffer.toString('latin1', at, lineEnd - 1)
        const sizeAt = line.lastIndexOf(' ')
        const bodyEnd = lineEnd + 1 + Number(line.slice(sizeAt + 1))
        if (buffer.length < bodyEnd + 2) break
        const headerBytes = first === letter.H ? Number(line.slice(line.lastIndexOf(' ', sizeAt - 1) + 1, sizeAt)) : 0
        const sidAt = line.indexOf(' ', 5) + 1
        const handler = this.#handlers.get(line.slice(sidAt, line.indexOf(' ', sidAt)))
        handler?.({ line, buffer, headerStart: lineEnd + 1, bodyStart: lineEnd + 1 + headerBytes, bodyEnd })
        at = bodyEnd + 2
      } else {
        if (first === letter.P) {
          if (buffer[at + 1] === 'I'.charCodeAt(0)) this.#socket.write('PONG\r\n')
          else this.#pong()
        } else if (first === letter.minus)
          this.#onFatal(new Error(`nats-server: ${buffer.toString('latin1', at, lineEnd)}`))
        at = lineEnd + 1
      }
    }
    // A copy: what is read next overwrites it.
    this.#rest = at === buffer.length ? empty : Buffer.from(buffer.subarray(at))
  }
}

/** Sequence in its stream of a message that a push consumer delivered. */
export function streamSequenceOf({ line }: WireMessage): number {
  const from = line.indexOf(' $JS.ACK.') + 1
  const tokens = line.slice(from, line.indexOf(' ', from)).split('.')
  // Newer servers may put the domain and a hash of the account before the stream, and a token at the end.
  return Number(tokens[tokens.length === 9 ? 5 : 7])
}

/** The number in a header; undefined without it. */
export function headerNumberOf({ buffer, headerStart, bodyStart }: WireMessage, name: string): number | undefined {
  const text = buffer.toString('latin1', headerStart, bodyStart)
  const at = text.indexOf(`\r\n${name}: `)
  if (at === -1) return undefined
  const from = at + name.length + 4
  return Number(text.slice(from, text.indexOf('\r\n', from)))
}

/** The digits behind the first `"name":` of a JSON body; undefined without it. */
export function bodyNumberOf({ buffer, bodyStart, bodyEnd }: WireMessage, name: string): number | undefined {
  const text = buffer.toString('latin1', bodyStart, bodyEnd)
  const at = text.indexOf(`"${name}":`)
  return at === -1 ? undefined : Number.parseInt(text.slice(at + name.length + 3), 10)
}
