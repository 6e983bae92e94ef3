import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { ipv4ChecksumOk, setIpv4Checksum } from "../../../kernel/wire/ipv4.ts";
import { MAC_BROADCAST } from "../../../kernel/wire/mac_addr.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { Arrival } from "../packet/arrival.ts";
import { ipInput } from "./ip_input.ts";
import { ipPacket, mac, type PacketFields, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { fragmentPlace4 } from "../../../kernel/inet/fragment_format.ts";
import { packet4 } from "../packet/packet4.ts";
import type { IpStats } from "../env/stats.ts";

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  made.knowPeer();
  return made;
}

/** What is wrong with `packet`: the names of the counters that it raised, but those that count all packets. */
function raised(at: TestHost, packet: Uint8Array, options: Parameters<TestHost["receiveIp"]>[1] = {}): string {
  const before: IpStats = Object.assign(Object.create(Object.getPrototypeOf(at.stack.stats)), at.stack.stats);
  at.receiveIp(packet, options);
  const names = Object.keys(at.stack.stats) as (keyof IpStats)[];
  const changed = names.filter((name) => at.stack.stats[name] !== before[name] && name !== "inReceives");
  return changed.join(" ");
}

/** A packet with byte `at` set to `value`, and its header checksum right. */
function altered(fields: PacketFields, at: number, value: number): Uint8Array {
  const packet = ipPacket(fields);
  packet[at] = value;
  const headerLen = (packet[0]! & 15) * 4;
  if (headerLen <= packet.length) setIpv4Checksum(packet, 0, headerLen);
  return packet;
}

Deno.test("ipInput() gives a protocol what is for us", () => {
  const at = host();
  assertEquals(raised(at, ipPacket({ payload: 100, ttl: 1, tos: 7, id: 9 })), "inDelivers");
  const { bytes, cast, ifc } = at.received[0]!;
  assertEquals(bytes, ipPacket({ payload: 100, ttl: 1, tos: 7, id: 9 }));
  assertEquals([cast, ifc], ["unicast", 0]);
});

Deno.test("ipInput() trims link padding to the total length (defect 4)", () => {
  const at = host();
  at.receiveIp(ipPacket({ payload: 6 }), { pad: true });
  assertEquals(at.received[0]!.bytes.length, 26);
});

Deno.test("ipInput() refuses a total length below the header or beyond the packet (defect 4)", () => {
  const at = host();
  const withTotal = (total: number) => {
    const packet = ipPacket({ payload: 100 });
    put16(packet, 2, total);
    setIpv4Checksum(packet, 0, 20);
    return packet;
  };
  assertEquals(raised(at, withTotal(19)), "inBadTotalLen");
  assertEquals(raised(at, withTotal(0)), "inBadTotalLen");
  assertEquals(raised(at, withTotal(121)), "inBadTotalLen");
  assertEquals(raised(at, withTotal(20)), "inDelivers");
});

Deno.test("ipInput() keeps options and hands up a right header checksum (defect 4)", () => {
  const at = host();
  const options = Uint8Array.of(0x94, 4, 0, 0);
  at.receiveIp(ipPacket({ options, payload: pattern(9) }));
  const { bytes, header } = at.received[0]!;
  assertEquals([...header.options], [...options]);
  assert(ipv4ChecksumOk(bytes, 0));
});

Deno.test("ipInput() refuses malformed headers, each with its counter (defect 12)", () => {
  const at = host();
  assertEquals(raised(at, new Uint8Array(0)), "inShort");
  assertEquals(raised(at, ipPacket().subarray(0, 19)), "inShort");
  assertEquals(raised(at, altered({}, 0, 0x55)), "inBadVersion");
  assertEquals(raised(at, altered({}, 0, 0x75)), "inBadVersion");
  assertEquals(raised(at, altered({}, 0, 0x65)), "inBadVersion", "no address of IPv6");
  assertEquals(raised(at, altered({}, 0, 0x44)), "inBadHeaderLen");
  assertEquals(raised(at, altered({ payload: 0 }, 0, 0x46)), "inBadHeaderLen");
  const damaged = ipPacket();
  damaged[8]! ^= 1;
  assertEquals(raised(at, damaged), "inBadChecksum");
});

