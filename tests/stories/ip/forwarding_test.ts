/**
 * Forwarding: kernels in a row, with routers between that have two NICs each and `iprouting` on (RFC 1812 4.2.2, 5.2,
 * 5.3), seen from the hosts at both ends and from the wires.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NEIGHBOR_RETRY_MS, NEIGHBOR_TRIES } from "../../../devices/ip/neighbor/neighbor_table.ts";
import { ERRORS_BURST, ERRORS_PER_S } from "../../../devices/ip/network/icmp_errors.ts";
import { Cable } from "../../../devices/ether/cable.ts";
import { Mount } from "../../../kernel/namespace.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { icmpNextHopMtu } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { echoPacket, icmpErrorPacket, type PacketOptions, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, guardPool, mac, User, type UserConv, Wire } from "../../kit/ip/story.ts";
import { headerOf } from "../../kit/ip/packets.ts";
import { dataOf, fragmentsOf, payloadOf } from "../../kit/ip/packet_parts.ts";

/** Hosts in a row: left, routers, right; net number i is 10.0.i.0/24. */
interface Row extends AsyncDisposable {
  /** eve at 10.0.0.1, and at .1 of the last net. */
  readonly left: User;
  readonly right: User;
  /** eve at each router: .254 of the net on its left, .253 of the one on its right. */
  readonly routers: readonly User[];
  /** The test's ear on each net. */
  readonly wires: readonly Wire[];
}

/** Boots hosts in a row with `mtus.length - 1` routers between; each entry is the MTU of a net. */
async function row(mtus: readonly number[]): Promise<Row> {
  const host = await boot({ address: "10.0.0.1/24", gateway: "10.0.0.254", mtu: mtus[0]! });
  guardPool(host.kernel.blocks);
  const cables = mtus.map((_, net) => net === 0 ? host.cable! : new Cable(host.clock, new SeededRandom(net)));
  const last = mtus.length - 1;
  const attach = (net: number, station: number) =>
    cables[net]!.attach({
      name: `${net}.${station}`,
      mac: new Uint8Array([2, 0, 0, 0, net, station]),
      mtu: mtus[net]!,
    });
  const routers: User[] = [];
  for (let net = 0; net < last; net++) {
    const router = new User(await host.neighbor({ address: `10.0.${net}.254/24`, port: attach(net, 254) }));
    router.host.ether.attachPort(attach(net + 1, 253));
    router.proc.sys.nbind("#ether.1", "/net", Mount.After);
    router.conv("ipifc", "bind ether /net/ether1", `add 10.0.${net + 1}.253 /24`, "iprouting on").close();
    if (net + 1 < last) router.command("/net/iproute", `add 10.0.${last}.0 /24 10.0.${net + 1}.254`);
    if (net > 0) router.command("/net/iproute", `add 10.0.0.0 /24 10.0.${net}.253`);
    routers.push(router);
  }
  const address = `10.0.${last}.1/24`;
  const right = await host.neighbor({ address, gateway: `10.0.${last}.253`, port: attach(last, 1) });
  const wires = cables.map((cable) => new Wire(host, cable));
  return {
    left: new User(host),
    right: new User(right),
    routers,
    wires,
    [Symbol.asyncDispose]: () => host.world.close(),
  };
}

const LEFT = "10.0.0.1";
const RIGHT = "10.0.1.1";
/** The router's hardware address on the left net. */
const ROUTER_MAC = mac("0200000000fe");

/** A packet of a bypass user of port 7 at the left end. */
function fromLeft(options: PacketOptions & { dstPort?: number } = {}): Uint8Array {
  return udpPacket({ src: LEFT, dst: RIGHT, srcPort: 7, dstPort: 9, payload: pattern(20), id: 1, ...options });
}

/** Source, type and code of the next ICMP error that a conversation got, or null. */
function complaint(conv: UserConv): string | null {
  const packet = conv.error();
  if (packet === null) return null;
  const message = payloadOf(packet);
  return `${headerOf(packet).src} ${message[0]}/${message[1]}`;
}

