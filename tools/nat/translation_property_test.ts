/**
 * The NAT against a naive one, for both versions of IP: every packet that leaves, comes back, is quoted or turned round
 * inside must be, byte for byte, what one gets by writing the new ends into a copy and summing all of it again.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { cutSegments } from "../../kernel/inet/segment.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { ipv4HeaderLen } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK } from "../../kernel/wire/tcp.ts";
import { fuzz, fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { u16 } from "../../tests/kit/ip/wire.ts";
import { FAMILIES, type Family } from "../../tests/kit/nat/families.ts";
import {
  answerTo,
  isHere,
  isIcmp,
  openKit,
  owed,
  packetOf,
  paid,
  realOf,
  rewritten,
  send,
  type Shape,
  shapesOf,
  summed,
  unfragmented,
} from "../../tests/kit/nat/naive.ts";
import { assertSound, gotOf, layoutOf, partOf, sentOf } from "../../tests/kit/nat/steps.ts";
import { translateInbound } from "./nat.ts";

/** As much of a packet as a router quotes; not half of a TCP checksum, which no translation could update. */
function quoted(packet: Uint8Array, extra: number): Uint8Array {
  const { at, protocol } = layoutOf(packet);
  return packet.subarray(0, at + 8 + (protocol === 6 && extra === 9 ? 10 : extra));
}

/** The options in the headers of a piece, `at` bytes. */
function optionsOf(piece: Uint8Array, at: number): readonly number[] {
  if (piece[0]! >>> 4 === 4) return [...piece.subarray(20, at)];
  return piece[6] === 0 ? [0] : [];
}

/** Options that a piece must carry: all in the first, those with the highest bit in all (RFC 791 3.1, RFC 8200 4.5). */
function keptOptions({ is6 }: Family, { options }: Shape, offset: number): readonly number[] {
  if (is6) return options[0] === 0 ? [0] : [];
  return offset === 0 || (options[0] ?? 0) >= 128 ? options : [];
}

