/** The NAT over time and under anything, for both versions of IP: a model of its maps and filters; its limits. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { concatBytes } from "../../kernel/wire/bytes.ts";
import { TCP_SYN } from "../../kernel/wire/tcp.ts";
import { fuzz, fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { packet6 } from "../../tests/kit/ip/story6.ts";
import { FAMILIES, type Family } from "../../tests/kit/nat/families.ts";
import { assertCaps, blocks, spoiled } from "../../tests/kit/nat/hostile.ts";
import { framed, nd6, sentOf, swapped } from "../../tests/kit/nat/steps.ts";
import { translateError, translateInbound, translateOutbound } from "./nat.ts";

/** Packets of one version alone, of a guest. */
function own4({ guest, remote, dns }: Family): Uint8Array[] {
  const ends = { src: guest, dst: remote };
  return [
    ...["10.0.2.255", "224.0.0.1"].map((dst) => udpPacket({ src: guest, dst, dstPort: 53 })),
    udpPacket({ src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67, payload: pattern(260) }),
    ipPacket({ ...ends, moreFragments: true, payload: pattern(64) }),
    ipPacket({ ...ends, fragOffset: 64, payload: pattern(64) }),
    udpPacket({ ...ends, options: new Uint8Array([131, 7, 4, 9, 9, 9, 9, 0]) }),
    udpPacket({ ...ends, dst: dns, dstPort: 53 }),
  ];
}

function own6({ guest, remote, router }: Family): Uint8Array[] {
  const ends = { src: guest, dst: remote };
  const fragment = (place: number) =>
    packet6({
      ...ends,
      nextHeader: 44,
      payload: concatBytes([Uint8Array.of(17, 0, 0, place, 0, 0, 0, 9), pattern(64)]),
    });
  return [
    nd6({ type: 133, sourceMac: null }, { src: guest, dst: "ff02::2" }),
    nd6({ type: 135, target: ip(router), sourceMac: null }, { src: guest, dst: "ff02::1:ff00:2" }),
    ...[1, 64].map(fragment),
    ...[0, 43, 51, 60].map((nextHeader) =>
      packet6({ ...ends, nextHeader, payload: concatBytes([Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0), pattern(20)]) })
    ),
  ];
}

/** Frames of guests: every service, the host itself, errors, fragments. */
function outwardsOf(family: Family): Uint8Array[] {
  const { guest, remote, router, dns, host, is6 } = family;
  const reply = family.udp({ src: remote, dst: host, srcPort: 9, dstPort: 150, payload: pattern(9) });
  const packets = [
    ...[family.udp, family.tcp, family.echo].map((make) => make({ hops: 9 })),
    ...[router, dns, host].map((dst) => family.udp({ dst, dstPort: 53 })),
    family.udp({ dst: host, dstPort: 150, payload: pattern(40) }),
    family.tcp({ dst: dns, dstPort: 53, flags: TCP_SYN, mss: 1460 }),
    family.error(family.codes.port, reply, { src: guest, dst: remote }),
    ...(is6 ? own6(family) : own4(family)),
  ];
  return packets.map((packet) => framed(packet, { type: is6 ? 0x86dd : 0x800 }).bytes().slice());
}

/** Packets of the network. */
function inwardsOf(family: Family): Uint8Array[] {
  const { remote, host, loopback, codes } = family;
  const sent = family.udp({ src: host, dst: remote, srcPort: 150 });
  return [
    family.udp({ src: remote, dst: host, srcPort: 9, dstPort: 150, payload: pattern(9) }),
    family.udp({ src: loopback, dst: host, dstPort: 100, payload: pattern(2000) }),
    family.tcp({ src: remote, dst: host, srcPort: 9, dstPort: 100, flags: TCP_SYN, mss: 1460 }),
    swapped(family.echo({ src: host, dst: remote })),
    family.error(codes.tooBig, sent, { src: remote, dst: host, rest: 1280 }),
  ];
}

const GUEST_CAPS = { udp: 20, tcp: 20, icmp: 5 };
const TOTAL_CAPS = { udp: 30, tcp: 30, icmp: 8 };

