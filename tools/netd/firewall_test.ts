/** Rules of nftables and of iptables-nft, as `nft -j list ruleset` prints them: what a guest's connection meets. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { Firewall } from "./firewall.ts";

const WORLD = { from: ip("10.99.0.2"), inDevice: "aka0", outDevice: "eth0" };
const WORLD6 = { ...WORLD, from: ip("fd99::2") };
const SELF = { ...WORLD, outDevice: null };

const match = (left: unknown, right: unknown, op = "==") => ({ match: { op, left, right } });
const meta = (key: string) => ({ meta: { key } });
const iif = (name: string, op?: string) => match(meta("iifname"), name, op);
const oif = (name: string, op?: string) => match(meta("oifname"), name, op);
const field = (protocol: string, name: string) => ({ payload: { protocol, field: name } });
const net = (addr: string, len: number) => ({ prefix: { addr, len } });
const established = match({ ct: { key: "state" } }, ["established", "related"], "in");
const xt = (name: string, type = "match") => ({ xt: { type, name } });
const jump = (target: string) => ({ jump: { target } });
const accept = { accept: null };
const drop = { drop: null };

/** A ruleset with one base chain, and other chains that it jumps to. */
function ruleset(
  base: Record<string, unknown>,
  rules: unknown[][],
  others: Record<string, unknown[][]> = {},
): Firewall {
  const family = base.family ?? "ip";
  const table = { family, table: "t" };
  const rulesOf = (chain: string, all: unknown[][]) => all.map((expr) => ({ rule: { ...table, chain, expr } }));
  return new Firewall(JSON.stringify({
    nftables: [
      { metainfo: { json_schema_version: 1 } },
      { chain: { name: "c", type: "filter", policy: "drop", ...base, ...table } },
      ...Object.keys(others).map((name) => ({ chain: { ...table, name } })),
      ...rulesOf("c", rules),
      ...Object.entries(others).flatMap(([name, all]) => rulesOf(name, all)),
    ],
  }));
}

const forward = (rules: unknown[][], others?: Record<string, unknown[][]>) =>
  ruleset({ hook: "forward" }, rules, others).droppedBy("forward", WORLD);

Deno.test("A policy of drop drops what no rule accepts in general", () => {
  const counter = { counter: { packets: 0, bytes: 0 } };
  const dropped: [string, unknown[][]][] = [
    ["no rule at all", []],
    ["dockerd's: other devices, and answers", [
      [oif("docker0"), xt("conntrack"), accept],
      [iif("docker0"), oif("docker0", "!="), counter, accept],
    ]],
    ["answers only", [[established, accept]]],
    ["some ports, some destinations, pings", [
      [match(field("tcp", "dport"), 443), accept],
      [match(field("ip", "daddr"), net("10.0.0.0", 8)), accept],
      [match(field("icmp", "type"), "echo-request"), accept],
      [match(meta("l4proto"), "icmp"), accept],
    ]],
    ["another network", [[match(field("ip", "saddr"), net("10.98.0.0", 24)), accept]]],
    ["a drop before the accept", [[iif("aka*"), drop], [accept]]],
    ["a refusal", [[{ reject: { type: "icmp" } }]]],
    ["a set without it", [[match(meta("iifname"), { set: ["eth1", "wg0"] }), accept]]],
  ];
  for (const [name, rules] of dropped) assertEquals([name, forward(rules)], [name, "ip t c"]);
  const passed: [string, unknown[][]][] = [
    ["the uplink", [[iif("aka0"), counter, accept]]],
    ["its network, with a comment", [[match(field("ip", "saddr"), net("10.99.0.0", 24)), xt("comment"), accept]]],
    ["devices like it", [[iif("aka*"), accept]]],
    ["a set with it", [[match(meta("iifname"), { set: ["eth1", "aka0"] }), accept]]],
    ["all but another", [[iif("eth1", "!="), oif("eth0"), accept]]],
    ["new connections", [[match({ ct: { key: "state" } }, ["new", "established"], "in"), accept]]],
    ["what cannot be judged: a mark, a named set, a map", [[match(meta("mark"), 7), accept]]],
    ["a named set", [[match(field("ip", "saddr"), "@guests"), accept]]],
    ["a map", [[{ vmap: { key: meta("iifname"), data: "@ways" } }]]],
  ];
  for (const [name, rules] of passed) assertEquals([name, forward(rules)], [name, null]);
  assertEquals(ruleset({ hook: "forward", policy: "accept" }, []).droppedBy("forward", WORLD), null);
});

