/** Tests of the ICMP errors that the uplink makes, for both versions of IP. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import type { SocketReport } from "../../kernel/host_sockets.ts";
import { error6Packet, udp6Packet } from "../../tests/kit/ip/story6.ts";
import { icmpErrorPacket, ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { type Link, LINKS } from "../../tests/kit/uplink/link_families.ts";
import { ICMP_ERRORS_PER_S } from "./icmp_maker.ts";

/** Type and code of `3/13`. */
function codeOf(text: string): { type: number; code: number } {
  const [type, code] = text.split("/").map(Number);
  return { type: type!, code: code! };
}

function reportOf(link: Link, code: string, fields: Partial<SocketReport> = {}): SocketReport {
  return {
    failure: "EHOSTUNREACH",
    origin: "icmp",
    ...codeOf(code),
    mtu: 0,
    offender: ip(link.hops[0]!),
    to: { address: ip(link.remote), port: 9 },
    payload: new Uint8Array(0),
    ...fields,
  };
}

for (const link of LINKS) {
  const { name, codes, near, peer } = link;
  const quoted = () => Block.from(link.udp({ ttl: 3, tos: 0x2e, payload: pattern(20) }));

  Deno.test(`${name}: an error of the network goes on with sender, type and code, and quotes the packet`, () => {
    const world = datagramWorld();
    for (const code of [codes.host, codes.port, codes.prohibited, codes.hops, codes.net]) {
      world.icmp.makeReported(quoted(), reportOf(link, code));
      const [error, ...others] = world.seen();
      assertEquals([error!.src, error!.dst, error!.what, others.length], [link.hops[0], near, code, 0]);
      const { src, dst, ttl, tos, what, payload } = error!.quoted!;
      assertEquals({ src, dst, ttl, tos, what, payload }, {
        ...{ src: near, dst: link.remote, ttl: 3, tos: 0x2e, what: "4000 > 9", payload: pattern(20) },
      });
    }
    assertEquals(world.counters.icmpErrors, 5);
    world.end();
  });

  Deno.test(`${name}: an error comes from the peer if the machine found it, or has its sender's address`, () => {
    const world = datagramWorld();
    const offenders = [link.own, link.loopback, ...(link.version === 6 ? ["fe80::7"] : ["127.9.9.9"])];
    for (const offender of offenders) {
      world.icmp.makeReported(quoted(), reportOf(link, codes.host, { offender: ip(offender) }));
    }
    const local = { origin: "local", type: 0, code: 0, offender: null } as const;
    world.icmp.makeReported(quoted(), reportOf(link, codes.host, { ...local, failure: "ENETUNREACH" }));
    assertEquals(world.lines(), [
      ...offenders.map(() => `error ${peer} ${codes.host} of 4000 > 9`),
      `error ${peer} ${codes.net} of 4000 > 9`,
    ]);
    world.end();
  });

  Deno.test(`${name}: an address of the machine that near asked for stays the sender of its errors`, () => {
    const world = datagramWorld();
    const packet = Block.from(link.udp({ dst: link.own }));
    world.icmp.makeReported(packet, reportOf(link, codes.port, { offender: ip(link.own) }));
    assertEquals(world.lines(), [`error ${link.own} ${codes.port} of 4000 > 9`]);
    world.end();
  });

  Deno.test(`${name}: a path MTU is sent on from the least that a link may have`, () => {
    const world = datagramWorld();
    for (const mtu of [0, link.minMtu - 1, link.minMtu, 1400]) {
      world.icmp.makeReported(quoted(), reportOf(link, codes.tooBig, { mtu }));
    }
    const from = `error ${link.hops[0]} ${codes.tooBig} mtu`;
    assertEquals(world.lines(), [`${from} ${link.minMtu} of 4000 > 9`, `${from} 1400 of 4000 > 9`]);
    assertEquals(world.counters.implausibleMtus, 2);
    world.end();
  });

  Deno.test(`${name}: there is no error about an error, about a group, nor to one`, () => {
    const world = datagramWorld();
    const group = link.version === 4 ? "224.0.0.9" : "ff05::9";
    const aboutError = link.version === 4
      ? icmpErrorPacket({ type: 3, code: 3, packet: link.udp() }, { src: near, dst: link.remote })
      : error6Packet({ type: 1, code: 4, packet: link.udp() }, { src: near, dst: link.remote });
    const packets = [aboutError, link.udp({ dst: group }), link.udp({ src: group })];
    for (const packet of packets) world.icmp.makeReported(Block.from(packet), reportOf(link, codes.host));
    assertEquals([world.lines(), world.counters.icmpErrors], [[], 0]);
    world.end();
  });

  Deno.test(`${name}: errors are limited to ${ICMP_ERRORS_PER_S} a second, and the rest is counted`, () => {
    const world = datagramWorld();
    for (let i = 0; i < ICMP_ERRORS_PER_S + 200; i++) world.icmp.makeReported(quoted(), reportOf(link, codes.host));
    assertEquals([world.blocks.length, world.counters.icmpErrorsLimited], [ICMP_ERRORS_PER_S, 200]);
    world.clock.advance(100);
    for (let i = 0; i < 200; i++) world.icmp.makeReported(quoted(), reportOf(link, codes.host));
    assertEquals([world.blocks.length, world.counters.icmpErrorsLimited], [ICMP_ERRORS_PER_S + 100, 300]);
    world.blocks.length = 0;
    world.end();
  });

  Deno.test(`${name}: makeFailed() says what the table has, and what is the caller's to count`, () => {
    const world = datagramWorld();
    const kinds = (["ECONNREFUSED", "EPERM", "EINVAL", "ENOBUFS"] as const).map((failure) =>
      world.icmp.makeFailed(quoted(), failure).kind
    );
    world.icmp.makeFailed(quoted(), "EMSGSIZE", 1300);
    assertEquals(kinds, ["reset", "icmp", "nothing", "drop"]);
    assertEquals(world.lines(), [
      `error ${peer} ${codes.port} of 4000 > 9`,
      `error ${peer} ${codes.prohibited} of 4000 > 9`,
      `error ${peer} ${codes.tooBig} mtu 1300 of 4000 > 9`,
    ]);
    world.end();
  });
}

