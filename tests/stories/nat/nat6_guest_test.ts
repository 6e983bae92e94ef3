/**
 * A whole kernel as the guest, which makes its IPv6 address of what the NAT's router advertises: real neighbour
 * discovery, ICMPv6, UDP and TCP on both sides.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { parseIcmp6Quote } from "../../../kernel/wire/icmp6.ts";
import { boot } from "../../../tools/boot/boot.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import type { V6Options } from "../../../tools/nat/config6.ts";
import { GuestPort } from "../../kit/nat/guest_port.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, User, type UserConv } from "../../kit/ip/story.ts";
import { addIpv6, PEER6, US6 } from "../../kit/ip/story6.ts";
import { accept, call, hear, say, stateOf } from "../../kit/tcp/story.ts";
import { HOST, REMOTE } from "../../kit/nat/nat.ts";

/** The guest's address, derived from the network and its hardware address 00:01:02:03:04:0b. */
const SELF = "fd00::2:201:2ff:fe03:40b";
const ROUTER6 = "fd00:0:0:2::2";
const DNS6 = "fd00:0:0:2::3";
/** Long enough for a packet to go round, neighbours' questions included. */
const ROUND_MS = 20;

/** Host, remote and guest kernels, the guest's address from the router's advertisement. */
async function tellSix(options: { nat?: Partial<NatOptions>; v6?: Partial<V6Options> } = {}) {
  const host = await boot();
  const remote = await host.neighbor({ address: `${REMOTE}/24` });
  const user = new User(host);
  const there = new User(remote);
  addIpv6(user, US6);
  addIpv6(there, PEER6);
  const mtu = options.nat?.mtu ?? 1500;
  const port = new GuestPort(host, 1500);
  const kernel = await host.neighbor({ port, address: null });
  const guest = new User(kernel);
  const program = port.program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: (frame) => port.receive?.(frame),
    nat: {
      hostAddr: `${HOST}/24`,
      nameServers: [REMOTE],
      mtu,
      ...options.nat,
      v6: { hostAddr: `${US6}/64`, ...options.v6 },
    },
  });
  guest.command("/net/ipifc/1/ctl", "recvra6 on");
  advance(host, 4000);
  return {
    host,
    remote,
    user,
    there,
    guest,
    program,
    round: () => advance(host, ROUND_MS),
    async [Symbol.asyncDispose]() {
      program.close();
      await host.world.close();
    },
  };
}

type Six = Awaited<ReturnType<typeof tellSix>>;

/** Pings `addr` with `size` bytes; the length of what came back, or null. */
function ping(six: Six, addr: string, size: number): number | null {
  const conv = six.guest.conv("icmpv6", `connect ${addr}!1`);
  const message = new Uint8Array(40 + 8 + size);
  message[40] = 128;
  conv.bwrite(message);
  six.round();
  const reply = conv.bread();
  conv.close();
  return reply === null ? null : reply.length;
}

/** A server at the remote that echoes every datagram on demand. */
function echoServer(six: Six, port: number): { conv: UserConv; serve: () => Uint8Array | null } {
  const conv = six.there.conv("udp", "headers", `announce ${port}`);
  const serve = () => {
    const record = conv.read();
    if (record !== null) conv.bwrite(record);
    six.round();
    return record;
  };
  return { conv, serve };
}

Deno.test("akaros 23: a guest takes address, route, MTU and name server from the router's advertisement", async () => {
  await using six = await tellSix({ nat: { mtu: 1400 } });
  const { guest } = six;
  assertMatch(guest.text("/net/ipifc/1/status"), new RegExp(`\t${SELF} /64`));
  assertMatch(guest.text("/net/iproute"), /^:: \/0 fe80::201:2ff:fe03:40a .*ra/m);
  assertMatch(guest.text("/net/ndb"), /dns=fd00:0:0:2::3|dns=fd00::2:0:0:0:3/);
  // What does not fit 1400 bytes it cuts.
  assertEquals([ping(six, ROUTER6, 1352), six.program.nat.counters.reassembled], [1400, 0]);
  assertEquals([ping(six, ROUTER6, 1353), six.program.nat.counters.reassembled], [1401, 1]);
});

Deno.test("akaros 23: a guest pings router, name server and remote over IPv6, in small and large", async () => {
  await using six = await tellSix();
  for (const addr of [ROUTER6, DNS6, PEER6]) {
    for (const size of [0, 56, 1452, 1453, 5000, 20_000]) {
      assertEquals(ping(six, addr, size), 48 + size, `${addr} ${size}`);
    }
  }
  assertMatch(six.program.command("maps icmp"), new RegExp(`^icmp ${SELF}!\\d+ `, "m"));
});

