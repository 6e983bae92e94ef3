/**
 * Property tests of a whole host: whatever bytes come in a frame, in a file, or from a bypass writer, nothing is thrown
 * but KernelError at the edge of a system call, and no queue or table is left above its limit.
 *
 * A property keeps one host for many cases, so that what one leaves behind meets the next. A failure prints the seed:
 * AKARINO_SEED repeats the whole run.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { concatBytes, get16 } from "../../../kernel/wire/bytes.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { setIcmpChecksum } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk, ipv4Dst, ipv4HeaderLen, ipv4Src, ipv4TotalLen } from "../../../kernel/wire/ipv4.ts";
import { setUdpChecksum } from "../../../kernel/wire/udp.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { advance, tell } from "../../kit/ip/story.ts";
import { fixed } from "../../kit/ip/packet_parts.ts";
import { assertWithinLimits, everyConv, FRAMES, LIMITS_EVERY, mayRefuse, near } from "../../kit/ip/fuzz.ts";

/** Steps of one host: enough to fill its tables. */
const LIFE = 500;

/** Bytes as they are, or with a header checksum, or all checksums, made right: so that damage gets further in. */
const repairs = fc.integer({ min: 0, max: 2 });

/** A copy of `packet`, an IP packet or anything, with checksums as `repair` says. */
function repaired(packet: Uint8Array, repair: number): Uint8Array {
  const copy = packet.slice();
  const headerLen = copy.length < 20 ? 0 : ipv4HeaderLen(copy, 0);
  if (repair === 0 || headerLen < 20 || headerLen > copy.length) return copy;
  const end = Math.min(copy.length, Math.max(headerLen, ipv4TotalLen(copy, 0)));
  if (repair === 2 && end - headerLen >= 8) {
    if (copy[9] === 1) setIcmpChecksum(copy, headerLen, end);
    const length = get16(copy, headerLen + 4);
    const whole = length >= 8 && headerLen + length <= copy.length;
    if (copy[9] === 17 && whole) setUdpChecksum(copy, headerLen, ipv4Src(copy, 0), ipv4Dst(copy, 0));
  }
  return fixed(copy);
}

/** Counters that show how far in the frames get. */
const REACHED = [
  ...["udp InDatagrams", "udp InBypassed", "udp NoPorts", "udp CsumErrs", "icmp InMsgs", "icmp HlenErrs"],
  ...["ipifc ReasmOKs", "ipifc ReasmOverlap", "ipifc ForwDatagrams", "ipifc FragCreates", "ipifc ArpUnsolicited"],
];

Deno.test("no frame makes the host throw or exceed a limit", async () => {
  const reached = new Map<string, number>();
  const frames = fc.tuple(near(FRAMES), repairs, fc.oneof(fc.constant(0), fc.nat(500)));
  await fc.assert(
    fc.asyncProperty(sequences(frames, LIFE), async (steps) => {
      await using story = await tell();
      const { host, user } = story;
      const convs = everyConv(story);
      // Some of them are not read: their queues must hold.
      const read = convs.filter((_, i) => i % 2 === 0);
      let count = 0;
      for (const [frame, repair, ms] of steps) {
        const header = frame.subarray(0, ETHER_HEADER_LEN);
        const bytes = concatBytes([header, repaired(frame.subarray(ETHER_HEADER_LEN), repair)]);
        mayRefuse("FramePort.receive", () => {
          host.port!.receive!(Block.from(bytes));
          host.clock.jobs.run();
          if (ms > 0) advance(host, ms);
        });
        if (++count % LIMITS_EVERY !== 0) continue;
        assertWithinLimits(story, "A frame");
        for (const conv of read) mayRefuse("blockread", () => conv.bread());
        story.wire.frames();
      }
      assertWithinLimits(story, "The last frame");
      for (const counter of REACHED) {
        const [proto, name] = counter.split(" ");
        reached.set(counter, (reached.get(counter) ?? 0) + user.stat(proto!, name!));
      }
    }),
    fuzzSteps(5000, LIFE),
  );
  for (const counter of REACHED) assert(reached.get(counter)! > 0, `no frame got as far as ${counter}`);
});

