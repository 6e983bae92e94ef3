/**
 * netd in passt's place: a virtual machine of QEMU by `-netdev stream`, with Debian's kernel and busybox.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { setupGuest } from "../../../tools/setup_guest/guest_files.ts";
import { QemuMachine } from "../../../tools/vmm/guests/qemu/machine.ts";
import {
  Child,
  netdArguments,
  netdNeeds,
  PEER,
  startNetd,
  startPeer,
  untilReady,
  UPLINK,
  WORLD,
} from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { runTool } from "../../kit/host/linux.ts";
import { QEMU_NEEDS } from "../../kit/host/qemu.ts";
import { machineTest } from "../../kit/check/skip.ts";

const SIZE = 4_000_000;

/** How QEMU and the world are joined to netd. */
interface Way {
  readonly name: string;
  /** Options of netd for QEMU's socket, and QEMU's for it. */
  guest(socket: string): string[];
  netdev(socket: string): string;
  /** It ends with its guest. */
  readonly endsByItself: boolean;
  /** Starts netd with the uplink. */
  start(world: Netns, options: readonly string[]): Promise<Child>;
  /** Where the world's name server and netd's forwards are. */
  readonly peer: string;
  readonly forwardAt: string;
  /** As whom a server on the world's loopback sees the guest, and the guest a client of the forward. */
  readonly loopbackSees: string;
  readonly guestSees: string;
}

const STREAM = {
  guest: (socket: string) => ["--qemu", socket, "--one-off"],
  netdev: (socket: string) => `stream,id=net0,server=off,addr.type=unix,addr.path=${socket}`,
  endsByItself: true,
};
const DGRAM = {
  guest: (socket: string) => ["--qemu-dgram", socket],
  netdev: (socket: string) =>
    `dgram,id=net0,remote.type=unix,remote.path=${socket},local.type=unix,local.path=${socket}.qemu`,
  endsByItself: false,
};
const TAP = {
  start: (world: Netns, options: readonly string[]) =>
    startNetd([...options, "--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"]),
  peer: PEER,
  forwardAt: UPLINK,
  loopbackSees: UPLINK,
  guestSees: PEER,
};
/** netd runs in the world itself. */
const SOCKETS = {
  start(world: Netns, options: readonly string[]) {
    return untilReady(new Child("nsenter", [`--net=${world.path}`, Deno.execPath(), ...netdArguments(options)]));
  },
  peer: WORLD,
  forwardAt: WORLD,
  loopbackSees: "127.0.0.1",
  guestSees: "10.0.2.2",
};

const WAYS: readonly Way[] = [
  { name: "a stream, an uplink of a TAP", ...STREAM, ...TAP },
  { name: "a stream, an uplink of sockets", ...STREAM, ...SOCKETS },
  { name: "datagrams, an uplink of sockets", ...DGRAM, ...SOCKETS },
];

async function tryMachine(machine: QemuMachine, world: Netns, way: Way): Promise<void> {
  const mustRun = async (command: string) => {
    const { code, text } = await machine.run(command);
    assertEquals(code, 0, `${command}: ${text}`);
    return text;
  };
  await machine.console.ready;
  assertMatch(await mustRun("ip addr show eth0"), /inet 10\.0\.2\.15\/24/);
  for (const addr of ["10.0.2.2", WORLD]) {
    assertStringIncludes(await mustRun(`ping -c 2 -i 0.05 ${addr}`), "2 packets received");
  }
  assertMatch(await mustRun("nslookup -type=a x.test"), /Address: 192\.0\.2\.77/);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(SIZE))).toHex();
  assertStringIncludes(await mustRun(`wget -q -O - http://${WORLD}:8080/bytes/${SIZE} | sha256sum`), digest);
  const loopback = await mustRun("wget -q -O - http://10.0.2.2:8081/whoami");
  assertStringIncludes(loopback, way.loopbackSees, "the router's address is the machine's 127.0.0.1");
  // A client that connects gets the address under which the guest sees it.
  const served = machine.run("nc -l -p 80 -e netstat -tn");
  served.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { text } = await runTool(world, ["socat", "-t", "5", "-", `tcp:${way.forwardAt}:8000`]);
  assertMatch(text, new RegExp(`10\\.0\\.2\\.15:80 +(::ffff:)?${way.guestSees.replaceAll(".", "\\.")}:\\d+ +\\w`));
  await served;
}

for (const way of WAYS) {
  machineTest(`netd for QEMU: DHCP, ping, names, a download, a forward; ${way.name}`, [
    ...netdNeeds("socat"),
    ...QEMU_NEEDS,
  ], async () => {
    const { kernel, initrd } = await setupGuest();
    using world = createNetns(`nd-qemu-${crypto.randomUUID().slice(0, 8)}`);
    const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
    const socket = `${folder}/net.sock`;
    const children: Child[] = [];
    try {
      const setUp = `ip addr add ${WORLD}/32 dev lo && sysctl -qw net.ipv4.ping_group_range="0 2147483647"`;
      assertEquals((await runTool(world, ["sh", "-c", setUp])).code, 0);
      const forward = ["--forward", "hostfwd=tcp::8000-:80"];
      const netd = await way.start(world, [...way.guest(socket), "--dns", way.peer, ...forward]);
      children.push(netd, await startPeer(world));
      {
        const netdev = way.netdev(socket);
        await using machine = new QemuMachine({ kernel, initrd, netdev, words: ["akarino.dhcp"], limitS: 120 });
        await tryMachine(machine, world, way);
        assertEquals(await machine.powerOff(), 0);
      }
      if (!way.endsByItself) netd.kill("SIGTERM");
      assertEquals((await netd.end()).code, 0, "--one-off: it ends with its guest");
      if (way.endsByItself) assertStringIncludes(netd.text, "netd: the machine has left");
    } finally {
      for (const child of children) {
        child.kill("SIGKILL");
        await child.end();
      }
      await Deno.remove(folder, { recursive: true });
    }
  });
}
