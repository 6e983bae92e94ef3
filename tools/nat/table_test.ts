/** The table of maps against a plain list: lookups, expiry in order, room for new ones, and fairness between guests. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { natConfig, type NatOptions } from "./config.ts";
import { Reason } from "./counters.ts";
import { STATION_GUESTS_MAX } from "./guest_table.ts";
import { MAP_CLASS_NAMES, MapClass, MapProto, NatMap, Realm } from "./map.ts";
import { AddrHash } from "./addr_hash.ts";
import { FILTER_REMOTES_MAX, GUESTS_MAX, NatTable, type PacketEnds } from "./table.ts";

const tableOf = (options: Partial<NatOptions> = {}) => new NatTable(natConfig({ hostAddr: "10.0.0.1", ...options }));
const hash = new AddrHash(null);
const addr = (n: number) => IpAddr.v4(0x0a000200 + n);
/** The remote with the number `n`, of IPv6 or not. */
const remoteAt = (n: number, is6 = false) => is6 ? new IpAddr(0x20010db8, 0, 0, n) : IpAddr.v4(n);

function ends(guestPort: number, fields: Partial<PacketEnds> = {}): PacketEnds {
  const remote = fields.remote ?? remoteAt(1);
  const { proto = MapProto.Udp, realm = Realm.World, remotePort = 1 } = fields;
  return { proto, guestPort, realm, remote, remoteHash: hash.of(remote), remotePort };
}

function put(table: NatTable, guest: number, one: PacketEnds, now = 0): NatMap {
  const map = new NatMap(table.addGuest(addr(guest), null)!, table.mapEnds(one));
  map.hostPort = one.guestPort;
  table.add(map, now);
  return map;
}

Deno.test("The table finds what a list of maps would, whatever it is keyed by", () => {
  const one = fc.record({
    guest: fc.nat(2),
    guestPort: fc.nat(3),
    proto: fc.constantFrom<MapProto>(0, 1, 2),
    realm: fc.constantFrom<Realm>(0, 1, 2),
    remoteWord: fc.constantFrom(0, 1, -1, 0x0a000001),
    is6: fc.boolean(),
    remotePort: fc.nat(2),
    remove: fc.boolean(),
  });
  const modes = fc.constantFrom("endpoint", "address", "address-port") as fc.Arbitrary<"endpoint">;
  fc.assert(
    fc.property(modes, fc.array(one, { maxLength: 60 }), (mapping, steps) => {
      const table = tableOf({ mapping });
      const list = new Map<string, NatMap>();
      for (const { guest, remove, remoteWord, is6, ...fields } of steps) {
        const step = ends(fields.guestPort, { ...fields, remote: remoteAt(remoteWord, is6) });
        const { remote, remotePort } = table.mapEnds(step);
        const key = [guest, step.proto, step.guestPort, step.realm, remote, remotePort].join();
        const found = table.find(table.addGuest(addr(guest), null)!, step);
        assertEquals(found, list.get(key) ?? null);
        if (found === null) list.set(key, put(table, guest, step));
        else if (remove) {
          table.remove(found);
          list.delete(key);
        }
        assertEquals(table.count(), list.size);
      }
    }),
    fuzz(200),
  );
});

Deno.test("Maps of one hash are found, and taken out, each by itself", () => {
  // The hash of two remotes differs in the low 16 bits only: other ports make it the same.
  const byHigh = new Map<number, number[]>();
  for (let word = 1; word <= 20_000; word++) {
    const high = Math.imul(word, 0x85ebca6b) >>> 16;
    byHigh.set(high, [...byHigh.get(high) ?? [], word]);
  }
  const words = [...byHigh.values()].find((same) => same.length >= 3)!;
  const portOf = (word: number) => (4000 ^ Math.imul(words[0]!, 0x85ebca6b) ^ Math.imul(word, 0x85ebca6b)) & 0xffff;
  for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]]) {
    const table = tableOf({ mapping: "address" });
    const all = words.slice(0, 3).map((word) => ends(portOf(word), { remote: remoteAt(word) }));
    const maps = all.map((one) => put(table, 1, one));
    const found = () => all.map((one) => table.find(table.guest(addr(1))!, one));
    assertEquals(found(), maps);
    const left: (NatMap | null)[] = [...maps];
    for (const i of order) {
      table.remove(maps[i]!);
      left[i] = null;
      assertEquals(found(), left);
    }
  }
});

