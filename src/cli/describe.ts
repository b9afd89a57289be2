import { rfc3339FromUs } from '../base/clock.ts'
import type { OrderState } from '../domain/order-views.ts'
import type { Command } from '../schemas/command.ts'
import type { ExecutionReport } from '../schemas/execution.ts'
import type { RiskRecord } from '../schemas/risk.ts'
import { numberText, visible } from './output.ts'

type Amount = number | string | undefined

/** What is there, with blanks between. */
function words(...parts: readonly (string | undefined | false)[]): string {
  return visible(parts.filter((part) => part !== undefined && part !== false && part !== '').join(' '))
}

function of(account: string | undefined): string | undefined {
  return account === undefined ? undefined : `(${account})`
}

/** `0.2 @ 45000 stop 44000`. */
function terms(quantity: Amount, price: Amount, stopPrice?: Amount): string {
  return words(
    quantity !== undefined && numberText(quantity),
    price !== undefined && `@ ${numberText(price)}`,
    stopPrice !== undefined && `stop ${numberText(stopPrice)}`,
  )
}

/** The reason, and its text, which may begin with the reason itself. */
export function describeRefusal({
  ordRejReason: reason,
  text,
}: Pick<ExecutionReport, 'ordRejReason' | 'text'>): string {
  if (reason === undefined || text === undefined) return reason ?? text ?? ''
  return visible(text.startsWith(reason) ? text : `${reason}: ${text}`)
}

/** `o-17 BTCUSDT BUY Trade 0.2 @ 45000 → Filled (alice)`. */
export function describeReport(report: ExecutionReport): string {
  const { orderId, symbol, side, execType, ordStatus, ordRejReason, account } = report
  // A refusal says nothing new about its order.
  const after = ordRejReason === undefined && `→ ${ordStatus}`
  return words(orderId, symbol, side, execType, whatHappened(report), after, of(account))
}

function whatHappened(report: ExecutionReport): string {
  const { execType, ordType, timeInForce, orderQty, price, stopPrice, lastQty, lastPx, cumQty, clOrdId } = report
  switch (execType) {
    case 'New':
      return words(ordType, terms(orderQty, price, stopPrice), timeInForce, clOrdId !== undefined && `as ${clOrdId}`)
    case 'Trade':
      return terms(lastQty, lastPx)
    case 'Replaced':
    case 'Triggered':
      return terms(orderQty, price, stopPrice)
    case 'Canceled':
    case 'Expired':
      return `with ${numberText(cumQty)} of ${numberText(orderQty)} filled`
    case 'Rejected':
    case 'CancelRejected':
    case 'ReplaceRejected':
      return describeRefusal(report)
    case 'PartiallyFilled':
    case 'Filled':
      return ''
  }
}

/** `o-17 BTCUSDT BUY 0.2 @ 45000, 0.1 filled at 45000: PARTIALLY_FILLED (alice)`. */
export function describeOrder(order: OrderState): string {
  const { orderId, symbol, side, quantity, price, filledQuantity, averagePrice, status, errorMessage, account } = order
  const filled =
    averagePrice === undefined ? '' : `, ${numberText(filledQuantity)} filled at ${numberText(averagePrice)}`
  return words(
    `${words(orderId, symbol, side, terms(quantity, price))}${filled}:`,
    status,
    errorMessage !== undefined && `(${errorMessage})`,
    of(account),
  )
}

/** What a client asks for. */
export function describeCommand(command: Command): string {
  const { kind, account } = command
  switch (kind) {
    case 'new': {
      const { symbol, side, ordType, quantity, price, stopPrice, timeInForce } = command
      return words('new', symbol, side, ordType, terms(quantity, price, stopPrice), timeInForce, of(account))
    }
    case 'cancel':
      return words('cancel', command.orderId ?? command.origClOrdId, of(account))
    case 'replace': {
      const { quantity, price, stopPrice, expireAt } = command
      const target = command.orderId ?? command.origClOrdId
      const until = expireAt !== undefined && `until ${rfc3339FromUs(expireAt)}`
      return words('replace', target, terms(quantity, price, stopPrice), until, of(account))
    }
    case 'mass_cancel':
      return words('mass cancel', command.symbol, command.side, account === undefined ? '(all accounts)' : of(account))
  }
}

/** A decision of the gate. RISK counts prices in ticks and quantities in lots. */
export function describeRecord(record: RiskRecord): string {
  const lots = (count: number | undefined) => count !== undefined && `${count} lots`
  const ticks = (count: number | undefined) => count !== undefined && `@ ${count} ticks`
  switch (record.type) {
    case 'new': {
      const { symbol, side, ordType, quantityLots, priceTicks, account } = record
      return words(
        `o-${record.srcSeq}`,
        symbol,
        side,
        'passed',
        ordType,
        lots(quantityLots),
        ticks(priceTicks),
        of(account),
      )
    }
    case 'cancel':
      return `o-${record.target} is to be canceled`
    case 'replace':
      return words(`o-${record.target} is to become`, lots(record.quantityLots), ticks(record.priceTicks))
    case 'massCancel':
      return words('all are to be canceled', record.symbol, record.side, of(record.account))
    case 'reject': {
      const { echo, kind, reason, text, srcSeq } = record
      return words(
        `o-${srcSeq}`,
        echo.symbol,
        echo.side,
        kind,
        `refused: ${describeRefusal({ ordRejReason: reason, text })}`,
        of(echo.account),
      )
    }
    case 'expire':
      return `o-${record.target} expires`
    case 'halt':
      return words(record.halted ? 'halt' : 'resume', record.scope, record.name, `(revision ${record.revision})`)
    case 'limits':
      return words('limits', record.key, record.limits === null ? 'removed' : 'set', `(revision ${record.revision})`)
  }
}
