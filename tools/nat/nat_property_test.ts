/**
 * The NAT against a naive one: every packet that leaves, comes back, is quoted or turned round inside must be, byte for
 * byte, what one gets by writing the new ends into a copy and summing all of it again.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { cutSegments, finishChecksum } from "../../kernel/inet/segment.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { setIcmpChecksum } from "../../kernel/wire/icmp.ts";
import { ipv4Dst, ipv4HeaderLen, ipv4Src, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { setTcpChecksum, TCP_ACK, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { setUdpChecksum } from "../../kernel/wire/udp.ts";
import { fuzz, fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { damaged, u16 } from "../../tests/kit/ip/wire.ts";
import { FLOWS_MAX } from "./map.ts";
import {
  assertSound,
  DNS,
  framed,
  gotOf,
  GUEST,
  HOST,
  type NatKit,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";
import { FILTER_REMOTES_MAX, GUESTS_MAX } from "./table.ts";
import { translateError, translateInbound, translateOutbound } from "./nat.ts";
import { REMOTES_MAX } from "./forward_group.ts";

// --- the naive translation

/** What is to be different in a packet. */
interface Changes {
  readonly src?: string;
  readonly dst?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Hops that it made. */
  readonly hops?: number;
  readonly mss?: number;
}

/** A copy with `changes`, every checksum computed again; a UDP checksum of 0 stays 0. */
function rewritten(packet: Uint8Array, changes: Changes): Uint8Array {
  const copy = packet.slice();
  const at = ipv4HeaderLen(copy, 0);
  const { src, dst, srcPort, dstPort, hops = 0, mss } = changes;
  if (src !== undefined) ip(src).putV4(copy, 12);
  if (dst !== undefined) ip(dst).putV4(copy, 16);
  copy[8]! -= hops;
  const isIcmp = copy[9] === 1;
  if (srcPort !== undefined) put16(copy, isIcmp ? at + 4 : at, srcPort);
  if (dstPort !== undefined && !isIcmp) put16(copy, at + 2, dstPort);
  if (mss !== undefined) lowerMss(copy, at, mss);
  return summed(copy);
}

/** Sums everything in place. */
function summed(packet: Uint8Array): Uint8Array {
  const at = ipv4HeaderLen(packet, 0);
  setIpv4Checksum(packet, 0, at);
  const [src, dst] = [ipv4Src(packet, 0), ipv4Dst(packet, 0)];
  if (packet[9] === 6) setTcpChecksum(packet, at, packet.length, { src, dst });
  else if (packet[9] === 1) setIcmpChecksum(packet, at, packet.length);
  else if (packet[at + 6] !== 0 || packet[at + 7] !== 0) setUdpChecksum(packet, at, src, dst);
  return packet;
}

/** Lowers every MSS option of a TCP header, by the book: kind by kind. */
function lowerMss(packet: Uint8Array, tcp: number, mss: number): void {
  const end = tcp + (packet[tcp + 12]! >>> 4) * 4;
  for (let i = tcp + 20; i < end && packet[i] !== 0; i += packet[i] === 1 ? 1 : packet[i + 1]!) {
    if (packet[i] === 2 && ((packet[i + 2]! << 8) | packet[i + 3]!) > mss) put16(packet, i + 2, mss);
  }
}

// --- packets of every shape

/** IP options that may pass: none, NOPs, record route, a router alert, an unknown one of odd length. */
const ipOptions = fc.constantFrom([], [1, 1, 1, 1], [7, 7, 4, 0, 0, 0, 0, 0], [148, 4, 0, 0], [94, 3, 9, 1]);
/** TCP options with an MSS at an even or odd place, twice, or not at all. */
const tcpOptions = fc.constantFrom(
  ...[[], [2, 4, 5, 180], [1, 2, 4, 5, 180, 1, 1, 1], [1, 1, 1, 2, 4, 35, 40, 1], [4, 2, 1, 2, 4, 255, 255, 0]],
  ...[[3, 3, 7, 2, 4, 5, 180, 1], [2, 4, 2, 24], [2, 4, 5, 180, 1, 2, 4, 5, 181, 1, 1, 1]],
);
const kinds = fc.constantFrom("udp", "udp0", "tcp", "syn", "echo");

