/**
 * Property tests of IPv6: whatever comes in a frame, or from a bypass writer, nothing is thrown but KernelError at the
 * edge of a system call, no queue or table is left above its limit, and nothing is sent in another's name.
 *
 * A failure prints the seed: AKARINO_SEED repeats the run.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fragment6 } from "../../../kernel/inet/fragment6.ts";
import { Block, BlockPool } from "../../../kernel/block.ts";
import { concatBytes, get16 } from "../../../kernel/wire/bytes.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import { IPV6_HEADER_LEN, ipv6Dst, ipv6NextHeader, ipv6Src, walkIpv6 } from "../../../kernel/wire/ipv6.ts";
import { emitNd, ndLen, type NdMessage } from "../../../kernel/wire/nd.ts";
import { setTcpChecksum } from "../../../kernel/wire/tcp.ts";
import { setUdpChecksum } from "../../../kernel/wire/udp.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { ip, pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, type Story, type UserConv, WIRE_MAC } from "../../kit/ip/story.ts";
import {
  echo6Packet,
  error6Packet,
  icmp6Packet,
  inject6,
  packet6,
  PEER6,
  sent6,
  tell6,
  udp6Packet,
  US6,
} from "../../kit/ip/story6.ts";
import { assertWithinLimits, LIMITS_EVERY, mayRefuse, near } from "../../kit/ip/fuzz.ts";

/** Steps of one host: enough to fill its tables. */
const LIFE = 500;

const LINK_LOCAL = "fe80::ff:fe00:1";

function nd(message: NdMessage, src: string, dst: string): Uint8Array {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  return icmp6Packet(bytes, { src, dst, hopLimit: 255 });
}

const ADVERT: NdMessage = {
  type: 134,
  hopLimit: 64,
  managed: false,
  otherConfig: false,
  lifetimeS: 30,
  reachableMs: 0,
  retransMs: 0,
  sourceMac: WIRE_MAC,
  mtu: 1400,
  prefixes: [{
    prefix: ip("2001:db8:7::"),
    length: 64,
    onLink: true,
    autonomous: true,
    validS: 60,
    preferredS: 30,
  }],
  dnsServers: [ip("2001:db8:7::53")],
  dnsLifetimeS: 9,
};

function fragmented(packet: Uint8Array, mtu: number, id: number): Uint8Array[] {
  return fragment6(Block.from(packet), mtu, id, new BlockPool())!.map((piece) => piece.bytes().slice());
}

const extended = concatBytes([
  Uint8Array.of(60, 0, 5, 2, 0, 0, 1, 0),
  Uint8Array.of(43, 0, 1, 4, 0, 0, 0, 0),
  Uint8Array.of(17, 0, 4, 0, 0, 0, 0, 0),
  udp6Packet({ payload: pattern(20) }).subarray(IPV6_HEADER_LEN),
]);

/** Packets that each lead to another part of the stack. */
const PACKETS: readonly Uint8Array[] = [
  ...[7, 8, 9, 1500, 99].map((dstPort) => udp6Packet({ dstPort, payload: pattern(30) })),
  udp6Packet({ dst: "ff02::1", dstPort: 8 }),
  udp6Packet({ dst: "2001:db8:9::7", dstPort: 9, hopLimit: 2 }),
  udp6Packet({ dst: "2001:db8:9::7", dstPort: 9, payload: pattern(1450) }),
  udp6Packet({ dst: "2001:db8:aaaa::7", hopLimit: 1 }),
  ...fragmented(udp6Packet({ dstPort: 9, payload: pattern(200) }), 120, 77),
  ...fragmented(udp6Packet({ dstPort: 8, payload: pattern(200) }), 160, 78),
  packet6({ nextHeader: 0, payload: extended }),
  echo6Packet({ id: 1 }),
  echo6Packet({ id: 77 }),
  echo6Packet({ id: 78, reply: true }),
  ...[[1, 4], [2, 0], [3, 0], [4, 1]].map(([type, code]) => {
    const packet = udp6Packet({ src: US6, dst: PEER6, srcPort: 9, dstPort: 5 });
    return error6Packet({ type: type!, code: code!, rest: 1300, packet });
  }),
  packet6({ nextHeader: 47, payload: pattern(20) }),
  packet6({ nextHeader: 99, payload: pattern(20) }),
  packet6({ nextHeader: 6, payload: Uint8Array.of(0, 9, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 9, 9, 0, 0, 0, 0) }),
  nd(ADVERT, "fe80::2", "ff02::1"),
  nd({ type: 133, sourceMac: WIRE_MAC }, "fe80::2", "ff02::2"),
  nd({ type: 135, target: ip(US6), sourceMac: WIRE_MAC }, PEER6, "ff02::1:ff00:1"),
  nd({ type: 135, target: ip(LINK_LOCAL), sourceMac: WIRE_MAC }, "fe80::77", LINK_LOCAL),
  nd({ type: 135, target: ip(US6), sourceMac: null }, "::", "ff02::1:ff00:1"),
  nd(
    { type: 136, target: ip(PEER6), isRouter: true, solicited: true, override: true, targetMac: WIRE_MAC },
    PEER6,
    US6,
  ),
];

