import { unitsFromText, unitsMax } from '../base/decimal.ts'
import type { PositionRecord } from '../schemas/position.ts'
import { AccountExposure, Exposure, type Market } from './exposure.ts'

/**
 * An account's positions as POSITIONS and Redis tell them, without its open orders. A symbol is marked at the price that
 * its unrealised PnL was computed with.
 *
 * @param marketOf undefined for a symbol that the configuration does not know
 * @returns undefined when a position is no whole count of lots in this configuration
 */
export function knownPortfolio(
  name: string,
  records: Iterable<PositionRecord>,
  marketOf: (symbol: string) => Market | undefined,
): AccountExposure | undefined {
  const account = new AccountExposure(name)
  for (const { symbol, quantity, avgPx, unrealizedPnl = 0 } of records) {
    const market = marketOf(symbol)
    const lots = market && unitsFromText(String(quantity), market.instrument.lot)
    if (!market || typeof lots !== 'number') return undefined
    const exposure = new Exposure(account, market)
    exposure.positionLots = lots
    account.bySymbol.set(symbol, exposure)
    if (lots === 0 || avgPx === undefined) continue
    const price = Number(avgPx) + Number(unrealizedPnl) / Number(quantity)
    const { mantissa, scale } = market.instrument.tick
    const ticks = Math.round((price * 10 ** scale) / mantissa)
    if (ticks > 0 && ticks <= unitsMax) market.lastTicks = ticks
  }
  return account
}