/** Remotes that keep their names on the host's side. */
const WORLD = [REMOTE, "8.8.8.8", "203.0.113.200"];

const shapes = fc.record({
  kind: kinds,
  remote: fc.constantFrom(...WORLD, ROUTER, DNS),
  srcPort: fc.integer({ min: 1, max: 65535 }),
  dstPort: fc.integer({ min: 1, max: 65535 }),
  size: fc.oneof(fc.nat(70), fc.nat(1400)),
  seed: fc.nat(255),
  ttl: fc.integer({ min: 3, max: 255 }),
  tos: fc.nat(255),
  id: u16,
  dontFragment: fc.boolean(),
  options: ipOptions,
  tcp: tcpOptions,
  /** How the packet comes: as it is, its checksum owed, in borrowed pieces, or in fragments. */
  how: fc.constantFrom("whole", "owed", "borrowed", "fragments"),
  chop: fc.integer({ min: 1, max: 40 }),
});
type Shape = typeof shapes extends fc.Arbitrary<infer S> ? S : never;

/** The packet of a shape, and whom it is really for. */
function packetOf(shape: Shape): Uint8Array {
  const { kind, srcPort, size, seed, ttl, tos, id, options, tcp } = shape;
  // Who answers pings of the router and the name server, and questions over UDP, is the NAT itself.
  const isAnsweredHere = kind === "echo"
    ? !WORLD.includes(shape.remote)
    : kind.startsWith("udp") && shape.remote === DNS;
  const dst = isAnsweredHere ? REMOTE : shape.remote;
  const dstPort = dst === DNS ? 53 : shape.dstPort;
  const dontFragment = shape.dontFragment && shape.how !== "fragments";
  const header = { src: GUEST, dst, ttl, tos, id, dontFragment, options: new Uint8Array(options) };
  const data = pattern(size, seed);
  if (kind === "echo") return echoPacket({ ...header, id: srcPort, seq: dstPort, data });
  if (kind === "udp0") return udpPacket({ ...header, srcPort, dstPort, payload: data, checksum: 0 });
  if (kind === "udp") return udpPacket({ ...header, srcPort, dstPort, payload: data });
  const segment = new Uint8Array(20 + tcp.length + (kind === "syn" ? 0 : size));
  segment.set([srcPort >> 8, srcPort & 255, dstPort >> 8, dstPort & 255, 1, 2, 3, 4, 5, 6, 7, 8]);
  segment.set([(5 + tcp.length / 4) << 4, kind === "syn" ? TCP_SYN : TCP_ACK, 9, 9], 12);
  segment.set(tcp, 20);
  if (kind !== "syn") segment.set(data, 20 + tcp.length);
  return summed(ipPacket({ ...header, protocol: 6, payload: segment }));
}

/** The same packet with its checksum owed: its field holds the sum of the pseudo-header. */
function owed(packet: Uint8Array): Block {
  const block = Block.from(packet.slice(), 64);
  const at = ipv4HeaderLen(packet, 0);
  const protocol = packet[9]!;
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + at;
  block.checksumField = block.checksumStart + (protocol === 6 ? 16 : 6);
  const sum = pseudoSum(ipv4Src(packet, 0), ipv4Dst(packet, 0), protocol, packet.length - at);
  put16(block.buf, block.checksumField, sum);
  return block;
}

/** Cut as the guest would: pieces of `8 * chop` bytes, options that are to be copied in all of them. */
function pieces(packet: Uint8Array, chop: number): Uint8Array[] {
  const at = ipv4HeaderLen(packet, 0);
  const all: Uint8Array[] = [];
  const step = 8 * Math.max(chop, Math.ceil((packet.length - at) / 8 / 60));
  for (let offset = 0; offset < packet.length - at; offset += step) {
    const isLast = offset + step >= packet.length - at;
    const piece = new Uint8Array([...packet.subarray(0, at), ...packet.subarray(at + offset, at + offset + step)]);
    put16(piece, 2, piece.length);
    put16(piece, 6, (isLast ? 0 : 0x2000) | (offset / 8));
    setIpv4Checksum(piece, 0, at);
    all.push(piece);
  }
  return all;
}

