import type { FlowCommand } from './order-flow.ts'

/** Under what name the doctor trades: nobody else does. */
export interface DoctorName {
  readonly account: string
  readonly symbol: string
}

/** Orders that rest, and a cancel of each: nothing trades, and nothing is left. */
export function* doctorFlow({ account, symbol }: DoctorName): Generator<FlowCommand> {
  for (let number = 1; ; number += 1) {
    const clOrdId = `${symbol}-${number}`
    const order = { account, clOrdId, symbol, side: 'BUY', ordType: 'LIMIT', quantity: 1, price: 1 + (number % 50) }
    yield { kind: 'new', account, body: JSON.stringify(order) }
    yield { kind: 'cancel', account, body: JSON.stringify({ account, origClOrdId: clOrdId }) }
  }
}
