/** The DHCP server as RFC 2131 4.3 has it: each message, each state of the client, leases over time. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  DHCP_ACK,
  DHCP_DECLINE,
  DHCP_DISCOVER,
  DHCP_INFORM,
  DHCP_LEN_MIN,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_OPTION_DNS_SERVERS,
  DHCP_OPTION_DOMAIN_SEARCH,
  DHCP_OPTION_HOST_NAME,
  DHCP_OPTION_LEASE_TIME,
  DHCP_OPTION_MTU,
  DHCP_OPTION_PARAMETERS,
  DHCP_OPTION_REBINDING_TIME,
  DHCP_OPTION_RENEWAL_TIME,
  DHCP_OPTION_REQUESTED_ADDR,
  DHCP_OPTION_ROUTERS,
  DHCP_OPTION_SERVER_ID,
  DHCP_OPTION_SUBNET_MASK,
  DHCP_OPTION_TYPE,
  DHCP_RELEASE,
  DHCP_REQUEST,
  dhcpAddrs,
  dhcpLen,
  type DhcpMessage,
  dhcpNumber,
  dhcpText,
  dhcpType,
  emitDhcp,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  parseDhcp,
} from "../../../kernel/wire/dhcp.ts";
import { encodeDnsNames, parseDnsName } from "../../../kernel/wire/dns_name.ts";
import { IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { fuzzSteps, sequences } from "../../../tests/kit/check/fuzz.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { BOOTP_MAX, DECLINED_MS, type DhcpConfig, DhcpServer, LEASES_MAX, OFFER_MS } from "./dhcp.ts";

const config: DhcpConfig = {
  router: ip("10.0.2.2"),
  mask: ip("255.255.255.0"),
  first: ip("10.0.2.15"),
  last: ip("10.0.2.254"),
  taken: [ip("10.0.2.2"), ip("10.0.2.3")],
  nameServers: [ip("10.0.2.3")],
  mtu: 1400,
  leaseSeconds: 3600,
  hostName: "guest",
  domain: "example.org",
  search: ["example.org", "example.net"],
  reservations: new Map(),
};

const mac = (n: number) => new MacAddr(0x0200, n);

/** A server and what clients say to it. */
function server(change: Partial<DhcpConfig> = {}) {
  const dhcp = new DhcpServer({ ...config, ...change });
  const say = (type: number, options: {
    from?: number;
    wants?: string;
    server?: string;
    ciaddr?: string;
    list?: number[];
    now?: number;
    fields?: Partial<DhcpMessage>;
  } = {}) => {
    const { from = 1, wants, server, ciaddr, list, now = 0, fields } = options;
    const map = new Map<number, Uint8Array>([[DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)]]);
    if (wants !== undefined) map.set(DHCP_OPTION_REQUESTED_ADDR, encodeDhcpAddrs([ip(wants)]));
    if (server !== undefined) map.set(DHCP_OPTION_SERVER_ID, encodeDhcpAddrs([ip(server)]));
    if (list !== undefined) map.set(DHCP_OPTION_PARAMETERS, new Uint8Array(list));
    const none = IPV4_UNSPECIFIED;
    const message: DhcpMessage = {
      ...{ op: 1, hops: 0, xid: 0xabcdef01, secs: 3, broadcast: false, yiaddr: none, siaddr: none, giaddr: none },
      ...{ ciaddr: ciaddr === undefined ? none : ip(ciaddr), chaddr: mac(from), sname: "", file: "", options: map },
      ...fields,
    };
    return dhcp.answer(message, now);
  };
  return { dhcp, say };
}

const told = (answer: DhcpMessage | null) => answer === null ? null : [dhcpType(answer), `${answer.yiaddr}`];

