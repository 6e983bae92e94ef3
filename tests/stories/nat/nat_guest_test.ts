/**
 * A whole kernel as the guest, over both versions of IP: its IPv4 address by hand, its IPv6 address by the NAT's router
 * advertisement; real ARP, neighbour discovery, ICMP, UDP and TCP on both sides.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertNotMatch } from "@std/assert";
import { parseIcmpQuote } from "../../../kernel/wire/icmp.ts";
import { parseIcmp6Quote } from "../../../kernel/wire/icmp6.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { advance, type UserConv } from "../../kit/ip/story.ts";
import { accept, call, hear, say, stateOf } from "../../kit/tcp/story.ts";
import { type GuestStory, ROUTER6, SELF, tellGuest, type Version, VERSIONS } from "../../kit/nat/guest_story.ts";

/** Pings `addr` with `size` bytes; the length of what came back, or null. */
function ping(story: GuestStory, addr: string, size: number, { icmp, header, echo }: Version): number | null {
  const conv = story.guest.conv(icmp, `connect ${addr}!1`);
  const message = new Uint8Array(header + 8 + size);
  message[header] = echo;
  conv.bwrite(message);
  story.round();
  const reply = conv.bread();
  conv.close();
  return reply === null ? null : reply.length;
}

/** A server at the remote that answers every datagram with the same bytes, when `serve` is called. */
function echoServer(story: GuestStory, port: number): { conv: UserConv; serve: () => Uint8Array | null } {
  const conv = story.there.conv("udp", "headers", `announce ${port}`);
  const serve = () => {
    const record = conv.read();
    if (record !== null) conv.bwrite(record);
    story.round();
    return record;
  };
  return { conv, serve };
}

Deno.test("akaros 23: a guest takes address, route, MTU and name server from the router's advertisement", async () => {
  await using story = await tellGuest({ nat: { mtu: 1400 } });
  const { guest } = story;
  assertMatch(guest.text("/net/ipifc/1/status"), new RegExp(`\t${SELF} /64`));
  assertMatch(guest.text("/net/iproute"), /^:: \/0 fe80::201:2ff:fe03:40a .*ra/m);
  assertMatch(guest.text("/net/ndb"), /dns=fd00:0:0:2::3|dns=fd00::2:0:0:0:3/);
  // What does not fit 1400 bytes it cuts.
  assertEquals([ping(story, ROUTER6, 1352, VERSIONS[1]!), story.program.nat.counters.reassembled], [1400, 0]);
  assertEquals([ping(story, ROUTER6, 1353, VERSIONS[1]!), story.program.nat.counters.reassembled], [1401, 1]);
});

