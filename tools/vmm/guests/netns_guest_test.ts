import { assertEquals, assertThrows } from "@std/assert";
import type { Block } from "../../../kernel/block.ts";
import { NO_OFFLOADS } from "../../../kernel/host.ts";
import type { Pollable } from "./guest.ts";
import { netnsGuest, netnsOf, type TapEnd, type TapRequest } from "./netns_guest.ts";

class FakeTap implements TapEnd {
  readonly kind = "frame";
  readonly name = "tap0";
  readonly mac = new Uint8Array(6);
  readonly mtu = 1500;
  readonly offloads = NO_OFFLOADS;
  readonly mbps = 1;
  readonly link = true;
  readonly fd = 5;
  onClose: (() => void) | null = null;
  receive: ((block: Block) => void) | null = null;
  closes = 0;

  constructor(readonly netns: { name: string; path: string }) {}

  transmit(_block: Block): boolean {
    return true;
  }

  drain(_max: number): number {
    return 0;
  }

  close(): void {
    this.closes++;
  }
}

/** An operating system that only writes down what it is asked. */
function fakeHost(fails = false) {
  const asked: TapRequest[] = [];
  const setups: unknown[] = [];
  const tap = new FakeTap({ name: "n", path: "/run/netns/n" });
  const openTap = (request: TapRequest) => {
    asked.push(request);
    return tap;
  };
  const setUpNetns = (path: string, options: object) => {
    if (fails) throw new Error("no");
    setups.push([path, options]);
  };
  return { tap, asked, setups, host: { openTap, setUpNetns } };
}

Deno.test("netnsOf(): a number is a process", () => {
  assertEquals([12, "12", "web", "/proc/1/ns/net", "new"].map(netnsOf), [
    "/proc/12/ns/net",
    "/proc/12/ns/net",
    "web",
    "/proc/1/ns/net",
    "new",
  ]);
});

Deno.test("netnsGuest() asks for a new namespace and leaves its address to DHCP", async () => {
  const { tap, asked, setups, host } = fakeHost();
  const added: Pollable[] = [];
  const guest = netnsGuest(host, { add: (one) => added.push(one) });
  assertEquals(asked, [{ name: "tap0", netns: "new", mtu: 1500 }]);
  assertEquals(setups, [["/run/netns/n", { device: "tap0" }]]);
  assertEquals([guest.name, guest.path, added], ["netns:n", "/run/netns/n", [tap]]);
  await guest.close();
  assertEquals(tap.closes, 1);
});

Deno.test("netnsGuest() passes on its options, and closes the port if the rest fails", () => {
  const { asked, setups, host } = fakeHost();
  const mac = new Uint8Array([2, 0, 0, 0, 0, 9]);
  netnsGuest(host, { add: () => {} }, {
    netns: 7,
    device: "eth0",
    mtu: 1400,
    mac,
    portMac: mac,
    offload: true,
    address: "10.0.2.15/24",
    gateway: "10.0.2.2",
  });
  assertEquals(asked, [{
    name: "eth0",
    netns: "/proc/7/ns/net",
    mtu: 1400,
    mac,
    portMac: mac,
    address: "10.0.2.15/24",
    offload: true,
  }]);
  assertEquals(setups, [["/run/netns/n", { device: "eth0", gateway: "10.0.2.2" }]]);
  assertThrows(() => netnsGuest(host, { add: () => {} }, { gateway: "10.0.2.2" }), TypeError, "has no address");
  const bad = fakeHost(true);
  assertThrows(() => netnsGuest(bad.host, { add: () => {} }), Error, "no");
  assertEquals(bad.tap.closes, 1);
});