/** What leaves when the packet comes in the way that the shape says. */
function send(kit: NatKit, shape: Shape, packet: Uint8Array) {
  const canOwe = shape.kind === "tcp" || shape.kind === "syn" || shape.kind === "udp";
  if (shape.how === "owed" && canOwe) return kit.out(owed(packet));
  if (shape.how === "borrowed") {
    const block = framed(packet.slice(0, Math.min(packet.length, 5 * shape.chop)));
    block.extents = [packet.slice(Math.min(packet.length, 5 * shape.chop))];
    return kit.frame(block);
  }
  if (shape.how !== "fragments") return kit.out(packet.slice());
  const all = pieces(packet, shape.chop);
  let last = kit.out(all.at(-1)!);
  for (const piece of all.slice(0, -1)) last = kit.out(piece);
  return last;
}

/** Whom the guest's name stands for on the host's side, and the host's address for it. */
function realOf(packet: Uint8Array): { real: string; local: string; hops: number; dstPort?: number } {
  const dst = `${ipv4Dst(packet, 0)}`;
  if (dst === ROUTER) return { real: "127.0.0.1", local: "127.0.0.1", hops: 0 };
  return dst === DNS ? { real: HOST, local: HOST, hops: 0, dstPort: DOOR } : { real: dst, local: HOST, hops: 1 };
}

/** The port of the host where connections to the name server end. */
const DOOR = 5353;

const caps = { udp: 65536, tcp: 65536, icmp: 65536 };
const openKit = (mtu = 1500) => {
  const kit = natKit({ filtering: "endpoint", guestCaps: caps, totalCaps: caps, mtu, policy: { loopback: true } });
  for (let port = 5000; port < 6000; port++) kit.ports.taken.add(port);
  kit.nat.v4.nameServer = { addr: ip(HOST), port: DOOR };
  return kit;
};

/** Bytes of a block that is on its way to the wire: what it owes is paid by a full sum. */
function paid(block: Block): Uint8Array {
  assert(finishChecksum(block));
  return block.bytes().slice();
}

/** A packet of the other side with the ends of `packet` exchanged and other contents. */
function answerTo(packet: Uint8Array, ttl: number): Uint8Array {
  const at = ipv4HeaderLen(packet, 0);
  const copy = packet.slice();
  copy.set(packet.subarray(16, 20), 12);
  copy.set(packet.subarray(12, 16), 16);
  copy[8] = ttl;
  if (copy[9] === 1) copy[at] = 0;
  else {
    copy.set(packet.subarray(at + 2, at + 4), at);
    copy.set(packet.subarray(at, at + 2), at + 2);
  }
  return summed(copy);
}

Deno.test("Out and back are the naive translation: whole, owed, borrowed, in fragments, with options", () => {
  fc.assert(
    fc.property(sequences(fc.tuple(shapes, fc.boolean())), (steps) => {
      const kit = openKit(1280);
      for (const [shape, isOwedBack] of steps) {
        const packet = packetOf(shape);
        const { real, local, hops, ...port } = realOf(packet);
        const { block, map, reason } = send(kit, shape, packet);
        assert(block !== null && map !== null, `Nothing was sent: ${reason}`);
        const left = paid(block);
        const mss = shape.kind === "syn" ? { mss: 1240 } : {};
        const expected = rewritten(packet, { src: local, dst: real, srcPort: map.hostPort, hops, ...port, ...mss });
        if (real === HOST) expected[8] = 64;
        if (shape.how === "fragments") expected[6] = expected[7] = 0;
        assertEquals(left, summed(expected));
        assertSound(left);
        // And back: the other side's answer, translated to the guest's address and port.
        const answer = answerTo(left, 77);
        const canOwe = answer[9] === 6 || shape.kind === "udp";
        const outcome = kit.back(isOwedBack && canOwe ? owed(answer) : answer.slice(), map);
        if (answer.length > 1280) continue;
        assertEquals(outcome.reason, "none");
        const names = { src: `${ipv4Dst(packet, 0)}`, dst: GUEST, hops: real === "127.0.0.1" || real === HOST ? 0 : 1 };
        const own = answer[9] === 1 ? { srcPort: shape.srcPort } : { dstPort: shape.srcPort };
        const number = real === HOST ? { ...own, srcPort: 53 } : own;
        const seen = rewritten(answer, { ...names, ...number, ...mss });
        const got = gotOf(outcome);
        if (isOwedBack && canOwe && shape.kind !== "syn") {
          const at = ipv4HeaderLen(got, 0);
          const field = at + (got[9] === 6 ? 16 : 6);
          const sum = pseudoSum(ipv4Src(got, 0), ipv4Dst(got, 0), got[9]!, got.length - at);
          assertEquals(((got[field]! << 8) | got[field + 1]!) % 0xffff, sum % 0xffff);
          summed(got);
        }
        assertEquals(got, seen);
      }
    }),
    fuzzSteps(600),
  );
});