/** Other ends than US, PEER and port 9: what a bypass writer of port 9, identifier 77 and protocol 47 may send. */
const OUTGOING: readonly Uint8Array[] = [
  udpPacket({ src: US, dst: PEER, srcPort: 9, dstPort: 5, payload: pattern(40) }),
  udpPacket({ src: US, dst: PEER, srcPort: 9, dstPort: 5, payload: pattern(1600) }),
  udpPacket({ src: US, dst: PEER, srcPort: 9, dstPort: 5, payload: pattern(1600), dontFragment: true }),
  udpPacket({ src: US, dst: US, srcPort: 9, dstPort: 7, payload: pattern(4) }),
  udpPacket({ src: US, dst: "10.0.0.255", srcPort: 9, options: new Uint8Array([0x94, 4, 0, 0]) }),
  echoPacket({ src: US, dst: PEER, id: 77 }),
  icmpErrorPacket({ type: 3, code: 3, packet: udpPacket({ dstPort: 9 }) }, { src: US, dst: PEER }),
  ipPacket({ src: US, dst: PEER, protocol: 47, payload: pattern(20) }),
  new Uint8Array(0),
];

/** How a writer hands a packet over: bytes, or a block with extents and metadata, true or not. */
const metadata = fc.record({
  extents: fc.nat(60),
  checksum: fc.constantFrom(0, 1, 2),
  start: fc.oneof(fc.nat(300), fc.constant(148)),
  field: fc.oneof(fc.nat(300), fc.constant(154)),
  segment: fc.constantFrom(0, 0, 1, 2, 3),
  size: fc.oneof(fc.nat(2000), fc.constant(100)),
  headerLen: fc.oneof(fc.nat(200), fc.constant(28)),
}) as fc.Arbitrary<Record<"extents" | "checksum" | "start" | "field" | "segment" | "size" | "headerLen", number>>;

type Metadata = typeof metadata extends fc.Arbitrary<infer T> ? T : never;

function blockOf(bytes: Uint8Array, data: Metadata): Block {
  const at = Math.max(0, bytes.length - data.extents);
  const block = Block.from(bytes.subarray(0, at));
  if (at < bytes.length) block.extents = [bytes.subarray(at)];
  block.checksum = data.checksum as Block["checksum"];
  block.checksumStart = data.start;
  block.checksumField = data.field;
  block.segment = data.segment as Block["segment"];
  block.segmentSize = data.size;
  block.segmentHeaderLen = data.headerLen;
  return block;
}

/** What a bypass writer of port 9, identifier 77 or protocol 47 made the host send is a packet, and his to send. */
function assertHonest(packet: Uint8Array): void {
  const headerLen = ipv4HeaderLen(packet, 0);
  assert(ipv4ChecksumOk(packet, 0), "the header checksum is right");
  assert(packet.length <= 1500, "the packet fits the wire");
  assertEquals(`${ipv4Src(packet, 0)}`, US);
  if ((get16(packet, 6) & 0x1fff) !== 0) return;
  const [protocol, type] = [packet[9]!, packet[headerLen]!];
  if (protocol === 17) assertEquals(get16(packet, headerLen), 9);
  else if (protocol === 1 && [0, 8, 13, 14].includes(type)) assertEquals(get16(packet, headerLen + 4), 77);
  else assert(protocol === 47 || (protocol === 1 && [3, 11, 12].includes(type)), `protocol ${protocol}, type ${type}`);
}

Deno.test("no block of a bypass writer is sent in another's name, or makes the host throw", async () => {
  const settings = ["bypass-header kernel", "bypass-header keep", "offload on", "offload off"];
  let sent = 0;
  const writes = fc.tuple(fc.nat(2), near(OUTGOING), repairs, metadata, fc.oneof(fc.constant(0), fc.nat(10)));
  await fc.assert(
    fc.asyncProperty(sequences(writes, LIFE), async (steps) => {
      await using story = await tell();
      const { user, wire, host } = story;
      const claims = [["udp", "bypass 9"], ["icmp", "bypass 77"], ["raw", "bypass 47"]];
      const convs = claims.map(([proto, command]) => user.conv(proto!, command!));
      const plain = user.conv("udp", "headers", "announce 7");
      let count = 0;
      for (const [number, bytes, repair, data, rare] of steps) {
        const conv = convs[number]!;
        if (rare >= 1 && rare <= settings.length) conv.command(settings[rare - 1]!);
        const packet = repaired(bytes, repair);
        mayRefuse(`blockwrite of ${conv.dir}`, () => user.proc.sys.blockwrite(conv.data, blockOf(packet, data)));
        mayRefuse(`blockwrite of ${conv.dir}`, () => user.proc.sys.blockwrite(conv.data, packet));
        if (rare === 10) advance(host, 200);
        for (const one of wire.sent()) {
          sent++;
          assertHonest(one);
        }
        if (++count % LIMITS_EVERY !== 0) continue;
        assertWithinLimits(story, "A bypass writer");
        for (const one of [...convs, plain]) while (one.bread() !== null);
      }
      assertWithinLimits(story, "A bypass writer");
    }),
    fuzzSteps(5000, LIFE),
  );
  assert(sent > 100, `${sent} packets were sent at all`);
});
