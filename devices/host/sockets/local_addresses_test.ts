import { assertEquals } from "@std/assert";
import { VirtualClock } from "../../../kernel/time.ts";
import { machineTest } from "../../../tests/kit/check/skip.ts";
import { netnsExec } from "../../../tests/kit/host/netns.ts";
import { addr } from "../../../tests/kit/host/sockets.ts";
import { holdLibc, releaseLibc } from "../libc.ts";
import { LocalAddresses } from "./local_addresses.ts";
import { holdNetns } from "../netns.ts";

machineTest("LocalAddresses knows the machine's own, without broadcasts and groups, for 10 s", [
  ...["root", "netns", "ffi", "tool:ip", "tool:nsenter"] as const,
], async () => {
  holdLibc();
  using netns = holdNetns();
  const add = async (address: string) => {
    const { success, text } = await netnsExec(netns, ["ip", "addr", "add", address, "brd", "+", "dev", "lo"]);
    assertEquals(success, true, text);
  };
  await add("10.9.8.1/24");
  const clock = new VirtualClock();
  const addresses = new LocalAddresses(clock, netns);
  const has = (text: string) => addresses.has(addr(text));
  const own = "127.0.0.1 127.9.9.9 ::1 10.9.8.1".split(" ");
  const groups = "10.9.8.255 127.255.255.255 255.255.255.255 224.0.0.1 ff02::1".split(" ");
  const foreign = "10.9.9.2 0.0.0.0 192.0.2.1 :: fe80::1 2001:db8::1 10.9.7.1".split(" ");
  assertEquals([...own, ...groups, ...foreign].filter(has), own);
  await add("10.9.7.1/24");
  clock.advance(9_999);
  assertEquals([has("10.9.7.1"), has("10.9.8.1")], [false, true]);
  clock.advance(1);
  assertEquals([has("10.9.7.1"), has("10.9.8.1")], [true, true]);
  releaseLibc();
});