Deno.test("Large answers are cut into pieces that are, put together, the naive translation", () => {
  fc.assert(
    fc.property(sequences(fc.tuple(shapes, fc.integer({ min: 1300, max: 65000 }), fc.boolean())), (steps) => {
      const kit = openKit(1280);
      for (const [shape, size, isOwed] of steps) {
        const packet = packetOf({ ...shape, kind: "udp", how: "whole", remote: REMOTE });
        const { map } = sentOf(kit.out(packet));
        const ends = { src: REMOTE, dst: HOST, srcPort: shape.dstPort, dstPort: map.hostPort };
        const options = new Uint8Array(shape.options);
        const answer = udpPacket({ ...ends, id: shape.id, options, ttl: 9, payload: pattern(size) });
        const seen = rewritten(answer, { dst: GUEST, dstPort: shape.srcPort, hops: 1 });
        const payload = seen.subarray(ipv4HeaderLen(seen, 0));
        let at = 0;
        for (const piece of kit.back(isOwed ? owed(answer) : answer, map).toGuest) {
          assertSound(piece);
          const part = piece.subarray(ipv4HeaderLen(piece, 0));
          const offset = ((piece[6]! & 0x1f) << 8 | piece[7]!) * 8;
          assertEquals([offset, piece.length <= 1280, piece[8]], [at, true, 8]);
          assertEquals(part, payload.subarray(at, at + part.length));
          // RFC 791 3.1: all options in the first piece, those with the highest bit in all.
          const kept: readonly number[] = at === 0 || (shape.options[0] ?? 0) >= 128 ? shape.options : [];
          assertEquals([...piece.subarray(20, piece.length - part.length)].slice(0, kept.length), [...kept]);
          assertEquals(piece.length - part.length, 20 + Math.ceil(kept.length / 4) * 4);
          at += part.length;
        }
        assertEquals(at, payload.length);
      }
    }),
    fuzzSteps(60),
  );
});

Deno.test("64 KiB segments, owed and uncut, are right each way once they are cut and summed", () => {
  const pool = new BlockPool();
  const uncut = (packet: Uint8Array, segmentSize: number) => {
    const block = owed(packet);
    block.segment = Segment.Tcp4;
    block.segmentSize = segmentSize;
    block.segmentHeaderLen = 40;
    return block;
  };
  const check = (block: Block, expected: Uint8Array) => {
    const pieces = cutSegments(block, pool)?.map(paid) ?? [];
    for (const piece of pieces) {
      assertSound(piece);
      assertEquals(piece.subarray(12, 24), expected.subarray(12, 24));
    }
    assertEquals(new Uint8Array(pieces.flatMap((piece) => [...piece.subarray(40)])), expected.subarray(40));
  };
  const sizes = fc.tuple(fc.integer({ min: 1000, max: 65000 }), fc.integer({ min: 400, max: 1400 }), u16);
  fc.assert(
    fc.property(sizes, ([size, segmentSize, id]) => {
      const kit = openKit();
      const packet = tcpPacket({ srcPort: 4001, id, flags: TCP_ACK, data: pattern(size) });
      const { block, map } = kit.out(uncut(packet, segmentSize));
      assert(block !== null && map !== null);
      assertEquals([block.segment, block.segmentSize, block.checksum], [Segment.Tcp4, segmentSize, Checksum.Owed]);
      check(block, rewritten(packet, { src: HOST, srcPort: map.hostPort, hops: 1 }));
      const ends = { src: REMOTE, dst: HOST, srcPort: 80, dstPort: map.hostPort };
      const answer = tcpPacket({ ...ends, id, flags: TCP_ACK, data: pattern(size, 3) });
      translateInbound(kit.nat, uncut(answer, segmentSize), map, 0);
      const frame = kit.nat.takeFrames()[0]!;
      frame.pull(14);
      check(frame, rewritten(answer, { dst: GUEST, dstPort: 4001, hops: 1 }));
    }),
    fuzz(40),
  );
});

