import t from 'tap'
import { usPerDay } from '../../src/base/clock.ts'
import { Gate } from '../../src/domain/gate.ts'
import type { ExecutionMessage } from '../../src/schemas/execution.ts'
import type { InstrumentsConfig } from '../../src/schemas/instrument.ts'
import type { RiskMessage, RiskRecord } from '../../src/schemas/risk.ts'
import { type Body, Desk, instruments, noon, reasonOf, stop } from './gate-desk.ts'

/** What the default account holds in REF, of the side that has something. */
function heldOf({ gate }: Desk): { lots: unknown; value: unknown } {
  const { buyLots = 0, buyValue = 0, sellLots = 0, sellValue = 0 } = gate.exposure('default', 'REF') ?? {}
  return buyLots === 0 ? { lots: sellLots, value: sellValue } : { lots: buyLots, value: buyValue }
}

void t.test('P2.01 each kind of order has its prices in the record, and is held at the last of them', (t) => {
  // REF: tick 0.01, lot 0.001, mark 100, collar 5 %.
  const rows: [string, Body, object, number][] = [
    ['STOP', { side: 'SELL' }, { stopTicks: 9_000, protectionTicks: 8_550 }, 8_550],
    ['STOP', { side: 'BUY', stopPrice: 110 }, { stopTicks: 11_000, protectionTicks: 11_550 }, 11_550],
    ['STOP', { side: 'SELL', stopPrice: '0.01' }, { stopTicks: 1, protectionTicks: 1 }, 1],
    ['STOP_LIMIT', {}, { stopTicks: 9_000, priceTicks: 8_900 }, 8_900],
    ['TRAILING_STOP', {}, { stopTicks: 9_600, trailingTicks: 400, protectionTicks: 9_120 }, 9_120],
    ['TRAILING_STOP', { side: 'BUY' }, { stopTicks: 10_400, trailingTicks: 400, protectionTicks: 10_920 }, 10_920],
    ['TRAILING_STOP', { trailingOffset: 200 }, { stopTicks: 1, trailingTicks: 20_000, protectionTicks: 1 }, 1],
    ['LIMIT', { displayQuantity: '0.25' }, { priceTicks: 8_900, displayLots: 250 }, 8_900],
    ['LIMIT', { displayQuantity: 1 }, { priceTicks: 8_900, displayLots: undefined }, 8_900],
    ['LIMIT', { reduceOnly: true }, { reduceOnly: true }, 8_900],
    ['LIMIT', { reduceOnly: false, stpMode: 'NONE' }, { reduceOnly: undefined, stpMode: undefined }, 8_900],
    [
      'STOP_LIMIT',
      { stpMode: 'EXPIRE_BOTH', displayQuantity: '0.5' },
      { stpMode: 'EXPIRE_BOTH', displayLots: 500 },
      8_900,
    ],
    ['STOP', { timeInForce: 'FOK' }, { timeInForce: 'FOK' }, 8_550],
  ]
  for (const [type, more, terms, holdTicks] of rows) {
    const desk = new Desk()
    const record: object = desk.send('new', stop(type, more))
    const name = `${type} ${JSON.stringify(more)}`
    for (const [field, value] of Object.entries(terms)) t.equal(Reflect.get(record, field), value, `${name}: ${field}`)
    if (type !== 'STOP_LIMIT' && type !== 'LIMIT') t.equal(Reflect.get(record, 'priceTicks'), undefined, name)
    t.same(heldOf(desk), { lots: 1_000, value: 1_000 * holdTicks }, `${name}: hold`)
  }
  t.end()
})

void t.test('P2.01 limits count a stop at its hold price; what reduces skips exposure limits only', (t) => {
  const desk = new Desk()
  desk.limits('default', { maxOrderValue: 100, maxPosition: 2 })
  t.equal(reasonOf(desk.send('new', stop('STOP', { side: 'BUY', stopPrice: 96 }))), 'RISK_MAX_ORDER_VALUE', '100.8')
  t.equal(reasonOf(desk.send('new', stop('STOP', { side: 'BUY', stopPrice: 95 }))), undefined, '99.75')
  t.equal(reasonOf(desk.send('new', stop('STOP', { side: 'BUY', stopPrice: 50 }))), undefined)
  t.equal(reasonOf(desk.send('new', stop('STOP', { side: 'BUY', stopPrice: 50 }))), 'RISK_MAX_POSITION')
  const reduceOnly = stop('LIMIT', { side: 'BUY', reduceOnly: true })
  t.equal(reasonOf(desk.send('new', reduceOnly)), 'RISK_MAX_POSITION', 'it is held like any other')
  t.end()
})

