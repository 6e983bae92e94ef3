import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { etherDst } from "../../../kernel/wire/ethernet.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { sendPacket, sendRaw } from "./ip_output.ts";
import { headerOf, ip, ipPacket, type PacketFields, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import type { SendOptions } from "../packet/packet.ts";
import { LOOPBACK_MTU } from "../route/route.ts";
import { MTU_UNKNOWN, routeMtu, sourceFor } from "../route/egress.ts";

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  made.knowPeer();
  return made;
}

const OPTIONS: SendOptions = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), protocol: 17, ttl: 64, tos: 4 };

function send(at: TestHost, length: number, options: Partial<SendOptions> = {}): string {
  const result = sendPacket(at.stack, Block.from(pattern(length)), { ...OPTIONS, ...options });
  at.run();
  return result;
}

function raw(at: TestHost, fields: PacketFields, kernelHeader = false): string {
  const packet = ipPacket({ src: "10.0.0.1", dst: "10.0.0.2", ...fields });
  packet[10] = packet[11] = 0xaa;
  const result = sendRaw(at.stack, Block.from(packet), { kernelHeader });
  at.run();
  return result;
}

Deno.test("sendPacket() puts a right header before the payload, and DF only where it is wished", () => {
  const at = host();
  assertEquals(send(at, 100), "sent");
  assertEquals(send(at, 1480), "sent");
  const [first, second] = at.takePackets();
  const header = headerOf(first!);
  assert(ipv4ChecksumOk(first!, 0) && !header.dontFragment);
  sendPacket(at.stack, Block.from(pattern(9)), { ...OPTIONS, dontFragment: true });
  assert(headerOf(at.takePackets()[0]!).dontFragment);
  assertEquals([`${header.src}`, `${header.dst}`, header.protocol], ["10.0.0.1", "10.0.0.2", 17]);
  assertEquals([header.ttl, header.tos, header.totalLen], [64, 4, 120]);
  assertEquals(first!.subarray(20), pattern(100));
  assertEquals(headerOf(second!).id, (header.id + 1) & 0xffff);
});

Deno.test("an identification is 0 on what is never cut, else one of a sequence for that destination alone", () => {
  const at = host();
  const ids = (options: Partial<SendOptions>) => {
    send(at, 100, options);
    return at.takePackets().map((packet) => headerOf(packet).id);
  };
  const [before] = ids({});
  for (let i = 0; i < 20; i++) {
    assertEquals(ids({ dontFragment: true }), [0]);
    ids({ protocol: 1 });
    send(at, 100, { dst: ip(`10.0.0.${30 + i}`) });
  }
  raw(at, { id: 7 }, true);
  assertEquals(headerOf(at.takePackets().at(-1)!).id, 0);
  assertEquals(ids({}), [(before! + 1) & 0xffff]);
});

Deno.test("sendPacket() fragments what does not fit, unless that is not wished", () => {
  const at = host();
  const block = Block.from(pattern(1481));
  assertEquals(sendPacket(at.stack, block, { ...OPTIONS, dontFragment: true }), "tooBig");
  assertEquals(block.bytes(), pattern(1481), "The block is the caller's as it was");
  assertEquals([at.takePackets(), at.stack.stats.fragFails], [[], 1]);
  assertEquals(send(at, 1481), "sent");
  const headers = at.takePackets().map(headerOf);
  assertEquals(headers.map((one) => [one.fragOffset, one.payloadLen, one.dontFragment]), [
    [0, 1480, false],
    [1480, 1, false],
  ]);
  assertEquals([at.stack.stats.fragOks, at.stack.stats.fragCreates], [1, 2]);
});

Deno.test("sendPacket() says noRoute and tooBig, and leaves the block to the caller", () => {
  const at = host();
  const block = Block.from(pattern(10));
  assertEquals(sendPacket(at.stack, block, { ...OPTIONS, dst: ip("8.8.8.8") }), "noRoute");
  assertEquals(sendPacket(at.stack, block, { ...OPTIONS, dst: ip("2001:db8::1") }), "noRoute");
  assertEquals([block.bytes(), at.stack.stats.outNoRoutes], [pattern(10), 2]);
  assertEquals(send(at, 65516), "tooBig");
  assertEquals(at.stack.stats.outTooLong, 1);
  assertEquals(send(at, 65515), "sent");
});

