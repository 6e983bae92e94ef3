/**
 * Property tests of a whole host: whatever bytes come in a frame, in a file, or from a bypass writer, nothing is thrown
 * but KernelError at the edge of a system call, and no queue or table is left above its limit.
 *
 * A property keeps one host for many cases, so that what one leaves behind meets the next. A failure prints the seed:
 * AKARINO_SEED repeats the whole run.
 *
 * @module
 */

import { assert, assertEquals, fail } from "@std/assert";
import fc from "fast-check";
import { NETIF_VERBS } from "../../../devices/ether/netif_ctl.ts";
import { IPIFC_VERBS } from "../../../devices/ip/files/ipifc_ctl.ts";
import { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { DirMode, Open } from "../../../kernel/qid.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { ARP_LEN, ARP_REPLY, ARP_REQUEST, emitArp } from "../../../kernel/wire/arp.ts";
import { concatBytes, get16 } from "../../../kernel/wire/bytes.ts";
import { emitEthernet, ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { setIcmpChecksum } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk, ipv4Dst, ipv4HeaderLen, ipv4Src, ipv4TotalLen } from "../../../kernel/wire/ipv4.ts";
import { setUdpChecksum } from "../../../kernel/wire/udp.ts";
import { fuzzSteps, sequences } from "../../kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, PEER, udpPacket, US } from "../../kit/ip/ip_fixture.ts";
import { advance, HOST_MAC, type Story, tell, type UserConv, WIRE_MAC } from "../../kit/ip/story.ts";
import { fixed, fragmentsOf } from "../../kit/ip/packet_parts.ts";
import { damaged } from "../../kit/ip/wire.ts";
import { overLimits } from "../../kit/host/limits.ts";

/** Steps of one host: enough to fill its tables. */
const LIFE = 500;

/** Cases between two looks at all limits: often enough to name the culprit, seldom enough to cost little. */
const LIMITS_EVERY = 32;
/** Cases that one host of the file property lives for: its tables fill, and then another begins. */
const HOST_LIFE = 250;

/** Packets that each lead to another part of the stack. */
const PACKETS: readonly Uint8Array[] = [
  ...[7, 8, 9, 1500, 9999].map((dstPort) => udpPacket({ dstPort, payload: pattern(30) })),
  udpPacket({ dstPort: 9, checksum: 0, options: new Uint8Array([0x94, 4, 0, 0]) }),
  udpPacket({ dstPort: 8, dst: "10.0.0.255" }),
  udpPacket({ dstPort: 5353, dst: "224.0.0.251" }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, ttl: 2, payload: pattern(30) }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, payload: pattern(600) }),
  udpPacket({ dst: "10.9.0.7", dstPort: 9, payload: pattern(600), dontFragment: true }),
  udpPacket({ dst: "192.0.2.7", dstPort: 9 }),
  udpPacket({ dst: "10.0.0.77", dstPort: 9 }),
  ...fragmentsOf(udpPacket({ dstPort: 9, payload: pattern(90) }), 48, 77),
  ...fragmentsOf(udpPacket({ dstPort: 8, payload: pattern(90) }), 24, 78),
  echoPacket({ id: 1 }),
  echoPacket({ id: 77 }),
  echoPacket({ id: 78, reply: true }),
  ...[[3, 3], [3, 4], [11, 0], [12, 0]].map(([type, code]) => {
    const packet = udpPacket({ src: US, dst: PEER, srcPort: 9, dstPort: 5 });
    return icmpErrorPacket({ type: type!, code: code!, packet });
  }),
  ipPacket({ protocol: 47, payload: pattern(20) }),
  ipPacket({ protocol: 99, payload: pattern(20) }),
];

/** A frame from the wire to the host with `payload`. */
function frameOf(payload: Uint8Array, etherType = 0x800): Uint8Array {
  const frame = new Uint8Array(ETHER_HEADER_LEN + payload.length);
  emitEthernet({ dst: HOST_MAC, src: WIRE_MAC, etherType }, frame, 0);
  frame.set(payload, ETHER_HEADER_LEN);
  return frame;
}

function arpFrame(op: number, sender: string, target: string): Uint8Array {
  const packet = new Uint8Array(ARP_LEN);
  emitArp({ op, senderMac: WIRE_MAC, senderIp: ip(sender), targetMac: HOST_MAC, targetIp: ip(target) }, packet, 0);
  return frameOf(packet, 0x806);
}

const FRAMES: readonly Uint8Array[] = [
  ...PACKETS.map((packet) => frameOf(packet)),
  arpFrame(ARP_REQUEST, PEER, US),
  arpFrame(ARP_REQUEST, "10.0.0.9", US),
  arpFrame(ARP_REPLY, "10.0.0.77", US),
  arpFrame(ARP_REPLY, US, US),
];

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

/** One of `samples`, damaged or as it is, or bytes without sense. */
function near(samples: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    ...samples.map((sample) => fc.oneof({ weight: 3, arbitrary: damaged(sample) }, fc.constant(sample))),
  );
}

/** What may come out of a system call: an answer, or a KernelError. Anything else fails, with `where` it came from. */
function mayRefuse(where: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (error instanceof KernelError) return;
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    fail(`${where} threw what is no KernelError: ${text}`);
  }
}

function assertWithinLimits(story: Story, where: string): void {
  const over = overLimits(story.host);
  assertEquals(over, [], `${where} left something above its limit`);
}