Deno.test("ipInput() checks the header checksum though the device has verified the transport's", () => {
  const at = host();
  const { ifc } = { ifc: at.stack.ifcs[0]! };
  const block = Block.from(ipPacket());
  block.buf[block.rp + 8]! ^= 1;
  block.checksum = Checksum.Verified;
  ipInput(at.stack, block, ifc);
  assertEquals([at.stack.stats.inBadChecksum, at.received.length], [1, 0]);
});

Deno.test("ipInput() drops packets from addresses that no host has (RFC 1122 3.2.1.3)", () => {
  const at = host();
  const martians = [
    ..."224.0.0.1 240.0.0.1 255.255.255.255 127.0.0.1 0.0.0.5 10.0.0.255 10.0.0.0".split(" ").map((src) => ({ src })),
    // Ours, from outside.
    { src: "10.0.0.1" },
    { src: "10.0.0.1", dst: "8.8.8.8" },
    { dst: "127.0.0.1" },
    // From no host, to one host.
    { src: "0.0.0.0" },
  ];
  for (const fields of martians) assertEquals(raised(at, ipPacket(fields)), "inMartian", JSON.stringify(fields));
});

Deno.test("ipInput() takes packets from 127/8 to an address of ours where that is behind the link (localnet)", () => {
  const at = host();
  at.stack.ifcs[0]!.localnet = true;
  assertEquals(raised(at, ipPacket({ src: "127.0.0.1" })), "inDelivers");
  at.stack.forwarding = true;
  const martians = [{ src: "127.0.0.1", dst: "8.8.8.8" }, { src: "127.0.0.1", dst: "10.0.0.255" }, {
    dst: "127.0.0.1",
  }];
  for (const fields of martians) assertEquals(raised(at, ipPacket(fields)), "inMartian", JSON.stringify(fields));
});

Deno.test("ipInput() takes our own broadcast that comes back, and one from a host without address", () => {
  const at = host();
  at.receiveIp(ipPacket({ src: "10.0.0.1", dst: "10.0.0.255" }), { dst: MAC_BROADCAST });
  at.receiveIp(ipPacket({ src: "0.0.0.0", dst: "255.255.255.255" }), { dst: MAC_BROADCAST });
  assertEquals(at.received.map(({ cast }) => cast), ["broadcast", "broadcast"]);
});

Deno.test("ipInput() drops a packet for one host in a frame for many (RFC 1122 3.3.6)", () => {
  const at = host();
  assertEquals(raised(at, ipPacket(), { dst: MAC_BROADCAST }), "inLinkBroadcast");
  assertEquals(raised(at, ipPacket(), { dst: mac("01:00:5e:00:00:01") }), "inLinkBroadcast");
  at.stack.forwarding = true;
  assertEquals(raised(at, ipPacket({ dst: "8.8.8.8" }), { dst: MAC_BROADCAST }), "inLinkBroadcast");
});

Deno.test("ipInput() takes broadcasts and groups only where they are ours", () => {
  const at = host();
  const second = at.ifc("bind ether /net/ether1", "add 10.1.0.1 /16", "joinmulti 224.0.0.5");
  const group = { dst: mac("01:00:5e:00:00:05") };
  assertEquals(raised(at, ipPacket({ dst: "224.0.0.5" }), { ...group, number: 1 }), "inDelivers");
  assertEquals(raised(at, ipPacket({ dst: "224.0.0.5" }), group), "inLinkBroadcast");
  assertEquals(raised(at, ipPacket({ dst: "224.0.0.6" }), { ...group, number: 1 }), "inLinkBroadcast");
  assertEquals(raised(at, ipPacket({ dst: "10.1.255.255" })), "inNotForUs");
  // But any address of ours on any interface.
  assertEquals(raised(at, ipPacket({ dst: "10.1.0.1" })), "inDelivers");
  second.ctl("leavemulti 224.0.0.5");
  assertEquals(raised(at, ipPacket({ dst: "224.0.0.5" }), { ...group, number: 1 }), "inLinkBroadcast");
});

