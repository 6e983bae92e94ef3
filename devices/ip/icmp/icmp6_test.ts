/** ICMPv6: echo, errors that quote a packet of ours, and the checks of neighbour discovery's messages. */

import { assert, assertEquals, assertMatch, assertObjectMatch } from "@std/assert";
import {
  emitIcmp6Echo,
  emitIcmp6Error,
  ICMP6_ECHO_REPLY,
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_REDIRECT,
  ICMP6_ROUTER_ADVERT,
  ICMP6_ROUTER_SOLICIT,
  icmp6ChecksumOk,
  icmp6ErrorLen,
  parseIcmp6,
} from "../../../kernel/wire/icmp6.ts";
import { EVE } from "../../../kernel/qid.ts";
import { IPV6_HEADER_LEN, ipv6Dst, ipv6Src, parseIpv6 } from "../../../kernel/wire/ipv6.ts";
import type { NdMessage } from "../../../kernel/wire/nd.ts";
import { runConvCtl } from "../files/conv_ctl.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { icmp6Packet, ip, ndPacket, type Packet6Fields, PEER_MAC } from "../../../tests/kit/ip/packets.ts";

const US = "2001:db8::1";
const PEER = "2001:db8::2";

/** A host that knows its neighbour and has nothing more to say. */
function host(): TestHost {
  const at = new TestHost();
  at.ether6Ifc();
  at.knowPeer6();
  return at;
}

function echo(fields: Packet6Fields = {}, data = new Uint8Array(8), id = 0x1234): Uint8Array {
  const message = new Uint8Array(8 + data.length);
  emitIcmp6Echo({ reply: false, id, seq: 7, data }, message, 0);
  return icmp6Packet(message, { src: PEER, dst: US, ...fields });
}

function error(type: number, quoted: Uint8Array, rest = 0): Uint8Array {
  const fields = { type, code: 0, rest, packet: quoted };
  const message = new Uint8Array(icmp6ErrorLen(fields));
  emitIcmp6Error(fields, message, 0);
  return icmp6Packet(message, { src: PEER, dst: US });
}

Deno.test("Icmp6Proto answers an echo request with its identifier, sequence, data and traffic class", () => {
  const at = host();
  at.receive6(echo({ trafficClass: 0x10 }, Uint8Array.of(1, 2, 3)));
  const [reply] = at.take6();
  assertObjectMatch(parseIpv6(reply!, 0, reply!.length)!, { trafficClass: 0x10, payloadLen: 11 });
  assertEquals(`${ipv6Src(reply!, 0)} ${ipv6Dst(reply!, 0)}`, `${US} ${PEER}`);
  assert(icmp6ChecksumOk(reply!, IPV6_HEADER_LEN, reply!.length, { src: ip(US), dst: ip(PEER) }));
  const header = parseIcmp6(reply!, IPV6_HEADER_LEN, reply!.length)!;
  assertObjectMatch(header, { type: ICMP6_ECHO_REPLY, code: 0, rest: 0x12340007 });
  assertEquals(reply!.subarray(48), Uint8Array.of(1, 2, 3));
});

Deno.test("Icmp6Proto does not answer an echo request to a group, and counts it", () => {
  const at = host();
  at.receive6(echo({ dst: "ff02::1" }));
  assertEquals({ sent: at.take6(), groupEchos: at.icmp6.groupEchos }, { sent: [], groupEchos: 1 });
});

Deno.test("Icmp6Proto drops a message below 8 bytes or with a wrong checksum, each with its counter", () => {
  const at = host();
  at.receive6(icmp6Packet(new Uint8Array(7), { src: PEER, dst: US }));
  const damaged = echo();
  damaged[IPV6_HEADER_LEN + 4]! ^= 1;
  at.receive6(damaged);
  const { lenErrs, csumErrs } = at.icmp6;
  assertEquals({ sent: at.take6(), lenErrs, csumErrs }, { sent: [], lenErrs: 1, csumErrs: 1 });
});