Deno.test("a router passes packets on with one hop less and nothing else changed", async () => {
  await using world = await row([1500, 1500]);
  const { left, right, routers, wires } = world;
  const there = right.conv("udp", "bypass 9");
  const packet = fromLeft({ ttl: 9, tos: 0x2e, dontFragment: true, options: new Uint8Array([0x94, 4, 0, 0]) });
  left.conv("udp", "bypass 7").bwrite(packet);
  const got = there.take();
  assert(ipv4ChecksumOk(got, 0));
  assertEquals(headerOf(got), { ...headerOf(packet), ttl: 8 });
  assertEquals([payloadOf(got), wires[1]!.sent()], [payloadOf(packet), [got]]);
  assertEquals(routers[0]!.stat("ipifc", "ForwDatagrams"), 1);
});

Deno.test("a ping goes through a router and back", async () => {
  await using world = await row([1500, 1500]);
  const conv = world.left.conv("icmp", `connect ${RIGHT}!1 5`);
  conv.bwrite(new Uint8Array([...new Uint8Array(20), 8, 0, 0, 0, 0, 0, 0, 1, ...pattern(30)]));
  const reply = conv.take();
  assertEquals([`${headerOf(reply).src}`, headerOf(reply).ttl], [RIGHT, 254]);
  assertEquals(payloadOf(reply).subarray(8), pattern(30));
});

Deno.test("a TTL of 1 ends at the router, which reports it; a TTL of 2 arrives as 1, never as 0", async () => {
  await using world = await row([1500, 1500]);
  const { left, right, routers, wires } = world;
  const conv = left.conv("udp", "bypass 7");
  const there = right.conv("udp", "bypass 9");
  conv.bwrite(fromLeft({ ttl: 1 }));
  assertEquals([there.bread(), wires[1]!.sent(), routers[0]!.stat("ipifc", "TtlExpired")], [null, [], 1]);
  const error = conv.error()!;
  assertEquals([`${headerOf(error).src}`, payloadOf(error)[0], payloadOf(error)[1]], ["10.0.0.254", 11, 0]);
  assertEquals(payloadOf(error).subarray(8), fromLeft({ ttl: 1 }));
  conv.bwrite(fromLeft({ ttl: 2 }));
  assertEquals(headerOf(there.take()).ttl, 1);
});

Deno.test("too big with DF: the sender learns the MTU of the next hop, and what fits that arrives", async () => {
  await using world = await row([1500, 600]);
  const { left, right, routers, wires } = world;
  const conv = left.conv("udp", "bypass 7");
  const there = right.conv("udp", "bypass 9");
  conv.bwrite(fromLeft({ payload: pattern(600 - 28 + 1), dontFragment: true }));
  const error = payloadOf(conv.error()!);
  assertEquals([error[0], error[1], icmpNextHopMtu(error, 0)], [3, 4, 600]);
  assertEquals([wires[1]!.sent(), routers[0]!.stat("ipifc", "FragFails")], [[], 1]);
  conv.bwrite(fromLeft({ payload: pattern(icmpNextHopMtu(error, 0) - 28), dontFragment: true }));
  assertEquals(there.take().length, 600);
});

Deno.test("too big without DF: the router fragments, and the far end has one block again", async () => {
  await using world = await row([1500, 600]);
  const { left, right, routers, wires } = world;
  const there = right.conv("udp", "bypass 9");
  // 3008 bytes: the sender's own link cuts them first, and the router cuts the pieces again.
  const packet = fromLeft({ payload: pattern(3000), id: 4242 });
  left.conv("udp", "bypass 7").bwrite(packet);
  assertEquals(wires[0]!.sent().length, 3);
  const pieces = wires[1]!.sent();
  for (const piece of pieces) assert(piece.length <= 600 && ipv4ChecksumOk(piece, 0));
  // Two of the three were cut in three each; the last one fits as it is.
  assertEquals([routers[0]!.stat("ipifc", "FragCreates"), pieces.length], [6, 7]);
  assertEquals(pieces.filter((piece) => !headerOf(piece).moreFragments).length, 1);
  const whole = there.take();
  assertEquals([there.bread(), payloadOf(whole)], [null, payloadOf(packet)]);
});

