import t from 'tap'
import { rfc3339FromUs, systemClock, usFromEpoch, usFromRfc3339, usPerDay } from '../../src/base/clock.ts'

void t.test('P1.07 times: RFC 3339 in, microseconds since the epoch out', (t) => {
  const rows: readonly (readonly [text: string, us: number | undefined])[] = [
    ['1970-01-01T00:00:00Z', 0],
    ['1970-01-01T00:00:00.000001Z', 1],
    ['2026-11-22T09:30:00.5Z', 1_795_339_800_500_000],
    ['2026-11-22T09:30:00.123456789Z', 1_795_339_800_123_456],
    ['2026-11-22t09:30:00z', 1_795_339_800_000_000],
    ['2026-11-22 09:30:00Z', 1_795_339_800_000_000],
    ['2026-11-22T11:30:00+02:00', 1_795_339_800_000_000],
    ['2026-11-22T04:00:00-05:30', 1_795_339_800_000_000],
    ['2024-02-29T00:00:00Z', 1_709_164_800_000_000],
    ['2026-02-29T00:00:00Z', undefined],
    ['2026-02-30T00:00:00Z', undefined],
    ['2026-13-01T00:00:00Z', undefined],
    ['2026-11-22T24:00:00Z', undefined],
    ['2026-11-22T23:60:00Z', undefined],
    ['2026-11-22T23:59:60Z', undefined],
    ['2026-11-22T09:30:00', undefined],
    ['2026-11-22T09:30:00.1234567890Z', undefined],
    ['2026-11-22', undefined],
    ['22 Nov 2026', undefined],
    ['', undefined],
  ]
  for (const [text, us] of rows) t.equal(usFromRfc3339(text), us, text)
  t.end()
})

void t.test('P1.07 times: an epoch number in s, ms, µs or ns by its size, exactly', (t) => {
  const us = 1_795_379_583_836_273
  const rows: readonly (readonly [text: string, us: number | undefined])[] = [
    ['0', 0],
    ['1', 1_000_000],
    ['1795379583', 1_795_379_583_000_000],
    ['1795379583.836273', us],
    ['1795379583.8362739', us],
    ['1.795379583836273e9', us],
    ['1795379583836', 1_795_379_583_836_000],
    ['1795379583836.273', us],
    ['1795379583836273', us],
    ['1795379583836273000', us],
    ['1795379583836273999', us],
    ['1795379583836274000', us + 1],
    ['99999999999', undefined],
    ['9000000000', 9e15],
    ['100000000000', 100_000_000_000_000],
    ['99999999999999', undefined],
    ['100000000000000', 100_000_000_000_000],
    ['9000000000000000', 9e15],
    ['99999999999999999', undefined],
    ['100000000000000000', 100_000_000_000_000],
    ['1e30', undefined],
    ['1e-30', 0],
    ['-1', undefined],
    ['NaN', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of rows) t.equal(usFromEpoch(text), expected, text)
  t.end()
})

void t.test('P1.07 times: out as RFC 3339 with microseconds, and back', (t) => {
  t.equal(rfc3339FromUs(0), '1970-01-01T00:00:00.000000Z')
  t.equal(rfc3339FromUs(1_795_339_800_123_456), '2026-11-22T09:30:00.123456Z')
  t.equal(rfc3339FromUs(1_795_339_800_000_007), '2026-11-22T09:30:00.000007Z', 'the same second again')
  t.equal(rfc3339FromUs(usPerDay), '1970-01-02T00:00:00.000000Z')
  for (const us of [0, 999_999, 1_000_000, usPerDay - 1, 9e15]) t.equal(usFromRfc3339(rfc3339FromUs(us)), us)
  t.ok(Math.abs(systemClock.nowMs() - Date.now()) < 1_000)
  t.end()
})