/** As much of a packet as a router quotes; not half of a TCP checksum, which no translation could update. */
function quoted(packet: Uint8Array, extra: number): Uint8Array {
  const count = packet[9] === 6 && extra === 9 ? 10 : extra;
  return packet.subarray(0, ipv4HeaderLen(packet, 0) + 8 + count);
}

Deno.test("What an error quotes is to the guest the start of its own packet, to the remote of its own", () => {
  const errors = fc.constantFrom([3, 0], [3, 1], [3, 3], [3, 4], [3, 13], [11, 0], [12, 0]);
  fc.assert(
    fc.property(sequences(fc.tuple(shapes, errors, fc.nat(600), fc.integer({ min: 2, max: 200 }))), (steps) => {
      const kit = openKit();
      for (const [shape, [type, code], extra, ttl] of steps) {
        const packet = packetOf({ ...shape, how: "whole", tcp: [] });
        const { packet: left, map } = sentOf(kit.out(packet.slice()));
        const { real, local } = realOf(packet);
        const names = { type: type!, code: code!, rest: 1300 };
        // Inward: a router on the way quotes what it got, some hops later.
        const quote = quoted(rewritten(left, { hops: left[8]! - 1 }), extra);
        const error = icmpErrorPacket({ ...names, packet: quote }, { src: "198.51.100.1", dst: local, ttl });
        const got = gotOf(kit.error(error.slice(), map));
        assertSound(got);
        assertEquals([`${ipv4Src(got, 0)}`, `${ipv4Dst(got, 0)}`, got[8]], ["198.51.100.1", GUEST, ttl - 1]);
        assertEquals(got.slice(20, 22), error.slice(20, 22));
        const own = rewritten(packet, { hops: packet[8]! - 1 });
        assertEquals(got.slice(28), own.slice(0, got.length - 28));
        // Outward: the guest quotes what came to it.
        if (!WORLD.includes(real) || packet[9] === 1) continue;
        const answer = answerTo(left, 50);
        const came = gotOf(kit.back(answer.slice(), map));
        const about = quoted(came, extra);
        const { packet: told } = sentOf(
          kit.out(icmpErrorPacket({ ...names, type: 3, packet: about }, { src: GUEST, dst: real, ttl })),
        );
        assertSound(told);
        assertEquals([`${ipv4Src(told, 0)}`, `${ipv4Dst(told, 0)}`, told[8]], [HOST, real, ttl - 1]);
        assertEquals(told.slice(28), rewritten(answer, { hops: 1 }).slice(0, told.length - 28));
      }
    }),
    fuzzSteps(400),
  );
});

Deno.test("A hairpin is out and back at once: the other guest sees the naive translation of both", () => {
  const other = "10.0.2.16";
  fc.assert(
    fc.property(sequences(shapes), (steps) => {
      const kit = openKit();
      const opened = (make: typeof udpPacket) =>
        sentOf(kit.out(make({ src: other, dst: REMOTE, srcPort: 777, dstPort: 9 }))).map;
      const targets = { udp: opened(udpPacket), tcp: opened(tcpPacket as typeof udpPacket) };
      for (const shape of steps) {
        const kind = shape.kind === "echo" ? "udp" : shape.kind;
        const target = targets[kind === "tcp" || kind === "syn" ? "tcp" : "udp"];
        const how = shape.how === "owed" ? "whole" : shape.how;
        const packet = rewritten(packetOf({ ...shape, kind, how, remote: REMOTE }), {
          dst: HOST,
          dstPort: target.hostPort,
        });
        const outcome = send(kit, { ...shape, kind, how }, packet);
        assertEquals(outcome.reason, "none");
        const source = kit.nat.table.find(kit.nat.table.guest(ip(GUEST))!, {
          ...{
            proto: target.proto,
            guestPort: shape.srcPort,
            realm: 0,
            remote: ip(HOST),
            remoteHash: 0,
            remotePort: 0,
          },
        })!;
        const mss = kind === "syn" ? { mss: 1460 } : {};
        const ends = { src: HOST, dst: other, srcPort: source.hostPort, dstPort: 777, hops: 1, ...mss };
        const expected = rewritten(packet, ends);
        if (how === "fragments") expected[6] = expected[7] = 0;
        const got = gotOf(outcome);
        assertEquals(got, summed(expected));
        assertSound(got);
      }
    }),
    fuzzSteps(200),
  );
});

