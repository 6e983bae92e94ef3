/** Which destinations the machine's sockets are closed to. */

import { assertEquals } from "@std/assert";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { destinationPolicy } from "./policy.ts";

const ENDS = {
  v4: { near: ip("192.0.0.2"), peer: ip("192.0.0.1") },
  v6: { near: ip("fd00:a::2"), peer: ip("fd00:a::1") },
};
const OWN = new Set(["198.51.100.1", "2001:db8:5::1"]);
const sockets = { isLocal: (addr: { toString(): string }) => OWN.has(`${addr}`) };

function verdicts(hostLoopback: boolean, ...addrs: readonly string[]): string[] {
  const policy = destinationPolicy({ hostLoopback }, ENDS, sockets);
  return [...new Set(addrs.map((addr) => policy(ip(addr))))];
}

Deno.test("The world is open, private networks included, which the NAT's policy is about", () => {
  const world = [
    "192.0.2.1",
    "10.1.2.3",
    "169.254.7.7",
    "2001:db8::1",
    "fd12::1",
    "64:ff9b::192.0.2.1",
    "2002:c000:201::1",
  ];
  assertEquals(verdicts(true, ...world), ["ok"]);
  assertEquals(verdicts(false, ...world), ["ok"]);
});

Deno.test("The link's peer and the loopback are the machine's loopback, or closed", () => {
  const own = ["192.0.0.1", "127.0.0.1", "127.0.0.53", "fd00:a::1", "::1"];
  assertEquals(verdicts(true, ...own), ["loopback"]);
  assertEquals(verdicts(false, ...own), ["closed"]);
});

Deno.test("The machine's other addresses answer for the same services, and close with its loopback", () => {
  assertEquals(verdicts(true, ...OWN), ["ok"]);
  assertEquals(verdicts(false, ...OWN), ["closed"]);
});

Deno.test("No address of a station, and none that hides the machine or its networks, is ever reached", () => {
  const none = ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1", "fe80::1"];
  const hidden = ["::127.0.0.1", "::7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"];
  const sixToFour = ["2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:101::1"];
  for (const hostLoopback of [true, false]) {
    assertEquals(verdicts(hostLoopback, ...none, ...hidden, ...sixToFour), ["closed"]);
  }
});

Deno.test("A closed one lets nothing out, to whatever address", () => {
  const policy = destinationPolicy({ hostLoopback: true, isClosed: true }, ENDS, sockets);
  const all = ["192.0.2.1", "192.0.0.1", "192.0.0.3", "127.0.0.1", "198.51.100.1", "2001:db8::1", "fd00:a::1"];
  assertEquals(all.map((addr) => policy(ip(addr))), all.map(() => "closed"));
});
