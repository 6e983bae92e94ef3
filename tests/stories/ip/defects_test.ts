/**
 * Defects of the original (reference/akaros.md section 11) that we must not have: one story for each that this issue
 * touches, by its number, through files and system calls. Those of forwarding (13) have more to themselves in
 * forwarding_test.ts, those of bypass (1 to 8) are in bypass_defects_test.ts.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { ARP_LIFE_MS } from "../../../devices/ip/neighbor/arp.ts";
import { NEIGHBOR_HOLD_MAX, NEIGHBOR_RETRY_MS, NEIGHBOR_TRIES } from "../../../devices/ip/neighbor/neighbor_table.ts";
import { ERRORS_BURST } from "../../../devices/ip/network/icmp_errors.ts";
import { REASSEMBLY_BYTES_MAX, REASSEMBLY_DATAGRAMS_MAX } from "../../../devices/ip/network/reassembly.ts";
import { REASSEMBLY_TIMEOUT_S } from "../../../devices/ip/env/stats.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Open } from "../../../kernel/qid.ts";
import { Fcntl, Tap } from "../../../kernel/syscall_table.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { icmpType } from "../../../kernel/wire/icmp.ts";
import { echoPacket, icmpErrorPacket, ipPacket, pattern, PEER, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, errnoOf, mac, tell, User, WIRE_MAC } from "../../kit/ip/story.ts";
import { fragmentsOf, payloadOf } from "../../kit/ip/packet_parts.ts";

/** A right ICMP checksum for a message that was made by hand. */
function icmpPacket(message: number[]): Uint8Array {
  let sum = 0;
  for (let at = 0; at < message.length; at += 2) sum += (message[at]! << 8) | (message[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const payload = new Uint8Array(message);
  if (payload.length >= 4) put16(payload, 2, ~sum);
  return ipPacket({ protocol: 1, payload });
}

Deno.test("defect 9: counts, SETFD, shutdown, advice, refused verbs and unknown commands tell the truth", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const { sys } = user.proc;
  const conv = user.conv("udp", `connect ${PEER}!9`);
  assertEquals(user.write(conv.data, pattern(33)), 33);
  assertEquals([sys.fcntl(conv.data, Fcntl.SetFd, 1), sys.fcntl(conv.data, Fcntl.GetFd)], [0, 1]);
  conv.command("shutdown rd");
  assertEquals([conv.read()!.length, conv.read()!.length], [0, 0]);
  conv.command("ignoreadvice");
  conv.close();
  // The slot's next owner is hung up by an ICMP error: the wish was not his.
  const next = user.conv("udp", `connect ${PEER}!9`);
  assertEquals(next.dir, conv.dir);
  wire.frames();
  next.bwrite(pattern(8));
  wire.inject(icmpErrorPacket({ type: 3, code: 3, packet: wire.one() }));
  assertEquals(errnoOf(() => next.read()), "EPIPE");
  const idle = user.conv("udp");
  user.command("/net/iproute", "flush");
  assertEquals(errnoOf(() => idle.command("connect 192.0.2.1!9")), "EHOSTUNREACH");
  assertEquals(errnoOf(() => idle.command("announce 192.0.2.1!9")), "EFAIL");
  assertEquals([idle.text("local"), idle.text("remote")], ["::!0\n", "::!0\n"]);
  idle.command("announce 99");
  assertEquals(errnoOf(() => user.command("/net/iproute", "forget everything")), "EINVAL");
});

Deno.test("defect 10: #ether has taps with level, RDHUP, MOD and wide ids, and knows O_NONBLOCK", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const { sys } = user.proc;
  const ctl = user.open("/net/ether0/clone", Open.ReadWrite);
  const dir = `/net/ether0/${user.readText(ctl)}`;
  user.write(ctl, "connect 0x88b5");
  const data = user.open(`${dir}/data`, Open.ReadWrite);
  assertEquals(sys.fcntl(data, Fcntl.SetFl, Open.NonBlock), 0);
  assertEquals(user.read(data), null);
  wire.inject(pattern(50), { type: 0x88b5 });
  const events = user.tap(data, TapEvent.Readable | TapEvent.RdHup, { id: 0x1_2345_6789, level: true });
  assertEquals(events.poll(), { id: 0x1_2345_6789, events: TapEvent.Readable, data: undefined });
  user.read(data);
  sys.tapFds([{ fd: data, command: Tap.Modify, filter: TapEvent.RdHup }]);
  wire.inject(pattern(50), { type: 0x88b5 });
  assertEquals(events.poll(), null);
  story.host.ether.detachPort(0);
  assertEquals(events.poll()?.events, TapEvent.RdHup);
});

