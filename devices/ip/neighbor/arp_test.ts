import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../kernel/block.ts";
import { ARP_REPLY, ARP_REQUEST } from "../../../kernel/wire/arp.ts";
import { etherDst, ETHERTYPE_ARP } from "../../../kernel/wire/ethernet.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { ARP_LIFE_MS } from "./arp.ts";
import { NEIGHBOR_DEFEND_MS, NEIGHBOR_HOLD_MAX, NEIGHBOR_RETRY_MS } from "./neighbor_table.ts";
import { runArpCtl } from "./arp_ctl.ts";
import { NEIGHBORS_MAX } from "./neighbor_store.ts";
import { sendRaw } from "../network/ip_output.ts";
import { etherFrame, headerOf, ip, ipPacket, mac, NO_MAC, OUR_MAC, PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  return made;
}

/** Sends a packet of ours with identification `id`. */
function send(at: TestHost, dst = "10.0.0.2", id = 1): void {
  sendRaw(at.stack, Block.from(ipPacket({ src: "10.0.0.1", dst, id })), { kernelHeader: false });
  at.run();
}

/** What is on the wire: ARP in words, IP as destination address and id. */
function wire(at: TestHost): string[] {
  return at.takeFrames().map((frame) => {
    if (frame[12] === 8 && frame[13] === 0) return `ip ${headerOf(frame.subarray(14)).id} to ${etherDst(frame, 0)}`;
    at.ether.sent.push(frame);
    const { op, targetIp, targetMac } = at.takeArp()[0]!;
    return op === ARP_REQUEST ? `who-has ${targetIp} to ${etherDst(frame, 0)}` : `is-at ${targetIp} ${targetMac}`;
  });
}

const ASK = "who-has 10.0.0.2 to ff:ff:ff:ff:ff:ff";
const ASK_QUIETLY = `who-has 10.0.0.2 to ${PEER_MAC}`;
const OTHER_MAC = mac("02:00:00:00:00:99");

Deno.test("ArpTable asks once, holds what comes meanwhile, and sends all of it in order on the answer", () => {
  const at = host();
  for (let id = 1; id <= 3; id++) send(at, "10.0.0.2", id);
  assertEquals(wire(at), [ASK]);
  at.receiveArp({});
  assertEquals(wire(at), [1, 2, 3].map((id) => `ip ${id} to ${PEER_MAC}`));
  send(at, "10.0.0.2", 4);
  assertEquals(wire(at), [`ip 4 to ${PEER_MAC}`]);
});

Deno.test("ArpTable asks again without more traffic: 3 times, 1 s apart (defect 14: retry timers)", () => {
  const at = host();
  send(at);
  assertEquals(wire(at), [ASK]);
  at.clock.advance(NEIGHBOR_RETRY_MS - 1);
  assertEquals(wire(at), []);
  at.clock.advance(1);
  assertEquals(wire(at), [ASK]);
  at.clock.advance(NEIGHBOR_RETRY_MS);
  assertEquals(wire(at), [ASK]);
  assertEquals([at.stack.arp.size, at.stack.stats.arpUnresolved], [1, 0]);
  at.clock.advance(NEIGHBOR_RETRY_MS);
  assertEquals(wire(at), []);
  assertEquals([at.stack.arp.size, at.stack.stats.arpUnresolved], [0, 1]);
  assertEquals(at.clock.timerCount, 0);
});

Deno.test("ArpTable tells the senders of held packets that the host is unreachable", () => {
  const at = host();
  at.ifc("bind ether /net/ether1", "add 10.1.0.1 /24");
  at.stack.forwarding = true;
  runArpCtl(at.stack, ["add", "10.0.0.2", PEER_MAC.toString()]);
  at.takeFrames(1);
  at.receiveIp(ipPacket({ src: "10.0.0.2", dst: "10.1.0.9", id: 77 }));
  assertEquals(at.takeArp(1).map(({ targetIp }) => `${targetIp}`), ["10.1.0.9"]);
  at.clock.advance(3 * NEIGHBOR_RETRY_MS);
  const errors = at.takePackets();
  assertEquals(errors.map((packet) => [`${headerOf(packet).dst}`, packet[20], packet[21]]), [["10.0.0.2", 3, 1]]);
});

Deno.test("ArpTable holds no more than its limit for one neighbour and drops the oldest (defect 14)", () => {
  const at = host();
  for (let id = 1; id <= NEIGHBOR_HOLD_MAX + 2; id++) send(at, "10.0.0.2", id);
  assertEquals(at.stack.stats.arpHoldFull, 2);
  wire(at);
  at.receiveArp({});
  const sent = wire(at);
  assertEquals([sent.length, sent[0]], [NEIGHBOR_HOLD_MAX, `ip 3 to ${PEER_MAC}`]);
});

