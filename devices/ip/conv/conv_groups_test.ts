/** Multicast groups of conversations. */

import { assertEquals } from "@std/assert";
import { refusalCode, writeText } from "../../../tests/kit/host/dev.ts";
import { ip as addr, ipFixture, US } from "../../../tests/kit/ip/ip_fixture.ts";
import { GROUPS_PER_CONV_MAX, isMember } from "./conv_groups.ts";

const GROUP = "224.1.2.3";

Deno.test("A group stays joined on the interface while any conversation is in it", () => {
  const ip = ipFixture();
  const [a, b] = [ip.conv("udp"), ip.conv("udp")];
  for (const conv of [a, b]) conv.command(`addmulti ${US} ${GROUP}`);
  a.command(`addmulti ${US} ${GROUP}`);
  assertEquals(a.conv.groups.length, 1);
  a.close();
  assertEquals([isMember(b.conv, addr(GROUP)), ip.stack.self.cast(addr(GROUP))], [true, "multicast"]);
  b.command(`remmulti ${US} ${GROUP}`);
  assertEquals([isMember(b.conv, addr(GROUP)), ip.stack.self.cast(addr(GROUP))], [false, null]);
});

Deno.test("addmulti with one argument joins the group that the conversation is connected to", () => {
  const udp = ipFixture().conv("udp", `connect ${GROUP}!7`, `addmulti ${US}`);
  assertEquals(isMember(udp.conv, addr(GROUP), addr(US)), true);
});

Deno.test("addmulti refuses what is no group, an interface that is not ours, and too many groups", () => {
  const udp = ipFixture().conv("udp");
  assertEquals(refusalCode(() => udp.command(`addmulti ${US} 10.0.0.9`)), "EFAIL");
  assertEquals(refusalCode(() => udp.command(`addmulti ${US}`)), "EFAIL");
  assertEquals(refusalCode(() => udp.command(`addmulti 9.9.9.9 ${GROUP}`)), "EFAIL");
  assertEquals(refusalCode(() => udp.command(`remmulti ${US} ${GROUP}`)), "EFAIL");
  assertEquals(refusalCode(() => udp.command("addmulti x")), "EINVAL");
  for (let i = 0; i < GROUPS_PER_CONV_MAX; i++) udp.command(`addmulti ${US} 224.1.3.${i}`);
  assertEquals(refusalCode(() => udp.command(`addmulti ${US} ${GROUP}`)), "ENOBUFS");
});

Deno.test("A conversation can be closed after its interface lost the address, or was unbound", () => {
  for (const command of [`remove ${US} 255.255.255.0`, "unbind"]) {
    const ip = ipFixture();
    const udp = ip.conv("udp", `addmulti ${US} ${GROUP}`);
    writeText(ip.ifcCtl, command);
    udp.close();
    assertEquals(ip.stack.self.cast(addr(GROUP)), null);
  }
});