/** A copy of `packet` with the checksum of its transport made right, so that damage gets further in. */
function repaired(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  if (copy.length < IPV6_HEADER_LEN || copy[0]! >>> 4 !== 6) return copy;
  const end = Math.min(copy.length, IPV6_HEADER_LEN + get16(copy, 4));
  const walk = walkIpv6(copy, 0, end);
  if (walk === null || walk.isLaterFragment || end - walk.at < 8) return copy;
  const [src, dst] = [ipv6Src(copy, 0), ipv6Dst(copy, 0)];
  if (walk.protocol === 58) setIcmp6Checksum(copy, walk.at, end, { src, dst });
  if (walk.protocol === 6 && end - walk.at >= 20) setTcpChecksum(copy, walk.at, end, { src, dst });
  const length = get16(copy, walk.at + 4);
  if (walk.protocol === 17 && length >= 8 && walk.at + length <= copy.length) setUdpChecksum(copy, walk.at, src, dst);
  return copy;
}

/** Damage that each has a counter of its own: chance alone may pass one by. */
function malformed(): Uint8Array[] {
  const solicit = nd({ type: 135, target: ip(US6), sourceMac: WIRE_MAC }, PEER6, US6);
  const routed = solicit.slice();
  routed[7] = 254;
  const optionAt = IPV6_HEADER_LEN + 24;
  const endless = solicit.slice();
  endless[optionAt + 1] = 0;
  return [
    routed,
    repaired(endless),
    icmp6Packet(Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0), { src: PEER6, dst: US6, hopLimit: 255 }),
    udp6Packet({ checksum: 1 }),
    packet6({ nextHeader: 0, payload: Uint8Array.of(17, 200, 0, 0, 0, 0, 0, 0) }),
  ];
}

/** A host with a conversation of every kind; 2001:db8:9::/64 is forwarded to a user's interface. */
async function everyConv(): Promise<{ story: Story; convs: UserConv[] }> {
  const story = await tell6();
  const { user } = story;
  user.command("/net/ipifc/1/ctl", "recvra6 on");
  user.conv("ipifc", "bind pkt", "mtu 1294", "add 2001:db8:9::1 /64");
  const convs: [string, ...string[]][] = [
    ["udp", "announce 7"],
    ["udp", "headers", "announce 8"],
    ["udp", "bypass 9"],
    ["udp", "bypass 1000-1999", "offload on"],
    ["udp", `connect ${PEER6}!5 ${US6}!10`],
    ["tcp", "announce 80"],
    ["icmpv6", "bypass 77"],
    ["icmpv6", `connect ${PEER6}!1 78`],
    ["raw", "bypass 47"],
  ];
  return { story, convs: convs.map(([proto, ...commands]) => user.conv(proto, ...commands)) };
}

/** Counters that show how far in the packets get. */
const REACHED = [
  ...["udp InDatagrams", "udp InBypassed", "udp NoPorts", "udp CsumErrs", "icmpv6 HlenErrs", "icmpv6 HoplimErrs"],
  ...["icmpv6 OptlenErrs", "ipifc ReasmOKs", "ipifc InBadExtension", "ipifc ForwDatagrams", "ipifc TtlExpired"],
  ...["ipifc NdUnsolicited", "ipifc InUnknownProtos", "tcp InSegs"],
];