Deno.test("Mapping and filtering are a list of who was sent to and when, in every mode, over time", () => {
  const LIFE = 100;
  const modes = fc.constantFrom("endpoint", "address", "address-port") as fc.Arbitrary<"endpoint">;
  const steps = fc.array(
    fc.record({
      isOut: fc.boolean(),
      guestPort: fc.constantFrom(4000, 4001),
      remote: fc.constantFrom(REMOTE, "192.0.2.10"),
      remotePort: fc.constantFrom(7, 9),
      wait: fc.constantFrom(0, 0, 30, 60, 100),
    }),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(modes, modes, fc.boolean(), steps, (mapping, filtering, inboundRefresh, all) => {
      const kit = natKit({ mapping, filtering, inboundRefresh, lifetimes: { udp: LIFE } });
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
          const ends = { src: GUEST, dst: remote, srcPort: guestPort, dstPort: remotePort };
          const { hostPort } = sentOf(kit.out(udpPacket({ ...ends, ttl: 9 }))).map;
          if (known !== undefined) assertEquals(hostPort, known.hostPort);
          const one = known ?? { lastUse: 0, sent: new Map(), hostPort };
          one.lastUse = kit.now;
          one.sent.set(filterKey, kit.now);
          model.set(key, one);
          continue;
        }
        if (known === undefined) continue;
        const map = kit.nat.table.findByHost(0, known.hostPort)!;
        const ends = { src: remote, dst: HOST, srcPort: remotePort, dstPort: known.hostPort };
        const at = known.sent.get(filterKey);
        const isIn = filtering === "endpoint" || (at !== undefined && kit.now - at < LIFE);
        assertEquals(kit.back(udpPacket({ ...ends, ttl: 9 }), map).reason, isIn ? "none" : "filtered");
        if (!isIn || !inboundRefresh) continue;
        known.lastUse = kit.now;
        known.sent.set(filterKey, kit.now);
      }
    }),
    fuzz(300),
  );
});

// --- anything at all

/** A block of these bytes with metadata and borrowed parts as somebody may have made them up. */
const blocks = (bytes: fc.Arbitrary<Uint8Array>) =>
  fc.record({
    bytes,
    own: fc.nat(120),
    isBorrowed: fc.boolean(),
    checksum: fc.constantFrom<Checksum>(0, 0, 0, 1, 2),
    start: fc.integer({ min: -5, max: 80 }),
    field: fc.integer({ min: -5, max: 100 }),
    segment: fc.constantFrom<Segment>(0, 0, 0, 1, 2, 3),
    size: fc.nat(2000),
    headerLen: fc.nat(120),
  }).map((one) => () => {
    const own = one.isBorrowed ? one.own : one.bytes.length;
    const block = Block.from(one.bytes.slice(0, own), 64);
    if (one.isBorrowed) block.extents = [one.bytes.slice(own)];
    block.checksum = one.checksum;
    block.checksumStart = block.rp + one.start;
    block.checksumField = block.rp + one.field;
    block.segment = one.segment;
    block.segmentSize = one.size;
    block.segmentHeaderLen = one.headerLen;
    return block;
  });

