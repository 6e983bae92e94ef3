import { assertEquals, assertThrows } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { parseIpv6Fragment } from "../../kernel/wire/ipv6.ts";
import { concatBytes } from "../../kernel/wire/bytes.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { header6 } from "../../tests/kit/ip/story6.ts";
import { natKit, sentOf } from "../../tests/kit/nat/steps.ts";
import {
  assertSound,
  echo6,
  endsOf,
  gotOf,
  GUEST6,
  HOST6,
  natKit6,
  REMOTE6,
  swapped,
  tcp6,
  udp6,
} from "../../tests/kit/nat/steps.ts";

/** A datagram of the remote to the guest's map. */
function reply(hostPort: number, options: Parameters<typeof udp6>[0] = {}): Uint8Array {
  return udp6({ src: REMOTE6, srcPort: 9, dst: HOST6, dstPort: hostPort, ...options });
}

Deno.test("The filter lets in whom the guest has sent to: by address, by address and port, or anybody", () => {
  for (
    const [filtering, same, otherPort, other] of [
      ["address", "none", "none", "filtered"],
      ["address-port", "none", "filtered", "filtered"],
      ["endpoint", "none", "none", "none"],
    ] as const
  ) {
    const kit = natKit6({ filtering });
    const { map } = sentOf(kit.out(udp6()));
    const reasons = [{}, { srcPort: 10 }, { src: "2001:db8:9::a" }].map((options) =>
      kit.back(reply(map.hostPort, options), map).reason
    );
    assertEquals(reasons, [same, otherPort, other], filtering);
  }
});

Deno.test("translateInbound6() refuses what is not the map's, or cannot be there", () => {
  const kit = natKit6({ filtering: "endpoint" });
  const { map } = sentOf(kit.out(udp6()));
  const cases: [Uint8Array, string][] = [
    [reply(map.hostPort + 1), "unmapped"],
    [tcp6({ src: REMOTE6, dst: HOST6, dstPort: map.hostPort }), "unmapped"],
    [echo6({ src: REMOTE6, dst: HOST6, id: map.hostPort }), "unmapped"],
    [reply(map.hostPort, { src: "fe80::1" }), "martian-in"],
    [reply(map.hostPort, { src: GUEST6 }), "martian-in"],
    [reply(map.hostPort, { src: "::" }), "martian-in"],
    [reply(map.hostPort, { src: "::1" }), "filtered"],
    [reply(map.hostPort).subarray(0, 30), "short"],
    [new Uint8Array(48).fill(0x45), "bad-ip"],
  ];
  for (const [packet, reason] of cases) assertEquals(kit.back(packet, map).reason, reason);
});

Deno.test("A hop limit that ends here is answered from the host, with what came", () => {
  const kit = natKit6();
  const { map } = sentOf(kit.out(udp6()));
  const packet = reply(map.hostPort, { hopLimit: 1, payload: pattern(50) });
  const { packet: error } = sentOf(kit.back(packet, map));
  assertSound(error);
  assertEquals([`${header6(error).src}`, `${header6(error).dst}`, error[40], error[41]], [HOST6, REMOTE6, 3, 0]);
  assertEquals(error.subarray(48), packet);
});

Deno.test("What is larger than the guest's link is answered with its MTU, or cut if it came in fragments", () => {
  const kit = natKit6({ mtu: 1280 });
  const { map } = sentOf(kit.out(udp6()));
  const { packet: error } = sentOf(kit.back(reply(map.hostPort, { payload: pattern(1300) }), map));
  assertSound(error);
  assertEquals([error[40], (error[46]! << 8) | error[47]!, error.length], [2, 1280, 1280]);
  const data = pattern(5000);
  const came = Block.from(reply(map.hostPort, { payload: data, trafficClass: 1, flowLabel: 7 }));
  came.fragmentMax = 1280;
  const { toGuest } = kit.back(came, map);
  assertEquals(toGuest.length, 5);
  const parts = toGuest.map((piece) => {
    assertSound(piece);
    const { src, dst, trafficClass, flowLabel, nextHeader } = header6(piece);
    assertEquals([`${src}`, `${dst}`, trafficClass, flowLabel, nextHeader], [REMOTE6, GUEST6, 1, 7, 44]);
    return { ...parseIpv6Fragment(piece, 40, piece.length)!, bytes: piece.slice(48) };
  });
  assertEquals(parts.map(({ moreFragments }) => moreFragments), [true, true, true, true, false]);
  assertEquals(parts.map(({ fragOffset }) => fragOffset), [0, 1232, 2464, 3696, 4928]);
  assertEquals(new Set(parts.map(({ id, nextHeader }) => `${id} ${nextHeader}`)).size, 1);
  const whole = udp6({ src: REMOTE6, srcPort: 9, dst: GUEST6, dstPort: 4000, payload: data }).slice(40);
  assertEquals(concatBytes(parts.map(({ bytes }) => bytes)), whole);
});

Deno.test("A forward lets everybody in, and answers each by the address that it came to", () => {
  const kit = natKit6({}, { hostAddrs: ["2001:db8:2::2/64"] });
  const { map } = kit.nat.addForward(`tcp::8080-[${GUEST6}]:80`);
  const syn = tcp6({ src: REMOTE6, srcPort: 1234, dst: "2001:db8:2::2", dstPort: 8080 });
  // Where the guest is, nobody knows yet: it is asked for.
  const { frames, toGuest } = kit.back(syn, map);
  assertEquals([frames.length, toGuest[0]![40]], [1, 135]);
  sentOf(kit.out(udp6()));
  const got = gotOf(kit.back(syn, map));
  assertSound(got);
  assertEquals(endsOf(got), `[${REMOTE6}]:1234 > [${GUEST6}]:80`);
  const answer = sentOf(kit.out(tcp6({ srcPort: 80, dstPort: 1234, flags: 18 })));
  assertSound(answer.packet);
  assertEquals([endsOf(answer.packet), answer.map], [`[2001:db8:2::2]:8080 > [${REMOTE6}]:1234`, map]);
  assertEquals(kit.nat.exposure().filter((line) => line.includes("exposes")), [
    "tcp::8080-[fd00:0:0:2::15]:80 exposes guest fd00:0:0:2::15 on every address of the host",
  ]);
  kit.nat.removeForward(`tcp::8080-[${GUEST6}]:80`);
  for (const bad of [`tcp::8080-[2001:db8::1]:80`, `tcp::8080-[10.0.2.15]:80`, "tcp:[x]:1-[fd00:0:0:2::1]:80"]) {
    assertThrows(() => kit.nat.addForward(bad), KernelError);
  }
  assertThrows(() => natKit().nat.addForward(`tcp::8080-[${GUEST6}]:80`), KernelError, "no guest's address");
});

Deno.test("The map of a TCP connection follows its state, each way", () => {
  const kit = natKit6();
  const send = (flags: number) => sentOf(kit.out(tcp6({ flags })));
  const { map } = send(2);
  const back = (flags: number) => kit.back(swapped(tcp6({ src: HOST6, flags })), map).reason;
  assertEquals([map.class, back(18), send(16).map.class], [3, "none", 5]);
  assertEquals([back(17), send(17).map.class], ["none", 4]);
  kit.nat.expire(239_999);
  assertEquals(map.live, true);
  kit.nat.expire(240_000);
  assertEquals(map.live, false);
});