Deno.test("sendPacket() never lets 127/8 out, whatever the routes say (RFC 1122 3.2.1.3)", () => {
  const at = host();
  at.stack.routes.ctl(["add", "0", "0", "10.0.0.2"], "none");
  assertEquals(send(at, 8, { dst: ip("127.0.0.1") }), "noRoute");
  assertEquals(send(at, 8, { src: ip("127.0.0.1"), dst: ip("8.8.8.8") }), "noRoute");
  at.ifc("bind loopback", "add 127.0.0.1 /8");
  assertEquals(send(at, 8, { src: ip("127.0.0.1"), dst: ip("127.0.0.1") }), "sent");
  assertEquals(send(at, 8, { src: ip("127.0.0.1"), dst: ip("127.4.5.6") }), "sent");
  assertEquals([at.received.length, at.takeFrames()], [2, []]);
});

Deno.test("sendPacket() lets packets for 127/8 out where that is behind the link (localnet), none from it", () => {
  const at = host();
  at.stack.routes.ctl(["add", "127.0.0.0", "255.0.0.0", "10.0.0.2"], "none");
  assertEquals(send(at, 8, { dst: ip("127.0.0.1") }), "noRoute");
  at.stack.ifcs[0]!.localnet = true;
  assertEquals(send(at, 8, { dst: ip("127.0.0.1") }), "sent");
  assertEquals(send(at, 8, { src: ip("127.0.0.1"), dst: ip("127.0.0.1") }), "noRoute");
  assertEquals(at.takeFrames().length, 1);
});

Deno.test("packets to our own address come in again without touching the wire or ARP", () => {
  const at = host();
  assertEquals(send(at, 50, { dst: ip("10.0.0.1") }), "sent");
  assertEquals([at.received.length, at.takeFrames()], [1, []]);
  // Datagrams beyond the loopback MTU arrive whole, too.
  assertEquals(send(at, 60000, { dst: ip("10.0.0.1") }), "sent");
  assertEquals(at.received[1]!.bytes.subarray(20), pattern(60000));
});

Deno.test("an owed checksum stays owed on the way to ourselves", () => {
  const at = host();
  const block = Block.from(pattern(50));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp;
  block.checksumField = block.rp + 6;
  sendPacket(at.stack, block, { ...OPTIONS, dst: ip("10.0.0.1") });
  at.run();
  assertEquals(at.received[0]!.block.checksum, Checksum.Owed);
  assertEquals(at.received[0]!.bytes.subarray(20), pattern(50));
});

Deno.test("sendPacket() finishes owed checksums for a link that cannot, and cuts segments", () => {
  const at = host();
  const owed = () => {
    const block = Block.from(new Uint8Array([...new Uint8Array(8), ...pattern(2500)]));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp;
    block.checksumField = block.rp + 6;
    block.segment = Segment.Udp;
    block.segmentSize = 1000;
    block.segmentHeaderLen = 28;
    return block;
  };
  assertEquals(sendPacket(at.stack, owed(), OPTIONS), "sent");
  at.run();
  assertEquals(at.takePackets().map((packet) => packet.length), [1028, 1028, 528]);
  const large = owed();
  large.segmentSize = 1473;
  assertEquals(sendPacket(at.stack, large, OPTIONS), "tooBig");
});

Deno.test("sendPacket() of metadata that do not fit is dropped and counted", () => {
  const at = host();
  const block = Block.from(pattern(50));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.wp;
  block.checksumField = block.wp;
  sendPacket(at.stack, block, OPTIONS);
  assertEquals([at.takePackets(), at.stack.stats.outBadOffload], [[], 1]);
});

Deno.test("sendPacket() to a group we are in is heard by ourselves, too (RFC 1112 6.1)", () => {
  const at = host();
  const group = { dst: ip("224.0.0.9") };
  send(at, 8, group);
  assertEquals([at.received.length, at.takePackets().length], [0, 1]);
  at.stack.ifcs[0]!.joinGroup(ip("224.0.0.9"));
  send(at, 8, group);
  assertEquals([at.received.map(({ cast }) => cast), at.takePackets().length], [["multicast"], 1]);
});