Deno.test("ArpTable asks a neighbour in use again, quietly, when its life is over, and goes on meanwhile", () => {
  const at = host();
  send(at);
  at.receiveArp({});
  send(at, "10.0.0.2", 2);
  wire(at);
  at.clock.advance(ARP_LIFE_MS);
  assertEquals(wire(at), [ASK_QUIETLY]);
  send(at, "10.0.0.2", 3);
  assertEquals(wire(at), [`ip 3 to ${PEER_MAC}`]);
  at.receiveArp({});
  at.clock.advance(10 * NEIGHBOR_RETRY_MS);
  assertEquals([wire(at), at.stack.arp.size], [[], 1]);
});

Deno.test("ArpTable forgets a neighbour that was not used, and one that answers no more (defect 14: expiry)", () => {
  const at = host();
  send(at);
  at.receiveArp({});
  wire(at);
  at.clock.advance(ARP_LIFE_MS);
  assertEquals([wire(at), at.stack.arp.size, at.clock.timerCount], [[], 0, 0]);
  send(at);
  at.receiveArp({});
  send(at);
  wire(at);
  at.clock.advance(ARP_LIFE_MS + 3 * NEIGHBOR_RETRY_MS);
  assertEquals(wire(at), [ASK_QUIETLY, ASK, ASK]);
  assertEquals([at.stack.arp.size, at.clock.timerCount], [0, 0]);
});

Deno.test("ArpTable learns nothing from an unsolicited reply", () => {
  const at = host();
  at.receiveArp({});
  assertEquals([at.stack.arp.size, at.stack.stats.arpUnsolicited], [0, 1]);
});

Deno.test("ArpTable does not believe a reply that contradicts it, but asks again", () => {
  const at = host();
  send(at);
  at.receiveArp({});
  wire(at);
  at.receiveArp({ senderMac: OTHER_MAC });
  assertEquals([at.stack.stats.arpContradiction, wire(at)], [1, [ASK]]);
  send(at, "10.0.0.2", 2);
  assertEquals(wire(at), [`ip 2 to ${PEER_MAC}`]);
  // Any answer counts now: the address may have moved.
  at.receiveArp({ senderMac: OTHER_MAC });
  send(at, "10.0.0.2", 3);
  assertEquals(wire(at), [`ip 3 to ${OTHER_MAC}`]);
});

Deno.test("ArpTable learns from a question for our address, and not from one for another", () => {
  const at = host();
  at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC, targetIp: ip("10.0.0.7") });
  assertEquals(at.stack.arp.size, 0);
  at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC });
  assertEquals([at.stack.arp.format(), wire(at)], [
    `ether OK 10.0.0.2 020000000002\n`,
    [`is-at 10.0.0.2 ${PEER_MAC}`],
  ]);
  // Not even then from somebody who is on another net.
  at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC, senderIp: ip("192.168.0.1") });
  assertEquals([at.stack.arp.size, wire(at).length], [1, 1]);
});

Deno.test("ArpTable answers a probe (RFC 5227) for our address and learns nothing from it", () => {
  const at = host();
  at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC, senderIp: ip("0.0.0.0") });
  const [reply] = at.takeArp();
  assertEquals([reply!.op, `${reply!.senderIp}`, `${reply!.senderMac}`], [ARP_REPLY, "10.0.0.1", `${OUR_MAC}`]);
  assertEquals(at.stack.arp.size, 0);
});

Deno.test("ArpTable answers for our addresses alone", () => {
  const at = host();
  const second = at.ifc("bind ether /net/ether1", "add 10.1.0.1 /24");
  at.takeFrames(1);
  for (const target of ["10.0.0.7", "10.0.0.255", "10.1.0.1", "255.255.255.255", "127.0.0.1"]) {
    at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC, targetIp: ip(target) });
  }
  assertEquals(at.takeArp(), []);
  // But for a net on another interface that it is a proxy for.
  second.ctl("remove 10.1.0.1 /24");
  second.ctl("add 10.1.0.1 /24 10.1.0.0 1514 proxy");
  at.receiveArp({ op: ARP_REQUEST, targetMac: NO_MAC, targetIp: ip("10.1.0.7") });
  assertEquals(at.takeArp().map(({ senderIp, senderMac }) => `${senderIp} ${senderMac}`), [`10.1.0.7 ${OUR_MAC}`]);
});

Deno.test("ArpTable refuses a claim of our address and defends it every 10 s at most (RFC 5227 2.4)", () => {
  const at = host();
  const claim = () => at.receiveArp({ op: ARP_REQUEST, senderIp: ip("10.0.0.1"), targetIp: ip("10.0.0.1") });
  claim();
  claim();
  assertEquals(wire(at), ["who-has 10.0.0.1 to ff:ff:ff:ff:ff:ff"]);
  at.clock.advance(NEIGHBOR_DEFEND_MS);
  at.receiveArp({ senderIp: ip("10.0.0.1") });
  assertEquals(wire(at), ["who-has 10.0.0.1 to ff:ff:ff:ff:ff:ff"]);
  assertEquals([at.stack.stats.arpConflict, at.stack.arp.size], [3, 0]);
});