for (const family of FAMILIES) {
  const { name, is6, host, remote, other, guest, loopback, headerLen, hopsAt } = family;
  const shapes = shapesOf(family);
  const mssOf = (mtu: number) => mtu - headerLen - 20;

  Deno.test(`${name}: out and back are the naive translation: whole, owed, borrowed, cut, with options`, () => {
    fc.assert(
      fc.property(sequences(fc.tuple(shapes, fc.boolean())), (steps) => {
        const kit = openKit(family, 1280);
        for (const [shape, isOwedBack] of steps) {
          const packet = packetOf(family, shape);
          const { real, local, hops, ...port } = realOf(packet);
          const { block, map, reason } = send(kit, shape, packet);
          assert(block !== null && map !== null, `Nothing was sent: ${reason}`);
          const left = shape.how === "fragments" ? unfragmented(paid(block)) : paid(block);
          const mss = shape.kind === "syn" ? { mss: mssOf(1280) } : {};
          const expected = rewritten(packet, { src: local, dst: real, srcPort: map.hostPort, hops, ...port, ...mss });
          if (real === host) expected[hopsAt] = 64;
          if (shape.how === "fragments" && !is6) expected[6] = expected[7] = 0;
          assertEquals(left, summed(expected));
          assertSound(left);
          // And back: the other side's answer, translated to the guest's address and port.
          const answer = answerTo(left, 77);
          const canOwe = layoutOf(answer).protocol === 6 || shape.kind === "udp";
          const outcome = kit.back(isOwedBack && canOwe ? owed(answer) : answer.slice(), map);
          if (answer.length > 1280) continue;
          assertEquals(outcome.reason, "none");
          const isNear = real === loopback || real === host;
          const names = { src: `${layoutOf(packet).dst}`, dst: guest, hops: isNear ? 0 : 1 };
          const own = isIcmp(answer) ? { srcPort: shape.srcPort } : { dstPort: shape.srcPort };
          const number = real === host ? { ...own, srcPort: 53 } : own;
          const seen = rewritten(answer, { ...names, ...number, ...mss });
          const got = gotOf(outcome);
          if (isOwedBack && canOwe && shape.kind !== "syn") {
            const { at, protocol, src, dst } = layoutOf(got);
            const sum = pseudoSum(src, dst, protocol, got.length - at);
            assertEquals(get16(got, at + (protocol === 6 ? 16 : 6)) % 0xffff, sum % 0xffff);
            summed(got);
          }
          assertEquals(got, seen);
        }
      }),
      fuzzSteps(600),
    );
  });

  Deno.test(`${name}: large answers are cut into pieces that are, put together, the naive translation`, () => {
    const sizes = fc.integer({ min: 1300, max: 65000 });
    fc.assert(
      fc.property(sequences(fc.tuple(shapes, sizes, fc.boolean())), (steps) => {
        const kit = openKit(family, 1280);
        for (const [shape, size, isOwed] of steps) {
          const asked = { ...shape, kind: "udp", how: "whole", remote } as const;
          const { packet: left, map } = sentOf(kit.out(packetOf(family, asked)));
          // What may be cut: over IPv4 it has no DF, over IPv6 it came in fragments.
          const answer = answerTo(packetOf(family, { ...asked, dontFragment: false, size }), 9);
          const ends = { src: remote, dst: host, srcPort: shape.dstPort, dstPort: map.hostPort };
          const came = rewritten(answer, ends);
          assertEquals(layoutOf(left).at, layoutOf(came).at);
          const seen = rewritten(came, { dst: guest, dstPort: shape.srcPort, hops: 1 });
          const payload = seen.subarray(is6 ? (shape.options[0] === 0 ? 48 : 40) : ipv4HeaderLen(seen, 0));
          const block = isOwed ? owed(came) : Block.from(came);
          if (is6) block.fragmentMax = 1280;
          let at = 0;
          for (const piece of kit.back(block, map).toGuest) {
            assertSound(piece);
            const { at: headers, offset } = partOf(piece);
            const options = optionsOf(piece, headers);
            const part = piece.subarray(headers);
            assertEquals([offset, piece.length <= 1280, piece[hopsAt]], [at, true, 8]);
            assertEquals(part, payload.subarray(at, at + part.length));
            const kept = keptOptions(family, shape, at);
            assertEquals(options.slice(0, kept.length), [...kept]);
            assertEquals(options.length, is6 ? kept.length : Math.ceil(kept.length / 4) * 4);
            at += part.length;
          }
          assertEquals(at, payload.length);
        }
      }),
      fuzzSteps(60),
    );
  });

  Deno.test(`${name}: 64 KiB segments, owed and uncut, are right each way once they are cut and summed`, () => {
    const pool = new BlockPool();
    const kind = is6 ? Segment.Tcp6 : Segment.Tcp4;
    const [addrsAt, data] = [is6 ? 8 : 12, headerLen + 20];
    const uncut = (packet: Uint8Array, segmentSize: number) => {
      const block = owed(packet);
      block.segment = kind;
      block.segmentSize = segmentSize;
      block.segmentHeaderLen = data;
      return block;
    };
    const check = (block: Block, expected: Uint8Array) => {
      const pieces = cutSegments(block, pool)?.map(paid) ?? [];
      for (const piece of pieces) {
        assertSound(piece);
        // Addresses and ports.
        assertEquals(piece.subarray(addrsAt, headerLen + 4), expected.subarray(addrsAt, headerLen + 4));
      }
      assertEquals(new Uint8Array(pieces.flatMap((piece) => [...piece.subarray(data)])), expected.subarray(data));
    };
    const sizes = fc.tuple(fc.integer({ min: 1000, max: 65000 }), fc.integer({ min: 400, max: 1400 }), u16);
    fc.assert(
      fc.property(sizes, ([size, segmentSize, id]) => {
        const kit = openKit(family);
        const numbered = (packet: Uint8Array) => {
          if (!is6) put16(packet, 4, id);
          return summed(packet);
        };
        const segment = { flags: TCP_ACK, payload: pattern(size) };
        const packet = numbered(family.tcp({ srcPort: 4001, dstPort: 80, ...segment }));
        const { block, map } = kit.out(uncut(packet, segmentSize));
        assert(block !== null && map !== null);
        assertEquals([block.segment, block.segmentSize, block.checksum], [kind, segmentSize, Checksum.Owed]);
        check(block, rewritten(packet, { src: host, srcPort: map.hostPort, hops: 1 }));
        const ends = { src: remote, dst: host, srcPort: 80, dstPort: map.hostPort };
        const answer = numbered(family.tcp({ ...ends, flags: TCP_ACK, payload: pattern(size, 3) }));
        translateInbound(kit.nat, uncut(answer, segmentSize), map, 0);
        const frame = kit.nat.takeFrames()[0]!;
        frame.pull(14);
        check(frame, rewritten(answer, { dst: guest, dstPort: 4001, hops: 1 }));
      }),
      fuzz(40),
    );
  });

  Deno.test(`${name}: what an error quotes is to guest and remote the start of their own packet`, () => {
    const errors = fc.constantFrom(
      ...(is6
        ? [[1, 0], [1, 1], [1, 3], [1, 4], [2, 0], [3, 0], [4, 0]]
        : [[3, 0], [3, 1], [3, 3], [3, 4], [3, 13], [11, 0], [12, 0]]),
    );
    const steps = fc.tuple(shapes, errors, fc.nat(600), fc.integer({ min: 2, max: 200 }));
    const about = headerLen + 8;
    fc.assert(
      fc.property(sequences(steps), (all) => {
        const kit = openKit(family);
        for (const [shape, code, extra, hops] of all) {
          const packet = packetOf(family, { ...shape, how: "whole", tcp: [] });
          const { packet: left, map } = sentOf(kit.out(packet.slice()));
          const { real, local } = realOf(packet);
          // Inward: a router on the way quotes what it got, some hops later.
          const quote = quoted(rewritten(left, { hops: left[hopsAt]! - 1 }), extra);
          const error = family.error(code, quote, { src: other, dst: local, rest: 1300, hops });
          const got = gotOf(kit.error(error.slice(), map));
          assertSound(got);
          const ends = layoutOf(got);
          assertEquals([`${ends.src}`, `${ends.dst}`, got[hopsAt]], [`${ip(other)}`, `${ip(guest)}`, hops - 1]);
          assertEquals(got.slice(headerLen, headerLen + 2), error.slice(headerLen, headerLen + 2));
          const own = rewritten(packet, { hops: packet[hopsAt]! - 1 });
          assertEquals(got.slice(about), own.slice(0, got.length - about));
          // Outward: the guest quotes what came to it.
          if (real === loopback || real === host || isHere(family, real) || isIcmp(packet)) continue;
          const answer = answerTo(left, 50);
          const came = gotOf(kit.back(answer.slice(), map));
          const unreachable = [is6 ? 1 : 3, code[1]!];
          const { packet: told } = sentOf(
            kit.out(family.error(unreachable, quoted(came, extra), { src: guest, dst: real, rest: 1300, hops })),
          );
          assertSound(told);
          const toldEnds = layoutOf(told);
          assertEquals([`${toldEnds.src}`, `${toldEnds.dst}`, told[hopsAt]], [`${ip(host)}`, real, hops - 1]);
          assertEquals(told.slice(about), rewritten(answer, { hops: 1 }).slice(0, told.length - about));
        }
      }),
      fuzzSteps(400),
    );
  });

  Deno.test(`${name}: a hairpin is out and back at once: the other guest sees the naive translation of both`, () => {
    const second = is6 ? "fd00:0:0:2::16" : "10.0.2.16";
    fc.assert(
      fc.property(sequences(shapes), (steps) => {
        const kit = openKit(family);
        sentOf(kit.out(family.udp()));
        const opened = (make: Family["udp"]) =>
          sentOf(kit.out(make({ src: second, dst: remote, srcPort: 777, dstPort: 9 }))).map;
        const targets = { udp: opened(family.udp), tcp: opened(family.tcp) };
        for (const shape of steps) {
          const kind = shape.kind === "echo" ? "udp" : shape.kind;
          const target = targets[kind === "tcp" || kind === "syn" ? "tcp" : "udp"];
          const how = shape.how === "owed" ? "whole" : shape.how;
          const made = packetOf(family, { ...shape, kind, how, remote });
          const packet = rewritten(made, { dst: host, dstPort: target.hostPort });
          const outcome = send(kit, { ...shape, kind, how }, packet);
          assertEquals(outcome.reason, "none");
          const { proto } = target;
          const source = kit.nat.table.find(kit.nat.table.guest(ip(guest))!, {
            ...{ proto, guestPort: shape.srcPort, realm: 0, remote: ip(host), remoteHash: 0, remotePort: 0 },
          })!;
          const mss = kind === "syn" ? { mss: mssOf(1500) } : {};
          const ends = { src: host, dst: second, srcPort: source.hostPort, dstPort: 777, hops: 1, ...mss };
          const expected = rewritten(packet, ends);
          if (how === "fragments" && !is6) expected[6] = expected[7] = 0;
          const got = gotOf(outcome);
          assertEquals(how === "fragments" ? unfragmented(got) : got, summed(expected));
          assertSound(got);
        }
      }),
      fuzzSteps(200),
    );
  });
}
