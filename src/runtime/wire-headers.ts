import { MsgHdrsImpl } from '@nats-io/transport-node'
import { assert } from '../base/assert.ts'

/** One header line. @throws BugError when the value would break out of its line */
export function headerLine(name: string, value: string): string {
  assert(!/[\r\n]/.test(value), `header ${name} has a line break`)
  return `${name}: ${value}\r\n`
}

/**
 * Headers of one publish from lines that are made by hand: the client's own object validates, looks up and joins every
 * header anew, which costs as much as the rest of a publish (docs/adr/0008). The client encodes headers before its
 * `publish` returns, so one object serves all publishes of a connection.
 *
 * @see https://docs.nats.io/reference/reference-protocols/nats-protocol, HPUB
 */
export class WireHeaders extends MsgHdrsImpl {
  lines = ''

  override encode(): Uint8Array {
    return Buffer.from(`NATS/1.0\r\n${this.lines}\r\n`)
  }
}