Deno.test("ArpTable answers 127.0.0.1, and learns nothing from it, where that is behind the link (localnet)", () => {
  const at = host();
  const ask = () => at.receiveArp({ op: ARP_REQUEST, senderIp: ip("127.0.0.1"), targetIp: ip("10.0.0.1") });
  ask();
  assertEquals([at.stack.stats.arpBadSender, wire(at)], [1, []]);
  at.stack.ifcs[0]!.localnet = true;
  ask();
  assertEquals([at.takeArp().map(({ targetIp }) => `${targetIp}`), at.stack.arp.size], [["127.0.0.1"], 0]);
});

Deno.test("ArpTable ignores senders that cannot be, and its own announcements coming back", () => {
  const at = host();
  send(at);
  wire(at);
  at.receiveArp({ senderMac: MAC_BROADCAST });
  at.receiveArp({ senderMac: NO_MAC });
  at.receiveArp({ senderIp: ip("224.0.0.1") });
  assertEquals([at.stack.stats.arpBadSender, at.stack.arp.format()], [3, "ether WAIT 10.0.0.2 000000000000\n"]);
  at.receiveArp({ op: ARP_REQUEST, senderMac: OUR_MAC, senderIp: ip("10.0.0.1"), targetIp: ip("10.0.0.1") });
  assertEquals([at.stack.stats.arpConflict, wire(at)], [0, []]);
});

Deno.test("adding an address announces it (gratuitous ARP)", () => {
  const at = new TestHost();
  at.ifc("bind ether /net/ether0", "add 10.0.0.1 /24");
  const [packet] = at.takeArp();
  assertEquals([packet!.op, `${packet!.senderIp}`, `${packet!.targetIp}`], [ARP_REQUEST, "10.0.0.1", "10.0.0.1"]);
});

Deno.test("packets to group addresses never wait for an answer, however many (defect 14: group addresses)", () => {
  const at = host();
  for (const dst of ["224.0.0.5", "224.0.0.5", "10.0.0.255", "255.255.255.255"]) send(at, dst);
  assertEquals(wire(at), [
    "ip 1 to 01:00:5e:00:00:05",
    "ip 1 to 01:00:5e:00:00:05",
    "ip 1 to ff:ff:ff:ff:ff:ff",
    "ip 1 to ff:ff:ff:ff:ff:ff",
  ]);
  assertEquals(at.stack.arp.size, 0);
});

Deno.test("ArpTable never has more entries than its limit, and a scan of the net costs no neighbour in use", () => {
  const at = new TestHost();
  at.ifc("bind ether /net/ether0", "add 10.0.0.1 /8");
  send(at);
  at.receiveArp({});
  send(at);
  for (let i = 3; i < 2 * NEIGHBORS_MAX; i++) {
    send(at, `10.0.${i >> 8}.${i & 255}`);
    assert(at.stack.arp.size <= NEIGHBORS_MAX);
  }
  at.takeFrames();
  send(at, "10.0.0.2", 9);
  assertEquals(wire(at), [`ip 9 to ${PEER_MAC}`]);
  for (let i = 3; i < 2 * NEIGHBORS_MAX; i++) {
    const senderIp = IpAddr.v4(0x0a000000 | i);
    at.receiveArp({ op: ARP_REQUEST, senderIp, senderMac: new MacAddr(0x0200, i) });
    assert(at.stack.arp.size <= NEIGHBORS_MAX);
  }
  at.takeFrames();
  send(at, "10.0.0.2", 9);
  assertEquals(wire(at), [`ip 9 to ${PEER_MAC}`]);
});

Deno.test("ARP of random bytes and random order never throws and leaves every limit in force", () => {
  const bytes = fc.uint8Array({ maxLength: 60 });
  const header = Uint8Array.of(0, 1, 8, 0, 6, 4, 0);
  const likely = bytes.map((rest) => new Uint8Array([...header, (rest[0] ?? 0) & 3, ...rest]));
  const step = fc.oneof(
    fc.record({ kind: fc.constant("frame" as const), payload: fc.oneof(bytes, likely) }),
    fc.record({ kind: fc.constant("send" as const), host: fc.integer({ min: 0, max: 255 }) }),
    fc.record({ kind: fc.constant("reply" as const), host: fc.integer({ min: 0, max: 255 }), lo: fc.nat(3) }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 20 * 60 * 1000 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const at = host();
      for (const one of steps) {
        if (one.kind === "send") send(at, `10.0.0.${one.host}`);
        else if (one.kind === "wait") at.clock.advance(one.ms);
        else if (one.kind === "reply") {
          at.receiveArp({ senderIp: IpAddr.v4(0x0a000000 | one.host), senderMac: new MacAddr(0x0200, one.lo) });
        } else {
          const fields = { dst: OUR_MAC, src: PEER_MAC, etherType: ETHERTYPE_ARP, pad: false };
          at.ether.receive(etherFrame({ ...fields, payload: one.payload }));
          at.run();
        }
        assert(at.stack.arp.size <= NEIGHBORS_MAX);
        assert(at.stack.arp.entries().every((entry) => entry.held.length <= NEIGHBOR_HOLD_MAX));
        assert(at.clock.timerCount <= 1);
      }
    }),
    fuzz(100),
  );
});
