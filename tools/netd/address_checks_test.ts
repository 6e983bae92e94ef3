/** Addresses that cannot work are refused with the option that gave them and the reason, in both versions of IP. */

import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../options/given.ts";
import { checkEnds, checkGuestNetwork, checkServer, firstOf } from "./address_checks.ts";

Deno.test("Linux' address is the first of the network, or the next; of a pair the other", () => {
  const rows: [string, string][] = [
    ["10.99.0.2/24", "10.99.0.1/24"],
    ["10.99.0.1/24", "10.99.0.2/24"],
    ["10.99.0.4/31", "10.99.0.5/31"],
    ["10.99.0.5/31", "10.99.0.4/31"],
    ["fd99::2/64", "fd99::1/64"],
    ["fd99::1/64", "fd99::2/64"],
    ["fd99::4/127", "fd99::5/127"],
    ["fd99::5/127", "fd99::4/127"],
  ];
  for (const [address, wanted] of rows) assertEquals([address, firstOf(address)], [address, wanted]);
});

Deno.test("The ends of an uplink that cannot be neighbours are refused, in both versions", () => {
  const ends = (address: string, gateway = "", peer: string | null = firstOf(address)) =>
    checkEnds(address.includes(":") ? "6" : "", {
      address,
      peer,
      gateway: gateway === "" ? (peer ?? firstOf(address)).split("/")[0]! : gateway,
    });
  for (const address of ["10.99.0.2/24", "10.99.0.4/31", "10.99.0.5/31", "fd99::2/64", "fd99::5/127"]) ends(address);
  ends("10.99.0.2/24", "10.99.0.254", null);
  ends("fd99::2/64", "fe80::1");
  checkEnds("", { address: "10.99.0.2/32", gateway: "10.99.0.1", peer: null }, true);
  const refused: [string, () => void][] = [
    ["--uplink-address: its network has no room", () => ends("10.99.0.2/32")],
    ["--uplink-address6: its network has no room", () => ends("fd99::2/128")],
    ["--uplink-address: the address of the network itself", () => ends("10.99.0.0/24")],
    ["--uplink-address: the network's broadcast address", () => ends("10.99.0.255/24")],
    ["--uplink-address: no address of a station", () => ends("127.0.0.2/24")],
    ["--uplink-address: no address of a station", () => ends("224.0.0.2/24")],
    ["--uplink-address6: no address of a station", () => ends("ff02::2/64")],
    ["--uplink-gateway: not in 10.99.0.0/24", () => ends("10.99.0.2/24", "1.2.3.4")],
    ["--uplink-gateway6: not in fd99::/64", () => ends("fd99::2/64", "fd98::1")],
    ["--uplink-gateway: that is the host kernel's own", () => ends("10.99.0.2/24", "10.99.0.2")],
    ["--uplink-gateway6: that is the host kernel's own", () => ends("fd99::2/64", "fd99::2")],
    ["--uplink-peer: not in 10.99.0.0/24", () => ends("10.99.0.2/24", "", "10.1.0.1/24")],
    ["--uplink-peer6: not in fd99::/64", () => ends("fd99::2/64", "", "fd98::1/64")],
    ["--uplink-peer: that is the host kernel's own", () => ends("10.99.0.2/24", "", "10.99.0.2/24")],
    ["--uplink-peer: the network's broadcast address", () => ends("10.99.0.2/24", "", "10.99.0.255/24")],
  ];
  for (const [why, run] of refused) assertThrows(run, UsageError, why);
});

Deno.test("Name servers and guests' networks that cannot be are refused", () => {
  for (const server of ["9.9.9.9", "127.0.0.53", "10.99.0.1"]) checkServer(server, "10.99.0.2/24", false);
  checkServer("2001:db8::53", "fd99::2/64", true);
  const refused: [string, string, boolean][] = [
    ["127.0.0.1", "--disable-host-loopback closes", true],
    ["10.99.0.2", "the host kernel's own", false],
    ["10.99.0.255", "broadcast", false],
    ["0.0.0.0", "no address of a station", false],
    ["224.0.0.251", "no address of a station", false],
    ["255.255.255.255", "no address of a station", false],
    ["::1", "::1 is not reached", false],
    ["fd99::2", "the host kernel's own", false],
    ["ff02::fb", "no address of a station", false],
    ["fe80::1", "a link-local address", false],
  ];
  for (const [server, why, noLoopback] of refused) {
    const own = server.includes(":") ? "fd99::2/64" : "10.99.0.2/24";
    assertThrows(() => checkServer(server, own, noLoopback), UsageError, why, server);
  }
  assertEquals(checkGuestNetwork("cidr", "192.168.7.0/24"), "192.168.7.0/24");
  for (const text of ["127.0.0.0/8", "224.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "fe80::/64", "ff00::/64"]) {
    assertThrows(() => checkGuestNetwork("cidr", text), UsageError, "for --cidr: no network", text);
  }
});