Deno.test("ipInput() counts what is not for us while we do not forward", () => {
  assertEquals(raised(host(), ipPacket({ dst: "8.8.8.8" })), "inNotForUs");
});

Deno.test("ipInput() on an interface with address 0.0.0.0 takes every host address as ours, and only there", () => {
  const at = host();
  at.ifc("bind ether /net/ether1", "add 0.0.0.0");
  assertEquals(raised(at, ipPacket({ dst: "8.8.8.8" }), { number: 1 }), "inDelivers");
  assertEquals(raised(at, ipPacket({ dst: "224.0.0.9" }), { number: 1 }), "inNotForUs");
  assertEquals(raised(at, ipPacket({ dst: "8.8.8.8" })), "inNotForUs");
});

Deno.test("ipInput() answers an unknown protocol with ICMP protocol unreachable", () => {
  const at = host();
  assertEquals(raised(at, ipPacket({ protocol: 99 })), "inUnknownProtos outRequests");
  const [error] = at.takePackets();
  assertEquals([error![9], error![20], error![21]], [1, 3, 2]);
});

Deno.test("ipInput() delivers merged datagrams one by one", () => {
  const at = host();
  const ifc = at.stack.ifcs[0]!;
  const make = () => {
    const block = Block.from(ipPacket({ payload: 8 + 250 }));
    block.segment = Segment.Udp;
    block.segmentSize = 100;
    block.segmentHeaderLen = 28;
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 26;
    return block;
  };
  ipInput(at.stack, make(), ifc);
  assertEquals(at.received.map(({ bytes }) => bytes.length), [128, 128, 78]);
  const bad = make();
  bad.segmentSize = 0;
  ipInput(at.stack, bad, ifc);
  assertEquals([at.stack.stats.inBadOffload, at.received.length], [1, 3]);
});

Deno.test("packet4() and fragmentPlace4() say what the header says", () => {
  const at = host();
  const fields = { protocol: 6, id: 7, fragOffset: 16, moreFragments: true, options: Uint8Array.of(1, 1, 1, 1) };
  const block = Block.from(ipPacket(fields));
  const { version, headerLen, protocol, src, dst, cast } = packet4(block, at.stack.ifcs[0]!, "multicast");
  assertEquals([version, headerLen, protocol, `${src}`, `${dst}`, cast], [
    4,
    24,
    6,
    "10.0.0.2",
    "10.0.0.1",
    "multicast",
  ]);
  assertEquals(fragmentPlace4(block), { id: 7, offset: 16, more: true, dontFragment: false });
});

Deno.test("ipInput() of random bytes and random damage never throws, and every packet ends in one counter", () => {
  const damage = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 0, max: 255 })), { maxLength: 4 });
  const likely = fc.tuple(damage, fc.nat(60), fc.boolean(), fc.boolean()).map(([changes, payload, fix, frag]) => {
    const packet = ipPacket({ payload, moreFragments: frag, options: new Uint8Array(payload & 12).fill(1) });
    for (const [at, value] of changes) if (at < packet.length) packet[at] = value;
    const headerLen = (packet[0]! & 15) * 4;
    if (fix && headerLen >= 20 && headerLen <= packet.length) setIpv4Checksum(packet, 0, headerLen);
    return packet;
  });
  const arrivals = fc.constantFrom(...Object.values(Arrival));
  fc.assert(
    fc.property(
      fc.oneof(likely, fc.uint8Array({ maxLength: 80 })),
      arrivals,
      fc.boolean(),
      (bytes, arrival, forwarding) => {
        const at = host();
        at.stack.forwarding = forwarding;
        ipInput(at.stack, Block.from(bytes), at.stack.ifcs[0]!, arrival);
        at.run();
        const { stats } = at.stack;
        const ends = stats.inHdrErrors + stats.inAddrErrors + stats.inDiscards + stats.inUnknownProtos +
          stats.inDelivers +
          stats.outNoRoutes + stats.forwDatagrams + stats.fragFails + at.stack.reassembly.size;
        assert(ends >= 1 && ends <= 2, `${ends} counters`);
        at.stack.reassembly.clear();
      },
    ),
    fuzz(500),
  );
});