Deno.test("'Packet too big' counts only if it quotes a packet that a conversation of ours sent", () => {
  const at = host();
  const conv = at.stack.space(at.icmp6).take(EVE);
  runConvCtl({ stack: at.stack, conv, user: EVE }, new TextEncoder().encode(`connect ${PEER}!1 77`));
  const known = () => at.stack.pathMtus.lookup(ip(PEER));
  const ours = (id: number, src = US) => echo({ src, dst: PEER }, new Uint8Array(8), id);
  at.receive6(error(ICMP6_PACKET_TOO_BIG, ours(77, "2001:db8::99"), 1300));
  assertEquals({ hlenErrs: at.icmp6.hlenErrs, mtu: known() }, { hlenErrs: 1, mtu: 0 }, "not our address");
  at.receive6(error(ICMP6_PACKET_TOO_BIG, ours(78), 1300));
  assertEquals({ hlenErrs: at.icmp6.hlenErrs, mtu: known() }, { hlenErrs: 1, mtu: 0 }, "no conversation of ours");
  at.receive6(error(ICMP6_PACKET_TOO_BIG, ours(77), 1300));
  assertEquals({ hlenErrs: at.icmp6.hlenErrs, mtu: known() }, { hlenErrs: 1, mtu: 1300 });
});

Deno.test("Redirects and router solicitations are counted and ignored", () => {
  const at = host();
  const redirect = new Uint8Array(40);
  redirect[0] = ICMP6_REDIRECT;
  at.receive6(icmp6Packet(redirect, { src: "fe80::2", dst: US, hopLimit: 255 }));
  at.receive6(ndPacket({ type: ICMP6_ROUTER_SOLICIT, sourceMac: PEER_MAC }, { src: "fe80::2", dst: "ff02::1" }));
  assertEquals({ sent: at.take6(), ignored: at.icmp6.ignored }, { sent: [], ignored: 2 });
});

Deno.test("A message of neighbour discovery that breaks a rule of RFC 4861 raises that rule's counter alone", () => {
  const solicit: NdMessage = { type: ICMP6_NEIGHBOR_SOLICIT, target: ip(US), sourceMac: PEER_MAC };
  const advert: NdMessage = {
    type: ICMP6_NEIGHBOR_ADVERT,
    target: ip(PEER),
    isRouter: false,
    solicited: true,
    override: true,
    targetMac: PEER_MAC,
  };
  const withCode = (packet: Uint8Array): Uint8Array => {
    const message = packet.slice(IPV6_HEADER_LEN);
    message[1] = 1;
    message.fill(0, 2, 4);
    return icmp6Packet(message, { src: PEER, dst: US, hopLimit: 255 });
  };
  const withBadOption = (): Uint8Array => {
    const message = ndPacket(solicit).slice(IPV6_HEADER_LEN);
    message[25] = 0;
    message.fill(0, 2, 4);
    return icmp6Packet(message, { src: PEER, dst: US, hopLimit: 255 });
  };
  const router: NdMessage = {
    type: ICMP6_ROUTER_ADVERT,
    hopLimit: 64,
    managed: false,
    otherConfig: false,
    lifetimeS: 1800,
    reachableMs: 0,
    retransMs: 0,
    sourceMac: PEER_MAC,
    mtu: 0,
    prefixes: [],
    dnsServers: [],
    dnsLifetimeS: 0,
  };
  const to = { src: PEER, dst: US };
  const cases: readonly (readonly [counter: string, packet: Uint8Array])[] = [
    ["HoplimErrs", ndPacket(solicit, { ...to, hopLimit: 254 })],
    ["IcmpCodeErrs", withCode(ndPacket(solicit, to))],
    ["TargetErrs", ndPacket({ ...solicit, target: ip("ff02::5") }, to)],
    ["OptlenErrs", withBadOption()],
    ["AddrmxpErrs", ndPacket(solicit, { src: "::", dst: "ff02::1:ff00:1" })],
    ["AddrmxpErrs", ndPacket({ ...solicit, sourceMac: null }, { src: "::", dst: "ff02::1" })],
    ["AddrmxpErrs", ndPacket(advert, { src: PEER, dst: "ff02::1" })],
    ["RouterAddrErrs", ndPacket(router, { src: PEER, dst: "ff02::1" })],
  ];
  for (const [counter, packet] of cases) {
    const at = host();
    at.receive6(packet);
    const raised = at.icmp6.stats().match(/^\w+Errs: 1$/gm);
    assertEquals({ raised, sent: at.take6() }, { raised: [`${counter}: 1`], sent: [] }, counter);
  }
});

Deno.test("stats() has a line for every named type, in and out", () => {
  const at = host();
  at.receive6(echo());
  const stats = at.icmp6.stats();
  for (const line of ["EchoRequest: 1 0", "EchoReply: 0 1", "TooBig: 0 0", "RouterAdvert: 0 0"]) {
    assertMatch(stats, new RegExp(`^${line}$`, "m"));
  }
});
