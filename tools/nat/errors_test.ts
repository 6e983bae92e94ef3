/** ICMP errors through the NAT, each way, with the packets that they quote. */

import { assertEquals } from "@std/assert";
import { icmpNextHopMtu } from "../../kernel/wire/icmp.ts";
import { parseIpv4, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK } from "../../kernel/wire/tcp.ts";
import { echoPacket, icmpErrorPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
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
const reply = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("An ICMP error about a guest's packet reaches the guest, its quote translated back (RFC 5508 REQ-4)", () => {
  const { out, error } = natKit();
  const hop = "198.51.100.1";
  for (const original of [udp({ payload: pattern(20) }), tcpPacket(), echoPacket({ src: GUEST, dst: REMOTE, id: 3 })]) {
    const { packet, map } = sentOf(out(original));
    const got = gotOf(error(icmpErrorPacket({ type: 11, code: 0, packet }, { src: hop, dst: HOST }), map));
    assertSound(got);
    const header = parseIpv4(got, 0, got.length)!;
    assertEquals([`${header.src}`, `${header.dst}`], [hop, GUEST]);
    const quote = got.slice(28);
    assertEquals(endsOf(quote), endsOf(original));
    assertSound(quote);
    quote[8] = original[8]!;
    setIpv4Checksum(quote, 0, 20);
    assertEquals(quote, original);
  }
});

Deno.test("Too big keeps the next hop's MTU; a quote of eight bytes is enough; a foreign one is refused", () => {
  const { out, error } = natKit();
  const { packet, map } = sentOf(out(tcpPacket({ flags: TCP_ACK, data: pattern(1400) })));
  const tooBig = { type: 3, code: 4, rest: 1280, packet: packet.subarray(0, 28) };
  const got = gotOf(error(icmpErrorPacket(tooBig, { src: "198.51.100.1", dst: HOST }), map));
  assertEquals(icmpNextHopMtu(got, 20), 1280);
  assertEquals(endsOf(got.slice(28)), `${GUEST}:4000 > ${REMOTE}:80`);
  const foreign = udpPacket({ src: HOST, dst: REMOTE, srcPort: 4001, dstPort: 9 });
  assertEquals(error(icmpErrorPacket({ type: 3, code: 3, packet: foreign }, { dst: HOST }), map).reason, "icmp-quote");
  const damagedError = icmpErrorPacket({ type: 3, code: 3, packet }, { src: REMOTE, dst: HOST });
  damagedError[40]! ^= 1;
  assertEquals(error(damagedError, map).reason, "icmp-quote");
});

Deno.test("A guest's port unreachable goes to whom its packet came from, the quote as the host had it", () => {
  const { out, back } = natKit();
  const { map } = sentOf(out(udp()));
  const got = gotOf(back(reply({ payload: pattern(30) }), map));
  const { packet } = sentOf(out(icmpErrorPacket({ type: 3, code: 3, packet: got }, { src: GUEST, dst: REMOTE })));
  assertSound(packet);
  const quote = packet.slice(28);
  assertEquals(endsOf(quote), `${REMOTE}:9 > ${HOST}:4000`);
  assertSound(quote);
  const elsewhere = icmpErrorPacket({ type: 3, code: 3, packet: got }, { src: GUEST, dst: "192.0.2.77" });
  assertEquals(out(elsewhere).reason, "icmp-quote");
});

Deno.test("An error of the remote itself comes from the name that the guest has for it", () => {
  const { out, error } = natKit({ policy: { loopback: true } });
  for (const [dst, real] of [[REMOTE, REMOTE], [ROUTER, "127.0.0.1"]] as const) {
    const { packet, map } = sentOf(out(udp({ dst, dstPort: 53 })));
    const got = gotOf(error(icmpErrorPacket({ type: 3, code: 3, packet }, { src: real, dst: HOST }), map));
    assertEquals([`${parseIpv4(got, 0, got.length)!.src}`, endsOf(got.slice(28))], [dst, `${GUEST}:4000 > ${dst}:53`]);
    assertSound(got.slice(28));
  }
});

Deno.test("A forged quote is no way out: an error goes only to who could have sent the packet, by the policy", () => {
  const secret = "203.0.113.5";
  const forged = (dst: string, dstPort = 4000) =>
    icmpErrorPacket({
      ...{ type: 3, code: 3 },
      packet: udpPacket({ src: dst, dst: GUEST, srcPort: 9, dstPort, payload: pattern(99) }),
    }, { src: GUEST, dst });
  for (const filtering of ["endpoint", "address", "address-port"] as const) {
    const kit = natKit({ filtering, policy: { restrict: true, allow: [`udp:${REMOTE}:9`] } });
    sentOf(kit.out(udp()));
    assertEquals(kit.out(forged(REMOTE)).reason, "none");
    const reason = filtering === "endpoint" ? "policy-restricted" : "icmp-quote";
    assertEquals([filtering, kit.out(forged(secret)).reason], [filtering, reason]);
    // A forward makes nobody known who has not come by it.
    kit.nat.addForward("udp:8053:53");
    assertEquals(kit.out(forged(secret, 53)).reason, "icmp-quote");
  }
  const open = natKit({ filtering: "endpoint" });
  sentOf(open.out(udp()));
  const reasons = ["10.0.0.255", "224.0.0.1", "255.255.255.255", "169.254.169.254", "127.0.0.1"].map((dst) =>
    open.out(forged(dst)).reason
  );
  assertEquals(reasons, ["destination", "destination", "destination", "policy-metadata", "policy-loopback"]);
});

Deno.test("real style: what the host says about an answer to itself quotes the router, as the guest calls it", () => {
  const style = { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254" } as const;
  const { nat, out, back, error } = natKit(style);
  const { map } = nat.addForward("udp:8053:53");
  const asked = gotOf(back(udpPacket({ src: HOST, dst: HOST, srcPort: 9, dstPort: 8053 }), map));
  assertEquals(endsOf(asked), `10.0.0.254:9 > ${HOST}:53`);
  const { packet } = sentOf(out(udpPacket({ src: HOST, dst: "10.0.0.254", srcPort: 53, dstPort: 9 })));
  const got = gotOf(error(icmpErrorPacket({ type: 3, code: 3, packet }, { src: HOST, dst: HOST }), map));
  assertSound(got);
  assertEquals(`${parseIpv4(got, 0, got.length)!.src}`, "10.0.0.254");
  assertEquals(endsOf(got.slice(28)), `${HOST}:53 > 10.0.0.254:9`);
});

Deno.test("An error about what the map did not send, or to whom it has not sent, does not reach the guest", () => {
  const { out, error } = natKit();
  const { packet, map } = sentOf(out(udp({ payload: pattern(20) })));
  const about = (options: Parameters<typeof udpPacket>[0], type = 3) => {
    const forged = udpPacket({ src: HOST, dst: REMOTE, srcPort: 4000, dstPort: 9, ...options });
    return error(icmpErrorPacket({ type, code: 0, packet: forged }, { src: "203.0.113.1", dst: HOST }), map).reason;
  };
  assertEquals(about({}), "none");
  assertEquals(about({ dst: "203.0.113.1" }), "filtered");
  assertEquals(about({ src: "203.0.113.1" }), "icmp-quote");
  assertEquals(about({ srcPort: 4001 }), "icmp-quote");
  // A redirect, and source quench, are not for who is behind a router.
  assertEquals([about({}, 5), about({}, 4)], ["icmp-quote", "icmp-quote"]);
  assertEquals(out(icmpErrorPacket({ type: 5, code: 1, packet }, { src: GUEST, dst: REMOTE })).reason, "icmp-quote");
});

Deno.test("What another address of the host's loopback found is the router's word", () => {
  const { out, error } = natKit({ policy: { loopback: true } });
  const { packet, map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  const told = error(icmpErrorPacket({ type: 3, code: 3, packet }, { src: "127.0.0.9", dst: "127.0.0.1" }), map);
  const got = gotOf(told);
  assertEquals(
    [`${parseIpv4(got, 0, got.length)!.src}`, endsOf(got.slice(28))],
    [ROUTER, `${GUEST}:4000 > ${ROUTER}:7`],
  );
});

Deno.test("A guest's error about what came from the host's loopback goes there, the quote in the host's names", () => {
  const { nat, out, back } = natKit({ policy: { loopback: true } });
  const { map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  const forward = nat.addForward("udp:8053:53").map;
  const local = { src: "127.0.0.1", dst: "127.0.0.1" };
  for (
    const [one, ports] of [[map, { srcPort: 7, dstPort: 4000 }], [forward, { srcPort: 9, dstPort: 8053 }]] as const
  ) {
    const original = udpPacket({ ...local, ...ports, payload: pattern(9) });
    const got = gotOf(back(original.slice(), one));
    const error = icmpErrorPacket({ type: 3, code: 3, packet: got }, { src: GUEST, dst: ROUTER, ttl: 9 });
    const { packet } = sentOf(out(error));
    assertSound(packet);
    assertEquals([`${parseIpv4(packet, 0, packet.length)!.dst}`, packet.slice(28)], ["127.0.0.1", original]);
  }
});