Deno.test("Maps expire in the order of their last use, each class after its own time", () => {
  const table = tableOf();
  const [a, b, c] = [1, 2, 3].map((port) => put(table, 15, ends(port), port));
  const ping = put(table, 15, ends(4, { proto: MapProto.Icmp }), 4);
  for (const map of [a!, b!, c!]) table.touch(map, MapClass.Udp, map.lastUse);
  table.touch(a!, MapClass.Udp, 10);
  assertEquals(table.nextExpiry(), 60_004);
  assertEquals([table.expired(60_003), table.expired(60_004)], [null, ping]);
  assertEquals([table.expired(300_010), table.expired(300_010), table.expired(300_010), table.expired(1e9)], [
    b,
    c,
    a,
    null,
  ]);
  assertEquals([table.nextExpiry(), table.count(), table.findByHost(MapProto.Udp, 1)], [Infinity, 0, null]);
});

Deno.test("The deadline is never too late, whatever becomes of the maps", () => {
  const table = tableOf();
  const map = put(table, 15, ends(1, { proto: MapProto.Tcp }), 0);
  table.touch(map, MapClass.TcpEstablished, 0);
  assertEquals(table.nextExpiry(), 7_440_000);
  table.touch(map, MapClass.TcpClosing, 1000);
  assertEquals([table.deadline, table.nextExpiry()], [241_000, 241_000]);
});

Deno.test("Room is made by the guest that has most", () => {
  const table = tableOf({ guestCaps: { udp: 3, tcp: 1 }, totalCaps: { udp: 4 } });
  const greedy = [1, 2, 3].map((port) => put(table, 15, ends(port), port));
  const guest = greedy[0]!.guest;
  assertEquals(table.victim(guest, MapProto.Udp, 9), greedy[0]);
  put(table, 16, ends(1), 9);
  assertEquals(table.victim(table.guest(addr(16))!, MapProto.Udp, 9), greedy[0]);
  const tcp = put(table, 15, ends(9, { proto: MapProto.Tcp }));
  assertEquals(table.victim(guest, MapProto.Tcp, 9), tcp);
});

Deno.test("What is given up first: the order of classes, and how long a map must be idle", () => {
  const table = tableOf({ guestCaps: { udp: 4, tcp: 4, icmp: 2 } });
  const now = 1_000_000;
  const fill = (proto: MapProto, classes: [MapClass, idleMs: number][]) =>
    classes.map(([cls, idleMs], i) => {
      const map = put(table, 15, ends(i + 1, { proto }), now - idleMs);
      table.touch(map, cls, now - idleMs);
      return map;
    });
  const { TcpClosing, TcpOpening, TcpHalfClosed, TcpEstablished, Dns, Udp, UdpUnanswered, Icmp } = MapClass;
  const all = [
    ...fill(MapProto.Tcp, [[TcpEstablished, 90_000], [TcpHalfClosed, 70_000], [TcpOpening, 1], [TcpClosing, 1]]),
    ...fill(MapProto.Udp, [[Udp, 90_000], [Dns, 6000], [UdpUnanswered, 1], [Dns, 4000]]),
    ...fill(MapProto.Icmp, [[Icmp, 10], [Icmp, 5]]),
  ];
  const { guest } = all[0]!;
  const order = [MapProto.Tcp, MapProto.Udp, MapProto.Icmp].map((proto) => {
    const names: string[] = [];
    for (;;) {
      const left = guest.counts[proto]!;
      const cap = tableOf({ guestCaps: { udp: 0, tcp: 0, icmp: 0 } });
      const victim = cap.victim(guest, proto, now);
      if (typeof victim === "number" || victim === null) break;
      names.push(`${MAP_CLASS_NAMES[victim.class]} ${now - victim.lastUse}`);
      table.remove(victim);
      assertEquals(guest.counts[proto], left - 1);
    }
    return names;
  });
  assertEquals(order, [
    ["closing 1", "opening 1", "half-closed 70000", "established 90000"],
    ["dns 6000", "unanswered 1", "dns 4000", "udp 90000"],
    ["icmp 10", "icmp 5"],
  ]);
});

