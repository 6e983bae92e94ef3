/** What the NAT's router does for guests, and what its owner can ask it: DHCP, ARP, names, the control channel. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { Open } from "../../../kernel/qid.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { ARP_REPLY, ARP_REQUEST, emitArp, parseArp } from "../../../kernel/wire/arp.ts";
import {
  DHCP_DISCOVER,
  DHCP_OPTION_SERVER_ID,
  DHCP_REQUEST,
  dhcpAddrs,
  encodeDhcpAddrs,
} from "../../../kernel/wire/dhcp.ts";
import { dnsLen, dnsQuery, emitDns, parseDns } from "../../../kernel/wire/dns.ts";
import { emitEthernet, ETHERTYPE_ARP } from "../../../kernel/wire/ethernet.ts";
import { MAC_BROADCAST, MAC_ZERO } from "../../../kernel/wire/mac_addr.ts";
import { boot } from "../../../tools/boot/boot.ts";
import { exposureOf } from "../../../tools/nat/exposure.ts";
import { HOST_MAC } from "../../../tools/nat/config.ts";
import { endsOf } from "../../kit/nat/steps.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import { ip, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance } from "../../kit/ip/story.ts";
import { dataOf } from "../../kit/ip/packet_parts.ts";
import { askDhcp, DNS, type FakeGuest, GUEST, HOST, must, REMOTE, ROUTER, tellNat } from "../../kit/nat/nat.ts";

function arp(guest: FakeGuest, senderIp: string, targetIp: string): Uint8Array {
  const frame = new Uint8Array(60);
  emitEthernet({ dst: MAC_BROADCAST, src: guest.mac, etherType: ETHERTYPE_ARP }, frame, 0);
  const addrs = { senderIp: ip(senderIp), targetIp: ip(targetIp) };
  emitArp({ op: ARP_REQUEST, senderMac: guest.mac, targetMac: MAC_ZERO, ...addrs }, frame, 14);
  return frame;
}

Deno.test("DHCP: the guest is offered its address by the router and gets it", async () => {
  await using story = await tellNat();
  const { guest } = story;
  const offer = must(askDhcp(guest, DHCP_DISCOVER));
  assertEquals([offer.type, `${offer.message.yiaddr}`, endsOf(offer.packet)], [2, GUEST, `${ROUTER}:67 > ${GUEST}:68`]);
  assertEquals(dhcpAddrs(offer.message.options, DHCP_OPTION_SERVER_ID).map(String), [ROUTER]);
  const options: [number, Uint8Array][] = [[DHCP_OPTION_SERVER_ID, encodeDhcpAddrs([ip(ROUTER)])]];
  assertEquals(askDhcp(guest, DHCP_REQUEST, { requested: GUEST, options })?.type, 5);
  assertStringIncludes(story.command("leases"), `${GUEST} ${guest.mac} leased 3600000`);
});

Deno.test("akaros 18: DHCP and ARP that make no sense are dropped, and the next good one is answered", async () => {
  await using story = await tellNat();
  const { guest } = story;
  for (const type of [0, 9, 255]) assertEquals(askDhcp(guest, type), null);
  const ends = { src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67 };
  for (const size of [0, 1, 20, 239, 240, 300]) {
    guest.send(udpPacket({ ...ends, payload: pattern(size) }), { broadcast: true });
  }
  guest.sendFrame(arp(guest, GUEST, ROUTER).subarray(0, 30));
  guest.sendFrame(arp(guest, GUEST, ROUTER).subarray(0, 14));
  assertEquals(guest.frames(), []);
  assertEquals(askDhcp(guest, DHCP_DISCOVER)?.type, 2);
});

Deno.test("akaros 25: ARP answers for the router, not for the guest's own announcements and probes", async () => {
  await using story = await tellNat();
  const { guest } = story;
  const asks: [string, string, boolean][] = [
    [GUEST, ROUTER, true],
    [GUEST, DNS, true],
    ["0.0.0.0", ROUTER, true],
    [GUEST, GUEST, false],
    ["0.0.0.0", GUEST, false],
    [GUEST, "10.0.2.99", false],
    ["10.2.0.0", "10.2.0.0", false],
  ];
  for (const [from, about, isAnswered] of asks) {
    guest.sendFrame(arp(guest, from, about));
    const frames = guest.frames();
    assertEquals([from, about, frames.length], [from, about, isAnswered ? 1 : 0]);
    if (!isAnswered) continue;
    const answer = must(parseArp(frames[0]!, 14, frames[0]!.length));
    assertEquals([answer.op, `${answer.senderIp}`, answer.senderMac.equals(HOST_MAC)], [ARP_REPLY, about, true]);
  }
});

Deno.test("akaros 24: somebody else's DHCP server is not ours to play", async () => {
  await using story = await tellNat();
  const server = story.there.conv("udp", "announce 67", "headers");
  story.guest.ask(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 68, dstPort: 67, payload: pattern(300) }));
  assertEquals(must(server.bread()).length, 352);
});

Deno.test("Names of our own zone are answered here; all others by the host's server", async () => {
  await using story = await tellNat({ nat: { zone: { printer: "10.0.0.9" } } });
  const ask = (name: string, type: number) => {
    const query = dnsQuery(7, { name, type, class: 1 });
    const payload = new Uint8Array(dnsLen(query));
    emitDns(query, payload, 0);
    const [packet] = story.guest.ask(udpPacket({ src: GUEST, dst: DNS, srcPort: 5000, dstPort: 53, payload }));
    if (packet === undefined || packet[9] !== 17) return null;
    return must(parseDns(dataOf(packet), 0, dataOf(packet).length));
  };
  const address = (name: string) => ask(name, 1)?.answers.map(({ data }) => data.kind === "addr" ? `${data.addr}` : "");
  assertEquals(address("gateway.internal"), [ROUTER]);
  assertEquals(address("Printer.INTERNAL"), ["10.0.0.9"]);
  assertEquals([ask("printer.internal", 28)?.rcode, ask("absent.internal", 1)?.rcode], [0, 3]);
  assertEquals(ask("2.2.0.10.in-addr.arpa", 12)?.answers.length, 1);
  // The remote has no server: it says so, and that ends the question.
  assertEquals([ask("example.com", 1)?.rcode, story.stat("dns")], [2, 6]);
});

Deno.test("The control channel: forwards come and go while traffic flows, and all can be looked at", async () => {
  await using story = await tellNat();
  assertEquals(story.command("add udp:8053:53"), `ok\nudp:8053:53 ${GUEST} 0 0\n`);
  assertEquals(story.command("add hostfwd=tcp::2222-:22"), `ok\ntcp:2222:22 ${GUEST} 0 0\n`);
  const conv = story.there.conv("udp", `connect ${HOST}!8053 1234`);
  conv.bwrite(pattern(3));
  advance(story.host, 20);
  assertEquals(story.command("list"), `ok\nudp:8053:53 ${GUEST} 1 0\ntcp:2222:22 ${GUEST} 0 0\n`);
  assertMatch(story.command("show"), /udp:8053:53 exposes guest 10.0.2.15 on every address of the host/);
  await using open = await tellNat({ nat: { filtering: { udp: "endpoint" } } });
  assertMatch(open.command("show"), /^anybody reaches every udp port that a guest has sent from$/m);
  story.guest.ask(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7 }));
  assertMatch(story.command("maps"), /^ok\nudp 10.0.2.15!4000 \*!4000 world unanswered \d+ 1 0\n$/);
  assertEquals(story.command("remove udp:8053:53"), `ok\nudp:8053:53 ${GUEST} 1 0\n`);
  assertEquals(
    story.command("json list"),
    `{"ok":true,"forwards":[{"forward":"tcp:2222:22","guest":"${GUEST}","in":0,"out":0}]}\n`,
  );
  story.guest.packets();
  conv.bwrite(pattern(3));
  advance(story.host, 20);
  assertEquals(story.guest.packets(), []);
});

Deno.test("The control channel refuses with a reason and goes on", async () => {
  await using story = await tellNat();
  const errors = ["add", "add nonsense", "remove tcp:1:1", "frobnicate", "maps igmp", "list 'open", "toString"];
  for (const command of errors) assertMatch(story.command(command), /^error: (Cannot|No forward) .+\n$/);
  assertMatch(story.command("json add x"), /^\{"ok":false,"errno":"EINVAL","error":".+"\}\n$/);
  story.user.conv("udp", "announce 8053");
  assertMatch(story.command("add udp:8053:53"), /^error: Cannot forward udp:8053:53: .*udp\/\d+ of eve/);
  assertEquals(story.command("list"), "ok\n");
  assertMatch(story.command("help"), /^ok\nadd SPEC\n/);
});

Deno.test("Who floods the control channel without reading loses answers, and the NAT goes on", async () => {
  await using story = await tellNat();
  const fd = story.user.open("#srv/nat", Open.ReadWrite);
  for (let i = 0; i < 3000; i++) story.program.command("stats");
  for (let i = 0; i < 200; i++) story.user.write(fd, "stats");
  assertEquals(story.guest.askOne(udpPacket({ src: GUEST, dst: REMOTE, dstPort: 99 }))[20], 3);
  story.user.proc.sys.close(fd);
});

Deno.test("A NAT that ends gives back every port, descriptor and name", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53"], nat: { policy: { loopback: true } } });
  story.guest.ask(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000 }));
  story.guest.ask(udpPacket({ src: GUEST, dst: ROUTER, srcPort: 4000 }));
  assertEquals(story.program.sockets.openCount, 3);
  story.program.close();
  assertEquals(story.program.sockets.openCount, 0);
  assertEquals(story.user.proc.sys.list("#srv").length, 0);
  story.user.conv("udp", "announce 4000");
  story.user.conv("udp", "announce 8053");
});

Deno.test("akaros 29: a forward that cannot be had at the start ends nothing, and is said why", async () => {
  const host = await boot();
  const proc = host.spawn("server");
  await proc.announce("udp!*!8053");
  const program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: () => {},
    nat: { hostAddr: `${HOST}/24` },
    forwards: ["tcp:8000-8003:80", "udp:8053:53", "tcp:8002:22", "tcp:2222:22"],
  });
  assertEquals(program.nat.forwards.list.map(({ spec }) => spec.hostPort), [8000, 2222]);
  const refused = exposureOf(program.nat).filter((line) => line.startsWith("Cannot"));
  assertMatch(must(refused[0]), /^Cannot forward udp:8053:53: .*udp\/\d+ of eve/);
  assertEquals(refused.slice(1), ["Cannot forward tcp:8002:22: the forward tcp:8000-8003:80 has the port"]);
  // Once the port is free it can be had, and nothing is said about it any more.
  program.command("remove tcp:8000-8003:80");
  assertMatch(program.command("add tcp:8002:22"), /^ok/);
  assertEquals(exposureOf(program.nat).filter((line) => line.startsWith("Cannot")).length, 1);
  program.close();
  await host.close();
});

Deno.test("A forward of host port 0 gets one that is free, and is listed and removed by it", async () => {
  await using story = await tellNat();
  const [, port] = must(/^ok\nudp:(\d+):53 /.exec(story.command("add hostfwd=udp::0-:53")));
  story.there.conv("udp", `connect ${HOST}!${port} 1234`).bwrite(pattern(3));
  advance(story.host, 20);
  assertEquals(endsOf(must(story.guest.packets()[0])), `${REMOTE}:1234 > ${GUEST}:53`);
  assertMatch(story.command(`remove udp:${port}:53`), /^ok/);
  assertEquals(story.program.sockets.openCount, 0);
});

Deno.test("What ends here is checked here: DHCP and our zone do not answer a wrong checksum", async () => {
  await using story = await tellNat();
  const query = dnsQuery(7, { name: "gateway.internal", type: 1, class: 1 });
  const payload = new Uint8Array(dnsLen(query));
  emitDns(query, payload, 0);
  const ask = (checksum?: number) =>
    story.guest.ask(udpPacket({
      src: GUEST,
      dst: DNS,
      srcPort: 5000,
      dstPort: 53,
      payload,
      ...(checksum === undefined ? {} : { checksum }),
    })).length;
  assertEquals([ask(), ask(0), ask(1), story.stat("refused-bad-transport")], [1, 1, 0, 1]);
  const ends = { src: "0.0.0.0", dst: "255.255.255.255", srcPort: 68, dstPort: 67 };
  const message = dataOf(must(askDhcp(story.guest, DHCP_DISCOVER)).packet).slice();
  message[0] = 1;
  message[242] = 1;
  for (const [checksum, count] of [[0, 1], [1, 0]] as const) {
    story.guest.send(udpPacket({ ...ends, checksum, payload: message }), { broadcast: true });
    assertEquals([checksum, story.guest.packets().length], [checksum, count]);
  }
});