Deno.test("akaros 24: discover, offer, request, ack, with our server identifier, lease, T1 and T2 in both", () => {
  const { say } = server();
  const offer = say(DHCP_DISCOVER)!;
  const ack = say(DHCP_REQUEST, { wants: "10.0.2.15", server: "10.0.2.2" })!;
  assertEquals([told(offer), told(ack)], [[DHCP_OFFER, "10.0.2.15"], [DHCP_ACK, "10.0.2.15"]]);
  for (const answer of [offer, ack]) {
    const addrs = [DHCP_OPTION_SERVER_ID, DHCP_OPTION_ROUTERS, DHCP_OPTION_DNS_SERVERS, DHCP_OPTION_SUBNET_MASK];
    assertEquals(addrs.map((code) => `${dhcpAddrs(answer.options, code)}`), [
      "10.0.2.2",
      "10.0.2.2",
      "10.0.2.3",
      "255.255.255.0",
    ]);
    const times = [DHCP_OPTION_LEASE_TIME, DHCP_OPTION_RENEWAL_TIME, DHCP_OPTION_REBINDING_TIME, DHCP_OPTION_MTU];
    assertEquals(times.map((code) => dhcpNumber(answer.options, code)), [3600, 1800, 3150, 1400]);
    assertEquals(dhcpText(answer.options, DHCP_OPTION_HOST_NAME), "guest");
    // `example.net` has nothing in common with `example.org` that a pointer could lead to.
    assertEquals(answer.options.get(DHCP_OPTION_DOMAIN_SEARCH)?.length, 26);
    assertEquals([answer.xid, `${answer.giaddr}`, `${answer.siaddr}`, answer.chaddr], [
      0xabcdef01,
      "0.0.0.0",
      "0.0.0.0",
      mac(1),
    ]);
  }
});

Deno.test("The parameter list decides which options come, and in which order", () => {
  const { say } = server();
  const codes = [...say(DHCP_DISCOVER, { list: [DHCP_OPTION_MTU, 250, DHCP_OPTION_SUBNET_MASK] })!.options.keys()];
  assertEquals(codes.slice(-2), [DHCP_OPTION_MTU, DHCP_OPTION_SUBNET_MASK]);
  // RFC 2132 3.3: the mask before the routers, in whatever order the client asks.
  const asked = [DHCP_OPTION_MTU, DHCP_OPTION_ROUTERS, DHCP_OPTION_HOST_NAME, DHCP_OPTION_SUBNET_MASK];
  assertEquals([...say(DHCP_DISCOVER, { list: asked })!.options.keys()].slice(-4), [
    ...[DHCP_OPTION_MTU, DHCP_OPTION_SUBNET_MASK, DHCP_OPTION_ROUTERS, DHCP_OPTION_HOST_NAME],
  ]);
  assertEquals(codes.includes(DHCP_OPTION_ROUTERS), false);
  assertEquals(codes.includes(DHCP_OPTION_SERVER_ID), true);
});

Deno.test("A search list is written in pieces (RFC 3396, 3397), if the client takes so much", () => {
  const search = Array.from({ length: 30 }, (_, i) => `department-${i}.office.example.org`);
  const { say } = server({ search });
  const encoded = encodeDnsNames(search)!;
  const room = (size: number) => ({
    options: new Map([[DHCP_OPTION_TYPE, new Uint8Array([1])], [57, encodeDhcpNumber(size, 2)]]),
  });
  const large = say(DHCP_DISCOVER, { fields: room(1500) })!;
  assertEquals(large.options.get(DHCP_OPTION_DOMAIN_SEARCH), encoded);
  assert(encoded.length > 255);
  const bytes = new Uint8Array(dhcpLen(large));
  emitDhcp(large, bytes, 0);
  assertEquals(parseDhcp(bytes, 0, bytes.length)?.options.get(DHCP_OPTION_DOMAIN_SEARCH), encoded);
  const huge = { options: new Map([[DHCP_OPTION_TYPE, new Uint8Array([1])], [61, new Uint8Array(1300)]]) };
  assert(dhcpLen(say(DHCP_DISCOVER, { fields: huge })!) <= 548);
  // Who says nothing takes 576 bytes: addresses come before names.
  for (const small of [say(DHCP_DISCOVER)!, say(DHCP_DISCOVER, { fields: room(100) })!]) {
    assert(dhcpLen(small) <= 548);
    assertEquals(small.options.has(DHCP_OPTION_ROUTERS), true);
    const some = small.options.get(DHCP_OPTION_DOMAIN_SEARCH)!;
    assert(some.length < encoded.length && some.length > 100, "the first names");
  }
});

