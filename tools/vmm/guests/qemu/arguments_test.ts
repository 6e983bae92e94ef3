import { assertEquals } from "@std/assert";
import { qemuArguments } from "./arguments.ts";

Deno.test("qemuArguments() emulates a machine of one processor with one card and a console", () => {
  const options = { kernel: "/k", initrd: "/i", netdev: "stream,id=net0,server=off,addr.type=unix,addr.path=/s" };
  const args = qemuArguments({ ...options, words: ["akarino.dhcp"], mtu: 1400, limitS: 9, memoryMib: 96 });
  const value = (name: string) => args[args.indexOf(name) + 1];
  assertEquals([value("-accel"), value("-smp"), value("-m"), value("-cpu")], ["tcg", "1", "96", "max"]);
  assertEquals(value("-netdev"), options.netdev);
  assertEquals(value("-device"), "virtio-net-pci,romfile=,netdev=net0,mac=52:54:00:12:34:56,host_mtu=1400");
  assertEquals(value("-append")?.endsWith(" akarino.limit=9 akarino.dhcp"), true);
  assertEquals(qemuArguments({ ...options, accel: "kvm" }).includes("host"), true);
});

Deno.test("qemuArguments() adds a port for an agent on request", () => {
  const options = { kernel: "/k", initrd: "/i", netdev: "user,id=net0" };
  const args = qemuArguments({ ...options, agent: "/a, b.sock" });
  assertEquals(args[args.indexOf("-chardev", args.indexOf("-chardev") + 1) + 1]?.endsWith(",path=/a,, b.sock"), true);
  assertEquals(args.filter((one) => one.includes("agent")).length, 2);
  assertEquals(qemuArguments(options).filter((one) => one.includes("agent")), []);
});
