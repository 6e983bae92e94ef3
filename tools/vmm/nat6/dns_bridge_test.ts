import { assertEquals } from "@std/assert";
import { DNS_TYPE_AAAA } from "../../../kernel/wire/dns_record.ts";
import { dnsLen, emitDns, parseDns } from "../../../kernel/wire/dns.ts";
import { ipv4Ttl } from "../../../kernel/wire/ipv4.ts";
import { pattern, udpPacket } from "../../../tests/kit/ip_fixture.ts";
import { header6 } from "../../../tests/kit/story6.ts";
import { assertSound, endsOf, HOST, sentOf, tcpPacket } from "../nat/kit_test.ts";
import { assertSound6, DNS6, ends6, got6, GUEST6, HOST6, natKit6, tcp6, udp6 } from "./kit6_test.ts";

const QUESTION = pattern(40);

Deno.test("A question to the name server goes to a server of the host's by IPv4, and its answer back", () => {
  const kit = natKit6();
  const ask = udp6({ dst: DNS6, dstPort: 53, payload: QUESTION, trafficClass: 2 });
  const { packet, map } = sentOf(kit.out6(ask));
  assertSound(packet);
  assertEquals([endsOf(packet), ipv4Ttl(packet, 0), packet[1]], [`${HOST}:4000 > 9.9.9.9:53`, 64, 2]);
  assertEquals(packet.slice(28), QUESTION);
  const answer = udpPacket({ src: "9.9.9.9", dst: HOST, srcPort: 53, dstPort: map.hostPort, payload: pattern(99) });
  const got = got6(kit.back6(answer, map));
  assertSound6(got);
  assertEquals([ends6(got), got.slice(48)], [`[${DNS6}]:53 > [${GUEST6}]:4000`, pattern(99)]);
  // An answer without a checksum gets one: IPv6 wants it.
  const bare = answer.slice();
  bare.set([0, 0], 26);
  assertSound6(got6(kit.back6(bare, map)));
  for (const [src, srcPort] of [["9.9.9.8", 53], ["9.9.9.9", 54]] as const) {
    const lie = udpPacket({ src, dst: HOST, srcPort, dstPort: map.hostPort, payload: pattern(9) });
    assertEquals(kit.back6(lie, map).reason, "filtered");
  }
  assertEquals(
    kit.back6(udp6({ src: "2001:db8::53", srcPort: 53, dst: HOST6, dstPort: map.hostPort }), map).reason,
    "filtered",
  );
});

Deno.test("A name server on the far machine's loopback answers from that machine's address, over IPv6, too", () => {
  const far = { policy: { loopback: true }, farLoopback: true, farPeer: "10.0.0.9", nameServers: ["127.0.0.1"] };
  const kit = natKit6(far);
  const { map } = sentOf(kit.out6(udp6({ dst: DNS6, dstPort: 53, payload: QUESTION })));
  const answer = { src: "10.0.0.9", dst: HOST, srcPort: 53, dstPort: map.hostPort, payload: pattern(99) };
  const got = got6(kit.back6(udpPacket(answer), map));
  assertEquals(ends6(got), `[${DNS6}]:53 > [${GUEST6}]:4000`);
  assertEquals(kit.back6(udpPacket({ ...answer, src: "10.0.0.8" }), map).reason, "filtered");
});

Deno.test("A connection to the name server goes to a server by IPv4, all of it to one", () => {
  const kit = natKit6({ nameServers: ["9.9.9.9", "9.9.9.8"] });
  const { packet, map } = sentOf(kit.out6(tcp6({ dst: DNS6, dstPort: 53, tcpOptions: { mss: 1440 } })));
  assertSound(packet);
  const back = tcpPacket({ src: "9.9.9.9", dst: HOST, srcPort: 53, dstPort: map.hostPort, flags: 18 });
  const got = got6(kit.back6(back, map));
  assertSound6(got);
  assertEquals(ends6(got), `[${DNS6}]:53 > [${GUEST6}]:4000`);
  for (let i = 0; i < 9; i++) {
    const { packet } = sentOf(kit.out6(tcp6({ dst: DNS6, dstPort: 53, flags: 16, data: pattern(i) })));
    assertSound(packet);
    assertEquals(endsOf(packet), `${HOST}:4000 > 9.9.9.9:53`);
  }
});

Deno.test("A server by IPv6 is asked by IPv6", () => {
  const kit = natKit6({}, { nameServers: ["2001:db8::53"] });
  const { packet, map } = sentOf(kit.out6(udp6({ dst: DNS6, dstPort: 53, payload: QUESTION })));
  assertSound6(packet);
  assertEquals([ends6(packet), header6(packet).hopLimit], [`[${HOST6}]:4000 > [2001:db8::53]:53`, 64]);
  const got = got6(kit.back6(udp6({ src: "2001:db8::53", srcPort: 53, dst: HOST6, dstPort: map.hostPort }), map));
  assertEquals(ends6(got), `[${DNS6}]:53 > [${GUEST6}]:4000`);
});

Deno.test("Names of the zone have IPv6 addresses, and are answered here", () => {
  const kit = natKit6();
  const query = {
    ...{ id: 5, response: false, opcode: 0, authoritative: false, truncated: false, recursionDesired: true },
    ...{ recursionAvailable: false, authenticData: false, checkingDisabled: false, rcode: 0 },
    questions: [{ name: "gateway.internal", type: DNS_TYPE_AAAA, class: 1 }],
    ...{ answers: [], authorities: [], additionals: [] },
  };
  const payload = new Uint8Array(dnsLen(query));
  emitDns(query, payload, 0);
  const got = got6(kit.out6(udp6({ dst: DNS6, dstPort: 53, payload })));
  assertSound6(got);
  const [answer] = parseDns(got, 48, got.length)!.answers;
  assertEquals(answer!.data.kind === "addr" ? `${answer!.data.addr}` : "", "fd00:0:0:2::2");
});