Deno.test("A client's identifier comes back to it (RFC 6842), in a nak too", () => {
  const { say } = server();
  const id = new Uint8Array([255, 1, 2, 3, 4]);
  const options = (type: number) => ({
    options: new Map([[DHCP_OPTION_TYPE, new Uint8Array([type])], [61, id], [50, encodeDhcpAddrs([ip("10.9.9.9")])]]),
  });
  for (const type of [DHCP_DISCOVER, DHCP_REQUEST, DHCP_INFORM]) {
    assertEquals(say(type, { fields: options(type) })!.options.get(61), id);
  }
  assertEquals(say(DHCP_DISCOVER)!.options.has(61), false);
});

Deno.test("A request for a wrong address is a nak, broadcast; for a free one of ours an ack (authoritative)", () => {
  const { say } = server();
  say(DHCP_REQUEST, { wants: "10.0.2.15", from: 9 });
  for (const wants of ["192.168.1.5", "10.0.2.2", "10.0.2.3", "10.0.2.15", "10.0.2.255", "10.0.2.14"]) {
    const nak = say(DHCP_REQUEST, { wants })!;
    assertEquals([wants, dhcpType(nak), nak.broadcast, `${nak.yiaddr}`], [wants, DHCP_NAK, true, "0.0.0.0"]);
    assertEquals([nak.options.has(DHCP_OPTION_LEASE_TIME), nak.options.has(DHCP_OPTION_ROUTERS)], [false, false]);
  }
  assertEquals(told(say(DHCP_REQUEST, { wants: "10.0.2.20" })), [DHCP_ACK, "10.0.2.20"]);
  assertEquals(told(say(DHCP_REQUEST, { ciaddr: "10.0.2.20" })), [DHCP_ACK, "10.0.2.20"]);
  assertEquals(told(say(DHCP_REQUEST, { ciaddr: "10.0.2.15" })), [DHCP_NAK, "0.0.0.0"]);
  assertEquals(say(DHCP_REQUEST), null);
});

Deno.test("A request to another server is not ours, and frees what we offered", () => {
  const { dhcp, say } = server();
  say(DHCP_DISCOVER);
  assertEquals([say(DHCP_REQUEST, { wants: "10.0.2.15", server: "10.0.2.77" }), dhcp.leases.length], [null, 0]);
});

Deno.test("Clients keep their addresses; offers and leases end; each client has one", () => {
  const { dhcp, say } = server();
  const lease = (from: number, now = 0) => {
    const offer = say(DHCP_DISCOVER, { from, now })!;
    return `${say(DHCP_REQUEST, { from, wants: `${offer.yiaddr}`, server: "10.0.2.2", now })!.yiaddr}`;
  };
  assertEquals([lease(1), lease(2), lease(1), lease(3)], ["10.0.2.15", "10.0.2.16", "10.0.2.15", "10.0.2.17"]);
  say(DHCP_REQUEST, { from: 1, wants: "10.0.2.40" });
  assertEquals(dhcp.leases.filter((one) => one.mac === mac(1).key).map((one) => `${one.addr}`), ["10.0.2.40"]);
  say(DHCP_DISCOVER, { from: 4 });
  assertEquals(told(say(DHCP_REQUEST, { from: 5, wants: "10.0.2.15", now: OFFER_MS - 1 })), [DHCP_NAK, "0.0.0.0"]);
  assertEquals(told(say(DHCP_REQUEST, { from: 5, wants: "10.0.2.15", now: OFFER_MS })), [DHCP_ACK, "10.0.2.15"]);
});