Deno.test("akaros 23: datagrams of every size come back whole, and the remote sees the host", async () => {
  await using six = await tellSix();
  const { conv: server, serve } = echoServer(six, 7);
  const conv = six.guest.conv("udp", `connect ${PEER6}!7`);
  for (const size of [0, 1, 1232, 1233, 1452, 1453, 9000, 65_519]) {
    conv.bwrite(pattern(size));
    six.round();
    const record = serve();
    assert(record !== null, `${size}`);
    assertEquals(record.length, 52 + size);
    assertEquals(conv.take(), pattern(size));
  }
  // To the guest the largest there is: it needs no fragment header of the whole.
  conv.bwrite(pattern(1));
  six.round();
  const record = server.read()!;
  server.bwrite(new Uint8Array([...record.subarray(0, 52), ...pattern(65_527)]));
  six.round();
  assertEquals(conv.take(), pattern(65_527));
  assertMatch(six.program.command("maps udp"), new RegExp(`^udp ${SELF}!\\d+ `, "m"));
});

Deno.test("RFC 8200 5: what comes in fragments is cut again for the guest, if it fits the uplink, too", async () => {
  await using six = await tellSix({ nat: { mtu: 1280 } });
  six.there.command("/net/ipifc/1/ctl", "mtu 1294");
  const { serve } = echoServer(six, 7);
  const conv = six.guest.conv("udp", `connect ${PEER6}!7`);
  for (const size of [1232, 1233, 1300, 1400, 1452, 1453, 3000]) {
    conv.bwrite(pattern(size));
    six.round();
    assert(serve() !== null, `${size} from the guest`);
    assertEquals(conv.take(), pattern(size), `${size} to the guest`);
  }
  assertNotMatch(six.program.command("stats"), /refused-too-big/);
});

Deno.test("akaros 23: TCP over IPv6 goes both ways, is half-closed, and a closed port refuses", async () => {
  await using six = await tellSix();
  const server = six.there.conv("tcp", "announce 80");
  const conv = call(six.guest, `${PEER6}!80`);
  six.round();
  const served = accept(server);
  assertMatch(served.text("remote"), new RegExp(`^${US6}!`));
  say(conv, "from the guest");
  six.round();
  assertEquals(hear(served), "from the guest");
  conv.command("shutdown wr");
  six.round();
  assertEquals(hear(served), "");
  say(served, "to the guest, after its end");
  six.round();
  assertEquals(hear(conv), "to the guest, after its end");
  served.close();
  six.round();
  assertEquals(hear(conv), "");
  const refused = call(six.guest, `${PEER6}!81`);
  six.round();
  assertEquals(stateOf(refused), "Closed");
});

Deno.test("akaros 17: what the policy refuses over IPv6 the guest hears of at once", async () => {
  await using six = await tellSix({ nat: { policy: { deny: ["tcp:[2001:db8::/32]:80"] } } });
  six.there.conv("tcp", "announce 80");
  const refused = call(six.guest, `${PEER6}!80`);
  const conv = six.guest.conv("udp", `connect ${ROUTER6}!9`, "ignoreadvice on");
  conv.bwrite(pattern(3));
  six.round();
  assert(stateOf(refused) !== "Established");
  assertEquals(conv.error()!.slice(40, 42), new Uint8Array([1, 1]));
  assertMatch(six.program.command("stats"), /^refused-policy-denied [1-9]/m);
});

Deno.test("akaros 17: the router's address is the host's ::1, where the policy says so", async () => {
  await using six = await tellSix({ nat: { policy: { loopback: true } } });
  const server = six.user.conv("udp", "headers", "announce ::1!7");
  const conv = six.guest.conv("udp", `connect ${ROUTER6}!7`);
  conv.bwrite(pattern(9));
  six.round();
  server.bwrite(server.read()!);
  six.round();
  assertEquals(conv.take(), pattern(9));
});

Deno.test("A forward over IPv6: the guest's server sees its client, and its answers come from the host", async () => {
  await using six = await tellSix();
  assertMatch(six.program.command(`add tcp::8080-[${SELF}]:80`), /^ok\n/);
  const server = six.guest.conv("tcp", "announce 80");
  const conv = call(six.there, `${US6}!8080`);
  advance(six.host, 4000);
  const served = accept(server);
  assertMatch(served.text("remote"), new RegExp(`^${PEER6}!`));
  say(conv, "hello");
  six.round();
  assertEquals(hear(served), "hello");
  say(served, "welcome");
  six.round();
  assertEquals(hear(conv), "welcome");
});

