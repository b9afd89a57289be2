import t from 'tap'
import { AccountExposure, Exposure, Market } from '../../src/domain/exposure.ts'
import { PriceHistory } from '../../src/domain/price-history.ts'
import { RiskAlerts } from '../../src/domain/risk-alerts.ts'
import {
  attoFrom,
  encodePortfolio,
  encodeTotals,
  figuresOf,
  metricsOf,
  TotalMetrics,
} from '../../src/domain/risk-metrics.ts'
import { alertShareMin } from '../../src/domain/risk-alerts.ts'
import { RiskRules } from '../../src/domain/risk-rules.ts'
import { HistoricalSimulation } from '../../src/domain/value-at-risk.ts'
import { definitionOf, instrumentFrom } from '../../src/schemas/instrument.ts'

/** Tick 0.01, lot 0.1. */
function marketOf(symbol: string, lastTicks: number): Market {
  const definition = definitionOf({ default: { tick: '0.01', lot: '0.1' }, instruments: {} }, symbol)
  if (!definition) throw new Error('no definition')
  const market = new Market(instrumentFrom(definition))
  market.lastTicks = lastTicks
  return market
}

/** @param lots position by market */
function accountWith(name: string, lots: readonly (readonly [Market, number])[]): AccountExposure {
  const account = new AccountExposure(name)
  for (const [market, positionLots] of lots) {
    const exposure = new Exposure(account, market)
    exposure.positionLots = positionLots
    account.bySymbol.set(market.instrument.symbol, exposure)
  }
  return account
}

const noHistory = () => new HistoricalSimulation(new PriceHistory())
const a = marketOf('A', 10_000)
const b = marketOf('B', 2_500)

void t.test('P2.04 gross, net, concentration and worst case of an account', (t) => {
  // 3 of A at 100 and −16 of B at 25, and an order to sell 2 more of B at 30.
  const account = accountWith('acc', [
    [a, 30],
    [b, -160],
  ])
  account.bySymbol.get('B')?.hold(false, 20, 20 * 3_000)
  const metrics = metricsOf(account, attoFrom('12.5'), noHistory())
  t.same(figuresOf(metrics), {
    gross: 700,
    net: -100,
    worstCase: 760,
    concentration: 400 / 700,
    drawdown: 12.5,
    var95: undefined,
    var99: undefined,
  })
  t.same(JSON.parse(encodePortfolio(account, metrics, [])), {
    account: 'acc',
    gross_exposure: 700,
    net_exposure: -100,
    worst_case_exposure: 760,
    concentration: 0.571429,
    drawdown: 12.5,
    var_95: null,
    var_99: null,
    open_orders: 0,
    positions: [
      { symbol: 'A', quantity: 3, mark_price: 100, value: 300 },
      { symbol: 'B', quantity: -16, mark_price: 25, value: -400 },
    ],
    limits: [],
  })
  t.end()
})

void t.test('P2.04 sums over all accounts are exact, concentration is by symbol, the largest are listed', (t) => {
  const total = new TotalMetrics()
  const simulation = noHistory()
  const add = (account: AccountExposure, drawdown?: bigint) =>
    total.add(account, metricsOf(account, drawdown, simulation))
  for (let n = 0; n < 3_000; n += 1) add(accountWith(`n${n}`, [[a, n % 2 === 0 ? n : -n]]), attoFrom('0.1'))
  add(accountWith('flat', []))
  const {
    total: sums,
    accounts,
    accounts_count: count,
  } = JSON.parse(encodeTotals(total, { timeUs: 1_790_000_000_000_000, executionsSeq: 7, returns: 0 })) as {
    total: Record<string, number | null>
    accounts: { account: string; gross_exposure: number }[]
    accounts_count: number
  }
  // Σ n × 0.1 × 100 for n below 3,000.
  t.equal(sums['gross_exposure'], 44_985_000)
  t.equal(sums['net_exposure'], -15_000)
  t.equal(sums['concentration'], 1)
  t.equal(sums['drawdown'], 300)
  t.equal(sums['var_95'], null, 'those who hold something have no history')
  t.equal(count, 3_001)
  t.equal(accounts.length, 1_000)
  t.same(
    [accounts[0], accounts[999]].map((account) => account?.account),
    ['n2999', 'n2000'],
  )
  t.end()
})

