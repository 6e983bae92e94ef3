import { assertEquals, assertThrows } from "@std/assert";
import { netdNeeds } from "../../tests/kit/netd/netd.ts";
import { aloneTest } from "../../tests/kit/check/skip.ts";
import { HostError } from "./libc.ts";
import { createNetns } from "./netns.ts";
import { holdTap, takeTap } from "./tun_taken.ts";

// A number that is let go may be another test's at once.
aloneTest("takeTap() has the device of a process that holds it, also when that has let go", netdNeeds(), () => {
  using netns = createNetns(`taken-${crypto.randomUUID().slice(0, 8)}`);
  const { held, letGo } = netns.run(() => holdTap({ name: "taken0", mtu: 1300 }));
  // The holder may be any process of ours: here this one.
  const tap = takeTap(Deno.pid, held, netns.path, { name: "taken0" });
  letGo();
  assertEquals([tap.name, tap.mtu, tap.link, tap.netns!.path], ["taken0", 1300, true, netns.path]);
  assertEquals(tap.device.mac.length, 6);
  tap.close();
  assertThrows(() => takeTap(Deno.pid, held, netns.path, {}), HostError, 'Cannot take over "taken0" from process');
  assertThrows(() => takeTap(0x7fffffff, held, netns.path, {}), HostError, "from process 2147483647");
});