Deno.test("with `reassemble` the router puts datagrams together before they go out", async () => {
  await using world = await row([1500, 1500]);
  const { right, routers, wires } = world;
  const there = right.conv("udp", "bypass 9");
  routers[0]!.command("/net/ipifc/2/ctl", "reassemble");
  const packet = fromLeft({ payload: pattern(1000), src: "10.0.0.9" });
  for (const piece of fragmentsOf(packet, 200, 77)) wires[0]!.inject(piece, { dst: ROUTER_MAC });
  assertEquals(wires[1]!.sent().map((one) => one.length), [1028]);
  assertEquals(dataOf(there.take()), pattern(1000));
});

Deno.test("no route is net unreachable at once; no neighbour is host unreachable after three questions", async () => {
  await using world = await row([1500, 1500]);
  const { left, routers, wires } = world;
  const conv = left.conv("udp", "bypass 7");
  conv.bwrite(fromLeft({ dst: "203.0.113.9" }));
  assertEquals([complaint(conv), routers[0]!.stat("ipifc", "OutNoRoutes")], ["10.0.0.254 3/0", 1]);
  conv.bwrite(fromLeft({ dst: "10.0.1.77" }));
  advance(left.host, NEIGHBOR_TRIES * NEIGHBOR_RETRY_MS - 1);
  assertEquals([complaint(conv), wires[1]!.frames().filter((frame) => frame[13] === 6).length >= NEIGHBOR_TRIES], [
    null,
    true,
  ]);
  advance(left.host, 1);
  assertEquals([complaint(conv), complaint(conv)], ["10.0.0.254 3/1", null]);
});

Deno.test("errors are limited in rate, and nothing is lost that is not an error", async () => {
  await using world = await row([1500, 1500]);
  const { left, right, routers } = world;
  const conv = left.conv("udp", "bypass 7");
  const there = right.conv("udp", "bypass 9");
  const complaints = () => {
    let count = 0;
    while (complaint(conv) !== null) count++;
    return count;
  };
  const burst = (count: number) => {
    let heard = 0;
    for (let i = 0; i < count; i++) {
      conv.bwrite(fromLeft({ ttl: 1 }));
      heard += complaints();
    }
    return heard;
  };
  assertEquals(burst(ERRORS_BURST + 30), ERRORS_BURST);
  assertEquals(routers[0]!.stat("icmp", "OutSuppressed"), 30);
  conv.bwrite(fromLeft());
  assertEquals(there.take().length, 48);
  advance(left.host, 10 * 1000 / ERRORS_PER_S);
  assertEquals(burst(30), 10);
});

Deno.test("traceroute by hand: each router on the way, then the far end's closed port", async () => {
  await using world = await row([1500, 1500, 1500, 1500]);
  const conv = world.left.conv("udp", "bypass 7");
  const hops: (string | null)[] = [];
  for (let ttl = 1; ttl <= 5; ttl++) {
    conv.bwrite(fromLeft({ dst: "10.0.3.1", dstPort: 33433 + ttl, ttl }));
    hops.push(complaint(conv));
  }
  const end = "10.0.3.1 3/3";
  assertEquals(hops, ["10.0.0.254 11/0", "10.0.1.254 11/0", "10.0.2.254 11/0", end, end]);
});

Deno.test("nothing is forwarded without `iprouting`, and its word shows in stats", async () => {
  await using world = await row([1500, 1500]);
  const { left, routers, wires } = world;
  const [router] = routers;
  assertEquals(router!.stat("ipifc", "Forwarding"), 1);
  router!.command("/net/ipifc/1/ctl", "iprouting 0");
  assertEquals(router!.stat("ipifc", "Forwarding"), 2);
  const conv = left.conv("udp", "bypass 7");
  conv.bwrite(fromLeft());
  assertEquals([wires[1]!.sent(), complaint(conv), router!.stat("ipifc", "InNotForUs")], [[], null, 1]);
});