void t.test('P2.01 a replace of stopPrice holds the larger until it is answered', (t) => {
  const desk = new Desk()
  desk.send('new', stop('STOP', { side: 'BUY', stopPrice: 100 }))
  t.match(desk.send('replace', { orderId: 'o-1', stopPrice: 110 }), { type: 'replace', stopTicks: 11_000 })
  t.same(heldOf(desk), { lots: 1_000, value: 11_550_000 })
  desk.report(2, { orderId: 'o-1', execType: 'ReplaceRejected', ordStatus: 'New' })
  t.same(heldOf(desk), { lots: 1_000, value: 10_500_000 })
  desk.send('replace', { orderId: 'o-1', stopPrice: 90 })
  t.same(heldOf(desk), { lots: 1_000, value: 10_500_000 })
  desk.report(3, { orderId: 'o-1', execType: 'Replaced', ordStatus: 'New' })
  t.same(heldOf(desk), { lots: 1_000, value: 9_450_000 })
  const limited = new Desk()
  limited.send('new', stop('STOP_LIMIT'))
  t.match(limited.send('replace', { orderId: 'o-1', stopPrice: 95 }), { type: 'replace', check: undefined })
  t.same(heldOf(limited), { lots: 1_000, value: 8_900_000 }, 'its limit price bounds it')
  t.end()
})

void t.test('P2.01 the hold of a trailing stop follows the stop price that reports tell', (t) => {
  const desk = new Desk()
  const order = { orderId: 'o-1', ordStatus: 'New' } as const
  desk.send('new', stop('TRAILING_STOP'))
  desk.report(1, { ...order, execType: 'New', stopPrice: 97 })
  t.same(heldOf(desk), { lots: 1_000, value: 9_215_000 })
  desk.report(7, { ...order, execType: 'Triggered', stopPrice: 120 })
  t.same(heldOf(desk), { lots: 1_000, value: 11_400_000 })
  const fill = { lastQty: 0.4, lastPx: 119, stopPrice: 120 }
  desk.report(7, { ...order, execType: 'Trade', ordStatus: 'PartiallyFilled', ...fill })
  t.same(heldOf(desk), { lots: 600, value: 6_840_000 })
  desk.report(7, { ...order, execType: 'Expired', ordStatus: 'Expired', stopPrice: 120 })
  t.same(heldOf(desk), { lots: 0, value: 0 })
  t.equal(desk.gate.exposure('default', 'REF')?.positionLots, -400)
  t.end()
})

void t.test('P2.01 the end of any order may come in the message of another', (t) => {
  const desk = new Desk()
  const maker = desk.order('BUY', 1, 100)
  const taker = desk.order('SELL', 1, 100, { stpMode: 'EXPIRE_MAKER' })
  desk.report(
    taker,
    { orderId: `o-${taker}`, execType: 'New', ordStatus: 'New' },
    { orderId: `o-${maker}`, execType: 'Expired', ordStatus: 'Expired' },
  )
  t.equal(desk.gate.openOrders, 1)
  const reduceOnly = desk.order('SELL', 1, 100, { reduceOnly: true })
  const rejected = { execType: 'Rejected', ordStatus: 'Rejected', ordRejReason: 'ORDER_NOT_REDUCING' } as const
  desk.report(reduceOnly, { orderId: `o-${reduceOnly}`, ...rejected })
  t.equal(desk.gate.openOrders, 1)
  t.end()
})

void t.test('P2.01 a changed collar moves the holds of waiting stops, and replay agrees', (t) => {
  const widened: InstrumentsConfig = {
    ...instruments,
    instruments: { REF: { referencePrice: '100', collarBps: 1_000 } },
  }
  const messages: RiskMessage[] = []
  const restart = (config: InstrumentsConfig) => {
    const gate = new Gate({ instruments: config, dayEndUs: usPerDay })
    for (const message of messages) gate.replay(message)
    return gate
  }
  let srcSeq = 0
  const decide = (gate: Gate, ...bodies: object[]) => {
    const records: RiskRecord[] = bodies.map((body) => {
      srcSeq += 1
      const command = { kind: 'new', account: 'a', ...body } as Parameters<Gate['evaluate']>[0]
      return gate.decide({ srcSeq, timeUs: noon, kind: 'new', decoded: { outcome: 'command', command } })
    })
    const { executionsSeq, limitsRevision } = gate
    messages.push({ executionsSeq, limitsRevision, instruments: gate.takeNewInstruments(), records })
  }
  const order = { symbol: 'REF', side: 'BUY', quantity: '1' }
  const first = restart(instruments)
  decide(
    first,
    { ...order, ordType: 'STOP', stopPrice: '100' },
    { ...order, ordType: 'TRAILING_STOP', trailingOffset: '10' },
  )
  t.equal(first.exposure('a', 'REF')?.buyValue, 10_500_000 + 11_550_000)
  const second = restart(widened)
  t.equal(second.stateHash(), first.stateHash())
  decide(second, { ...order, ordType: 'LIMIT', price: '1' })
  t.equal(second.exposure('a', 'REF')?.buyValue, 11_000_000 + 12_100_000 + 100_000)
  second.checkInvariants()
  t.equal(restart(widened).stateHash(), second.stateHash())
  const message: ExecutionMessage = {
    cmdSeq: 2,
    transactTime: 'x',
    reports: [{ execId: 'x', transactTime: 'x', orderId: 'o-2', execType: 'New', ordStatus: 'New', stopPrice: 50 }],
  }
  second.feedback(1, message)
  t.equal(second.exposure('a', 'REF')?.buyValue, 11_000_000 + 5_500_000 + 100_000)
  t.end()
})