Deno.test("defect 11: permissions keep others out, and one user cannot have every conversation", async () => {
  await using story = await tell();
  const [alice, bob] = [new User(story.host, "alice"), new User(story.host, "bob")];
  const conv = alice.conv("udp", "bypass 7000");
  for (const file of ["ctl", "data", "err", "listen"]) {
    assertEquals(errnoOf(() => bob.open(`${conv.dir}/${file}`)), "EACCES");
  }
  assertEquals(errnoOf(() => bob.open("/net/ipifc/1/snoop", Open.Read)), "EACCES");
  assertEquals(errnoOf(() => bob.conv("raw")), "EACCES");
  const { convsMax } = story.stack.protoNamed("icmp")!;
  let count = 0;
  const more = () => {
    while (count <= convsMax) {
      alice.open("/net/icmp/clone");
      count++;
    }
  };
  assertEquals([errnoOf(more), count], ["EFAIL", Math.ceil(convsMax * story.stack.userShare)]);
  bob.conv("icmp", "announce 7");
});

Deno.test("defect 12: lengths that lie in UDP, ICMP and IP headers are counted and dropped", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const conv = user.conv("udp", "headers", "announce 7");
  const held = user.conv("udp", "bypass 8");
  for (const dstPort of [7, 8]) {
    for (const length of [0, 1, 7, 29, 0xffff]) {
      const packet = udpPacket({ dstPort, payload: pattern(20), checksum: 0 });
      put16(packet, 24, length);
      wire.inject(packet);
    }
    wire.inject(ipPacket({ protocol: 17, payload: pattern(7) }));
  }
  assertEquals([conv.bread(), held.bread(), user.stat("udp", "LenErrs")], [null, null, 12]);
  for (let length = 0; length < 8; length++) wire.inject(icmpPacket(new Array(length).fill(8)));
  assertEquals([wire.sent(), user.stat("icmp", "LenErrs")], [[], 8]);
  // An error whose quote is cut off, empty, or claims a header beyond its end.
  for (const quote of [[], [0x45], [0x4f, ...new Array(27).fill(0)], new Array(28).fill(0x45)]) {
    wire.inject(icmpPacket([3, 3, 0, 0, 0, 0, 0, 0, ...quote]));
  }
  assertEquals(user.stat("icmp", "HlenErrs"), 4);
  for (const ihl of [0x40, 0x44, 0x4f]) {
    const packet = ipPacket({ payload: pattern(3) });
    packet[0] = ihl;
    wire.inject(packet.slice(0, 24));
  }
  assertEquals(user.stat("ipifc", "InBadHeaderLen") + user.stat("ipifc", "InBadTotalLen"), 3);
});

Deno.test("defect 13: no echo to a group, and ICMP errors are limited in rate", async () => {
  await using story = await tell();
  const { user, wire, host } = story;
  for (const dst of ["10.0.0.255", "255.255.255.255"]) {
    wire.inject(echoPacket({ dst }), { dst: mac("ffffffffffff") });
  }
  assertEquals([wire.sent(), user.stat("icmp", "GroupEchos")], [[], 2]);
  for (let i = 0; i < ERRORS_BURST + 20; i++) wire.inject(udpPacket({ dstPort: 9999 }));
  assertEquals([wire.sent().length, user.stat("icmp", "OutSuppressed")], [ERRORS_BURST, 20]);
  advance(host, 10);
  for (let i = 0; i < 20; i++) wire.inject(udpPacket({ dstPort: 9999 }));
  assertEquals(wire.sent().length, 10);
});

Deno.test("defect 13: reassembly has limits of datagrams and bytes, and a timer that notifies the sender", async () => {
  await using story = await tell();
  const { user, wire, host, stack } = story;
  const { reassembly } = stack;
  const firstOf = (id: number, size: number) =>
    fragmentsOf(udpPacket({ dstPort: 7, payload: pattern(size) }), 1480, id)[0]!;
  for (let id = 0; id < REASSEMBLY_DATAGRAMS_MAX + 50; id++) wire.inject(firstOf(id, 3000));
  assertEquals([reassembly.size, user.stat("ipifc", "ReasmEvicted")], [REASSEMBLY_DATAGRAMS_MAX, 50]);
  for (let id = 0; id < 100; id++) {
    // The last fragment of a large datagram makes room for all of it.
    wire.inject(ipPacket({ id: 1000 + id, fragOffset: 64000, payload: pattern(800) }));
    assert(reassembly.bytes <= REASSEMBLY_BYTES_MAX, `${reassembly.bytes} bytes wait`);
  }
  advance(host, REASSEMBLY_TIMEOUT_S * 1000);
  assertEquals([reassembly.size, reassembly.bytes], [0, 0]);
  wire.frames();
  wire.inject(firstOf(1, 3000));
  advance(host, REASSEMBLY_TIMEOUT_S * 1000);
  const told = payloadOf(wire.one());
  assertEquals([icmpType(told, 0), told[1]], [11, 1]);
});