Deno.test("no IPv6 packet makes the host throw or exceed a limit", async () => {
  const reached = new Map<string, number>();
  let learnt = 0;
  const packets = fc.tuple(near([...PACKETS, ...malformed()], 0x60), fc.boolean(), fc.nat(400));
  await fc.assert(
    fc.asyncProperty(sequences(packets, LIFE), async (steps) => {
      const { story, convs } = await everyConv();
      await using _ = story;
      const { host, user, wire } = story;
      const read = convs.filter((_, i) => i % 2 === 0);
      let count = 0;
      for (const [packet, repair, ms] of steps) {
        if (count % 100 === 0) user.command("/net/ipifc/1/ctl", `iprouting ${count % 200 === 0 ? "on" : "off"}`);
        mayRefuse("A packet", () => {
          inject6(wire, repair ? repaired(packet) : packet);
          if (ms < 100) advance(host, ms);
        });
        learnt = Math.max(learnt, story.stack.adverts.size);
        if (++count % LIMITS_EVERY !== 0) continue;
        assertWithinLimits(story, "A packet");
        for (const conv of read) mayRefuse("blockread", () => conv.bread());
        wire.frames();
      }
      assertWithinLimits(story, "The last packet");
      for (const counter of REACHED) {
        const [proto, name] = counter.split(" ");
        reached.set(counter, (reached.get(counter) ?? 0) + user.stat(proto!, name!));
      }
    }),
    fuzzSteps(3000, LIFE),
  );
  for (const counter of REACHED) assert(reached.get(counter)! > 0, `no packet got as far as ${counter}`);
  assert(learnt > 0, "an advertisement was believed");
});

/** What a bypass writer of port 9, identifier 77 and protocol 47 may send, and a little else. */
const OUTGOING: readonly Uint8Array[] = [
  udp6Packet({ src: US6, dst: PEER6, srcPort: 9, dstPort: 5, payload: pattern(40) }),
  udp6Packet({ src: LINK_LOCAL, dst: "ff02::5", srcPort: 9, dstPort: 5, payload: pattern(40) }),
  udp6Packet({ src: US6, dst: US6, srcPort: 9, dstPort: 7, payload: pattern(4) }),
  packet6({ src: US6, dst: PEER6, nextHeader: 0, payload: extended }),
  packet6({
    src: US6,
    dst: PEER6,
    nextHeader: 44,
    payload: concatBytes([
      Uint8Array.of(17, 0, 0, 0, 0, 0, 0, 1),
      udp6Packet({ srcPort: 9, payload: pattern(1600) }).subarray(40),
    ]),
  }),
  echo6Packet({ src: US6, dst: PEER6, id: 77 }),
  error6Packet({ type: 1, code: 4, packet: udp6Packet({ dstPort: 9 }) }, { src: US6, dst: PEER6 }),
  packet6({ src: US6, dst: PEER6, nextHeader: 47, payload: pattern(20) }),
];

/** What was sent is a packet, and the writers' to send: from us, and if it shows a port, from theirs. */
function assertHonest(packet: Uint8Array): void {
  const src = `${ipv6Src(packet, 0)}`;
  assert([US6, LINK_LOCAL, "2001:db8:9::1", "::1"].includes(src), `from ${src}`);
  const walk = walkIpv6(packet, 0, packet.length);
  assert(walk !== null, "a chain that can be walked");
  if (walk.isLaterFragment) return;
  if (walk.protocol === 17) assertEquals(get16(packet, walk.at), 9);
  else if (walk.protocol === 58 && packet[walk.at]! >= 128) assertEquals(get16(packet, walk.at + 4), 77);
  else assert(walk.protocol === 47 || walk.protocol === 58, `protocol ${walk.protocol}`);
}

Deno.test("no bytes of a bypass writer make the host throw, or send in another's name over IPv6", async () => {
  let sent = 0;
  await fc.assert(
    fc.asyncProperty(sequences(fc.tuple(near(OUTGOING, 0x60), fc.nat(2)), LIFE), async (steps) => {
      await using story = await tell6();
      const { user, wire } = story;
      const convs = [user.conv("udp", "bypass 9"), user.conv("icmpv6", "bypass 77"), user.conv("raw", "bypass 47")];
      for (const [packet, which] of steps) {
        mayRefuse("blockwrite", () => user.proc.sys.blockwrite(convs[which]!.data, packet));
        for (const one of sent6(wire)) {
          // Neighbour discovery is the kernel's own.
          if (ipv6NextHeader(one, 0) === 58 && one[IPV6_HEADER_LEN]! >= 133) continue;
          sent++;
          assertHonest(one);
        }
      }
      assertWithinLimits(story, "The last packet");
    }),
    fuzzSteps(1500, LIFE),
  );
  assert(sent > 20, `${sent} were sent`);
});
