import type { JetStreamManager, MsgRequest, StoredMsg } from '@nats-io/jetstream'
import { headerNames } from '../subjects/names.ts'

/** How far a worker is, as the headers of its last output say. */
export interface Position {
  /** Sequence in the input stream; 0 before the first. */
  readonly inSeq: number
  /** 0-based record within that message. */
  readonly inIndex: number
  /** `k/n` when the output was one of several parts. */
  readonly part?: string
}

export const positionZero: Position = { inSeq: 0, inIndex: 0 }

/** Reads one message from the leader. @returns null when there is none */
export function storedMessage(jsm: JetStreamManager, stream: string, query: MsgRequest): Promise<StoredMsg | null> {
  return jsm.streams.getMessage(stream, query)
}

/** The header lines that carry a position. */
export function positionLines({ inSeq, inIndex, part }: Position): string {
  const lines = `${headerNames.inSeq}: ${inSeq}\r\n${headerNames.inIndex}: ${inIndex}\r\n`
  return part === undefined ? lines : `${lines}${headerNames.inPart}: ${part}\r\n`
}

/** Position in the headers of a stored output. */
export function positionOf(headers: { get(name: string): string }): Position {
  const part = headers.get(headerNames.inPart)
  return {
    inSeq: Number(headers.get(headerNames.inSeq)),
    inIndex: Number(headers.get(headerNames.inIndex)),
    ...(part === '' ? {} : { part }),
  }
}
