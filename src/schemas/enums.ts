export const sides = ['BUY', 'SELL'] as const
export type Side = (typeof sides)[number]

export const ordTypes = ['LIMIT', 'MARKET', 'STOP', 'STOP_LIMIT', 'TRAILING_STOP'] as const
export type OrdType = (typeof ordTypes)[number]

export const timesInForce = ['DAY', 'GTC', 'IOC', 'FOK', 'GTD'] as const
export type TimeInForce = (typeof timesInForce)[number]

export const stpModes = ['NONE', 'EXPIRE_TAKER', 'EXPIRE_MAKER', 'EXPIRE_BOTH'] as const
export type StpMode = (typeof stpModes)[number]

export const execTypes = [
  'New',
  'PartiallyFilled',
  'Filled',
  'Canceled',
  'Expired',
  'Rejected',
  'Trade',
  'Replaced',
  'Triggered',
  'CancelRejected',
  'ReplaceRejected',
] as const
/** FIX 4.4 tag 150, with the two cancel-reject messages (35=9) folded in. */
export type ExecType = (typeof execTypes)[number]

export const ordStatuses = ['New', 'PartiallyFilled', 'Filled', 'Canceled', 'Expired', 'Rejected'] as const
/** FIX 4.4 tag 39. */
export type OrdStatus = (typeof ordStatuses)[number]

export type Liquidity = 'MAKER' | 'TAKER'
