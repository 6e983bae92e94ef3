import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { initialSequence, KeyedHash, timestampOffset } from "./keyed_hash.ts";

const ENDS = { laddr: IpAddr.v4(0x0a000001), lport: 80, raddr: IpAddr.v4(0x0a000002), rport: 4000 };

Deno.test("initialSequence() ticks every 4 µs, and its start depends on ends and key (RFC 6528)", () => {
  const hash = KeyedHash.random(new SeededRandom(1));
  const first = initialSequence(hash, ENDS, 0);
  assertEquals((initialSequence(hash, ENDS, 1000) - first) >>> 0, 250_000);
  assertNotEquals(initialSequence(hash, { ...ENDS, rport: 4001 }, 0), first);
  assertNotEquals(initialSequence(KeyedHash.random(new SeededRandom(2)), ENDS, 0), first);
  assert(timestampOffset(hash, ENDS) !== first);
});
