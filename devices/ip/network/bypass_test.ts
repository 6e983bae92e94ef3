/** Whole packets to a bypassed conversation: events, claims, queues, errors. Its writer is in bypass_writer_test. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { Block, Checksum } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { QUEUE_BLOCKS_MAX } from "../../../kernel/queue.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../../kernel/wire/checksum.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT, ICMP_UNREACHABLE_TOO_BIG } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk, parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { refusalCode, wakes, watch } from "../../../tests/kit/host/dev.ts";
import {
  bypassed,
  icmpErrorPacket,
  ip as addr,
  ipFixture,
  ipPacket,
  pattern,
  PEER,
  udpPacket,
  US,
} from "../../../tests/kit/ip/ip_fixture.ts";
import { BYPASS_QUEUE_LIMIT } from "../conv/conv_bypass.ts";

/** A packet of ours to PEER, from port 7. */
const out = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: US, dst: PEER, srcPort: 7, dstPort: 9, payload: pattern(12), ...options });

Deno.test("Conformance 4: a datagram arrives as the IP packet that was on the wire, with one event", () => {
  const { ip, conv } = bypassed();
  const tap = conv.tap(TapEvent.Readable);
  const packet = udpPacket({
    dstPort: 7,
    payload: pattern(6),
    ttl: 3,
    tos: 0x11,
    id: 77,
    options: Uint8Array.of(1, 1, 1, 0),
  });
  ip.inject(packet);
  assertEquals(tap.take(), [TapEvent.Readable]);
  assertEquals(conv.read(), packet);
  assertEquals(conv.read(), null);
});

Deno.test("Defect 4: link padding is trimmed; a total length beyond the packet never arrives", () => {
  const { ip, conv } = bypassed();
  const packet = udpPacket({ dstPort: 7, payload: pattern(6) });
  ip.inject(new Uint8Array([...packet, ...new Uint8Array(12)]));
  assertEquals(conv.read(), packet);
  ip.inject(packet.subarray(0, packet.length - 1));
  assertEquals(conv.read(), null);
});

Deno.test("Conformance 5: two datagrams before the first read are one event; none while the queue is not empty", () => {
  const { ip, conv } = bypassed();
  const tap = conv.tap(TapEvent.Readable);
  for (const size of [1, 2]) ip.inject(udpPacket({ dstPort: 7, payload: pattern(size) }));
  assertEquals(tap.take(), [TapEvent.Readable]);
  assertEquals(conv.read()?.length, 29);
  ip.inject(udpPacket({ dstPort: 7, payload: pattern(3) }));
  assertEquals(tap.take(), []);
  assertEquals([conv.read()?.length, conv.read()?.length, conv.read()], [30, 31, null]);
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), [TapEvent.Readable]);
});

Deno.test("Conformance 6: a short read loses the rest of a packet, a short blockread leaves it queued", () => {
  const { ip, conv } = bypassed();
  for (let i = 0; i < 2; i++) ip.inject(udpPacket({ dstPort: 7, payload: pattern(18) }));
  assertEquals(ip.dev.read(conv.data, new Uint8Array(10), 0), 10);
  try {
    ip.dev.bread(conv.data, 10);
  } catch (error) {
    assertEquals(error instanceof KernelError ? [error.code, error.length] : error, ["EMSGSIZE", 46]);
  }
  assertEquals(conv.bread()?.length, 46);
});

Deno.test("Conformance 10: an exact conversation wins over the bypass of its port", () => {
  const { ip, conv } = bypassed();
  const udp = ip.conv("udp", `connect ${PEER}!9 7`);
  ip.inject(udpPacket({ srcPort: 9, dstPort: 7, payload: pattern(2) }));
  ip.inject(udpPacket({ srcPort: 10, dstPort: 7, payload: pattern(2) }));
  assertEquals([udp.read()?.length, udp.read(), conv.read()?.length, conv.read()], [2, null, 30, null]);
});

Deno.test("Defect 3: a reassembled datagram is one block", () => {
  const { ip, conv } = bypassed();
  const whole = udpPacket({ dstPort: 7, payload: pattern(2000), id: 5 });
  const body = whole.subarray(20);
  ip.inject(ipPacket({ id: 5, payload: body.subarray(1000), fragOffset: 1000 }));
  ip.inject(ipPacket({ id: 5, payload: body.subarray(0, 1000), moreFragments: true }));
  const block = conv.bread();
  assertEquals([block?.length, conv.bread()], [2028, null]);
  const header = parseIpv4(block!.buf, block!.rp, block!.wp);
  assertEquals([header?.totalLen, header?.moreFragments, header?.fragOffset], [2028, false, 0]);
  assert(ipv4ChecksumOk(block!.buf, block!.rp));
  assert(udpChecksumOk(block!.buf, block!.rp + 20, addr(PEER), addr(US)));
});