Deno.test("never forwarded: groups, broadcasts, martians, source routes, and frames for many", async () => {
  await using world = await row([1500, 1500]);
  const { right, routers, wires } = world;
  const [router] = routers;
  const there = right.conv("udp", "bypass 9");
  const src = "10.0.0.9";
  const inject = (options: PacketOptions, dst = ROUTER_MAC) => wires[0]!.inject(fromLeft({ src, ...options }), { dst });
  const strays: PacketOptions[] = [
    { dst: "10.0.1.255" },
    { dst: "10.0.1.0" },
    { dst: "224.0.0.5" },
    { dst: "127.0.0.1" },
    { dst: "169.254.1.1" },
    { dst: "240.0.0.1" },
    { src: "0.0.0.0" },
    { src: "127.0.0.1" },
    { src: "169.254.9.9" },
    { src: "255.255.255.255" },
    { src: "224.0.0.1" },
    { src: "10.0.0.254" },
    { options: new Uint8Array([0x83, 7, 4, 10, 0, 1, 1, 0]) },
    { options: new Uint8Array([1, 0x89, 7, 4, 10, 0, 1, 1]) },
  ];
  for (const stray of strays) inject(stray);
  inject({}, mac("ffffffffffff"));
  assertEquals([wires[1]!.sent(), wires[0]!.sent(), router!.stat("ipifc", "ForwDatagrams")], [[], [], 0]);
  inject({ dst: "10.0.0.77" });
  assertEquals(router!.stat("ipifc", "ForwSameIfc"), 1);
  inject({});
  assertEquals([router!.stat("ipifc", "ForwDatagrams"), there.take().length], [1, 48]);
});

Deno.test("a router sends no error about an ICMP error that it drops, nor about later fragments", async () => {
  await using world = await row([1500, 1500]);
  const { wires, routers } = world;
  routers[0]!.command("/net/arp", "add 10.0.0.9 020000000063");
  const quiet = [
    icmpErrorPacket({ type: 3, code: 3, packet: fromLeft() }, { src: "10.0.0.9", dst: RIGHT, ttl: 1 }),
    fragmentsOf(fromLeft({ src: "10.0.0.9", ttl: 1 }), 16, 5)[1]!,
  ];
  for (const packet of quiet) wires[0]!.inject(packet, { dst: ROUTER_MAC });
  assertEquals(wires[0]!.sent(), []);
  wires[0]!.inject(echoPacket({ src: "10.0.0.9", dst: RIGHT, ttl: 1 }), { dst: ROUTER_MAC });
  assertEquals(payloadOf(wires[0]!.one())[0], 11);
  assertMatch(routers[0]!.text("/net/icmp/stats"), /^OutErrors: 1$/m);
});

Deno.test("what the kernel itself sends gets across a smaller link: datagrams, pings and their answers", async () => {
  await using world = await row([1500, 600]);
  const { left, right } = world;
  const server = right.conv("udp", "headers", "announce 9");
  const client = left.conv("udp", `connect ${RIGHT}!9`);
  const pings = [left.conv("icmp", `connect ${RIGHT}!1`), right.conv("icmp", `connect ${LEFT}!1`)];
  const request = new Uint8Array([...new Uint8Array(20), 8, 0, 0, 0, 0, 0, 0, 1, ...pattern(1000)]);
  // Who learns the MTU of the way from the first that is lost may lose the first.
  for (let attempt = 0; attempt < 3; attempt++) {
    client.bwrite(pattern(1000));
    for (const ping of pings) ping.bwrite(request.slice());
  }
  assert(server.bread() !== null, "a datagram of 1000 bytes arrives");
  for (const [i, ping] of pings.entries()) assert(ping.bread() !== null, `ping ${i} of 1000 bytes is answered`);
});