Deno.test("IPv4: there is no error about a later fragment, and there is one about the first", () => {
  const world = datagramWorld();
  const fragment = (fragOffset: number) =>
    Block.from(udpPacket({ src: LINKS[0]!.near, dst: LINKS[0]!.remote, moreFragments: true, fragOffset }));
  for (const at of [8, 0]) world.icmp.makeReported(fragment(at), reportOf(LINKS[0]!, "3/1"));
  assertEquals(world.lines(), ["error 203.0.113.1 3/1 of 9 > 7"]);
  world.end();
});

Deno.test("an error quotes no more than its version allows, and a type that is no error is not sent on", () => {
  const world = datagramWorld();
  const payload = pattern(3000);
  const packet4 = Block.from(udpPacket({ src: LINKS[0]!.near, dst: LINKS[0]!.remote, payload }));
  const packet6 = Block.from(udp6Packet({ src: LINKS[1]!.near, dst: LINKS[1]!.remote, payload }));
  world.icmp.makeReported(packet4, reportOf(LINKS[0]!, "3/1"));
  world.icmp.makeReported(packet6, reportOf(LINKS[1]!, "1/3"));
  assertEquals(world.blocks.map(({ length }) => length), [576, 1280]);
  world.blocks.length = 0;
  world.icmp.makeReported(packet4, reportOf(LINKS[0]!, "5/1"));
  world.icmp.makeReported(packet6, reportOf(LINKS[1]!, "137/0"));
  assertEquals(world.blocks.length, 0);
  world.end();
});
