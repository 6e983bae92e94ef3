import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { NO_TCP_OPTIONS } from "../../../kernel/wire/tcp_options.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { COOKIE_TICK_MS, cookieAgreement, cookieTimestamp, makeCookie, readCookie } from "./cookie.ts";
import { KeyedHash } from "./keyed_hash.ts";

const HASH = KeyedHash.random(new SeededRandom(5));
const ENDS = { laddr: IpAddr.v4(1), lport: 80, raddr: IpAddr.v4(2), rport: 5000 };

Deno.test("readCookie() finds the segment size again, rounded down to one that can be remembered", () => {
  const sizes = [48, 216, 536, 1400, 1439, 1460, 9000].map((peerMss) => {
    const iss = makeCookie(HASH, ENDS, { irs: 77, peerMss, nowMs: 1000 });
    return readCookie(HASH, ENDS, { iss, irs: 77, nowMs: 2000 });
  });
  assertEquals(sizes, [28, 216, 536, 1400, 1400, 1460, 1460]);
});

Deno.test("readCookie() refuses a cookie that is too old, another's, or made up", () => {
  const nowMs = 10 * COOKIE_TICK_MS;
  const iss = makeCookie(HASH, ENDS, { irs: 77, peerMss: 1460, nowMs });
  assertEquals(readCookie(HASH, ENDS, { iss, irs: 77, nowMs: nowMs + COOKIE_TICK_MS }), 1460);
  assertEquals(readCookie(HASH, ENDS, { iss, irs: 77, nowMs: nowMs + 2 * COOKIE_TICK_MS }), 0);
  assertEquals(readCookie(HASH, ENDS, { iss, irs: 78, nowMs }), 0);
  assertEquals(readCookie(HASH, { ...ENDS, rport: 5001 }, { iss, irs: 77, nowMs }), 0);
  assertEquals(readCookie(KeyedHash.random(new SeededRandom(6)), ENDS, { iss, irs: 77, nowMs }), 0);
  const random = new SeededRandom(9);
  let believed = 0;
  for (let i = 0; i < 2000; i++) believed += readCookie(HASH, ENDS, { iss: random.u32(), irs: 77, nowMs }) > 0 ? 1 : 0;
  assertEquals(believed, 0);
});

Deno.test("cookieTimestamp() carries what was agreed, and is never later than now", () => {
  fc.assert(
    fc.property(
      fc.record({
        now: fc.nat(0xffff_ffff),
        shift: fc.nat(14),
        scale: fc.boolean(),
        sack: fc.boolean(),
        ecn: fc.boolean(),
      }),
      ({ now, shift, scale, sack, ecn }) => {
        const sendShift = scale ? shift : 0;
        const receiveShift = scale ? 7 : 0;
        const agreed = { peerMss: 536, sendShift, receiveShift, sack, ecn, timestamps: true };
        const tsEcr = cookieTimestamp(now, agreed);
        assert(seq.leq(tsEcr, now) && seq.diff(now, tsEcr) < 128);
        assertEquals(cookieAgreement({ ...NO_TCP_OPTIONS, hasTimestamps: true, tsEcr }, 536, 7), agreed);
      },
    ),
    fuzz(100),
  );
});
