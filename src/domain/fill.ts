import { assert } from '../base/assert.ts'
import { parseDecimal, pow10, unitsFromOwn, type Exact } from '../base/decimal.ts'
import type { Side } from '../schemas/enums.ts'
import type { ExecutionReport } from '../schemas/execution.ts'
import type { Instrument } from '../schemas/instrument.ts'
import { normal } from './money.ts'

/** One side of one trade. */
export interface Fill {
  readonly account: string
  readonly symbol: string
  readonly side: Side
  readonly lots: number
  readonly ticks: number
  /** In 10^-quoteScale of the quote currency. */
  readonly fee: Exact
  readonly traceparent: string | undefined
}

/** The fill that a report of EXECUTIONS tells of. @throws BugError when it is no complete Trade in the instrument */
export function fillOf(report: ExecutionReport, instrument: Instrument): Fill {
  const { execId, execType, account, symbol, side, lastQty, lastPx, fee, traceparent } = report
  assert(execType === 'Trade' && symbol === instrument.symbol, `${execId}: no Trade in ${instrument.symbol}`)
  assert(
    account !== undefined && side !== undefined && lastQty !== undefined && lastPx !== undefined && fee !== undefined,
    `${execId}: a Trade without account, side, lastQty, lastPx or fee`,
  )
  const lots = unitsFromOwn(lastQty, instrument.lot)
  const ticks = unitsFromOwn(lastPx, instrument.tick)
  return { account, symbol, side, lots, ticks, fee: feeOf(fee, instrument), traceparent }
}

/** A fee has no upper bound such as prices and quantities have. */
function feeOf(fee: number | string, { symbol, quoteScale }: Instrument): Exact {
  if (typeof fee === 'number' && Math.abs(fee) * 10 ** quoteScale < 2 ** 49)
    return unitsFromOwn(fee, { mantissa: 1, scale: quoteScale })
  const decimal = parseDecimal(String(fee))
  assert(decimal && decimal.scale <= quoteScale, `${symbol}: a fee of ${fee} has more than ${quoteScale} decimals`)
  return normal(decimal.mantissa * pow10(quoteScale - decimal.scale))
}
