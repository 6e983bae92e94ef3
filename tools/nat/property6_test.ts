/**
 * The NAT for IPv6 under packets of every kind: what goes out and comes back is for the guest as it was, with every
 * checksum right against a full sum; and nothing that comes in throws, or makes a table larger than its limit.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import { ETHERTYPE_IPV6 } from "../../kernel/wire/ethernet.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { fuzz, fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { error6Packet } from "../../tests/kit/ip/story6.ts";
import { BYTES_MAX, DATAGRAMS_MAX } from "./reassembler.ts";
import type { NatMap } from "./map.ts";
import { GUESTS_MAX } from "./table.ts";
import { translateError, translateInbound, translateOutbound } from "./nat.ts";
import { cutPacket6 } from "./fragments.ts";
import {
  assertSound,
  DNS6,
  echo6,
  endsOf,
  framed,
  gotOf,
  type NatKit,
  natKit6,
  nd6,
  REMOTE6,
  ROUTER6,
  sentOf,
  swapped,
  tcp6,
  udp6,
} from "../../tests/kit/nat/steps.ts";
import { STATION_GUESTS_MAX } from "./guest_table.ts";

const hex = fc.integer({ min: 0x100, max: 0xffff }).map((n) => n.toString(16));
const guestAddr = fc.tuple(hex, hex).map(([a, b]) => `fd00:0:0:2:${a}::${b}`);
const remoteAddr = fc.tuple(hex, hex, hex).map(([a, b, c]) => `2001:db8:${a}:${b}::${c}`);
const port = fc.integer({ min: 1, max: 65535 });

const packets = fc.record({
  kind: fc.constantFrom("udp", "tcp", "echo"),
  ...{ src: guestAddr, dst: remoteAddr, srcPort: port, dstPort: port, size: fc.integer({ min: 0, max: 1400 }) },
  ...{ trafficClass: fc.integer({ min: 0, max: 255 }), flowLabel: fc.integer({ min: 0, max: 0xfffff }) },
  ...{ hopLimit: fc.integer({ min: 2, max: 255 }), id: fc.integer({ min: 0, max: 65535 }) },
});

type Made = typeof packets extends fc.Arbitrary<infer T> ? T : never;

function packetOf({ kind, size, ...rest }: Made): Uint8Array {
  const payload = pattern(size);
  if (kind === "udp") return udp6({ ...rest, payload });
  return kind === "tcp" ? tcp6({ ...rest, flags: 16, data: payload }) : echo6({ ...rest, data: payload });
}

Deno.test("Out and back again is for the guest the answer to what it sent, checksums right all the way", () => {
  fc.assert(
    fc.property(packets, (made) => {
      const kit = natKit6();
      const packet = packetOf(made);
      const { packet: sent, map } = sentOf(kit.out(packet));
      assertSound(sent);
      assertEquals(sent.subarray(0, 7), packet.subarray(0, 7));
      assertEquals(sent[7], made.hopLimit - 1);
      const answer = swapped(sent);
      assertSound(answer);
      answer[7] = 255;
      const got = gotOf(kit.back(answer, map));
      assertSound(got);
      const wanted = swapped(packet);
      wanted[7] = 254;
      assertEquals(got, wanted);
      const error = error6Packet({ type: 3, code: 0, packet: sent }, { src: "2001:db8:f::1", dst: "2001:db8::2" });
      const told = gotOf(kit.error(error, map));
      assertSound(told);
      assertEquals(endsOf(told.slice(48)), endsOf(packet));
    }),
    fuzz(300),
  );
});

/** A guest's packet, or what is left of one: bytes changed, cut off, or of nothing. */
const hostile = fc.record({
  made: packets,
  what: fc.constantFrom("packet", "fragments", "nd", "error", "dns", "bytes"),
  bytes: fc.uint8Array({ maxLength: 200 }),
  changes: fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 4 }),
  keep: fc.oneof(fc.constant(1 << 16), fc.nat(120)),
  mac: fc.nat(3),
  owed: fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(200), fc.nat(3)),
  }),
  isInbound: fc.nat(3),
});

type Hostile = typeof hostile extends fc.Arbitrary<infer T> ? T : never;

function hostilePackets({ what, made, bytes }: Hostile): Uint8Array[] {
  const whole = packetOf(made);
  switch (what) {
    case "fragments":
      return cutPacket6(Block.from(udp6({ ...made, payload: pattern(3000) })), 1280, made.id)!
        .map((piece) => piece.bytes().slice()).slice(made.id % 3);
    case "nd":
      return [nd6({ type: 133, sourceMac: null }, { src: made.src, dst: "ff02::2" })];
    case "error":
      return [error6Packet({ type: 1 + made.id % 4, code: 0, packet: whole }, { src: made.src, dst: ROUTER6 })];
    case "dns":
      return [udp6({ src: made.src, dst: DNS6, dstPort: 53, payload: bytes })];
    case "bytes": {
      const packet = new Uint8Array(40 + bytes.length);
      packet.set(whole.subarray(0, 40));
      packet.set(bytes, 40);
      put16(packet, 4, bytes.length);
      packet[6] = [0, 6, 17, 43, 44, 51, 58, 60][made.id % 8]!;
      return [packet];
    }
    default:
      return [whole];
  }
}

