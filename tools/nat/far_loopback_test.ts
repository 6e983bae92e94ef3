/** With `farLoopback`: the router's address stands for the loopback of the machine behind the uplink. */

import { assertEquals } from "@std/assert";
import { icmpErrorPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import {
  assertSound,
  endsOf,
  gotOf,
  GUEST,
  HOST,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });

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
