import { assert, assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { get16 } from "../../../kernel/wire/bytes.ts";
import { ipv4ChecksumOk, setIpv4Checksum } from "../../../kernel/wire/ipv4.ts";
import { runArpCtl } from "../neighbor/arp_ctl.ts";
import { ipInput } from "./ip_input.ts";
import { headerOf, ipPacket, type PacketFields } from "../../../tests/kit/ip/packets.ts";
import { TestHost, type TestIfc } from "../../../tests/kit/ip/link.ts";

/** A router between 10.0.0.0/24 (Ethernet 0) and 10.1.0.0/24 (Ethernet 1); 10.0.0.2 and 10.1.0.2 are known. */
class Router extends TestHost {
  readonly out: TestIfc;

  constructor() {
    super();
    this.etherIfc();
    this.out = this.ifc("bind ether /net/ether1", "add 10.1.0.1 /24", "iprouting on");
    this.knowPeer();
    runArpCtl(this.stack, ["add", "10.1.0.2", "02:00:00:00:00:22"]);
    this.run();
    this.takeFrames(1);
  }

  /** Receives a packet from 10.0.0.2 for 10.1.0.2; what goes out to Ethernet 1. */
  pass(fields: PacketFields): Uint8Array[] {
    this.receiveIp(ipPacket({ dst: "10.1.0.2", ...fields }));
    return this.takePackets(1);
  }

  /** ICMP errors that came back, as type, code and the word of the next-hop MTU. */
  errors(): number[][] {
    return this.takePackets(0).filter((packet) => packet[9] === 1).map((packet) => [
      packet[20]!,
      packet[21]!,
      get16(packet, 26),
    ]);
  }
}

Deno.test("forward() passes a packet on with TTL - 1 and a right checksum, and nothing else changed", () => {
  const at = new Router();
  const fields = { ttl: 9, tos: 0x2e, id: 5, options: Uint8Array.of(0x94, 4, 0, 0), payload: 77 };
  assertEquals(at.pass(fields), [ipPacket({ dst: "10.1.0.2", ...fields, ttl: 8 })]);
  assertEquals([at.stack.stats.forwDatagrams, at.errors()], [1, []]);
});

Deno.test("forward() follows static routes to a gateway", () => {
  const at = new Router();
  at.stack.routes.ctl(["add", "8.8.0.0", "/16", "10.1.0.2"], "none");
  assertEquals(at.pass({ dst: "8.8.8.8" }).map((packet) => `${headerOf(packet).dst}`), ["8.8.8.8"]);
});

Deno.test("forward() never sends a packet on with TTL 0 (defect 13): time exceeded", () => {
  const at = new Router();
  assertEquals([at.pass({ ttl: 1 }), at.pass({ ttl: 0 })], [[], []]);
  assertEquals([at.errors(), at.stack.stats.ttlExpired], [[[11, 0, 0], [11, 0, 0]], 2]);
  assertEquals(at.pass({ ttl: 2 }).map((packet) => headerOf(packet).ttl), [1]);
});

Deno.test("forward() without a route says net unreachable", () => {
  const at = new Router();
  assertEquals(at.pass({ dst: "8.8.8.8" }), []);
  assertEquals([at.errors(), at.stack.stats.outNoRoutes], [[[3, 0, 0]], 1]);
});

Deno.test("forward() tells the next hop's MTU when it may not fragment (defect 13: no black holes)", () => {
  const at = new Router();
  at.out.ctl("mtu 614");
  assertEquals(at.pass({ dontFragment: true, payload: 581 }), []);
  assertEquals([at.errors(), at.stack.stats.fragFails], [[[3, 4, 600]], 1]);
  assertEquals(at.pass({ dontFragment: true, payload: 580 }).length, 1);
});

Deno.test("forward() fragments what is too big and may be cut", () => {
  const at = new Router();
  at.out.ctl("mtu 614");
  const headers = at.pass({ id: 3, ttl: 7, payload: 1000 }).map(headerOf);
  assertEquals(headers.map((one) => [one.id, one.ttl, one.fragOffset, one.moreFragments]), [
    [3, 6, 0, true],
    [3, 6, 576, false],
  ]);
  // A fragment of a fragment stays in its place.
  const again = at.pass({ id: 4, payload: 1000, fragOffset: 2000, moreFragments: true }).map(headerOf);
  assertEquals(again.map((one) => [one.fragOffset, one.moreFragments]), [[2000, true], [2576, true]]);
});

Deno.test("forward() puts fragments together only for an interface that wants that", () => {
  const at = new Router();
  const parts = [{ payload: 40, moreFragments: true }, { payload: 20, fragOffset: 40 }];
  assertEquals(parts.map((part) => at.pass({ id: 6, ...part }).length), [1, 1]);
  at.out.ctl("reassemble");
  assertEquals(at.pass({ id: 7, ...parts[0] }), []);
  const [whole] = at.pass({ id: 7, ...parts[1] });
  assertEquals([headerOf(whole!).totalLen, headerOf(whole!).moreFragments], [80, false]);
  assert(ipv4ChecksumOk(whole!, 0));
});

Deno.test("forward() cuts again what came in fragments that the link takes, whatever they say of DF", () => {
  const at = new Router();
  at.out.ctl("reassemble");
  at.out.ctl("mtu 614");
  const pass = (size: number, id: number) =>
    [{ payload: size, moreFragments: true }, { payload: 20, fragOffset: size }].flatMap((part) =>
      at.pass({ ...part, id, dontFragment: true })
    ).map((packet) => headerOf(packet).totalLen);
  assertEquals([pass(576, 8), at.errors()], [[596, 40], []]);
  // Fragments that do not fit themselves: their sender can do something about it.
  assertEquals([pass(1000, 9), at.errors()], [[], [[3, 4, 600]]]);
});

Deno.test("forward() refuses broadcast, multicast, link-local, reserved and unspecified addresses", () => {
  const at = new Router();
  for (const dst of ["10.1.0.255", "10.1.0.0", "224.0.0.9", "169.254.1.1", "240.0.0.1", "0.0.0.0", "0.1.2.3"]) {
    assertEquals(at.pass({ dst }), [], dst);
  }
  for (const src of ["169.254.1.1", "0.0.0.0"]) assertEquals(at.pass({ src }), [], src);
  assertEquals([at.errors(), at.stack.stats.inAddrErrors], [[], 9]);
});

Deno.test("forward() drops what would go out where it came in", () => {
  const at = new Router();
  at.receiveIp(ipPacket({ src: "10.0.0.2", dst: "10.0.0.9" }));
  assertEquals([at.takePackets(0), at.stack.stats.forwSameIfc], [[], 1]);
});

Deno.test("forward() drops packets that choose their own way (RFC 7126)", () => {
  const at = new Router();
  for (const kind of [0x83, 0x89]) assertEquals(at.pass({ options: Uint8Array.of(1, kind, 7, 4, 9, 9, 9, 9) }), []);
  assertEquals(at.stack.stats.forwSourceRoute, 2);
  // Options that end early or make no sense hide nothing and stop nothing.
  assertEquals(at.pass({ options: Uint8Array.of(0, 0x83, 7, 4) }).length, 1);
  assertEquals(at.pass({ options: Uint8Array.of(7, 0, 0x83, 7) }).length, 1);
});

Deno.test("forward() does nothing while iprouting is off", () => {
  const at = new Router();
  at.out.ctl("iprouting off");
  assertEquals([at.pass({}), at.stack.stats.inNotForUs], [[], 1]);
});

Deno.test("forward() checks a segment's size: pieces must fit, or the sender is notified", () => {
  const at = new Router();
  const large = (size: number, dontFragment: boolean) => {
    const block = Block.from(ipPacket({ dst: "10.1.0.2", protocol: 17, payload: 8 + 2000, dontFragment }));
    block.segment = Segment.Udp;
    block.segmentSize = size;
    block.segmentHeaderLen = 28;
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 26;
    ipInput(at.stack, block, at.stack.ifcs[0]!);
    at.run();
    return at.takePackets(1).map((packet) => packet.length);
  };
  assertEquals(large(1000, true), [1028, 1028]);
  assertEquals([large(1600, true), at.errors()], [[], [[3, 4, 1500]]]);
  assertEquals(large(1600, false), [1500, 148, 428]);
});

Deno.test("forward() limits the errors it sends (defect 13: rate limit)", () => {
  const at = new Router();
  for (let i = 0; i < 500; i++) at.receiveIp(ipPacket({ dst: "8.8.8.8" }));
  const count = at.errors().length;
  assert(count > 0 && count < 200, `${count} errors for 500 packets at once`);
});

Deno.test("setIpv4Checksum() agrees with the incremental update that forward() makes, for every TTL", () => {
  const at = new Router();
  for (let ttl = 2; ttl < 256; ttl++) {
    const [packet] = at.pass({ ttl, id: ttl * 255 });
    const again = packet!.slice();
    setIpv4Checksum(again, 0, 20);
    assertEquals(packet, again);
  }
});