Deno.test("What waits for its answer keeps its map while an idle one can go, unless many wait: a scan", () => {
  const now = 1_000_000;
  const { Udp, UdpUnanswered, Dns, TcpOpening, TcpEstablished } = MapClass;
  const kinds = [
    { proto: MapProto.Udp, waiting: UdpUnanswered, idle: Udp },
    { proto: MapProto.Udp, waiting: Dns, idle: Udp },
    { proto: MapProto.Tcp, waiting: TcpOpening, idle: TcpEstablished },
  ];
  for (const { proto, waiting, idle } of kinds) {
    for (
      const { count, age, goes } of [
        { count: 2, age: 1, goes: idle },
        { count: 2, age: 5000, goes: waiting },
        { count: 3, age: 1, goes: waiting },
        { count: 16, age: 1, goes: waiting },
      ]
    ) {
      const table = tableOf({ guestCaps: { udp: 16, tcp: 16 } });
      for (let port = 1; port <= 16; port++) {
        const isWaiting = port <= count;
        const at = now - (isWaiting ? age : 61_000);
        table.touch(put(table, 15, ends(port, { proto }), at), isWaiting ? waiting : idle, at);
      }
      const victim = table.victim(table.guest(addr(15))!, proto, now) as NatMap;
      const name = `${MAP_CLASS_NAMES[waiting]}, ${count} of 16, ${age} ms old`;
      assertEquals({ name, goes: MAP_CLASS_NAMES[victim.class] }, { name, goes: MAP_CLASS_NAMES[goes] });
    }
  }
});

Deno.test("A connection that stands is not given up within a minute of its last packet: the new one is refused", () => {
  const table = tableOf({ guestCaps: { tcp: 2 } });
  const maps = [1, 2].map((port) => put(table, 15, ends(port, { proto: MapProto.Tcp })));
  table.touch(maps[0]!, MapClass.TcpEstablished, 1000);
  table.touch(maps[1]!, MapClass.TcpHalfClosed, 2000);
  const { guest } = maps[0]!;
  const victims = [1000, 60_999, 61_000, 61_999, 62_000].map((now) => table.victim(guest, MapProto.Tcp, now));
  assertEquals(victims, [Reason.GuestCap, Reason.GuestCap, maps[0]!, maps[0]!, maps[1]!]);
});

Deno.test("Remotes of all filters are limited together: the guest that has most forgets one that is not used", () => {
  const table = tableOf();
  const [swarm, quiet] = [15, 16].map((guest) => put(table, guest, ends(1)));
  const at = (n: number) => {
    const remote = remoteAt(n, n % 2 === 0);
    return { remote, remoteHash: hash.of(remote) };
  };
  const letIn = (map: NatMap, n: number, now: number) => table.letIn(map, at(n), 0, now);
  const knows = (map: NatMap, n: number) => map.remoteOf(at(n), 0) !== null;
  assertEquals(letIn(quiet!, 1, 0), false);
  for (let n = 1; n < FILTER_REMOTES_MAX; n++) assertEquals(letIn(swarm!, n, n), false);
  letIn(swarm!, 1, FILTER_REMOTES_MAX);
  assertEquals([table.remotes, letIn(swarm!, 0, FILTER_REMOTES_MAX)], [FILTER_REMOTES_MAX, true]);
  const known = [1, 2, 3].map((n) => knows(swarm!, n));
  assertEquals([table.remotes, known, knows(quiet!, 1)], [FILTER_REMOTES_MAX, [true, false, true], true]);
  table.remove(swarm!);
  assertEquals([table.remotes, swarm!.guest.remotes.count], [1, 0]);
});

