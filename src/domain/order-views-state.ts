import type { OrderView } from './order-views.ts'
import { textColumn, textsOf, type TextColumn } from './columns.ts'

/** Open orders and the ended ones that are remembered, each by columns. */
export interface OrderViewsState {
  readonly open: OrderViewColumns
  readonly ended: OrderViewColumns
}

const repeating = ['account', 'symbol', 'side', 'status'] as const
const others = [
  'orderId',
  'clOrdId',
  'quantity',
  'price',
  'filledQuantity',
  'averagePrice',
  'errorMessage',
  'refOrderId',
  'asOf',
] as const

interface OrderViewColumns {
  readonly count: number
  readonly texts: readonly TextColumn[]
  readonly values: readonly (readonly unknown[])[]
}

export function columnsOf(views: readonly OrderView[]): OrderViewColumns {
  return {
    count: views.length,
    texts: repeating.map((name) => textColumn(views.map((view) => view[name]))),
    values: others.map((name) => views.map((view) => view[name])),
  }
}

export function* viewsOf({ count, texts, values }: OrderViewColumns): Generator<OrderView> {
  const columns = [
    ...repeating.map((name, at) => [name, textsOf(texts[at] ?? textColumn([]))] as const),
    ...others.map((name, at) => [name, values[at] ?? []] as const),
  ]
  for (let row = 0; row < count; row += 1) {
    const view: Record<string, unknown> = {}
    for (const [name, column] of columns) if (column[row] !== undefined) view[name] = column[row]
    yield view as unknown as OrderView
  }
}
