/**
 * Packets that guests and networks should not send, as properties of the NAT draw them, and the limits that must hold.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, type Checksum, type Segment } from "../../../kernel/block.ts";
import { ipv4HeaderLen, setIpv4Checksum } from "../../../kernel/wire/ipv4.ts";
import { REMOTES_MAX } from "../../../tools/nat/forward_group.ts";
import { STATION_GUESTS_MAX } from "../../../tools/nat/guest_table.ts";
import { FLOWS_MAX } from "../../../tools/nat/map.ts";
import { BYTES_MAX, DATAGRAMS_MAX } from "../../../tools/nat/reassembler.ts";
import { FILTER_REMOTES_MAX, GUESTS_MAX } from "../../../tools/nat/table.ts";
import { damaged } from "../ip/wire.ts";
import type { NatKit } from "./steps.ts";

/** A block of these bytes with metadata and borrowed parts as somebody may have made them up. */
export const blocks = (bytes: fc.Arbitrary<Uint8Array>) =>
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

/** Samples with changed bytes, half of those of IPv4 with their header checksum made right again. */
export function spoiled(samples: readonly Uint8Array[], at: number): fc.Arbitrary<Uint8Array> {
  const bytes = fc.oneof(...samples.map(damaged), fc.uint8Array({ maxLength: 120 }));
  return fc.tuple(bytes, fc.boolean()).map(([packet, isFixed]) => {
    const isV4 = packet.length > at && packet[at]! >>> 4 === 4;
    const headerLen = isV4 ? ipv4HeaderLen(packet, at) : 0;
    if (isFixed && headerLen >= 20 && at + headerLen <= packet.length) setIpv4Checksum(packet, at, headerLen);
    return packet;
  });
}

/** Most maps, by protocol. */
export interface Caps {
  readonly udp: number;
  readonly tcp: number;
  readonly icmp: number;
}

/** No table of the NAT is above its limit; every host port belongs to a map. */
export function assertCaps({ nat, ports }: NatKit, guestCaps: Caps, totalCaps: Caps): void {
  const { table, reassembler } = nat;
  const [own, all] = [guestCaps, totalCaps].map(({ udp, tcp, icmp }) => [udp, tcp, icmp]);
  assert(all!.every((most, proto) => table.count(proto as 0) <= most), "maps");
  const guests = [...table.guests];
  assert(guests.length <= GUESTS_MAX, "guests");
  for (const { counts, forwards } of guests) {
    assert(own!.every((most, proto) => counts[proto]! <= most), "maps of a guest");
    for (const group of forwards.values()) assert(group.length <= REMOTES_MAX, "remotes of a forward");
  }
  const stations = new Map<number, number>();
  for (const { addr, mac } of guests) {
    if (!addr.isV4 && mac !== null) stations.set(mac.key, (stations.get(mac.key) ?? 0) + 1);
  }
  for (const [key, count] of stations) assert(count <= STATION_GUESTS_MAX, `station ${key} has ${count} addresses`);
  for (const map of table.maps()) assert(map.sizes.flows <= FLOWS_MAX, "connections of a map");
  assert(table.remotes <= FILTER_REMOTES_MAX, "remotes");
  assert(reassembler.length <= DATAGRAMS_MAX && reassembler.bytes <= BYTES_MAX, "fragments");
  assert(nat.dhcp.leases.length <= 253, "leases");
  assertEquals(ports.maps.size, table.count(), "ports of the host");
}
