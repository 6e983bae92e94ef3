/** A forward takes its host ports from guests' maps: what goes on, what is new, and what happens when it goes. */

import { assertEquals } from "@std/assert";
import { TCP_ACK, TCP_FIN, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { icmpErrorPacket, ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { newGuest, newMap } from "../../tests/kit/nat/guest_maps.ts";
import {
  DNS,
  endsOf,
  gotOf,
  GUEST,
  HOST,
  type NatKit,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";
import { type NatMap, Realm } from "./map.ts";
import { Fate, fateOf } from "./takeover.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 6000, dstPort: 9, ttl: 64, ...options });
const OTHER = "198.51.100.7";

/** A segment of the network for host port 6000. */
const inTcp = (options: Parameters<typeof tcpPacket>[0] = {}) =>
  tcpPacket({ src: REMOTE, dst: HOST, srcPort: 80, dstPort: 6000, ...options });

/** An open connection from the guest's port 6000 to port 80 of the remote. */
function connect(kit: NatKit): NatMap {
  const { map } = sentOf(kit.out(tcpPacket({ srcPort: 6000 })));
  kit.back(inTcp({ flags: TCP_SYN | TCP_ACK }), map);
  kit.out(tcpPacket({ srcPort: 6000, flags: TCP_ACK }));
  return map;
}

Deno.test("A forward takes the port of a TCP connection of a guest: it goes on, new calls are the forward's", () => {
  const kit = natKit();
  const map = connect(kit);
  const forward = kit.nat.addForward("tcp:6000:22").map;
  assertEquals([map.live, map.fd, map.carrier === forward], [true, -1, true]);
  const sent = sentOf(kit.out(tcpPacket({ srcPort: 6000, flags: TCP_ACK, data: pattern(9) })));
  assertEquals([sent.map === map, endsOf(sent.packet)], [true, `${HOST}:6000 > ${REMOTE}:80`]);
  const got = gotOf(kit.back(inTcp({ flags: TCP_ACK, data: pattern(9) }), forward));
  assertEquals(endsOf(got), `${REMOTE}:80 > ${GUEST}:6000`);
  // Calls: of a stranger, of the same remote from another port, and from the connection's own.
  for (const call of [{ src: OTHER }, { srcPort: 81 }, {}]) {
    const packet = inTcp(call);
    assertEquals(endsOf(gotOf(kit.back(packet, forward))), endsOf(packet).replace(`${HOST}:6000`, `${GUEST}:22`));
  }
  const answer = sentOf(kit.out(tcpPacket({ srcPort: 22, dst: OTHER, flags: TCP_SYN | TCP_ACK })));
  assertEquals([answer.map === forward, endsOf(answer.packet)], [true, `${HOST}:6000 > ${OTHER}:80`]);
});

Deno.test("What a forward carries ends when it would have ended: closed, idle, or given up for others", () => {
  const ends: ((kit: NatKit, map: NatMap, forward: NatMap) => void)[] = [
    (kit) => kit.nat.expire(1e9),
    (kit, map, forward) => {
      kit.out(tcpPacket({ srcPort: 6000, flags: TCP_FIN | TCP_ACK }));
      kit.back(inTcp({ flags: TCP_FIN | TCP_ACK }), forward);
      assertEquals(map.live, true);
      kit.nat.expire(240_000);
    },
    (kit, map) => kit.nat.evict(map, map.guest),
  ];
  for (const end of ends) {
    const kit = natKit();
    const map = connect(kit);
    const forward = kit.nat.addForward("tcp:6000:22").map;
    end(kit, map, forward);
    assertEquals([map.live, map.carrier, forward.carried, forward.fd], [false, null, null, 1]);
    assertEquals(endsOf(gotOf(kit.back(inTcp({ flags: TCP_ACK }), forward))), `${REMOTE}:80 > ${GUEST}:22`);
  }
});

Deno.test("A forward that goes gives a carried map its port back, if that can be had", () => {
  for (const isTaken of [false, true]) {
    const kit = natKit();
    const map = connect(kit);
    kit.nat.addForward("tcp:6000:22");
    if (isTaken) kit.ports.taken.add(6000);
    kit.nat.removeForward("tcp:6000:22");
    assertEquals([map.live, map.carrier, map.fd], [!isTaken, null, isTaken ? -1 : 1]);
    const { map: now, packet } = sentOf(kit.out(tcpPacket({ srcPort: 6000, flags: TCP_ACK })));
    assertEquals([now === map, endsOf(packet)], [!isTaken, `${HOST}:${isTaken ? 6001 : 6000} > ${REMOTE}:80`]);
  }
});

Deno.test("UDP: answers of those whom the guest has sent to go on, all else is the forward's", () => {
  const kit = natKit();
  sentOf(kit.out(udp()));
  const forward = kit.nat.addForward("udp:5990-6010:90").map;
  const reply = (src: string) => udpPacket({ src, dst: HOST, srcPort: 9, dstPort: 6000, ttl: 64 });
  const ends = [REMOTE, OTHER].map((src) => endsOf(gotOf(kit.back(reply(src), forward))));
  assertEquals(ends, [`${REMOTE}:9 > ${GUEST}:6000`, `${OTHER}:9 > ${GUEST}:100`]);
  // A map without a filter knows no remotes: all is the forward's.
  const open = natKit({ filtering: "endpoint" });
  sentOf(open.out(udp()));
  const wide = open.nat.addForward("udp:6000:53").map;
  assertEquals(endsOf(gotOf(open.back(reply(REMOTE), wide))), `${REMOTE}:9 > ${GUEST}:53`);
});

Deno.test("An ICMP error that comes to a forward is for the map whose packet it quotes", () => {
  for (const proto of ["udp", "tcp"] as const) {
    const kit = natKit();
    const sent = sentOf(kit.out(proto === "udp" ? udp() : tcpPacket({ srcPort: 6000 })));
    const forward = kit.nat.addForward(`${proto}:6000:22`).map;
    const error = icmpErrorPacket({ type: 3, code: 3, packet: sent.packet }, { src: REMOTE, dst: HOST });
    const port = proto === "udp" ? 9 : 80;
    assertEquals(endsOf(gotOf(kit.error(error, forward)).subarray(28)), `${GUEST}:6000 > ${REMOTE}:${port}`);
  }
});

Deno.test("A connection to the name server and datagrams to the host's loopback are carried likewise", () => {
  const kit = natKit({ policy: { loopback: true } });
  kit.nat.v4.nameServer = { addr: ip(HOST), port: 5353 };
  const dns = sentOf(kit.out(tcpPacket({ srcPort: 6000, dst: DNS, dstPort: 53 }))).map;
  const host = sentOf(kit.out(udp({ dst: ROUTER, dstPort: 77 }))).map;
  assertEquals({ dns: dns.hostPort, host: host.hostPort }, { dns: 6000, host: 6000 });
  const tcp = kit.nat.addForward("tcp:6000:22").map;
  const forward = kit.nat.addForward("udp:6000:22").map;
  assertEquals({ dns: dns.carrier, host: host.carrier }, { dns: tcp, host: forward });
  const synAck = tcpPacket({ src: HOST, dst: HOST, srcPort: 5353, dstPort: 6000, flags: TCP_SYN | TCP_ACK });
  assertEquals(endsOf(gotOf(kit.back(synAck, tcp))), `${DNS}:53 > ${GUEST}:6000`);
  const answer = udpPacket({ src: "127.0.0.1", dst: "127.0.0.1", srcPort: 77, dstPort: 6000 });
  assertEquals(endsOf(gotOf(kit.back(answer, forward))), `${ROUTER}:77 > ${GUEST}:6000`);
});

Deno.test("Which maps are carried, which end, and which have nothing to do with a forward", () => {
  const hostAddr = ip("10.0.0.1");
  const mapOf = (is6: boolean, realm: Realm, bound: string | null) => {
    const guest = newGuest(ip(is6 ? "fd00::15" : GUEST));
    const map = newMap(guest, { guestPort: 6000, realm });
    map.bound = bound === null ? null : ip(bound);
    return map;
  };
  const { World, Host, Dns } = Realm;
  // Map: version, realm, bound to; forward: version, bound to; fate.
  const rows: [boolean, Realm, string | null, boolean, string | null, Fate][] = [
    [false, World, null, false, null, Fate.Carry],
    [true, World, null, true, null, Fate.Carry],
    [false, World, null, true, null, Fate.End],
    [true, World, null, false, null, Fate.End],
    [false, World, null, false, "10.0.0.1", Fate.Carry],
    [false, World, null, false, "10.0.0.9", Fate.Leave],
    [false, World, null, false, "127.0.0.1", Fate.Leave],
    [true, World, null, false, "10.0.0.9", Fate.Leave],
    [false, Host, "127.0.0.1", false, null, Fate.Carry],
    [false, Host, "127.0.0.1", false, "127.0.0.1", Fate.Carry],
    [false, Host, "127.0.0.1", false, "10.0.0.1", Fate.Leave],
    [true, Host, "::1", false, null, Fate.Leave],
    [false, Dns, null, false, null, Fate.Carry],
    [true, Dns, null, true, null, Fate.End],
    [false, Dns, null, false, "127.0.0.1", Fate.End],
    [false, Dns, null, false, "10.0.0.1", Fate.End],
    [false, Dns, null, false, "10.0.0.9", Fate.Leave],
  ];
  for (const [is6, realm, bound, forward6, forwardBound, fate] of rows) {
    const spec = { bound: forwardBound === null ? null : ip(forwardBound) };
    const row = { is6, realm, bound, forward6, forwardBound };
    assertEquals({ ...row, fate: fateOf(mapOf(is6, realm, bound), spec, { is6: forward6, hostAddr }) }, {
      ...row,
      fate,
    });
  }
});
