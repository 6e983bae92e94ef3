import { assertThrows } from "@std/assert";
import { HostError } from "./libc.ts";
import { openTunDevice } from "./tun_device.ts";

Deno.test("openTunDevice() refuses what cannot be before it touches the machine", () => {
  assertThrows(() => openTunDevice("tun", { name: "far-too-long-a-name" }), HostError, "15 bytes at most");
  assertThrows(() => openTunDevice("tap", { mtu: 9 }), HostError, "Cannot use MTU 9");
  assertThrows(() => openTunDevice("tap", { address: "nonsense" }), HostError, 'Cannot use address "nonsense"');
  const address = ["10.0.0.1/24", "fd00::1/64", "10.0.0.2/24"];
  assertThrows(() => openTunDevice("tap", { address }), HostError, "one IPv4 address at most");
});
