/** What the host does not take is told the guest about its own packet. */

import { assertEquals } from "@std/assert";
import { icmpNextHopMtu, parseIcmpQuote } from "../../kernel/wire/icmp.ts";
import { ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { Block } from "../../kernel/block.ts";
import {
  assertSound,
  DNS,
  endsOf,
  GUEST,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";
import { refusedByHost } from "./host_refusal.ts";
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

Deno.test("What the host's loopback or name server does not take is told as the guest called them", () => {
  const { nat, out } = natKit({ policy: { loopback: true } });
  nat.v4.nameServer = { addr: ip("10.0.0.1"), port: 5353 };
  for (const dst of [ROUTER, DNS]) {
    const { packet, map } = sentOf(out(tcpPacket({ dst, dstPort: 53 })));
    refusedByHost(nat, Block.from(packet), map, { reason: Reason.NoRoute });
    const frame = nat.takeFrames()[0]!.bytes();
    const error = frame.slice(14);
    assertSound(error);
    assertSound(error.slice(28));
    assertEquals([error[20], error[21], endsOf(error.slice(28))], [3, 0, `${GUEST}:4000 > ${dst}:53`]);
  }
});
