/** Addresses of both styles, and options that cannot be. */

import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import { GUEST_MACS, natConfig, type NatOptions } from "./config.ts";

const base: NatOptions = { hostAddr: "10.0.0.1/24" };

Deno.test("qemu style is 10.0.2.0/24 unless another network is chosen", () => {
  const { router, dns, guest, mtu, mss, guestMac } = natConfig(base);
  assertEquals([router, dns, guest].map(String), ["10.0.2.2", "10.0.2.3", "10.0.2.15"]);
  assertEquals([mtu, mss, guestMac], [1500, 1460, GUEST_MACS.qemu]);
  const other = natConfig({ ...base, subnet: "192.168.76.0/24", guest: "192.168.76.9", dns: null, mtu: 1280, mss: 0 });
  assertEquals([other.router, other.guest, other.dns, other.mss].map(String), [
    "192.168.76.2",
    "192.168.76.9",
    "null",
    "0",
  ]);
  assertEquals([...natConfig({ ...base, subnet: "10.9.9.0/28" }).broadcasts].length, 4);
});

Deno.test("real style gives the guest the host's address", () => {
  const { guest, router, dns, guestMac } = natConfig({
    ...base,
    style: "real",
    subnet: "10.0.0.0/24",
    router: "10.0.0.254",
  });
  assertEquals([guest, router, dns].map(String), ["10.0.0.1", "10.0.0.254", "null"]);
  assertEquals(guestMac, GUEST_MACS.real);
});

Deno.test("RFC 4787 REQ-7: a network for guests that the host is on is refused, and another one taken", () => {
  const why = (options: Partial<NatOptions>) =>
    assertThrows(() => natConfig({ ...base, ...options }), KernelError).message;
  assertEquals(
    why({ hostAddr: "10.0.2.77/24" }),
    "Cannot use the subnet 10.0.2.0/24 for guests: the host has 10.0.2.77/24, so take another",
  );
  why({ hostAddr: "10.1.1.1/8" });
  why({ hostAddrs: ["10.0.2.7"] });
  why({ subnet: "10.0.0.0/16" });
  assertEquals(`${natConfig({ ...base, hostAddr: "10.0.2.77/24", subnet: "10.0.3.0/24" }).router}`, "10.0.3.2");
});

Deno.test("RFC 7857 5 and 6: each protocol may have its own mapping and filtering", () => {
  const { mapping, filtering } = natConfig({ ...base, mapping: { tcp: "address" }, filtering: "endpoint" });
  assertEquals([mapping, filtering], [["endpoint", "address", "endpoint"], ["endpoint", "endpoint", "endpoint"]]);
});

Deno.test("Options that cannot be are refused with a reason", () => {
  const bad: Partial<NatOptions>[] = [
    { hostAddr: "nonsense" },
    { hostAddr: "fe80::1" },
    { mtu: 100 },
    { mtu: 70_000 },
    { subnet: "10.0.2.0" },
    { subnet: "10.0.2.0/30" },
    { subnet: "10.0.2.0/33" },
    { router: "10.0.3.1" },
    { guest: "10.0.2.2" },
    { dns: "10.0.2.2" },
    { dns: "9.9.9.9" },
    { style: "real" },
    { nameServers: ["x"] },
    { reservations: { "020000000001": "x" } },
    { reservations: { "02000000000": "10.0.2.20" } },
    { reservations: { "020000000001": "10.0.3.20" } },
    { reservations: { "020000000001": "10.0.2.3" } },
    { mtu: NaN },
  ];
  for (const one of bad) {
    assertEquals([one, assertThrows(() => natConfig({ ...base, ...one }), KernelError).code], [one, "EINVAL"]);
  }
});
