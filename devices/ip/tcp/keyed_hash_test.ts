import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { initialSequence, KeyedHash, timestampOffset } from "./keyed_hash.ts";

const ENDS = { laddr: IpAddr.v4(0x0a000001), lport: 80, raddr: IpAddr.v4(0x0a000002), rport: 4000 };

Deno.test("KeyedHash is SipHash-2-4: the example of its paper, key 00…0f over bytes 00…0e", () => {
  const hash = new KeyedHash([0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c]);
  hash.begin();
  hash.word(0x07060504, 0x03020100);
  const low = hash.finish(0x0f0e0d0c, 0x0b0a0908);
  assertEquals([hash.high.toString(16), low.toString(16)], ["a129ca61", "49be45e5"]);
});

Deno.test("initialSequence() ticks every 4 µs, and its start depends on ends and key (RFC 6528)", () => {
  const hash = KeyedHash.random(new SeededRandom(1));
  const first = initialSequence(hash, ENDS, 0);
  assertEquals((initialSequence(hash, ENDS, 1000) - first) >>> 0, 250_000);
  assertNotEquals(initialSequence(hash, { ...ENDS, rport: 4001 }, 0), first);
  assertNotEquals(initialSequence(KeyedHash.random(new SeededRandom(2)), ENDS, 0), first);
  assert(timestampOffset(hash, ENDS) !== first);
});