Deno.test("Release frees, decline keeps away, inform tells without a lease", () => {
  const { dhcp, say } = server();
  say(DHCP_REQUEST, { wants: "10.0.2.15" });
  say(DHCP_RELEASE, { ciaddr: "10.0.2.16" });
  assertEquals(dhcp.leases.length, 1);
  say(DHCP_RELEASE, { ciaddr: "10.0.2.15", from: 2 });
  assertEquals(dhcp.leases.length, 1);
  assertEquals([say(DHCP_RELEASE, { ciaddr: "10.0.2.15" }), dhcp.leases.length], [null, 0]);
  say(DHCP_REQUEST, { wants: "10.0.2.15" });
  assertEquals(say(DHCP_DECLINE, { wants: "10.0.2.15" }), null);
  assertEquals(told(say(DHCP_DISCOVER)), [DHCP_OFFER, "10.0.2.16"]);
  assertEquals(told(say(DHCP_REQUEST, { wants: "10.0.2.15", now: DECLINED_MS })), [DHCP_ACK, "10.0.2.15"]);
  const inform = say(DHCP_INFORM, { ciaddr: "10.0.2.99", from: 8 })!;
  assertEquals([told(inform), `${inform.ciaddr}`], [[DHCP_ACK, "0.0.0.0"], "10.0.2.99"]);
  assertEquals([inform.options.has(DHCP_OPTION_LEASE_TIME), inform.options.has(DHCP_OPTION_DNS_SERVERS)], [
    false,
    true,
  ]);
});

Deno.test("Reserved addresses are for their owners alone", () => {
  const { say } = server({ reservations: new Map([[mac(7).key, ip("10.0.2.15")]]) });
  assertEquals(told(say(DHCP_DISCOVER, { from: 1 })), [DHCP_OFFER, "10.0.2.16"]);
  assertEquals(told(say(DHCP_DISCOVER, { from: 7 })), [DHCP_OFFER, "10.0.2.15"]);
  assertEquals(told(say(DHCP_REQUEST, { from: 7, wants: "10.0.2.30" })), [DHCP_NAK, "0.0.0.0"]);
  assertEquals(told(say(DHCP_REQUEST, { from: 1, wants: "10.0.2.15" })), [DHCP_NAK, "0.0.0.0"]);
});

Deno.test("A full network has nothing to offer; leases that are over make room", () => {
  const { dhcp, say } = server();
  for (let from = 1; from <= 300; from++) say(DHCP_REQUEST, { from, wants: `10.0.2.${from % 256}` });
  const before = dhcp.leases.length;
  assert(before <= LEASES_MAX);
  assertEquals(say(DHCP_DISCOVER, { from: 999 }), null);
  assertEquals(told(say(DHCP_DISCOVER, { from: 999, now: 3_600_000 }))?.[0], DHCP_OFFER);
});

Deno.test("RFC 1534: a message without a type is BOOTP's: an address for good, no option of DHCP's, 300 bytes", () => {
  const { dhcp, say } = server({ search: Array.from({ length: 20 }, (_, i) => `sub${i}.example.org`) });
  const bootp = { options: new Map<number, Uint8Array>() };
  const answer = say(0, { from: 1, fields: bootp })!;
  assertEquals([answer.op, `${answer.yiaddr}`, dhcpLen(answer)], [2, "10.0.2.15", DHCP_LEN_MIN]);
  assertEquals([...answer.options.keys()].filter((code) => code >= 50 && code <= 61), []);
  assertEquals(dhcpAddrs(answer.options, DHCP_OPTION_ROUTERS).map(String), ["10.0.2.2"]);
  assertEquals(`${say(0, { from: 1, fields: bootp, now: 1e12 })!.yiaddr}`, "10.0.2.15", "for good");
  assertEquals(`${say(DHCP_DISCOVER, { from: 2, now: 1e12 })!.yiaddr}`, "10.0.2.16");
  // Who knows its address wants options only; who wants another server gets nothing.
  const known = say(0, { from: 3, fields: { ...bootp, ciaddr: ip("10.0.2.99") } })!;
  assertEquals([`${known.yiaddr}`, `${known.ciaddr}`], ["0.0.0.0", "10.0.2.99"]);
  assertEquals(say(0, { from: 4, fields: { ...bootp, sname: "other" } }), null);
  for (let from = 10; from < 200; from++) say(0, { from, fields: bootp });
  assertEquals(dhcp.leases.filter(({ expires }) => expires === Infinity).length, BOOTP_MAX);
  assertEquals(told(say(DHCP_DISCOVER, { from: 999 }))?.[0], DHCP_OFFER);
});