/** What one step sends: a guest's frames, or packets and errors for one of the maps. */
function take(kit: NatKit, maps: readonly NatMap[], one: Hostile): void {
  const { nat } = kit;
  kit.now += one.made.id;
  nat.expire(kit.now);
  for (const packet of hostilePackets(one)) {
    for (const [at, value] of one.changes) if (at < packet.length) packet[at] = value;
    const block = Block.from(packet.subarray(0, one.keep));
    if (one.owed !== null) {
      block.checksum = Checksum.Owed;
      block.checksumStart = block.rp + one.owed[0];
      block.checksumField = block.checksumStart + [2, 6, 16, 300][one.owed[1]]!;
      block.segment = one.owed[1] === 2 ? Segment.Tcp6 : Segment.None;
      block.segmentSize = one.owed[0];
      block.segmentHeaderLen = 60;
    }
    const map = maps[one.made.id % 3]!;
    if (one.isInbound === 1) translateInbound(nat, block, map, kit.now);
    else if (one.isInbound === 2) translateError(nat, block, map, kit.now);
    else {
      const src = new MacAddr(0x5254, one.mac);
      translateOutbound(nat, framed(block, { src, type: ETHERTYPE_IPV6 }), kit.now);
    }
    nat.takeFrames();
  }
}

function assertWithinCaps({ nat }: NatKit): void {
  const guests = [...nat.table.guests];
  assert(guests.length <= GUESTS_MAX, "guests");
  for (let i = 0; i < 4; i++) {
    const own = guests.filter(({ addr, mac }) => !addr.isV4 && mac?.lo === i);
    assert(own.length <= STATION_GUESTS_MAX, `station ${i} has ${own.length} addresses`);
  }
  assert([0, 1, 2].every((proto) => nat.table.count(proto as 0) <= [20, 20, 9][proto]!), "maps");
  assert(nat.reassembler.length <= DATAGRAMS_MAX && nat.reassembler.bytes <= BYTES_MAX, "fragments");
}

Deno.test("Whatever guests and the network send, nothing throws, and no table grows past its limit", () => {
  fc.assert(
    fc.property(sequences(hostile), (steps) => {
      const kit = natKit6({ guestCaps: { udp: 9, tcp: 9, icmp: 4 }, totalCaps: { udp: 20, tcp: 20, icmp: 9 } });
      const maps = [udp6(), tcp6(), echo6()].map((packet) => sentOf(kit.out(packet)).map);
      for (const one of steps) {
        take(kit, maps, one);
        assertWithinCaps(kit);
      }
    }),
    fuzzSteps(1500),
  );
});

Deno.test("No station passes its share of addresses, whichever station had them before", () => {
  // Few addresses and much time between: they are idle soon, and change hands.
  const hands = fc.record({
    mac: fc.constantFrom(0, 0, 0, 1),
    addr: fc.nat(23),
    what: fc.constantFrom("udp", "error", "solicit", "advert"),
    wait: fc.constantFrom(0, 0, 0, 100_000, 400_000),
  });
  fc.assert(
    fc.property(sequences(hands), (steps) => {
      const kit = natKit6({ guestCaps: { udp: 9, tcp: 9, icmp: 4 }, totalCaps: { udp: 20, tcp: 20, icmp: 9 } });
      for (const { mac, addr, what, wait } of steps) {
        kit.now += wait;
        kit.nat.expire(kit.now);
        const src = `fd00:0:0:2::${(addr + 0x100).toString(16)}`;
        const station = { src: new MacAddr(0x5254, mac) };
        const group = "ff02::1:ff00:2";
        if (what === "udp") kit.out(udp6({ src }), station);
        else if (what === "error") {
          kit.out(
            error6Packet({ type: 1, code: 0, packet: udp6({ src: REMOTE6, dst: src }) }, { src, dst: REMOTE6 }),
            station,
          );
        } else if (what === "solicit") {
          kit.out(nd6({ type: 135, target: ip(ROUTER6), sourceMac: null }, { src, dst: group }), station);
        } else {
          const message = { type: 136, target: ip(src), isRouter: false, solicited: false, override: true } as const;
          kit.out(nd6({ ...message, targetMac: null }, { src, dst: "ff02::1" }), station);
        }
        assertWithinCaps(kit);
      }
    }),
    fuzzSteps(3000),
  );
});
