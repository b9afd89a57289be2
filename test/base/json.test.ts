import t from 'tap'
import { numberText, parseExactJson, parseOwnJson, quote, textFromUtf8, utf8FromText } from '../../src/base/json.ts'

void t.test('P1.07 our own JSON loses no digit: numbers of more than 15 digits come as their text', (t) => {
  const rows: readonly (readonly [json: string, value: unknown])[] = [
    ['{"a":1,"b":-2.5}', { a: 1, b: -2.5 }],
    ['{"a":999999999999999}', { a: 999_999_999_999_999 }],
    ['{"a":9000000000000000}', { a: '9000000000000000' }],
    ['{"a":90000000000.00000001}', { a: '90000000000.00000001' }],
    ['{"a":-90000000000.00000001,"b":1}', { a: '-90000000000.00000001', b: 1 }],
    [
      '{"a":[1234567890123456789,{"a":0.12345678901234567}],"b":2}',
      {
        a: ['1234567890123456789', { a: '0.12345678901234567' }],
        b: 2,
      },
    ],
    ['{"a":"1234567890123456789","b":3}', { a: '1234567890123456789', b: 3 }],
    ['{"a":0.0000000000001}', { a: 0.0000000000001 }],
    ['[true,null,"x"]', [true, null, 'x']],
  ]
  for (const [json, value] of rows) t.same(parseOwnJson(json), value, json)
  t.throws(() => parseOwnJson('{"a":'), SyntaxError)
  t.end()
})

void t.test('P1.07 a quoted text is the JSON literal of the text', (t) => {
  const texts = ['', 'plain', 'a"b', 'a\\b', 'new\nline', '\u0000', 'é', '😀', '\u2028', '\ud800', '~ !#[]^']
  t.same(
    texts.map(quote),
    texts.map((text) => JSON.stringify(text)),
  )
  t.end()
})

void t.test('P1.07 what is not UTF-8 is refused, not replaced', (t) => {
  t.equal(textFromUtf8(utf8FromText('grün 😀')), 'grün 😀')
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]])
    t.throws(() => textFromUtf8(Uint8Array.from(bytes)), TypeError)
  t.end()
})

void t.test('P3.08 JSON of others: numbers that a double would change keep their text', (t) => {
  const rows: readonly (readonly [json: string, texts: (string | undefined)[]])[] = [
    ['[1,-2.5,0.10,"7",null,{}]', ['1', '-2.5', '0.1', undefined, undefined, undefined]],
    ['[1795379583836273,9007199254740993]', ['1795379583836273', '9007199254740993']],
    ['[1795379583836273999]', ['1795379583836273999']],
    ['[12345.67890123456789,1.50]', ['12345.67890123456789', '1.50']],
    ['[1,0.1000000000000000000]', ['1', '0.1000000000000000000']],
    ['[1e400]', ['1e400']],
    ['[1,1e-7]', ['1', '1e-7']],
    ['["id-12345678901234567890.5",2.0]', [undefined, '2.0']],
  ]
  for (const [json, texts] of rows) {
    const values = parseExactJson(json) as unknown[]
    t.same(values.map(numberText), texts, json)
  }
  t.equal(JSON.stringify(parseExactJson('{"a":[12345678901234567890,"x"]}')), '{"a":[12345678901234567890,"x"]}')
  t.throws(() => parseExactJson('[12345678901234567890'), SyntaxError)
  t.end()
})
