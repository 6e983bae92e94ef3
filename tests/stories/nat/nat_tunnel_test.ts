/**
 * Tunnels made by a guest's kernel: a checksum is owed to the packet inside (VXLAN, Geneve, FOU, L2TP, and any other),
 * not to the datagram around it. Virtio 1.3, 5.1.6.2.1: it is finished wherever csum_start points.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { checksum, pseudoSum } from "../../../kernel/wire/checksum.ts";
import {
  assertSound,
  GUEST,
  GUEST6,
  type NatKit,
  natKit,
  natKit6,
  REMOTE,
  REMOTE6,
  sentOf,
  tcp6,
  tcpPacket,
} from "../../kit/nat/steps.ts";
import { cutPacket4, cutPacket6 } from "../../../tools/nat/fragments.ts";
import { fuzz } from "../../kit/check/fuzz.ts";
import { echoPacket, ip, ipFixture, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { echo6Packet, udp6Packet } from "../../kit/ip/story6.ts";

/** Bytes between the outer UDP header and the inner IP header. */
const TUNNELS = { fou: 0, vxlan: 8 + 14, geneve: 8 + 4 + 14, l2tp: 8 + 14 } as const;

const INNER4 = { src: "10.7.0.1", dst: "10.7.0.2" };
const INNER6 = { src: "fd07::1", dst: "fd07::2" };

/** Packets inside, finished: where their transport header starts, and its checksum from there. */
const INNERS = [
  { name: "UDP", packet: udpPacket({ ...INNER4, payload: pattern(301) }), start: 20, field: 6, protocol: 17 },
  { name: "TCP", packet: tcpPacket({ ...INNER4, data: pattern(100) }), start: 20, field: 16, protocol: 6 },
  { name: "UDP over IPv6", packet: udp6Packet({ ...INNER6, payload: pattern(9) }), start: 40, field: 6, protocol: 17 },
  { name: "TCP over IPv6", packet: tcp6({ ...INNER6, data: pattern(77) }), start: 40, field: 16, protocol: 6 },
];

/** The two versions of what is around: how a datagram is made, sent, and looked at; and bytes before its payload. */
const OUTERS = [
  {
    version: 4,
    dataAt: 28,
    make: (payload: Uint8Array, sum: { checksum?: number }) =>
      udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4789, dstPort: 4789, payload, ...sum }),
    kit: () => natKit({ mtu: 1500 }),
    out: (kit: NatKit, packet: Block) => kit.out(packet),
    assertSound,
  },
  {
    version: 6,
    dataAt: 48,
    make: (payload: Uint8Array, sum: { checksum?: number }) =>
      udp6Packet({ src: GUEST6, dst: REMOTE6, srcPort: 4789, dstPort: 4789, payload, ...sum }),
    kit: () => natKit6({ mtu: 1500 }),
    out: (kit: NatKit, packet: Block) => (kit as ReturnType<typeof natKit6>).out(packet),
    assertSound: assertSound,
  },
] as const;

/** A datagram with `inner` behind `gap` bytes: finished, and as a block that owes the checksum of `inner`. */
function tunnelled(outer: typeof OUTERS[number], inner: typeof INNERS[number], gap: number, sum = {}) {
  const payload = new Uint8Array([...pattern(gap), ...inner.packet]);
  const whole = outer.make(payload, sum);
  const owing = whole.slice();
  const isV4 = inner.start === 20;
  const { src, dst } = isV4 ? INNER4 : INNER6;
  const start = outer.dataAt + gap + inner.start;
  put16(owing, start + inner.field, pseudoSum(ip(src), ip(dst), inner.protocol, whole.length - start));
  const block = Block.from(owing);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + start;
  block.checksumField = block.checksumStart + inner.field;
  return { whole, block };
}

for (const outer of OUTERS) {
  Deno.test(`A checksum owed inside a tunnel over IPv${outer.version} is finished, the outer stays right`, () => {
    for (const [name, gap] of Object.entries(TUNNELS)) {
      for (const inner of INNERS) {
        const { whole, block } = tunnelled(outer, inner, gap);
        const { block: sent, reason } = outer.out(outer.kit(), block);
        const what = `${name} ${inner.name}`;
        assertEquals([reason, sent?.checksum], ["none", Checksum.None], what);
        const bytes = sent!.bytes();
        outer.assertSound(bytes);
        // Behind the headers it is what the guest's own software would have made.
        assertEquals(bytes.subarray(outer.dataAt), whole.subarray(outer.dataAt), what);
      }
    }
  });

  Deno.test(`Bytes that a guest's memory still holds are finished as well, over IPv${outer.version}`, () => {
    const { whole, block } = tunnelled(outer, INNERS[0]!, TUNNELS.vxlan);
    const from = block.rp + outer.dataAt + TUNNELS.vxlan + 40;
    block.extents = [block.buf.slice(from, block.wp)];
    block.wp = from;
    const { packet } = sentOf(outer.out(outer.kit(), block));
    outer.assertSound(packet);
    assertEquals(packet.subarray(outer.dataAt), whole.subarray(outer.dataAt));
  });

  Deno.test(`A fragment over IPv${outer.version} that owes a checksum is finished, then put together`, () => {
    const kit = outer.kit();
    const inner = { ...INNERS[0]!, packet: udpPacket({ ...INNER4, payload: pattern(1000) }) };
    const { whole } = tunnelled(outer, inner, TUNNELS.fou);
    const pieces = outer.version === 4 ? cutPacket4(Block.from(whole), 600)! : cutPacket6(Block.from(whole), 600, 7)!;
    const [first] = pieces as [Block];
    const headerLen = outer.dataAt + (outer.version === 4 ? 0 : 8);
    const at = first.rp + headerLen + 100;
    put16(first.buf, at, 0);
    const sum = checksum(first.buf, at, first.wp);
    Object.assign(first, { checksum: Checksum.Owed, checksumStart: at, checksumField: at });
    const [held, ...rest] = pieces.map((piece) => outer.out(kit, piece));
    const { packet } = sentOf(rest.at(-1)!);
    assertEquals([held!.reason, get16(packet, headerLen + 100)], ["none", sum]);
  });
}

