/** TCP as a protocol of #ip: its verbs, its files, its conversations. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { peerEstablished, peerListen, peerSynSent } from "../../../tests/kit/tcp/peer_states.ts";
import { CONVS_MAX, TcpProto } from "./tcp.ts";

const codeOf = (run: () => void) => assertThrows(run, KernelError).code;

Deno.test("TcpProto is protocol 6, directory 0, of 8192 conversations that can be bypassed", () => {
  const peer = peerListen();
  const proto = new TcpProto(peer.host.stack);
  const { name, index, ipProtocols, convsMax, bypassable } = proto;
  assertEquals([name, index, ipProtocols, convsMax, bypassable], ["tcp", 0, [6], CONVS_MAX, true]);
});

Deno.test("TcpProto.bypass finds ports in a header, and in as much of one as an ICMP error quotes", () => {
  const { sourcePort, destPort } = peerListen().host.tcp.bypass;
  const header = Uint8Array.from([0, 80, 0x13, 0x88, ...new Array<number>(16).fill(0)]);
  assertEquals([sourcePort(header, 0, 20, 6), destPort(header, 0, 8, 6)], [80, 5000]);
  assertEquals([sourcePort(header, 0, 19, 6), destPort(header, 0, 3, 6)], [-1, -1]);
});

Deno.test("TcpProto.ctl() refuses a verb with wrong words and changes nothing", () => {
  const peer = peerEstablished();
  const before = { ...peer.tcb.config };
  const wrong = [
    "nodelay",
    "nodelay maybe",
    "nodelay on off",
    "keepalive 10 10",
    "keepalive 1",
    "keepalive x",
    "usertimeout",
    "usertimeout 10",
    "wqlimit",
    "wqlimit 4096",
    "congestion",
    "congestion vegas",
    "checksum",
    "hangup now",
    "tcpporthogdefense on",
  ];
  for (const command of wrong) assertEquals(codeOf(() => peer.ctl(command)), "EINVAL", command);
  assertEquals(codeOf(() => peer.ctl("checksum off")), "EOPNOTSUPP");
  for (const verb of ["ecn", "sack", "timestamps", "windowscale"]) {
    assertEquals(codeOf(() => peer.ctl(`${verb} off`)), "EISCONN", verb);
  }
  assertEquals(peer.tcb.config, before);
  peer.ctl("checksum on");
});

Deno.test("TcpProto.ctl() changes the congestion control of a connection that stands, and keeps its window", () => {
  const peer = peerEstablished();
  const { cwnd } = peer.tcb.congestion;
  peer.ctl("congestion newreno");
  assertEquals([peer.tcb.congestion.algorithm.name, peer.tcb.congestion.cwnd], ["newreno", cwnd]);
  assert(peer.host.tcp.status(peer.conv).includes(" congestion newreno "));
});

Deno.test("TcpProto.status() has Akaros' words, and its state first", () => {
  const peer = peerEstablished({ syn: { scale: 3, sackOk: true } });
  peer.writes("abc");
  const line = peer.host.tcp.status(peer.conv);
  const words = line.split(" ").filter((_, i) => i % 2 === 1).slice(0, 12);
  assertEquals(
    words.join(" "),
    "qin qout srtt mdev cwin swin rwin timer.start timer.count rerecv katimer.start katimer.count",
  );
  assert(/^Established qin 0 qout 3 .* swin \d+>>3 rwin \d+>>7 /.test(line), line);
  assert(line.endsWith(" options sack,scale\n"), line);
  assert(peerSynSent().host.tcp.status(peerSynSent().conv).startsWith("Syn_sent "));
  const idle = peer.host.conv();
  assert(peer.host.tcp.status(idle).startsWith("Closed "));
});

Deno.test("TcpProto.stats() begins with Akaros' names, in its order", () => {
  const peer = peerEstablished();
  const names = peer.host.tcp.stats().split("\n").map((line) => line.split(":")[0]);
  assertEquals(
    names.slice(0, 15).join(" "),
    "MaxConn ActiveOpens PassiveOpens EstabResets CurrEstab InSegs OutSegs RetransSegs RetransTimeouts InErrs " +
      "OutRsts CsumErrs HlenErrs LenErrs OutOfOrder",
  );
  assert(peer.host.tcp.stats().includes("CurrEstab: 1\n"));
});

Deno.test("TcpProto.connect() without a route fails at once, and leaves the conversation as it was", () => {
  const peer = peerListen();
  peer.host.onSend = () => "noRoute";
  const conv = peer.host.conv();
  assertEquals(codeOf(() => peer.host.connect(conv, peer.host.addr, 9, 7)), "EHOSTUNREACH");
  assertEquals([peer.host.tcp.busy(conv), peer.clock.timerCount], [false, 0]);
});