for (const version of VERSIONS) {
  const { name, us, peer, self, router, dns, loopback, header, largest, denied, codes } = version;

  Deno.test(`${name}: akaros 23: a guest pings router, name server and remote, in small and large`, async () => {
    await using story = await tellGuest();
    for (const addr of [router, dns, peer]) {
      for (const size of [0, 56, 1492 - header, 1493 - header, 5000, 20_000]) {
        assertEquals(ping(story, addr, size, version), header + 8 + size, `${addr} ${size}`);
      }
    }
    assertMatch(story.program.command("maps icmp"), new RegExp(`^icmp ${self}!\\d+ `, "m"));
  });

  Deno.test(`${name}: akaros 23: datagrams of every size come back whole`, async () => {
    await using story = await tellGuest();
    const { conv: server, serve } = echoServer(story, 7);
    const conv = story.guest.conv("udp", `connect ${peer}!7`);
    for (const size of [0, 1, 1232, 1233, 1452, 1453, 1472, 1473, 9000, largest[0]]) {
      conv.bwrite(pattern(size));
      story.round();
      const record = serve();
      assert(record !== null, `${size}`);
      assertEquals(record.length, 52 + size);
      assertEquals(conv.take(), pattern(size));
    }
    // To the guest the largest there is: it needs no fragment header of the whole.
    conv.bwrite(pattern(1));
    story.round();
    const record = server.read()!;
    server.bwrite(new Uint8Array([...record.subarray(0, 52), ...pattern(largest[1])]));
    story.round();
    assertEquals(conv.take(), pattern(largest[1]));
    assertMatch(story.program.command("maps udp"), new RegExp(`^udp ${self}!\\d+ `, "m"));
  });

  Deno.test(`${name}: RFC 8200 5: what comes in fragments is cut again for the guest`, async () => {
    await using story = await tellGuest({ nat: { mtu: 1280 } });
    story.there.command("/net/ipifc/1/ctl", "mtu 1294");
    const { serve } = echoServer(story, 7);
    const conv = story.guest.conv("udp", `connect ${peer}!7`);
    for (const size of [1232, 1233, 1300, 1400, 1452, 1453, 3000]) {
      conv.bwrite(pattern(size));
      story.round();
      assert(serve() !== null, `${size} from the guest`);
      assertEquals(conv.take(), pattern(size), `${size} to the guest`);
    }
    assertNotMatch(story.program.command("stats"), /refused-too-big/);
  });

  Deno.test(`${name}: akaros 23: TCP goes both ways, is half-closed, and a closed port refuses`, async () => {
    await using story = await tellGuest();
    const server = story.there.conv("tcp", "announce 80");
    const conv = call(story.guest, `${peer}!80`);
    story.round();
    const served = accept(server);
    assertMatch(served.text("remote"), new RegExp(`^${us}!`));
    say(conv, "from the guest");
    story.round();
    assertEquals(hear(served), "from the guest");
    conv.command("shutdown wr");
    story.round();
    assertEquals(hear(served), "");
    say(served, "to the guest, after its end");
    story.round();
    assertEquals(hear(conv), "to the guest, after its end");
    served.close();
    story.round();
    assertEquals(hear(conv), "");
    const refused = call(story.guest, `${peer}!81`);
    story.round();
    assertEquals(stateOf(refused), "Closed");
  });

  Deno.test(`${name}: akaros 17: what the policy refuses the guest hears of at once`, async () => {
    await using story = await tellGuest({ nat: { policy: { deny: [denied] } } });
    story.there.conv("tcp", "announce 80");
    const refused = call(story.guest, `${peer}!80`);
    const conv = story.guest.conv("udp", `connect ${router}!9`, "ignoreadvice on");
    conv.bwrite(pattern(3));
    story.round();
    assert(stateOf(refused) !== "Established");
    assertEquals([...conv.error()!.slice(header, header + 2)], codes.prohibited);
    assertMatch(story.program.command("stats"), /^refused-policy-denied [1-9]/m);
  });

  Deno.test(`${name}: akaros 17: the router's address is the host's loopback, where the policy says so`, async () => {
    await using story = await tellGuest({ nat: { policy: { loopback: true } } });
    const server = story.user.conv("udp", "headers", `announce ${loopback}!7`);
    const conv = story.guest.conv("udp", `connect ${router}!7`);
    conv.bwrite(pattern(9));
    story.round();
    server.bwrite(server.read()!);
    story.round();
    assertEquals(conv.take(), pattern(9));
  });

  Deno.test(`${name}: A forward: the guest's server sees its client, its answers are the host's`, async () => {
    await using story = await tellGuest();
    assertMatch(story.program.command(`add tcp:${version.forward(8080, 80)}`), /^ok\n/);
    const server = story.guest.conv("tcp", "announce 80");
    const conv = call(story.there, `${us}!8080`);
    advance(story.host, 4000);
    const served = accept(server);
    assertMatch(served.text("remote"), new RegExp(`^${peer}!`));
    say(conv, "hello");
    story.round();
    assertEquals(hear(served), "hello");
    say(served, "welcome");
    story.round();
    assertEquals(hear(conv), "welcome");
  });

  Deno.test(`${name}: Traceroute: time exceeded from the router, port unreachable from the remote`, async () => {
    await using story = await tellGuest();
    const conv = story.guest.conv("udp", `connect ${peer}!33434`, "ignoreadvice on", "ttl 1");
    conv.bwrite(pattern(20));
    story.round();
    assertEquals([...conv.error()!.slice(header, header + 2)], codes.hops);
    conv.command("ttl 2");
    conv.bwrite(pattern(20));
    story.round();
    const error = conv.error()!;
    assertEquals([...error.slice(header, header + 2)], codes.port);
    const quote = header === 20 ? parseIcmpQuote(error, 20, error.length) : parseIcmp6Quote(error, 40, error.length);
    assertEquals(`${quote!.ip.src}`, self);
  });

  Deno.test(`${name}: ECN marks pass both ways`, async () => {
    await using story = await tellGuest();
    const server = story.there.conv("udp", "bypass 7");
    const conv = story.guest.conv("udp", `connect ${peer}!7`, "tos 3");
    conv.bwrite(pattern(9));
    story.round();
    const packet = server.take();
    const tos = header === 20 ? packet[1]! : (packet[0]! & 15) << 4 | packet[1]! >> 4;
    assertEquals(tos, 3);
  });

  Deno.test(`${name}: A path of 1280 bytes: the guest hears of it, and its connection goes on`, async () => {
    await using story = await tellGuest();
    story.user.command("/net/ipifc/1/ctl", "mtu 1294");
    const server = story.there.conv("tcp", "announce 80");
    const conv = call(story.guest, `${peer}!80`);
    story.round();
    const served = accept(server);
    const text = "x".repeat(20_000);
    say(conv, text);
    let got = "";
    for (let i = 0; i < 200 && got.length < text.length; i++) {
      story.round();
      for (let part = hear(served); part !== null && part !== ""; part = hear(served)) got += part;
    }
    assertEquals(got.length, text.length);
    assertMatch(story.program.command("stats"), /^refused-too-big [1-9]/m);
  });

  Deno.test(`${name}: A map ends when its time is over, and everything ends with the NAT`, async () => {
    await using story = await tellGuest();
    const conv = story.guest.conv("udp", `connect ${peer}!7`, "ignoreadvice on");
    conv.bwrite(pattern(1));
    story.round();
    assertEquals(story.program.sockets.openCount, 1);
    advance(story.host, 301_000);
    assertEquals(story.program.sockets.openCount, 0);
    conv.bwrite(pattern(1));
    story.round();
    story.program.close();
    assertEquals(story.program.sockets.openCount, 0);
  });

  Deno.test(`${name}: A forward takes the port of an open connection, which goes on, and gives it back`, async () => {
    await using story = await tellGuest();
    const forward = version.forward(6000, 22);
    const server = story.there.conv("tcp", "announce 80");
    const conv = call(story.guest, `${peer}!80 6000`);
    advance(story.host, 4000);
    const served = accept(server);
    assertEquals(served.text("remote"), `${us}!6000\n`);
    const talk = (text: string) => {
      say(conv, `> ${text}`);
      say(served, `< ${text}`);
      story.round();
      assertEquals([hear(served), hear(conv)], [`> ${text}`, `< ${text}`]);
    };
    const inner = story.guest.conv("tcp", "announce 22");
    assertMatch(story.program.command(`add tcp:${forward}`), /^ok\n/);
    talk("while it is forwarded");
    const caller = call(story.there, `${us}!6000`);
    advance(story.host, 4000);
    const taken = accept(inner);
    say(caller, "a new call");
    story.round();
    assertEquals([hear(taken), stateOf(caller)], ["a new call", "Established"]);
    talk("while another calls");
    assertMatch(story.program.command(`remove tcp:${forward}`), /^ok\n/);
    talk("after it was removed");
    assertEquals(story.program.sockets.openCount, story.program.nat.table.count());
  });

  Deno.test(`${name}: A forward takes the port of the guest's datagrams: their answers go on`, async () => {
    await using story = await tellGuest();
    const forward = version.forward(6000, 22);
    const server = echoServer(story, 7);
    const conv = story.guest.conv("udp", `connect ${peer}!7 6000`);
    const echo = (size: number) => {
      conv.bwrite(pattern(size));
      story.round();
      server.serve();
      assertEquals([us, conv.read()], [us, pattern(size)]);
    };
    echo(3);
    assertMatch(story.program.command(`add udp:${forward}`), /^ok\n/);
    echo(4);
    assertMatch(story.program.command(`remove udp:${forward}`), /^ok\n/);
    echo(5);
  });
}