Deno.test("A station has a share of the places: at it, one of its own idle addresses goes, not another's", () => {
  for (const isV4 of [true, false]) {
    const at = (n: number) => isV4 ? addr(n) : new IpAddr(0x20010db8, 0, 0, n);
    const add = (table: NatTable, n: number, mac: MacAddr) => table.addGuest(at(n), mac);
    const table = tableOf();
    const [greedy, other] = [new MacAddr(2, 1), new MacAddr(2, 2)];
    const otherGuest = add(table, 1000, other)!;
    for (let n = 1; n <= 5 * STATION_GUESTS_MAX; n++) assert(add(table, n, greedy) !== null);
    const count = (mac: MacAddr) => [...table.guests].filter((guest) => guest.mac?.equals(mac)).length;
    assertEquals([isV4, count(greedy), count(other)], [isV4, STATION_GUESTS_MAX, 1]);
    assertEquals(table.guest(at(1000)), otherGuest);
    // None is idle: no more of them, neither new nor taken over from another station.
    for (const guest of table.guests) guest.counts[0] = 1;
    otherGuest.counts[0] = 0;
    assertEquals([add(table, 2000, greedy), add(table, 1000, greedy), count(other)], [null, null, 1]);
    // The share moves with an address that changes hands.
    const taken = [...table.guests].find((guest) => guest.mac?.equals(greedy))!;
    assertEquals(table.addGuest(taken.addr, other), taken);
    assert(add(table, 2000, greedy) !== null);
  }
});

/** Every address has one number. */
class OneNumber extends AddrHash {
  override of(): number {
    return 7;
  }
}

Deno.test("Addresses with one number are guests of their own, with maps and hardware addresses of their own", () => {
  const table = new NatTable(natConfig({ hostAddr: "10.0.0.1", mapping: "address" }), new OneNumber(null));
  const addrs = [ip("2001:db8::1"), ip("2001:db8:1::1"), ip("10.0.2.15")];
  const guests = addrs.map((one, i) => table.addGuest(one, new MacAddr(0x5254, i))!);
  assertEquals(addrs.map((one) => table.guest(one)), guests);
  assertEquals(guests.map(({ mac }) => mac!.lo), [0, 1, 2]);
  const maps = guests.flatMap((guest) =>
    addrs.map((remote) => {
      const map = new NatMap(guest, table.mapEnds({ ...ends(4000, { remote }), remoteHash: 7 }));
      map.hostPort = 4000;
      table.add(map, 0);
      return map;
    })
  );
  const found = guests.flatMap((guest) =>
    addrs.map((remote) => table.find(guest, { ...ends(4000, { remote }), remoteHash: 7 }))
  );
  assertEquals(found.map((map) => maps.indexOf(map!)), maps.map((_, i) => i));
});

Deno.test("Guests are limited; an idle one makes room; a new hardware address replaces the old", () => {
  const table = tableOf();
  for (let n = 1; n <= GUESTS_MAX; n++) put(table, n, ends(n));
  assertEquals(table.addGuest(addr(1000), null), null);
  const map = table.find(table.guest(addr(1))!, ends(1))!;
  table.remove(map);
  table.remove(map);
  const mac = new MacAddr(2, 3);
  assert(table.addGuest(addr(1000), mac) !== null);
  assertEquals([table.guest(addr(1)), table.addGuest(addr(1000), null)!.mac], [null, mac]);
  assertEquals(table.addGuest(addr(1000), new MacAddr(2, 4))!.mac!.lo, 4);
});