Deno.test("defect 14: unbind lets go of ether and loopback, and both can be bound again", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const { timerCount } = story.host.clock;
  for (const [number, medium, address] of [[1, "ether /net/ether0", "10.0.0.1 /24"], [0, "loopback", "127.0.0.1 /8"]]) {
    const ctl = user.open(`/net/ipifc/${number}/ctl`);
    user.write(ctl, "unbind");
    assertEquals(user.text(`/net/ipifc/${number}/local`), "");
    wire.inject(echoPacket());
    assertEquals(wire.sent(), []);
    user.write(ctl, `bind ${medium}`);
    user.write(ctl, `add ${address}`);
  }
  user.command("/net/arp", `add ${PEER} ${WIRE_MAC.toHex()}`);
  wire.frames();
  wire.inject(echoPacket());
  assertEquals(wire.sent().length, 1);
  advance(story.host, NEIGHBOR_RETRY_MS);
  assertEquals(story.host.clock.timerCount, timerCount);
});

Deno.test("defect 14: ARP asks again by itself, gives up, holds few packets, and forgets", async () => {
  await using story = await tell();
  const { user, wire, host, stack } = story;
  const conv = user.conv("udp", "connect 10.0.0.7!9");
  for (let i = 0; i < NEIGHBOR_HOLD_MAX + 10; i++) conv.bwrite(pattern(4));
  assertEquals(user.stat("ipifc", "ArpHoldFull"), 10);
  assertMatch(user.text("/net/arp"), /^ether WAIT 10\.0\.0\.7 /m);
  advance(host, NEIGHBOR_TRIES * NEIGHBOR_RETRY_MS);
  assertEquals(wire.frames().length, NEIGHBOR_TRIES);
  assertEquals(user.stat("ipifc", "ArpUnresolved"), NEIGHBOR_HOLD_MAX);
  // Whose packets they were hears that the host cannot be reached.
  assertEquals([...payloadOf(conv.error()!).subarray(0, 2)], [3, 1]);
  assertEquals(user.text("/net/arp").includes("10.0.0.7"), false);
  assertEquals(stack.arp.size, 1);
  conv.close();
  const again = user.conv("udp", "connect 10.0.0.7!9");
  again.bwrite(pattern(4));
  wire.answerArp(wire.frames()[0]!, mac("020000000007"));
  assertEquals(wire.sent().length, 1);
  assertMatch(user.text("/net/arp"), /^ether OK 10\.0\.0\.7 020000000007$/m);
  advance(host, ARP_LIFE_MS + NEIGHBOR_TRIES * NEIGHBOR_RETRY_MS);
  assertEquals(user.text("/net/arp").includes("10.0.0.7"), false);
});

Deno.test("defect 15: tables are text without NULs, read whole in pages, masks as people write them", async () => {
  await using story = await tell();
  for (const file of ["iproute", "ipselftab", "arp"]) {
    const whole = story.user.text(`/net/${file}`);
    const fd = story.user.open(`/net/${file}`, Open.Read);
    let paged = "";
    for (let part = story.user.readText(fd, 7); part !== ""; part = story.user.readText(fd, 7)) paged += part;
    assertEquals(paged, whole);
    assertEquals(whole.includes("\0"), false);
  }
  assertMatch(story.user.text("/net/iproute"), /^10\.0\.0\.0 \/24 10\.0\.0\.0 4i {3}ifc 1$/m);
  assertMatch(story.user.text("/net/ipselftab"), /^10\.0\.0\.1 1 4u$/m);
});

Deno.test("defect 16: short frames, wrong instances and missing arguments are refused", async () => {
  await using story = await tell();
  const { user, wire } = story;
  const ctl = user.open("/net/ether0/clone", Open.ReadWrite);
  const data = user.open(`/net/ether0/${user.readText(ctl)}/data`);
  for (const length of [0, 1, 13]) {
    assertEquals(errnoOf(() => user.write(data, new Uint8Array(length))), "EINVAL");
    assertEquals(errnoOf(() => user.proc.sys.blockwrite(data, new Uint8Array(length))), "EINVAL");
  }
  assertEquals(wire.frames(), []);
  for (const name of ["#ip.-1", "#ip.x", "#ip.32", "#ip.1.1", "#ether.-1", "#ether.9", "#ether.x"]) {
    assertMatch(errnoOf(() => user.proc.sys.stat(name)), /^(EINVAL|EFAIL|ENODEV)$/);
  }
  const files = [
    "/net/udp/0/ctl",
    "/net/icmp/0/ctl",
    "/net/ipifc/1/ctl",
    "/net/ether0/0/ctl",
    "/net/iproute",
    "/net/arp",
  ];
  user.conv("udp");
  user.conv("icmp");
  for (const file of files) {
    for (
      const verb of ["connect", "announce", "bind", "bypass", "add", "remove", "del", "addmulti", "mtu", "rqlimit"]
    ) {
      assertMatch(errnoOf(() => user.command(file, verb)), /^(EINVAL|EFAIL|EBUSY)$/, `${verb} to ${file}`);
    }
  }
});
