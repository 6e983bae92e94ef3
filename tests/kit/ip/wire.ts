/**
 * Kit for the tests of wire formats: annotated bytes, generators, and the two properties every format has.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fromHex, toHex } from "../../../kernel/wire/bytes.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { fuzz } from "../check/fuzz.ts";

/** The bytes that `text` spells in hex with `#` comments; throws if it spells none. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  assert(bytes !== null, `Cannot read as hex: ${text}`);
  return bytes;
}

export const u8 = fc.integer({ min: 0, max: 0xff });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffffffff });
const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });

/** Any IPv4 address. */
export const ipv4Addrs: fc.Arbitrary<IpAddr> = word.map((w) => IpAddr.v4(w));
/** Any IPv6 address; some are all zeros or IPv4-mapped. */
export const ipv6Addrs: fc.Arbitrary<IpAddr> = fc.tuple(word, word, word, word).map((w) => new IpAddr(...w));
/** Any MAC address. */
export const macAddrs: fc.Arbitrary<MacAddr> = fc.tuple(u16, word).map(([hi, lo]) => new MacAddr(hi, lo));

/** Two addresses of one kind. */
export const addrPairs: fc.Arbitrary<[IpAddr, IpAddr]> = fc.oneof(
  fc.tuple(ipv4Addrs, ipv4Addrs),
  fc.tuple(ipv6Addrs, ipv6Addrs),
);

/** One format: how its records are written and read. */
export interface Format<R> {
  emit(record: R, buf: Uint8Array, at: number): number;
  parse(buf: Uint8Array, at: number, end: number): R | null;
  /** How many bytes must follow what was emitted for the record to be valid; 0 if left out. */
  payloadLen?(record: R): number;
}

/** Every record can be emitted, touches only the bytes of its length, and is read back with every one of its fields. */
export function assertRoundTrip<R extends object>(records: fc.Arbitrary<R>, format: Format<R>, usual = 200): void {
  fc.assert(
    fc.property(records, fc.nat(9), (record, at) => {
      const buf = new Uint8Array(at + 4096 + (format.payloadLen?.(record) ?? 0)).fill(0xa5);
      const length = format.emit(record, buf, at);
      assert(buf.subarray(0, at).every((byte) => byte === 0xa5), "Wrote before its place");
      assert(buf.subarray(at + length).every((byte) => byte === 0xa5), "Wrote behind its length");
      const parsed = format.parse(buf, at, at + length + (format.payloadLen?.(record) ?? 0));
      assert(parsed !== null, `Cannot parse ${toHex(buf, at, at + length)}`);
      for (const key of Object.keys(record) as (keyof R)[]) assertEquals(parsed[key], record[key], `${String(key)}`);
      const again = buf.slice();
      assertEquals(format.emit(parsed, again, at), length);
      assertEquals(toHex(again, at, at + length), toHex(buf, at, at + length));
    }),
    fuzz(usual),
  );
}

/** No bytes make `parse` throw, and none outside its bounds change its result; damaged `samples` are tried, too. */
export function assertSafe(
  parse: (buf: Uint8Array, at: number, end: number) => unknown,
  samples: readonly Uint8Array[],
  usual = 500,
): void {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), ...samples.map(damaged)), fc.nat(9), (bytes, at) => {
      const end = at + bytes.length;
      const outcomes = [0x00, 0xff, 0x45].map((around) => {
        const buf = new Uint8Array(end + 100).fill(around);
        buf.set(bytes, at);
        return parse(buf, at, end);
      });
      assertEquals(outcomes[1], outcomes[0]);
      assertEquals(outcomes[2], outcomes[0]);
    }),
    fuzz(usual),
  );
}

/** `sample` with up to four bytes changed, cut at the end, or with bytes added. */
export function damaged(sample: Uint8Array): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(fc.tuple(fc.nat(Math.max(0, sample.length - 1)), u8), { maxLength: 4 });
  return fc.tuple(changes, fc.nat(sample.length), fc.boolean(), fc.uint8Array({ maxLength: 8 })).map(
    ([changed, length, cut, tail]) => {
      const bytes = sample.slice(0, cut ? length : sample.length);
      for (const [at, value] of changed) if (at < bytes.length) bytes[at] = value;
      return new Uint8Array([...bytes, ...tail]);
    },
  );
}