for (const family of FAMILIES) {
  const { name, is6, host, other, loopback } = family;

  Deno.test(`${name}: mapping and filtering are a list of who was sent to and when, in every mode, over time`, () => {
    const LIFE = 100;
    const modes = fc.constantFrom("endpoint", "address", "address-port") as fc.Arbitrary<"endpoint">;
    const steps = fc.array(
      fc.record({
        isOut: fc.boolean(),
        guestPort: fc.constantFrom(4000, 4001),
        remote: fc.constantFrom(family.remote, other),
        remotePort: fc.constantFrom(7, 9),
        wait: fc.constantFrom(0, 0, 30, 60, 100),
      }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(modes, modes, fc.boolean(), steps, (mapping, filtering, inboundRefresh, all) => {
        const kit = family.kit({ mapping, filtering, inboundRefresh, lifetimes: { udp: LIFE } });
        const keyOf = (mode: string, remote: string, port: number) =>
          mode === "endpoint" ? "" : mode === "address" ? remote : `${remote}!${port}`;
        // By guest port and what mapping depends on: when it was used, and whom it has sent to and when.
        const model = new Map<string, { lastUse: number; sent: Map<string, number>; hostPort: number }>();
        for (const { isOut, guestPort, remote, remotePort, wait } of all) {
          kit.now += wait;
          kit.nat.expire(kit.now);
          for (const [key, { lastUse }] of model) if (kit.now - lastUse >= LIFE) model.delete(key);
          assertEquals(kit.nat.table.count(), model.size);
          const key = `${guestPort} ${keyOf(mapping, remote, remotePort)}`;
          const known = model.get(key);
          const filterKey = keyOf(filtering, remote, remotePort);
          if (isOut) {
            const ends = { dst: remote, srcPort: guestPort, dstPort: remotePort };
            const { hostPort } = sentOf(kit.out(family.udp({ ...ends, hops: 9 }))).map;
            if (known !== undefined) assertEquals(hostPort, known.hostPort);
            const one = known ?? { lastUse: 0, sent: new Map(), hostPort };
            one.lastUse = kit.now;
            one.sent.set(filterKey, kit.now);
            model.set(key, one);
            continue;
          }
          if (known === undefined) continue;
          const map = kit.nat.table.findByHost(0, known.hostPort)!;
          const ends = { src: remote, dst: host, srcPort: remotePort, dstPort: known.hostPort };
          const at = known.sent.get(filterKey);
          const isIn = filtering === "endpoint" || (at !== undefined && kit.now - at < LIFE);
          assertEquals(kit.back(family.udp({ ...ends, hops: 9 }), map).reason, isIn ? "none" : "filtered");
          if (!isIn || !inboundRefresh) continue;
          known.lastUse = kit.now;
          known.sent.set(filterKey, kit.now);
        }
      }),
      fuzz(300),
    );
  });

  Deno.test(`${name}: no frame or packet of any shape, metadata or time throws, and nothing grows past its cap`, () => {
    const outwards = spoiled(outwardsOf(family), 14);
    const inwards = spoiled(inwardsOf(family), 0);
    const texts = is6
      ? [...[100, 150, 200].map((port) => family.forward("udp", port, port)), family.forward("tcp", 100, 100)]
      : ["udp:100-200:100", "tcp:100:100"];
    texts.push(is6 ? family.forward("udp", 300, 300, loopback) : "udp:127.0.0.1:300:300");
    fc.assert(
      fc.property(sequences(fc.tuple(blocks(outwards), blocks(inwards), fc.nat(100_000))), (steps) => {
        const kit = family.kit({
          ...{ guestCaps: GUEST_CAPS, totalCaps: TOTAL_CAPS, mapping: { tcp: "address" }, mtu: 1280 },
          policy: { loopback: true },
          zone: { printer: "10.0.0.9" },
        });
        const forwards = texts.map((spec) => kit.nat.addForward(spec));
        for (const [outward, inward, later] of steps) {
          kit.now += later;
          kit.nat.expire(kit.now);
          const decision = translateOutbound(kit.nat, outward(), kit.now);
          assert(decision.block === null || decision.map !== null, "A packet without a map");
          for (const map of [...forwards.map((forward) => forward.map), ...kit.nat.table.maps()]) {
            translateInbound(kit.nat, inward(), map, kit.now);
            translateError(kit.nat, inward(), map, kit.now);
          }
          kit.nat.takeFrames();
          assertCaps(kit, GUEST_CAPS, TOTAL_CAPS);
        }
      }),
      fuzzSteps(400),
    );
  });
}
