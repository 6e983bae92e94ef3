/** Guests' frames, as outbound_test has them: what is IPv4's own. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MAC_BROADCAST } from "../../kernel/wire/mac_addr.ts";
import { ipv4HeaderLen, ipv4Tos, ipv4Ttl, parseIpv4, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { icmpErrorPacket, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { u16 } from "../../tests/kit/ip/wire.ts";
import {
  assertSound,
  endsOf,
  framed,
  gotOf,
  GUEST,
  GUEST_MAC,
  HOST,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
const reply = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("akaros 31: TTL counts down one hop each way; TOS, id, DF and options stay as they are", () => {
  const { out, back } = natKit();
  const options = new Uint8Array([7, 7, 4, 1, 2, 3, 4, 0]);
  const header = { tos: 0xb9, id: 0x1234, dontFragment: true, options, ttl: 9 };
  const { packet, map } = sentOf(out(udp({ ...header, payload: pattern(30) })));
  const sent = parseIpv4(packet, 0, packet.length)!;
  assertEquals({ ...sent, options: [...sent.options] }, {
    ...{ ...sent, tos: 0xb9, id: 0x1234, dontFragment: true, options: [...options], ttl: 8, headerLen: 28 },
  });
  assertSound(packet);
  const got = gotOf(back(reply({ ...header, ttl: 50 }), map));
  assertEquals([ipv4Ttl(got, 0), ipv4Tos(got, 0), ipv4HeaderLen(got, 0)], [49, 0xb9, 28]);
});

Deno.test("akaros 20: a UDP checksum of 0 stays 0, and one that comes out as 0 is 0xffff", () => {
  const { out, back } = natKit();
  const { packet, map } = sentOf(out(udp({ checksum: 0, payload: pattern(9) })));
  assertEquals([packet[26], packet[27]], [0, 0]);
  const got = gotOf(back(reply({ checksum: 0 }), map));
  assertEquals([got[26], got[27]], [0, 0]);
  fc.assert(
    fc.property(u16, (word) => {
      const payload = new Uint8Array([word >>> 8, word & 255]);
      const sent = sentOf(out(udp({ payload }))).packet;
      assertSound(sent);
      assert(sent[26] !== 0 || sent[27] !== 0);
    }),
    fuzz(500),
  );
  // For this payload the sum comes out as 0xffff.
  let seen = false;
  for (let word = 0; word < 0x10000 && !seen; word++) {
    const sent = sentOf(out(udp({ payload: new Uint8Array([word >>> 8, word & 255]) }))).packet;
    seen = sent[26] === 0xff && sent[27] === 0xff;
  }
  assert(seen);
});

Deno.test("The router's address is the loopback of the machine behind the uplink with farLoopback", () => {
  const { out, back, error } = natKit({ policy: { loopback: true }, farLoopback: true });
  const { packet, map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  assertEquals([endsOf(packet), map.bound], [`${HOST}:${map.hostPort} > 127.0.0.1:7`, null]);
  assertSound(packet);
  const answer = { src: "127.0.0.1", dst: HOST, srcPort: 7, dstPort: map.hostPort };
  const got = gotOf(back(udpPacket(answer), map));
  assertEquals(endsOf(got), `${ROUTER}:7 > ${GUEST}:4000`);
  assertSound(got);
  assertEquals(back(udpPacket({ ...answer, src: REMOTE }), map).reason, "filtered", "no host from outside");
  const refused = icmpErrorPacket({ type: 3, code: 3, packet }, { src: "127.0.0.1", dst: HOST });
  assertEquals(endsOf(gotOf(error(refused, map)).slice(28)), `${GUEST}:4000 > ${ROUTER}:7`);
  assertEquals(out(udp({ dst: "127.0.0.1" })).reason, "policy-loopback");
});

Deno.test("The far machine answers a datagram to its loopback from its own address, by that map alone", () => {
  const far = { policy: { loopback: true }, farLoopback: true, farPeer: "10.0.0.9" };
  const { out, back } = natKit({ ...far, mtu: 1280 });
  const { map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  const answer = { src: "10.0.0.9", dst: HOST, srcPort: 7, dstPort: map.hostPort, ttl: 1 };
  const got = gotOf(back(udpPacket(answer), map));
  assertEquals(endsOf(got), `${ROUTER}:7 > ${GUEST}:4000`);
  assertSound(got);
  // As what comes from the host: no hop is counted, and no path is to be found.
  const large = back(udpPacket({ ...answer, dontFragment: true, payload: pattern(1400) }), map);
  assertEquals(large.toGuest.length, 2);
  const world = sentOf(out(udp({ dstPort: 9 }))).map;
  const tcp = sentOf(out(tcpPacket({ dst: ROUTER }))).map;
  const rows = [
    back(udpPacket({ ...answer, src: "10.0.0.8" }), map),
    back(udpPacket({ ...answer, dstPort: world.hostPort }), world),
    back(tcpPacket({ src: "10.0.0.9", dst: HOST, srcPort: 80, dstPort: tcp.hostPort, flags: 18 }), tcp),
  ];
  assertEquals(rows.map(({ reason }) => reason), rows.map(() => "filtered"));
});

Deno.test("Without farLoopback, or before the guest asks, packets from the peer's address are filtered", () => {
  for (const options of [{ farLoopback: false }, { filtering: "address-port" as const, farLoopback: true }]) {
    const { out, back } = natKit({ policy: { loopback: true }, farPeer: "10.0.0.9", ...options });
    const { map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
    const other = udpPacket({ src: "10.0.0.9", dst: HOST, srcPort: 8, dstPort: map.hostPort });
    assertEquals(back(other, map).reason, "filtered");
  }
});

Deno.test("akaros 26: nothing leaves to groups, broadcasts, reserved addresses, or from what is not a guest's", () => {
  const { out, frame, refused } = natKit();
  for (const dst of ["224.0.0.251", "255.255.255.255", "10.0.2.255", "10.0.0.255", "0.0.0.0", "240.0.0.1", GUEST]) {
    assertEquals([dst, out(udp({ dst })).reason], [dst, "destination"]);
  }
  for (const src of ["10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.0.1", "8.8.8.8", "0.0.0.0"]) {
    assertEquals([src, out(udp({ src })).reason], [src, "source"]);
  }
  assertEquals(out(udp({ dst: "10.0.2.77" })).reason, "on-link");
  assertEquals(frame(framed(udp(), { dst: MAC_BROADCAST })).reason, "link-broadcast");
  assertEquals(frame(framed(udp(), { dst: GUEST_MAC })).reason, "other-mac");
  assertEquals(frame(framed(udp(), { type: 0x86dd })).reason, "ipv6");
  assertEquals(frame(framed(udp(), { type: 0x8100 })).reason, "ethertype");
  assertEquals(refused("destination"), 7);
});

Deno.test("akaros 19: protocols without ports are dropped and counted, and the sender gets an ICMP error", () => {
  const { out, frame, refused, nat } = natKit();
  for (const protocol of [2, 47, 132, 0, 255]) {
    const refusal = out(ipPacket({ src: GUEST, dst: REMOTE, protocol, payload: pattern(8) }));
    const error = gotOf(refusal);
    assertSound(error);
    assertEquals([refusal.reason, error[20], error[21], error[28 + 9]], ["protocol", 3, 2, protocol]);
  }
  // IGMP as hosts send it: to a group, so no error is sent.
  const igmp = ipPacket({ src: GUEST, dst: "224.0.0.22", protocol: 2, options: pattern(4), payload: pattern(8) });
  igmp.set([148, 4, 0, 0], 20);
  setIpv4Checksum(igmp, 0, 24);
  assertEquals(frame(framed(igmp, { dst: MAC_BROADCAST })).toGuest, []);
  assertEquals(out(igmp).toGuest, []);
  assertEquals([refused("protocol"), nat.table.count()], [7, 0]);
});
