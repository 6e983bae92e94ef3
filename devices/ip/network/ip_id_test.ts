import { assert, assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IpIds } from "./ip_id.ts";

const US = IpAddr.v4(0x0a000001);
const PEER = IpAddr.v4(0x0a000002);

/** How far the second number is above the first. */
function step(first: number, second: number): number {
  return (second - first) & 0xffff;
}

Deno.test("IpIds counts for a destination and protocol, so that no number comes back before 65,536 others", () => {
  const ids = new IpIds(new SeededRandom(1));
  const seen = new Set<number>();
  for (let i = 0; i < 65_536; i++) seen.add(ids.next(US, PEER, 17));
  assertEquals(seen.size, 65_536);
});

Deno.test("IpIds tells one destination nothing of what goes to others (RFC 6274 3.5.2.1)", () => {
  const ids = new IpIds(new SeededRandom(2));
  const before = ids.next(US, PEER, 1);
  for (let i = 0; i < 1000; i++) ids.next(US, IpAddr.v4(0x0b000000), 17);
  for (let i = 0; i < 10; i++) ids.next(US, PEER, 17);
  assertEquals(step(before, ids.next(US, PEER, 1)), 1);
});

Deno.test("IpIds has starts that cannot be foreseen: of destination, source, protocol and key", () => {
  const first = (seed: number, src: number, dst: number, protocol: number) =>
    new IpIds(new SeededRandom(seed)).next(IpAddr.v4(src), IpAddr.v4(dst), protocol);
  const plain = first(1, 1, 2, 17);
  for (const other of [first(2, 1, 2, 17), first(1, 3, 2, 17), first(1, 1, 4, 17), first(1, 1, 2, 1)]) {
    assertNotEquals(other, plain);
  }
  const starts = Array.from({ length: 4096 }, (_, i) => first(7, 1, i, 17));
  const neighbours = starts.filter((start, i) => i > 0 && step(starts[i - 1]!, start) < 16).length;
  assertLess(neighbours, 8, "of neighbouring addresses");
});

Deno.test("IpIds goes on counting for a destination whose hash it has forgotten", () => {
  const ids = new IpIds(new SeededRandom(3));
  const before = ids.next(US, PEER, 17);
  for (let i = 0; i < 500; i++) ids.next(US, IpAddr.v4(0x0c000000 + i), 17);
  const after = step(before, ids.next(US, PEER, 17));
  // A counter serves one destination in 4096.
  assert(after >= 1 && after <= 3, `${after}`);
});