Deno.test("Domains of any number: compressed, in pieces, and of too many the first (RFC 3397, RFC 3396)", () => {
  const search = Array.from({ length: 200 }, (_, i) => `department-${i}.office.example.org`);
  const { say } = server({ search });
  for (const [room, least] of [[0, 8], [1500, 60]] as const) {
    const options = new Map([[DHCP_OPTION_TYPE, new Uint8Array([1])], [57, encodeDhcpNumber(room, 2)]]);
    const answer = say(DHCP_DISCOVER, { fields: { options } })!;
    assert(dhcpLen(answer) <= Math.max(room, 576) - 28);
    const bytes = answer.options.get(DHCP_OPTION_DOMAIN_SEARCH)!;
    const names: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const one = parseDnsName(bytes, at, bytes.length, 0)!;
      names.push(one.name);
      at = one.next;
    }
    assert(names.length >= least, `${names.length}`);
    assertEquals(names, search.slice(0, names.length));
  }
});

Deno.test("New name servers and domains are in every later answer", () => {
  const { dhcp, say } = server();
  dhcp.setNames({ nameServers: [ip("192.0.2.1")], search: ["new.test"], domain: "new.test" });
  const { options } = say(DHCP_DISCOVER)!;
  assertEquals(dhcpAddrs(options, 6).map(String), ["192.0.2.1"]);
  assertEquals([dhcpText(options, 15), options.get(DHCP_OPTION_DOMAIN_SEARCH)?.length], ["new.test", 10]);
});

Deno.test("akaros 18: unknown types, replies, relays: silence", () => {
  const { say } = server();
  for (const type of [0, 2, 5, 6, 9, 255]) assertEquals(say(type), null);
  assertEquals(say(DHCP_DISCOVER, { fields: { op: 2 } }), null);
  assertEquals(say(DHCP_DISCOVER, { fields: { giaddr: ip("10.0.0.1") } }), null);
});

Deno.test("Whatever clients say, no two have one address, and every answer can be written and read", () => {
  const step = fc.record({
    type: fc.nat(9),
    from: fc.nat(9),
    wants: fc.option(fc.integer({ min: 0, max: 25 }), { nil: undefined }),
    ciaddr: fc.option(fc.integer({ min: 14, max: 22 }), { nil: undefined }),
    later: fc.nat(1_000_000),
  });
  fc.assert(
    fc.property(sequences(step), (steps) => {
      const { dhcp, say } = server({ last: ip("10.0.2.20") });
      let now = 0;
      for (const { type, from, wants, ciaddr, later } of steps) {
        now += later;
        const answer = say(type, {
          from,
          now,
          ...(wants === undefined ? {} : { wants: `10.0.2.${wants}` }),
          ...(ciaddr === undefined ? {} : { ciaddr: `10.0.2.${ciaddr}` }),
        });
        const held = dhcp.leases.filter((lease) => !lease.isOffer && lease.mac >= 0 && lease.expires > now);
        assertEquals(new Set(held.map((lease) => lease.mac)).size, held.length);
        if (answer === null) continue;
        const bytes = new Uint8Array(dhcpLen(answer));
        emitDhcp(answer, bytes, 0);
        assertEquals(parseDhcp(bytes, 0, bytes.length)?.options, answer.options);
      }
    }),
    fuzzSteps(500),
  );
});

Deno.test("A full network never gives one client's reserved address to another, though its lease is over", () => {
  const { say } = server({
    ...{ first: ip("10.0.2.15"), last: ip("10.0.2.15") },
    reservations: new Map([[mac(9).key, ip("10.0.2.50")]]),
  });
  assertEquals(told(say(DHCP_REQUEST, { from: 9, wants: "10.0.2.50" })), [DHCP_ACK, "10.0.2.50"]);
  assertEquals(told(say(DHCP_REQUEST, { from: 1, wants: "10.0.2.15", now: 1000 })), [DHCP_ACK, "10.0.2.15"]);
  assertEquals(say(DHCP_DISCOVER, { from: 2, now: 3_600_500 }), null);
  assertEquals(told(say(DHCP_DISCOVER, { from: 2, now: 3_601_000 })), [DHCP_OFFER, "10.0.2.15"]);
});
