import { assertEquals, assertObjectMatch } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { mergeResolvConfs, NO_RESOLV_CONF, parseResolvConf, usableServers } from "./resolv_conf.ts";

const conf = (...lines: string[]) => parseResolvConf(lines.join("\n"));

Deno.test("parseResolvConf() takes what resolv.conf(5) allows: both versions, blanks, comments, the order", () => {
  const { nameServers, notes } = conf(
    "# nameserver 192.0.2.1",
    "; nameserver 192.0.2.2",
    "nameserver 192.0.2.53 # the first",
    "nameserver\t192.0.2.54\t",
    "nameserver 2001:db8::53   ; of the lab",
    "nameserver 192.0.2.53",
    "  nameserver 192.0.2.55\r",
    "nameserverx 192.0.2.56",
    "nameserver",
  );
  assertEquals(nameServers, ["192.0.2.53", "192.0.2.54", "2001:db8::53", "192.0.2.55"]);
  assertEquals(notes, []);
  assertEquals(conf(""), NO_RESOLV_CONF);
});

Deno.test("parseResolvConf() passes over what the uplink cannot reach, and reports that", () => {
  for (const addr of ["fe80::1%eth0", "fe80::1", "2001:db8::1%3", "ns.example", "1.2.3", "0.0.0.0", "ff02::1"]) {
    const { nameServers, notes } = conf(`nameserver ${addr}`, "nameserver 192.0.2.53");
    assertEquals(nameServers, ["192.0.2.53"]);
    assertEquals([addr, notes.length, notes[0]!.includes(`name server ${addr} is passed over`)], [addr, 1, true]);
  }
});

Deno.test("parseResolvConf() reads search, domain, and options timeout and attempts within glibc's bounds", () => {
  assertEquals(conf("search a.test b.test. # x").search, ["a.test", "b.test"]);
  assertEquals(conf("search a.test", "domain c.test d.test").search, ["c.test"], "the last counts");
  assertEquals(conf("domain c.test", "search .").search, []);
  const { search, notes } = conf(`search ${"x".repeat(64)}.test ok.test`);
  assertEquals([search, notes.length], [["ok.test"], 1]);
  const rows = [
    { line: "options ndots:2 timeout:1 attempts:3", timeoutMs: 1000, attempts: 3 },
    { line: "options timeout:0 attempts:0", timeoutMs: 1000, attempts: 1 },
    { line: "options timeout:99 attempts:99", timeoutMs: 30_000, attempts: 5 },
    { line: "options timeout:x attempts: rotate", timeoutMs: 5000, attempts: 2 },
    { line: "", timeoutMs: 5000, attempts: 2 },
  ];
  for (const { line, ...patience } of rows) assertEquals({ line, ...conf(line).patience }, { line, ...patience });
});

Deno.test("mergeResolvConfs() takes the first file with a server that is not the machine's own", () => {
  const stub = conf("nameserver 127.0.0.53", "search a.test");
  const real = conf("nameserver 192.0.2.53", "search b.test");
  assertObjectMatch(mergeResolvConfs([stub, real]), { nameServers: ["192.0.2.53"], search: ["b.test"] });
  assertObjectMatch(mergeResolvConfs([real, stub]), { nameServers: ["192.0.2.53"] });
  assertObjectMatch(mergeResolvConfs([stub, NO_RESOLV_CONF]), { nameServers: ["127.0.0.53"], search: ["a.test"] });
  assertEquals(mergeResolvConfs([NO_RESOLV_CONF, NO_RESOLV_CONF]), NO_RESOLV_CONF);
});

Deno.test("usableServers() leaves out what cannot be asked, and reports why; loopback is for lack of others", () => {
  const rules = { hasIpv6: true, hasLoopback: true, peer: "10.99.0.1" };
  const rows = [
    { addrs: ["127.0.0.53", "192.0.2.53", "2001:db8::53"], change: {}, asks: ["192.0.2.53", "2001:db8::53"], notes: 0 },
    { addrs: ["2001:db8::53", "192.0.2.53"], change: { hasIpv6: false }, asks: ["192.0.2.53"], notes: 1 },
    { addrs: ["127.0.0.53", "::1"], change: {}, asks: ["127.0.0.53"], notes: 1 },
    { addrs: ["127.0.0.53"], change: { hasLoopback: false }, asks: ["10.99.0.1"], notes: 1 },
    { addrs: ["2001:db8::53"], change: { hasIpv6: false }, asks: ["10.99.0.1"], notes: 1 },
    { addrs: [], change: {}, asks: ["10.99.0.1"], notes: 0 },
  ];
  for (const { addrs, change, asks, notes } of rows) {
    const got = usableServers(conf(...addrs.map((addr) => `nameserver ${addr}`)), { ...rules, ...change });
    assertEquals({ addrs, asks: got.nameServers, notes: got.notes.length }, { addrs, asks, notes });
  }
});

Deno.test("No text makes parseResolvConf() throw", () => {
  const word = fc.constantFrom(
    "nameserver",
    "search",
    "options",
    "timeout:9",
    "#",
    ";",
    "::1",
    "1.1.1.1",
    "%x",
    "\t",
    "\n",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.oneof(word, fc.string({ maxLength: 4 }))).map((words) => words.join(" ")),
  );
  fc.assert(fc.property(text, (one) => void parseResolvConf(one)), fuzz(300));
});