Deno.test("Traceroute: the router says time exceeded for the first hop, and the remote port unreachable", async () => {
  await using six = await tellSix();
  const conv = six.guest.conv("udp", `connect ${PEER6}!33434`, "ignoreadvice on", "ttl 1");
  conv.bwrite(pattern(20));
  six.round();
  assertEquals(conv.error()!.slice(40, 42), new Uint8Array([3, 0]));
  conv.command("ttl 2");
  conv.bwrite(pattern(20));
  six.round();
  const error = conv.error()!;
  assertEquals(error.slice(40, 42), new Uint8Array([1, 4]));
  assertEquals(`${parseIcmp6Quote(error, 40, error.length)!.ip.src}`, SELF);
});

Deno.test("ECN marks pass both ways", async () => {
  await using six = await tellSix();
  const server = six.there.conv("udp", "bypass 7");
  const conv = six.guest.conv("udp", `connect ${PEER6}!7`, "tos 3");
  conv.bwrite(pattern(9));
  six.round();
  const packet = server.take();
  assertEquals([packet[0]! & 15, packet[1]! >> 4], [0, 3]);
});

Deno.test("A path of 1280 bytes: the guest hears of it from the host, and its connection goes on", async () => {
  await using six = await tellSix();
  six.user.command("/net/ipifc/1/ctl", "mtu 1294");
  const server = six.there.conv("tcp", "announce 80");
  const conv = call(six.guest, `${PEER6}!80`);
  six.round();
  const served = accept(server);
  const text = "x".repeat(20_000);
  say(conv, text);
  let got = "";
  for (let i = 0; i < 200 && got.length < text.length; i++) {
    six.round();
    for (let part = hear(served); part !== null && part !== ""; part = hear(served)) got += part;
  }
  assertEquals(got.length, text.length);
  assertMatch(six.program.command("stats"), /^refused-too-big [1-9]/m);
});

Deno.test("A map of IPv6 ends when its time is over, and everything ends with the NAT", async () => {
  await using six = await tellSix();
  const conv = six.guest.conv("udp", `connect ${PEER6}!7`, "ignoreadvice on");
  conv.bwrite(pattern(1));
  six.round();
  assertEquals(six.program.sockets.openCount, 1);
  advance(six.host, 301_000);
  assertEquals(six.program.sockets.openCount, 0);
  conv.bwrite(pattern(1));
  six.round();
  six.program.close();
  assertEquals(six.program.sockets.openCount, 0);
});

/** The two versions, for what both must do: addresses, and how a forward of the guest's port 22 is written. */
const BOTH = [
  { us: HOST, peer: REMOTE, forward: "6000:22" },
  { us: US6, peer: PEER6, forward: `:6000-[${SELF}]:22` },
];

/** As {@link tellSix}, the guest with an IPv4 address besides. */
async function tellBoth() {
  const six = await tellSix();
  six.guest.command("/net/ipifc/1/ctl", "add 10.0.2.15 /24");
  six.guest.command("/net/iproute", "add 0.0.0.0 /0 10.0.2.2");
  six.round();
  return six;
}

Deno.test("A forward takes the port of the guest's open connection, which goes on, and gives it back", async () => {
  for (const { us, peer, forward } of BOTH) {
    await using six = await tellBoth();
    const server = six.there.conv("tcp", "announce 80");
    const conv = call(six.guest, `${peer}!80 6000`);
    advance(six.host, 4000);
    const served = accept(server);
    assertEquals(served.text("remote"), `${us}!6000\n`);
    const talk = (text: string) => {
      say(conv, `> ${text}`);
      say(served, `< ${text}`);
      six.round();
      assertEquals([hear(served), hear(conv)], [`> ${text}`, `< ${text}`]);
    };
    const inner = six.guest.conv("tcp", "announce 22");
    assertMatch(six.program.command(`add tcp:${forward}`), /^ok\n/);
    talk("while it is forwarded");
    const caller = call(six.there, `${us}!6000`);
    advance(six.host, 4000);
    const taken = accept(inner);
    say(caller, "a new call");
    six.round();
    assertEquals([hear(taken), stateOf(caller)], ["a new call", "Established"]);
    talk("while another calls");
    assertMatch(six.program.command(`remove tcp:${forward}`), /^ok\n/);
    talk("after it was removed");
    assertEquals(six.program.sockets.openCount, six.program.nat.table.count());
  }
});

Deno.test("A forward takes the port that the guest has sent datagrams from: their answers go on", async () => {
  for (const { us, peer, forward } of BOTH) {
    await using six = await tellBoth();
    const server = echoServer(six, 7);
    const conv = six.guest.conv("udp", `connect ${peer}!7 6000`);
    const echo = (size: number) => {
      conv.bwrite(pattern(size));
      six.round();
      server.serve();
      assertEquals([us, conv.read()], [us, pattern(size)]);
    };
    echo(3);
    assertMatch(six.program.command(`add udp:${forward}`), /^ok\n/);
    echo(4);
    assertMatch(six.program.command(`remove udp:${forward}`), /^ok\n/);
    echo(5);
  }
});