Deno.test("Jumps are followed and come back; goto does not; a circle ends", () => {
  assertEquals(forward([[jump("user")], [iif("aka0"), accept]], { user: [[{ return: null }]] }), null);
  assertEquals(forward([[jump("user")]], { user: [[iif("aka0"), accept]] }), null);
  assertEquals(forward([[jump("user")]], { user: [[established, accept]] }), "ip t c");
  assertEquals(forward([[{ goto: { target: "user" } }], [accept]], { user: [] }), "ip t c");
  assertEquals(forward([[jump("user")]], { user: [[jump("user")]] }), null, "cannot be judged");
});

Deno.test("Each hook and each version of IP has its own chains", () => {
  const input = ruleset({ hook: "input" }, [[iif("lo"), accept], [match(field("tcp", "dport"), 22), accept]]);
  assertEquals([input.droppedBy("input", SELF), input.droppedBy("forward", WORLD)], ["ip t c", null]);
  assertEquals(input.droppedBy("input", { ...SELF, from: ip("fd99::2") }), null);
  const both = ruleset({ hook: "forward", family: "inet" }, [[match(meta("nfproto"), "ipv4"), accept]]);
  assertEquals([both.droppedBy("forward", WORLD), both.droppedBy("forward", WORLD6)], [null, "inet t c"]);
});

Deno.test("A translation is found in every form, for its network and device only", () => {
  const post = (rules: unknown[][], family = "ip", others = {}) =>
    ruleset({ hook: "postrouting", type: "nat", policy: "accept", family }, rules, others);
  const masquerade = { masquerade: null };
  const ours = match(field("ip", "saddr"), net("10.99.0.0", 24));
  assertEquals(post([[ours, oif("aka0", "!="), masquerade]]).translates(WORLD), true);
  assertEquals(post([[ours, xt("MASQUERADE", "target")]]).translates(WORLD), true);
  assertEquals(post([[oif("eth0"), { snat: { addr: "192.0.2.2" } }]]).translates(WORLD), true);
  assertEquals(post([[match(meta("mark"), 1), masquerade]]).translates(WORLD), true, "may be");
  assertEquals(post([[jump("user")]], "ip", { user: [[masquerade]] }).translates(WORLD), true);
  assertEquals(post([[oif("wg0"), masquerade]]).translates(WORLD), false);
  assertEquals(post([[match(field("ip", "saddr"), net("172.17.0.0", 16)), masquerade]]).translates(WORLD), false);
  assertEquals(post([[masquerade]]).translates(WORLD6), false, "IPv4 only");
  assertEquals(post([[masquerade]], "ip6").translates(WORLD6), true);
});

Deno.test("Whatever a ruleset looks like, nothing throws", () => {
  const name = fc.constantFrom("match", "xt", "accept", "jump", "goto", "vmap", "set", "prefix", "meta", "ct", "left");
  const value = fc.letrec((tie) => ({
    any: fc.oneof(fc.constant(null), fc.integer(), fc.string(), fc.array(tie("any"), { maxLength: 3 }), tie("fields")),
    fields: fc.dictionary(name, tie("any"), { maxKeys: 3 }),
  }));
  fc.assert(
    fc.property(fc.array(fc.array(value.any, { maxLength: 4 }), { maxLength: 4 }), (rules) => {
      const wall = ruleset({ hook: "forward" }, rules as unknown[][]);
      wall.droppedBy("forward", WORLD);
      wall.translates(WORLD);
    }),
    fuzz(200),
  );
  for (const text of ["{}", '{"nftables":7}', '{"nftables":[null,7,{"rule":7}]}']) {
    assertEquals(new Firewall(text).droppedBy("input", SELF), null, text);
  }
});
