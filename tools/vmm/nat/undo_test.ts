/** What the host does not take is told the guest about its own packet. */

import { assertEquals } from "@std/assert";
import { icmpNextHopMtu, parseIcmpQuote } from "../../../kernel/wire/icmp.ts";
import { pattern, udpPacket } from "../../../tests/kit/ip_fixture.ts";
import { GUEST, natKit, REMOTE, tcpPacket } from "./kit_test.ts";
import { refusedByHost } from "./undo.ts";
import { Reason } from "./counters.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
Deno.test("What the host refuses for its size or for want of a way is told the guest as its own packet", () => {
  const kit = natKit();
  for (const original of [udp({ payload: pattern(1400), dontFragment: true }), tcpPacket()]) {
    const { block, map } = kit.out(original);
    refusedByHost(kit.nat, block!, map!, { reason: Reason.TooBig, mtu: 1280 });
    const got = kit.nat.takeFrames()[0]!.bytes().slice(14);
    assertEquals([got[20], got[21], icmpNextHopMtu(got, 20)], [3, 4, 1280]);
    const quote = parseIcmpQuote(got, 20, got.length)!;
    assertEquals(got.slice(quote.ipAt, quote.ipAt + 28), original.slice(0, 28));
  }
});
