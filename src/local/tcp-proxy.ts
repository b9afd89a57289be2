import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy between clients and a server, that can lose what one sends to the other. */
export interface TcpProxy {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number
  /** What the server says from now on is lost. */
  dropAnswers(): void
  /** What the server says is held back from the first byte after this text on, until `open()`. Resolves when it is held. */
  holdAfter(text: string): Promise<undefined>
  /** Ends every connection; what is on its way is lost. New ones are refused until `open()`. */
  cut(): void
  /** Lets everything through again. */
  open(): void
  /** Ends every connection, for good. */
  close(): void
}

/** @param serverPort on 127.0.0.1 */
export async function startTcpProxy(serverPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let isOpen = true
  let isMute = false
  let hold: { after: Buffer; reached: () => void } | undefined
  let held: (() => void)[] | undefined
  const track = (socket: Socket, other: () => Socket) => {
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      other().destroy()
    })
    socket.on('error', () => undefined)
  }
  const listener = createServer((client) => {
    if (!isOpen) {
      client.destroy()
      return
    }
    const server = connect(serverPort, '127.0.0.1')
    track(client, () => server)
    track(server, () => client)
    client.on('data', (data) => server.write(data))
    /** Last bytes of what was passed on: the text may come in two pieces. */
    let before = Buffer.alloc(0)
    server.on('data', (data) => {
      if (isMute) return
      if (held) {
        held.push(() => client.write(data))
        return
      }
      if (!hold) {
        client.write(data)
        return
      }
      const seen = Buffer.concat([before, data])
      const at = seen.indexOf(hold.after)
      if (at === -1) {
        before = seen.subarray(Math.max(0, seen.length - hold.after.length + 1))
        client.write(data)
        return
      }
      const end = at + hold.after.length - before.length
      client.write(data.subarray(0, end))
      held = [() => client.write(data.subarray(end))]
      before = Buffer.alloc(0)
      hold.reached()
      hold = undefined
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    isOpen = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (listener.address() as AddressInfo).port,
    dropAnswers: () => (isMute = true),
    holdAfter: (text) => {
      const { promise, resolve } = Promise.withResolvers<undefined>()
      hold = { after: Buffer.from(text), reached: () => resolve(undefined) }
      return promise
    },
    cut,
    open: () => {
      isOpen = true
      isMute = false
      const late = held ?? []
      held = undefined
      for (const write of late) write()
    },
    close: () => {
      cut()
      listener.close()
    },
  }
}