Deno.test("Defect 6: ICMP errors about its packets come whole to the err file, and leave its conversation open", () => {
  const { ip, conv } = bypassed();
  const err = conv.err();
  const tap = watch(err, TapEvent.Readable);
  const dataTap = conv.tap(TapEvent.Error);
  const packet = icmpErrorPacket({ type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG, rest: 1400, packet: out() });
  ip.inject(packet);
  assertEquals([tap.take(), dataTap.take()], [[TapEvent.Readable], [TapEvent.Error]]);
  const block = ip.dev.bread(err, 2000);
  assertEquals((block as Block).bytes(), packet);
  ip.inject(icmpErrorPacket({ type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT, packet: out() }));
  assertEquals(conv.read(), null);
});

Deno.test("Defect 7: taps set before bypass, and a reader asleep on the old queue, hear of packets", async () => {
  const ip = ipFixture();
  const conv = ip.conv("udp");
  const tap = conv.tap(TapEvent.Readable);
  const asleep = ip.dev.bread(conv.data, 2000);
  assert(asleep instanceof Rendez);
  assert(await wakes(asleep, () => conv.command("bypass 7")));
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(tap.take(), [TapEvent.Readable]);
});

Deno.test("Defect 7: the last close undoes bypass once: own queues, no entry, no port", () => {
  const { ip, conv } = bypassed();
  const { table, ports } = conv.conv.space;
  conv.close();
  assertEquals([conv.conv.bypass, table.length, ports.length], [null, 0, 0]);
  const again = ip.conv("udp", "headers", "announce 7");
  assertEquals(again.dir, conv.dir);
  ip.inject(udpPacket({ dstPort: 7, payload: pattern(2) }));
  assertEquals(again.read()?.length, 54);
});

Deno.test("Defect 7: a refused blockwrite leaves its block to the caller, byte for byte", () => {
  const ip = ipFixture({ defaultRoute: false });
  const conv = ip.conv("udp", "bypass 7");
  for (const bytes of [out({ src: "10.0.0.9" }), out({ dst: "9.9.9.9" })]) {
    const block = Block.from(bytes);
    refusalCode(() => ip.dev.bwrite(conv.data, block));
    assertEquals(block.bytes(), bytes);
  }
});

Deno.test("Defect 8: the queue has a limit, drops are counted, and status says all of it", () => {
  const { ip, conv } = bypassed();
  for (let i = 0; i < QUEUE_BLOCKS_MAX + 10; i++) ip.inject(udpPacket({ dstPort: 7 }));
  conv.send(out());
  assertMatch(
    conv.text("status"),
    new RegExp(
      `^Bypassed local ::!7 header keep offload off qin ${28 * QUEUE_BLOCKS_MAX} blocks ${QUEUE_BLOCKS_MAX} ` +
        `limit ${BYPASS_QUEUE_LIMIT} in ${QUEUE_BLOCKS_MAX} drops 10 out 1 refused short 0 .*toobig 0\n$`,
    ),
  );
});

Deno.test("A datagram with a bad UDP checksum or length never reaches the reader", () => {
  const { ip, conv } = bypassed();
  const bad = udpPacket({ dstPort: 7, payload: pattern(4), checksum: 1 });
  ip.inject(bad);
  const short = udpPacket({ dstPort: 7, payload: pattern(4), checksum: 0 });
  put16(short, 24, 7);
  ip.inject(short);
  assertEquals(conv.read(), null);
  assertEquals([ip.stat("udp", "CsumErrs"), ip.stat("udp", "LenErrs")], [1, 1]);
});

Deno.test("Only its reader answers for a bypassed port", () => {
  const { ip } = bypassed();
  ip.inject(udpPacket({ dstPort: 7 }));
  assertEquals(ip.sent(), []);
});

Deno.test("Defect 5: a checksum that is owed is finished for a reader that did not say offload on", () => {
  for (const offload of [false, true]) {
    const { ip, conv } = bypassed(`offload ${offload ? "on" : "off"}`);
    const bytes = udpPacket({ dstPort: 7, payload: pattern(9) });
    put16(bytes, 26, pseudoSum(addr(PEER), addr(US), 17, 17));
    const block = Block.from(bytes);
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 26;
    ip.stack.protocolFor(17)!.input!({
      block,
      version: 4,
      headerLen: 20,
      protocol: 17,
      src: addr(PEER),
      dst: addr(US),
      cast: "unicast",
      ifc: ip.stack.ifcs[0]!,
    });
    const got = conv.bread()!;
    assertEquals(got.checksum, offload ? Checksum.Owed : Checksum.None);
    assertEquals(udpChecksumOk(got.buf, got.rp + 20, addr(PEER), addr(US)), !offload);
  }
});