void t.test('P2.04 amounts of POSITIONS are taken exactly', (t) => {
  t.equal(attoFrom(12.5), 12_500_000_000_000_000_000n)
  t.equal(attoFrom('90000000000000.00000001'), 90_000_000_000_000_000_000_010_000_000_000n)
  t.equal(attoFrom(0), 0n)
  t.end()
})

void t.test('P2.04 an alert is raised at 80 % of a limit, critical at 90 %, and cleared below', (t) => {
  const rules = new RiskRules()
  rules.change('account.acc', { maxPosition: 10, maxOpenOrders: 4, maxGrossExposure: 1_000_000 })
  rules.change('symbol.A', { maxGrossExposure: 1_000 })
  const account = accountWith('acc', [[a, 0]])
  const exposure = account.bySymbol.get('A')
  if (!exposure) throw new Error('no exposure')
  const alerts = new RiskAlerts()
  const step = (lots: number, orders = 0) => {
    exposure.fill(lots, 10_000)
    exposure.openOrders += orders
    account.openOrders += orders
    const changes = alerts.update('acc', rules.usesOf(account, alertShareMin), 1_790_000_000_000_000)
    return changes.map(({ json }) => {
      const {
        event,
        level,
        limit,
        symbol,
        source,
        used,
        limit_value: limitValue,
      } = JSON.parse(json) as Record<string, unknown>
      return [event, level, limit, symbol, source, used, limitValue]
    })
  }
  t.same(step(79), [])
  t.same(step(1), [
    ['raised', 'warn', 'maxPosition', 'A', 'account acc', 8, 10],
    ['raised', 'warn', 'maxGrossExposure', 'A', 'symbol A', 800, 1_000],
  ])
  t.same(step(1), [], 'no news')
  t.equal(alerts.counts.warn, 2)
  t.same(step(9, 4), [
    ['changed', 'critical', 'maxPosition', 'A', 'account acc', 9, 10],
    ['raised', 'critical', 'maxOpenOrders', null, 'account acc', 4, 4],
    ['changed', 'critical', 'maxGrossExposure', 'A', 'symbol A', 900, 1_000],
  ])
  t.same(alerts.counts, { warn: 0, critical: 3 })
  t.match(JSON.parse(alerts.encode()), {
    alerts: [{ account: 'acc', level: 'critical', used_percent: 90, since: '2026-09-21T14:13:20.000000Z' }, {}, {}],
    truncated: false,
  })
  t.same(
    step(-90, -4).map(([event, , limit]) => [event, limit]),
    [
      ['cleared', 'maxPosition'],
      ['cleared', 'maxOpenOrders'],
      ['cleared', 'maxGrossExposure'],
    ],
  )
  t.same(alerts.counts, { warn: 0, critical: 0 })
  t.same(JSON.parse(alerts.encode()), { alerts: [], truncated: false })
  t.end()
})

void t.test('P2.04 no more than 10,000 alerts are kept', (t) => {
  const rules = new RiskRules()
  rules.change('default', { maxPosition: 1 })
  const alerts = new RiskAlerts()
  const accounts = Array.from({ length: 10_001 }, (_, n) => accountWith(`n${n}`, [[a, 10]]))
  for (const account of accounts) alerts.update(account.name, rules.usesOf(account, alertShareMin), 0)
  t.equal(alerts.counts.critical, 10_000)
  t.equal((JSON.parse(alerts.encode()) as { truncated: boolean }).truncated, true)
  t.end()
})
