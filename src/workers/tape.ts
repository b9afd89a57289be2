/**
 * reads       EXECUTIONS
 * writes      TICKS: one tick a trade under market.tick.T2026.<symbol>
 * state       none
 * guarantees  every trade at least once; trade_id is the taker's execId, so that readers can drop repeats
 * crash       goes on after the last own tick that is stored
 */
import type { ExecutionMessage } from '../schemas/execution.ts'
import type { InputMessage } from '../runtime/reader.ts'
import type { RepeatableOutput } from '../runtime/side-writer.ts'
import type { Fold } from '../runtime/fold.ts'
import { tapeVenue, tickSubject } from '../subjects/names.ts'

export function createTape(decode: (message: InputMessage) => ExecutionMessage): Fold {
  return {
    handle: (batch) => ({
      outputs: [],
      atLeastOnce: batch.flatMap((message) => ticksOf(decode(message), message.sequence)),
    }),
  }
}

function ticksOf(message: ExecutionMessage, sequence: number): RepeatableOutput[] {
  return message.reports
    .filter(({ execType, liquidity }) => execType === 'Trade' && liquidity === 'TAKER')
    .map((report) => {
      const symbol = report.symbol ?? ''
      const side = (report.side ?? '').toLowerCase()
      const body = `{"event_ts":"${message.transactTime}","venue":"${tapeVenue}","symbol":"${symbol}","price":${report.lastPx},"size":${report.lastQty},"side":"${side}","trade_id":"${report.execId}","source_seq":${sequence}}`
      return { subject: tickSubject(tapeVenue, symbol), body, inSeq: sequence, msgId: `${tapeVenue}-${report.execId}` }
    })
}
