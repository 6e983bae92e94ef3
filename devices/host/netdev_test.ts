import { assertEquals, assertThrows } from "@std/assert";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { HostError, withLibc } from "./libc.ts";
import { checkMac, checkMtu, checkName, interfaceRequest, NetDevice, parseInterfaceAddress } from "./netdev.ts";

Deno.test("checkName() takes what Linux takes, 15 bytes of it", () => {
  for (const name of ["", "tap0", "tap%d", "a-name.of_15+by", "ä"]) checkName(name);
  for (const name of ["a-name-of-16-byt", "ääääääää", "a b", "a/b", "a:b", ".", "..", "a\0", "%s", "%d%d", "a%"]) {
    assertThrows(() => checkName(name), HostError, "Cannot use interface name", name);
  }
});

Deno.test("checkMtu() and checkMac() refuse what no interface can have", () => {
  for (const mtu of [68, 1500, 65521]) checkMtu(mtu);
  for (const mtu of [0, 67, 65522, 1500.5, NaN]) assertThrows(() => checkMtu(mtu), HostError, `MTU ${mtu}`);
  checkMac(new Uint8Array([2, 0, 0, 0, 0, 1]));
  for (const mac of [[], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 1]]) {
    assertThrows(() => checkMac(new Uint8Array(mac)), HostError, "Cannot use hardware address");
  }
});

Deno.test("parseInterfaceAddress() takes both versions, with and without a length", () => {
  const parsed = (text: string) => {
    const { address, mask } = parseInterfaceAddress(text);
    return `${address} ${mask}`;
  };
  assertEquals(parsed("10.99.0.1/24"), "10.99.0.1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00");
  assertEquals(parsed("10.99.0.1"), "10.99.0.1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
  assertEquals(parsed("fd00::1/64"), "fd00::1 ffff:ffff:ffff:ffff::");
  for (const text of ["", "10.0.0", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/24/24", "fd00::1/129", "/24", "host/24"]) {
    assertThrows(() => parseInterfaceAddress(text), HostError, `Cannot use address "${text}"`);
  }
});

Deno.test("interfaceRequest() is a struct ifreq that begins with the name", () => {
  assertEquals(interfaceRequest("eth0"), new Uint8Array(40).fill(0).map((_, i) => "eth0".charCodeAt(i) || 0));
});

machineTest("NetDevice asks Linux about an interface, and names a missing one", ["ffi"], () => {
  const loopback = new NetDevice("lo");
  assertEquals(loopback.index, 1);
  loopback.close();
  loopback.close();
  assertEquals(loopback.up, false);
  assertThrows(() => loopback.index, HostError, "the handle is closed");
  withLibc(() => {
    const absent = new NetDevice("akarino-none");
    const error = assertThrows(() => absent.index, HostError);
    assertEquals(error.message, 'Cannot find interface "akarino-none": no such device (ENODEV)');
    assertEquals(assertThrows(() => absent.mtu, HostError).code, "ENODEV");
    assertEquals(absent.up, false);
    absent.close();
  });
});