/** A conversation of every kind that a packet may be for; 10.9.0.0/24 is forwarded to a user's interface. */
function everyConv(story: Story): UserConv[] {
  const { user } = story;
  user.command("/net/ipifc/1/ctl", "iprouting on");
  user.conv("ipifc", "bind pkt", "mtu 200", "add 10.9.0.1 /24");
  const convs: [string, ...string[]][] = [
    ["udp", "announce 7"],
    ["udp", "headers", "announce 8"],
    ["udp", "bypass 9"],
    ["udp", "bypass 1000-1999", "offload on"],
    ["udp", `connect ${PEER}!5 ${US}!10`],
    ["udp", "oldheaders", "announce 5353", `addmulti ${US} 224.0.0.251`],
    ["icmp", "bypass 77"],
    ["icmp", `connect ${PEER}!1 78`],
    ["icmp", "bypass 79", "bypass-echo replies"],
    ["raw", "bypass 47"],
  ];
  return convs.map(([proto, ...commands]) => user.conv(proto, ...commands));
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

/** Every file below `dir` that `story`'s user may write, clone files included. */
function writableFiles(story: Story, dir: string): string[] {
  return story.user.proc.sys.list(dir).flatMap(({ name, mode }) => {
    const path = `${dir}/${name}`;
    if ((mode & DirMode.Dir) !== 0) return writableFiles(story, path);
    return (mode & 0o222) !== 0 ? [path] : [];
  });
}

const VERBS = [
  ...new Set([...NETIF_VERBS, ...IPIFC_VERBS].map(({ name }) => name)),
  ..."connect announce bind bypass bypass-header bypass-echo shutdown ttl tos ignoreadvice offload rqlimit".split(" "),
  ..."headers oldheaders flush del tag set clear only addmulti remmulti accept hangup keepalive checksum".split(" "),
];

const WORDS = [
  ...[
    "10.0.0.1",
    "10.0.0.9",
    "10.0.0.2!9",
    "10.0.0.1!7",
    "*",
    "*!7",
    "*!*",
    "0",
    "7",
    "-1",
    "1",
    "68",
    "1500",
    "65535",
  ],
  ...["65536", "1-65535", "9-3", "1-255", "4294967296", "0x800", "0x0", "-0x80000000", "99999999999999999999", "1e9"],
  ...[
    "/24",
    "/0",
    "/32",
    "/33",
    "255.255.255.0",
    "255.0.255.0",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.5",
    "127.0.0.1",
  ],
  ...["::", "::1", "fe80::1", "ff02::1", "::ffff:10.0.0.1", "on", "off", "rd", "wr", "rdwr", "keep", "kernel", "all"],
  ...["replies", "ether", "loopback", "pkt", "tun", "/net/ether0", "#ether.0/ether0", "/net", "/", "#ip", "#pipe/data"],
  ...["020000000009", "ffffffffffff", "01005e000005", "000000000000", "proxy", "none", "''", "'a b'", "'", "\0", "é"],
  ...["x".repeat(200), "udp", "arp", "icmp", "bypass", "!", "!!", "10.0.0.2!9!r", "10.0.0.2!", "!9", "\n", "\t"],
];

const encoder = new TextEncoder();
/** A command that makes sense, nearly does, or does not. */
const commands = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constantFrom(...VERBS), fc.array(fc.constantFrom(...WORDS), { maxLength: 5 })) },
  fc.tuple(fc.string({ maxLength: 12 }), fc.array(fc.string({ maxLength: 12 }), { maxLength: 3 })),
).map(([verb, words]) => encoder.encode([verb, ...words].join(" ")));
const records = [52, 36].map((length) => concatBytes([pattern(length), pattern(20)]));
const contents = fc.oneof(
  { weight: 4, arbitrary: commands },
  fc.uint8Array({ maxLength: 100 }),
  near([...PACKETS, ...FRAMES.slice(0, 4), ...records, pattern(5000)]),
);

/** A host with something open in every protocol, so that commands to it last, and its writable files. */
async function fileWorld(): Promise<{ story: Story; files: string[] }> {
  const story = await tell();
  const { user } = story;
  everyConv(story);
  for (const proto of ["udp", "udp", "icmp", "raw", "ipifc", "ether0"]) user.open(`/net/${proto}/clone`);
  user.open("/net/log", Open.Read);
  user.open("/net/ipifc/1/snoop", Open.Read);
  return { story, files: ["/net", "/dev", "#ip.3", "#pipe", "#eventfd"].flatMap((dir) => writableFiles(story, dir)) };
}

Deno.test("no bytes in any writable file of any device make the host throw or exceed a limit", async () => {
  const writes = fc.tuple(fc.nat(999), contents, fc.boolean());
  await fc.assert(
    fc.asyncProperty(sequences(writes, HOST_LIFE), async (steps) => {
      const { story, files } = await fileWorld();
      await using _ = story;
      for (const name of ["ctl", "data", "clone", "arp", "ndb", "iproute", "log", "efd", "sysname"]) {
        assert(files.some((file) => file.endsWith(`/${name}`)), `the tree has a writable ${name}`);
      }
      const { user, wire, host } = story;
      const { sys } = user.proc;
      let count = 0;
      for (const [number, bytes, asBlock] of steps) {
        count++;
        const file = files[number % files.length]!;
        mayRefuse(file, () => {
          const fd = sys.open(file, Open.Write | Open.NonBlock);
          if (fd === AGAIN) return;
          mayRefuse(file, () => asBlock ? sys.blockwrite(fd, bytes) : sys.write(fd, bytes));
          sys.close(fd);
          if (count % 16 === 0) advance(host, number);
        });
        mayRefuse(`${file}, and then a packet,`, () => wire.inject(PACKETS[number % PACKETS.length]!));
        if (count % LIMITS_EVERY === 0) assertWithinLimits(story, file);
      }
      assertWithinLimits(story, "The last write");
    }),
    fuzzSteps(4000, HOST_LIFE),
  );
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