Deno.test("A tunnel without an outer checksum (VXLAN's default over IPv4, RFC 7348 5) keeps none", () => {
  const { whole, block } = tunnelled(OUTERS[0], INNERS[1]!, TUNNELS.vxlan, { checksum: 0 });
  const { packet } = sentOf(OUTERS[0].out(natKit(), block));
  assertEquals(packet.subarray(26), whole.subarray(26));
});

Deno.test("What comes for a guest with a checksum owed inside is finished as well", () => {
  const kit = natKit();
  const { map } = sentOf(kit.out(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4789, dstPort: 4789 })));
  const back = {
    ...OUTERS[0],
    make: (payload: Uint8Array) =>
      udpPacket({ src: REMOTE, dst: "10.0.0.1", srcPort: 4789, dstPort: map.hostPort, payload }),
  } as unknown as typeof OUTERS[0];
  const { whole, block } = tunnelled(back, INNERS[0]!, TUNNELS.geneve);
  const { toGuest, reason } = kit.back(block, map);
  assertEquals([reason, toGuest.length], ["none", 1]);
  assertSound(toGuest[0]!);
  assertEquals(toGuest[0]!.subarray(28), whole.subarray(28));
});

Deno.test("A checksum field in what the NAT has read is refused: it would move what was checked", () => {
  const kits = { 4: natKit(), 6: natKit6() };
  const rows = [
    { version: 4, packet: echoPacket({ src: GUEST, dst: REMOTE }), fields: [2, 12, 16, 18] },
    { version: 4, packet: udpPacket({ src: GUEST, dst: REMOTE }), fields: [16, 18, 20, 22, 24] },
    { version: 4, packet: tcpPacket(), fields: [16, 20, 22, 32] },
    { version: 6, packet: echo6Packet({ src: GUEST6, dst: REMOTE6 }), fields: [8, 22, 24, 38] },
    { version: 6, packet: udp6Packet({ src: GUEST6, dst: REMOTE6 }), fields: [24, 38, 40, 42, 44] },
  ] as const;
  for (const { version, packet, fields } of rows) {
    for (const field of fields) {
      const block = Block.from(packet);
      Object.assign(block, { checksum: Checksum.Owed, checksumStart: block.rp, checksumField: block.rp + field });
      const { reason } = version === 4 ? kits[4].out(block) : kits[6].out(block);
      assertEquals(reason, "offload", `IPv${version}, byte ${field}`);
    }
  }
});

Deno.test("A cut that is wanted with a checksum inside is refused: none is offered for tunnels", () => {
  for (const outer of OUTERS) {
    const { block } = tunnelled(outer, INNERS[1]!, TUNNELS.vxlan);
    Object.assign(block, { segment: Segment.Tcp4, segmentSize: 50, segmentHeaderLen: outer.dataAt + 22 + 40 });
    assertEquals(outer.out(outer.kit(), block).reason, "offload");
  }
});

Deno.test("Wherever a guest owes a checksum, the ends of what is sent are those that were decided on", () => {
  const places = fc.record({ start: fc.nat(400), field: fc.nat(400), inner: fc.constantFrom(...INNERS) });
  fc.assert(
    fc.property(places, ({ start, field, inner }) => {
      for (const outer of OUTERS) {
        const { block, whole } = tunnelled(outer, inner, 0);
        block.checksumStart = block.rp + start;
        block.checksumField = block.rp + field;
        const { block: sent } = outer.out(outer.kit(), block);
        if (sent === null) continue;
        const bytes = sent.bytes();
        const [from, to] = outer.version === 4 ? [16, 20] : [24, 40];
        assertEquals(bytes.slice(from, to), whole.slice(from, to), "destination address");
        assertEquals(bytes.slice(to, to + 6), whole.slice(to, to + 6), "ports and length");
      }
    }),
    fuzz(200),
  );
});

Deno.test("A program that receives a tunnel's datagram gets the packet inside finished", () => {
  const fixture = ipFixture();
  const conv = fixture.conv("udp", "announce 7", "headers");
  const here = {
    ...OUTERS[0],
    make: (payload: Uint8Array) => udpPacket({ src: PEER, dst: US, srcPort: 9, dstPort: 7, payload }),
  } as unknown as typeof OUTERS[0];
  const { whole, block } = tunnelled(here, INNERS[1]!, TUNNELS.vxlan);
  fixture.dev.bwrite(fixture.wire, block);
  fixture.env.clock.jobs.run();
  const record = conv.read();
  assert(record !== null);
  assertEquals(record.subarray(record.length - whole.length + 28), whole.subarray(28));
});