Deno.test("sendPacket() sends broadcasts and groups out where their source is", () => {
  const at = host();
  at.ifc("bind ether /net/ether1", "add 10.1.0.1 /16");
  at.takeFrames(1);
  send(at, 8, { src: ip("10.1.0.1"), dst: ip("255.255.255.255") });
  send(at, 8, { src: ip("10.1.0.1"), dst: ip("224.0.0.1") });
  assertEquals(at.takeFrames(1).map((frame) => `${etherDst(frame, 0)}`), ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"]);
  send(at, 8, { src: ip("0.0.0.0"), dst: ip("255.255.255.255") });
  assertEquals([at.takeFrames(0).length, at.takeFrames(1).length], [1, 0]);
});

Deno.test("sendRaw() keeps the writer's TTL, TOS, id, DF and options, and fills the checksum", () => {
  const at = host();
  const fields = { ttl: 3, tos: 0x13, id: 7, dontFragment: true, options: Uint8Array.of(0x94, 4, 0, 0), payload: 30 };
  assertEquals(raw(at, fields), "sent");
  assertEquals(at.takePackets(), [ipPacket({ src: "10.0.0.1", dst: "10.0.0.2", ...fields })]);
});

Deno.test("sendRaw() keeps a fragment in its place", () => {
  const at = host();
  const fields = { id: 7, fragOffset: 800, moreFragments: true, payload: 64 };
  assertEquals(raw(at, fields), "sent");
  assertEquals(raw(at, fields, true), "sent");
  const headers = at.takePackets().map(headerOf);
  assertEquals(headers.map((one) => [one.id, one.fragOffset, one.moreFragments, one.ttl]), [
    [7, 800, true, 64],
    [7, 800, true, 255],
  ]);
});

Deno.test("sendRaw() with the kernel's header behaves like Akaros: TTL 255, TOS 0, DF; it needs no id then", () => {
  const at = host();
  raw(at, { ttl: 3, tos: 0x10, id: 7 }, true);
  const [packet] = at.takePackets();
  const header = headerOf(packet!);
  assert(ipv4ChecksumOk(packet!, 0) && header.id === 0);
  assertEquals([header.ttl, header.tos, header.dontFragment], [255, 0, true]);
});

Deno.test("sendRaw() of what is too big: tooBig with DF, fragments without", () => {
  const at = host();
  assertEquals(raw(at, { payload: 1481, dontFragment: true }), "tooBig");
  assertEquals(raw(at, { payload: 1481, id: 9 }), "sent");
  assertEquals(at.takePackets().map((one) => headerOf(one).id), [9, 9]);
  // RFC 6864: fragments need an id, which this writer left to us.
  assertEquals(raw(at, { payload: 1481, id: 0 }), "sent");
  const ids = at.takePackets().map((one) => headerOf(one).id);
  assert(ids[0] !== 0 && ids[0] === ids[1]);
});

Deno.test("sendRaw() takes a header that lies in borrowed memory", () => {
  const at = host();
  const packet = ipPacket({ src: "10.0.0.1", dst: "10.0.0.2", payload: 40 });
  const block = Block.alloc(0);
  block.extents = [packet.subarray(0, 10), packet.subarray(10)];
  assertEquals(sendRaw(at.stack, block, { kernelHeader: false }), "sent");
  assertEquals(at.takePackets(), [packet]);
});

Deno.test("sourceFor() chooses the destination itself, the net of the next hop, the interface, then any", () => {
  const at = host();
  assertEquals(`${sourceFor(at.stack, ip("8.8.8.8"))}`, "10.0.0.1");
  at.stack.ifcs[0]!.conv.proto.ctl!(at.stack.ifcs[0]!.conv, ["add", "192.168.7.1", "/24"]);
  at.ifc("bind loopback", "add 127.0.0.1 /8");
  at.stack.routes.ctl(["add", "8.8.0.0", "/16", "192.168.7.9"], "none");
  const chosen = (dst: string) => `${sourceFor(at.stack, ip(dst))}`;
  assertEquals(chosen("192.168.7.1"), "192.168.7.1");
  assertEquals(chosen("192.168.7.77"), "192.168.7.1");
  assertEquals(chosen("10.0.0.77"), "10.0.0.1");
  assertEquals(chosen("8.8.8.8"), "192.168.7.1");
  assertEquals(chosen("127.0.0.1"), "127.0.0.1");
  assertEquals(chosen("9.9.9.9"), "10.0.0.1");
  assertEquals(sourceFor(at.stack, ip("2001:db8::1")), null);
  assertEquals(sourceFor(new TestHost().stack, ip("9.9.9.9")), null);
});

Deno.test("routeMtu() is the first link's, the loopback's for ourselves, and the least without a route", () => {
  const at = host();
  assertEquals(routeMtu(at.stack, ip("10.0.0.2")), 1500);
  assertEquals(routeMtu(at.stack, ip("10.0.0.1")), LOOPBACK_MTU);
  assertEquals(routeMtu(at.stack, ip("9.9.9.9")), MTU_UNKNOWN);
});

Deno.test("what sendPacket() cuts, a receiver puts together again", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 65515 }), fc.integer({ min: 68, max: 1500 }), (length, mtu) => {
      const at = host();
      at.stack.ifcs[0]!.setMaxtu(14 + mtu);
      const other = new TestHost();
      other.ifc("bind ether /net/ether0", "add 10.0.0.2 /24");
      send(at, length);
      for (const packet of at.takePackets()) {
        assert(packet.length <= mtu);
        other.receiveIp(packet);
      }
      assertEquals(other.received.map(({ bytes }) => bytes.subarray(20)), [pattern(length)]);
    }),
    fuzz(40),
  );
});