/** Samples with changed bytes, half of them with their header checksum made right again. */
function spoiled(samples: readonly Uint8Array[], at: number): fc.Arbitrary<Uint8Array> {
  const bytes = fc.oneof(...samples.map(damaged), fc.uint8Array({ maxLength: 120 }));
  return fc.tuple(bytes, fc.boolean()).map(([packet, isFixed]) => {
    const headerLen = packet.length > at ? ipv4HeaderLen(packet, at) : 0;
    if (isFixed && headerLen >= 20 && at + headerLen <= packet.length) setIpv4Checksum(packet, at, headerLen);
    return packet;
  });
}

const frameOf = (packet: Uint8Array) => framed(packet).bytes().slice();

Deno.test("No frame or packet of any shape, metadata or time throws, and nothing grows past its cap", () => {
  const guestCaps = { udp: 20, tcp: 20, icmp: 5 };
  const fromGuest = { src: GUEST, dst: REMOTE };
  const reply = udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 150, payload: pattern(9) });
  const outwards = spoiled([
    ...[udpPacket, tcpPacket, echoPacket].map((make) => frameOf((make as typeof udpPacket)({ ...fromGuest, ttl: 9 }))),
    ...[ROUTER, DNS, HOST, "10.0.2.255", "224.0.0.1"].map((dst) =>
      frameOf(udpPacket({ src: GUEST, dst, dstPort: 53 }))
    ),
    frameOf(udpPacket({ src: GUEST, dst: HOST, dstPort: 150, payload: pattern(40) })),
    frameOf(tcpPacket({ dst: DNS, dstPort: 53, tcpOptions: { mss: 1460 } })),
    frameOf(udpPacket({ src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67, payload: pattern(260) })),
    frameOf(icmpErrorPacket({ type: 3, code: 3, packet: reply }, fromGuest)),
    frameOf(ipPacket({ ...fromGuest, moreFragments: true, payload: pattern(64) })),
    frameOf(ipPacket({ ...fromGuest, fragOffset: 64, payload: pattern(64) })),
    frameOf(udpPacket({ ...fromGuest, options: new Uint8Array([131, 7, 4, 9, 9, 9, 9, 0]) })),
  ], 14);
  const inwards = spoiled([
    ...[reply, udpPacket({ src: "127.0.0.1", dst: HOST, dstPort: 100, payload: pattern(2000) })],
    tcpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 100, tcpOptions: { mss: 1460 } }),
    echoPacket({ src: REMOTE, dst: HOST, reply: true }),
    icmpErrorPacket({ type: 3, code: 4, packet: udpPacket({ src: HOST, dst: REMOTE, srcPort: 150 }) }, { dst: HOST }),
  ], 0);
  fc.assert(
    fc.property(sequences(fc.tuple(blocks(outwards), blocks(inwards), fc.nat(100_000))), (steps) => {
      const kit = natKit({
        ...{ guestCaps, totalCaps: { udp: 30, tcp: 30, icmp: 8 }, mapping: { tcp: "address" }, mtu: 1280 },
        policy: { loopback: true },
        zone: { printer: "10.0.0.9" },
      });
      const forwards = ["udp:100-200:100", "tcp:100:100", "udp:127.0.0.1:300:300"].map((spec) =>
        kit.nat.addForward(spec)
      );
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
        assertCaps(kit);
      }
    }),
    fuzzSteps(400),
  );
});

function assertCaps({ nat, ports }: NatKit): void {
  const { table, reassembler } = nat;
  assert(table.count(0) <= 30 && table.count(1) <= 30 && table.count(2) <= 8, "maps");
  const guests = [...table.guests];
  assert(guests.length <= GUESTS_MAX, "guests");
  for (const { counts, forwards } of guests) {
    assert(counts[0]! <= 20 && counts[1]! <= 20 && counts[2]! <= 5, "maps of a guest");
    for (const group of forwards.values()) assert(group.length <= REMOTES_MAX, "remotes of a forward");
  }
  for (const map of table.maps()) {
    assert(map.sizes.flows <= FLOWS_MAX, "connections of a map");
  }
  assert(table.remotes <= FILTER_REMOTES_MAX, "remotes");
  assert(reassembler.length <= 32 && reassembler.bytes <= 1 << 20, "fragments");
  assert(nat.dhcp.leases.length <= 253, "leases");
  assertEquals(ports.maps.size, table.count(), "ports of the host");
}
