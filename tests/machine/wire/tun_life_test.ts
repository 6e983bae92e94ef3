/**
 * TUN and TAP devices come and go: namespaces, descriptors, persistent and deleted devices, and why a port is refused.
 *
 * @module
 */

import { assertEquals, assertFalse, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { HostError, libc, withLibc } from "../../../devices/host/libc.ts";
import { createNetns, openNetns } from "../../../devices/host/netns.ts";
import { openTap, openTun } from "../../../devices/host/tun.ts";
import { Block } from "../../../kernel/block.ts";
import { netnsExec } from "../../kit/host/netns.ts";
import { aloneTest, machineTest } from "../../kit/check/skip.ts";
import { LINUX } from "../../kit/host/tun.ts";

/** The number that the next descriptor gets: higher after a leak. */
function lowestDescriptor(): number {
  const fd = libc().eventfd(0, 0);
  libc().close(fd);
  return fd;
}

machineTest("a namespace is made, reached by name, and removed without a trace", ["root", "netns", "ffi"], async () => {
  const name = `akarino-test-${Deno.pid}`;
  using netns = createNetns(name);
  const inside = await netnsExec(netns, ["readlink", "/proc/self/ns/net"]);
  const outside = await netnsExec(openNetns(`/proc/${Deno.pid}/ns/net`), ["readlink", "/proc/self/ns/net"]);
  assertNotEquals(inside.text, outside.text);
  assertThrows(() => createNetns(name), HostError, `namespace "${name}": file exists (EEXIST): the name is taken`);
  assertThrows(() => createNetns("a/b"), HostError, "a name of letters, digits");
  assertThrows(() => createNetns(".."), HostError, "a name of letters, digits");
  assertThrows(() => openNetns("none such").run(() => {}), HostError, "there is no such namespace");
  const visited = () => openNetns(name).run(() => new Deno.Command("readlink", { args: ["/proc/self/ns/net"] }));
  assertEquals(new TextDecoder().decode(visited().outputSync().stdout), outside.text, "a visit ends when it returns");
  assertThrows(
    () => {
      netns.run(() => {
        throw new Error("Broken visit");
      });
    },
    Error,
    "Broken visit",
  );
  const after = await new Deno.Command("readlink", { args: ["/proc/self/ns/net"] }).output();
  assertEquals(new TextDecoder().decode(after.stdout), outside.text, "and when it throws");
  netns.close();
  netns.close();
  assertFalse((await new Deno.Command("test", { args: ["-e", netns.path] }).output()).success);
  createNetns(name).close();
});

aloneTest("ports leave no descriptor, device or namespace behind", ["root", "tun", "netns", "ffi"], async () => {
  openTun({ netns: "new" }).close();
  const look = async () => {
    const args = ["-c", "ls /sys/class/net; ls /run/netns"];
    return new TextDecoder().decode((await new Deno.Command("sh", { args }).output()).stdout);
  };
  const before = await look();
  withLibc(() => {
    const descriptor = lowestDescriptor();
    for (let i = 0; i < 5; i++) {
      using tap = openTap({ netns: "new", offload: i % 2 === 1 });
      tap.drain(10);
      assertThrows(() => openTap({ name: "lo", netns: tap.netns! }), HostError);
      assertThrows(() => openTun({ netns: "new", name: "none", attach: true }), HostError);
      tap.close();
      tap.close();
      assertFalse(tap.link);
      assertFalse(tap.transmit(Block.from(new Uint8Array(60))));
      assertEquals(tap.drain(10), 0);
    }
    assertEquals(lowestDescriptor(), descriptor);
  });
  assertEquals(await look(), before);
});

machineTest("errors of opening a port have a reason", ["root", "tun", "netns", "ffi"], () => {
  using netns = createNetns(`akarino-errors-${Deno.pid}`);
  const said = (options: Parameters<typeof openTap>[0], kind: "tun" | "tap" = "tap") => {
    const open = kind === "tap" ? openTap : openTun;
    return assertThrows(() => open({ netns, ...options }).close(), HostError).message;
  };
  using tap = openTap({ netns, name: "taken%d" });
  assertEquals(tap.name, "taken0");
  assertEquals(
    said({ name: "a-name-of-16-byte" }),
    'Cannot use interface name "a-name-of-16-byte": too long, 15 bytes at most (ENAMETOOLONG)',
  );
  assertStringIncludes(said({ name: "a b" }), "no space, slash, colon");
  assertStringIncludes(said({ name: "a%d%d" }), "one %d at most");
  assertStringIncludes(said({ name: "a%s" }), "one %d at most");
  assertEquals(
    said({ name: "taken0" }),
    'Cannot create TAP device "taken0": device or resource busy (EBUSY): the name is taken',
  );
  assertStringIncludes(said({ name: "taken0", attach: true }), "(EBUSY): another program holds it");
  assertStringIncludes(said({ name: "taken0", attach: true }, "tun"), "that is no TUN");
  assertStringIncludes(
    said({ name: "absent", attach: true }),
    'attach to TAP device "absent": no such device (ENODEV)',
  );
  assertStringIncludes(said({ address: "10.0.0.256/24" }), 'Cannot use address "10.0.0.256/24"');
  assertStringIncludes(said({ address: "10.0.0.1/33" }), "not of the form 10.0.0.1/24");
  assertStringIncludes(said({ address: ["10.0.0.1/24", "10.0.1.1/24"] }), "one IPv4 address at most");
  assertStringIncludes(said({ mtu: 67 }), "Cannot use MTU 67: a whole number of 68 to 65521 is needed");
  assertStringIncludes(said({ mtu: 1500.5 }), "Cannot use MTU 1500.5");
  assertStringIncludes(said({ queueLength: 0 }), "Cannot use queue length 0");
  assertStringIncludes(said({ mac: new Uint8Array([1, 0, 0, 0, 0, 1]) }), "01:00:00:00:00:01");
  assertStringIncludes(said({ portMac: new Uint8Array(5) }), "6 bytes are needed");
  tap.close();
});

machineTest(
  "without CAP_NET_ADMIN opening reports what is needed",
  ["root", "tun", "ffi", "tool:setpriv"],
  async () => {
    const program = `
    import { openTap } from "./devices/host/tun.ts";
    import { createNetns } from "./devices/host/netns.ts";
    for (const open of [openTap, () => createNetns("akarino-denied")]) {
      try { open(); } catch (error) { console.log(error.message); }
    }`;
    const deno = [Deno.execPath(), "eval", "--no-lock", "--ext=ts", program];
    const caps = "-net_admin,-sys_admin";
    const args = [`--bounding-set=${caps}`, `--inh-caps=${caps}`, ...deno];
    const { stdout } = await new Deno.Command("setpriv", { args, cwd: new URL("../../..", import.meta.url) }).output();
    const text = new TextDecoder().decode(stdout);
    assertStringIncludes(text, "operation not permitted (EPERM): needs root or CAP_NET_ADMIN");
    assertStringIncludes(text, "operation not permitted (EPERM): needs root or CAP_SYS_ADMIN");
  },
);

machineTest("a persistent device stays, and can be attached to", ["root", "tun", "netns", "ffi"], () => {
  using netns = createNetns(`akarino-persist-${Deno.pid}`);
  using first = openTap({ netns, name: "keep", persist: true, mtu: 1400, address: `${LINUX}/24` });
  first.close();
  assertThrows(() => openTap({ netns, name: "keep" }), HostError, "the name is taken");
  using second = openTap({ netns, name: "keep", attach: true });
  assertEquals([second.name, second.mtu, second.link], ["keep", 1400, true]);
  second.close();
  openTap({ netns, name: "keep", attach: true, persist: false }).close();
  assertThrows(() => openTap({ netns, name: "keep", attach: true }), HostError, "ENODEV");
});

machineTest("closing everything closes the C library, too", ["ffi"], () => {
  withLibc(() => assertEquals(libc().close(-1), -1));
});
