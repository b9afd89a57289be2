import t from 'tap'
import { Desk, limit, reasonOf } from './gate-desk.ts'

void t.test('P2.05 a halt refuses what adds risk in its scope, and nothing else', (t) => {
  const scopes: ['all' | 'account' | 'symbol', string | undefined, RegExp][] = [
    ['all', undefined, /^RISK_HALTED: everything is halted; only cancels and orders that reduce risk pass$/],
    ['account', 'default', /account default is halted/],
    ['symbol', 'S', /symbol S is halted/],
  ]
  for (const [scope, name, text] of scopes) {
    const desk = new Desk()
    desk.position(10)
    const resting = desk.order('BUY', 5, 90)
    const [record, ...others] = desk.halt(scope, name)
    t.strictSame(others, [])
    t.match(record, { type: 'halt', srcSeq: 0, scope, name, halted: true, revision: 1 })
    t.match(
      desk.send('new', limit('BUY', 1, 100)),
      { reason: 'RISK_HALTED', text, check: { rule: 'RISK_HALTED' } },
      scope,
    )
    t.equal(reasonOf(desk.send('new', limit('SELL', 11, 100))), 'RISK_HALTED', 'would turn the position')
    t.equal(reasonOf(desk.send('new', limit('SELL', 10, 100))), undefined, 'reduces')
    t.equal(reasonOf(desk.send('replace', { orderId: `o-${resting}`, quantity: 6 })), 'RISK_HALTED')
    t.equal(reasonOf(desk.send('replace', { orderId: `o-${resting}`, price: 91 })), 'RISK_HALTED')
    t.equal(reasonOf(desk.send('replace', { orderId: `o-${resting}`, quantity: 4 })), undefined, 'a smaller hold')
    t.equal(reasonOf(desk.send('cancel', { orderId: `o-${resting}` })), undefined)
    t.equal(reasonOf(desk.send('mass_cancel', { account: 'default' })), undefined)
    const other = { ...limit('BUY', 1, 100), symbol: 'T', account: 'bob' }
    t.equal(reasonOf(desk.send('new', other)), scope === 'all' ? 'RISK_HALTED' : undefined, 'others')
    const command = { kind: 'new', account: 'default', symbol: 'S', side: 'BUY', ordType: 'LIMIT' } as const
    const evaluated = desk.gate.evaluate({ ...command, quantity: '1', price: '1' })
    t.match(evaluated, { reason: 'RISK_HALTED', text, fastPath: true })
    t.equal(desk.halt(scope, name, { halted: false }).length, 1)
    t.equal(reasonOf(desk.send('new', limit('BUY', 1, 100))), undefined, 'resumed')
  }
  t.end()
})

void t.test(
  'P2.05 halts: checked after fields and names, before limits; with cancel a mass cancel comes first',
  (t) => {
    const desk = new Desk()
    desk.order('BUY', 1, 100, { clOrdId: 'first' })
    desk.limits('default', { maxQuantity: 1 })
    desk.halt('all')
    t.equal(reasonOf(desk.send('new', limit('BUY', 1, '1.001'))), 'PRICE_OFF_TICK')
    t.equal(reasonOf(desk.send('new', limit('BUY', 1, 100, { clOrdId: 'first' }))), 'DUPLICATE_CL_ORD_ID')
    t.equal(reasonOf(desk.send('new', limit('BUY', 2, 100))), 'RISK_HALTED')
    for (const [scope, name, expected] of [
      ['all', undefined, {}],
      ['account', 'a', { account: 'a' }],
      ['symbol', 'S', { symbol: 'S' }],
    ] as const) {
      const [cancel, halt, ...others] = desk.halt(scope, name, { cancel: true })
      const { cmdSeq = 0, timeUs = 0 } = cancel ?? {}
      t.strictSame(cancel, { cmdSeq, srcSeq: 0, timeUs, type: 'massCancel', ...expected })
      t.match(halt, { type: 'halt', cmdSeq: cmdSeq + 1, scope, name, halted: true })
      t.strictSame(others, [])
    }
    t.equal(desk.halt('all', undefined, { halted: false, cancel: true }).length, 1, 'a resume cancels nothing')
    t.equal(desk.gate.limitsRevision, 6)
    t.end()
  },
)
