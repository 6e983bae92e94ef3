/**
 * netd in passt's place: a virtual machine of QEMU by `-netdev stream`, with Debian's kernel and busybox.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns } from "../../../devices/host/netns.ts";
import { setupGuest } from "../../../tools/setup_guest/guest_files.ts";
import { QemuMachine } from "../../../tools/vmm/guests/qemu/machine.ts";
import { type Child, netdNeeds, PEER, startNetd, startPeer, UPLINK, WORLD } from "../../kit/netd/netd.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { runTool } from "../../kit/host/linux.ts";
import { QEMU_NEEDS } from "../../kit/host/qemu.ts";
import { machineTest } from "../../kit/check/skip.ts";

const SIZE = 4_000_000;

async function tryMachine(machine: QemuMachine, world: ReturnType<typeof createNetns>): Promise<void> {
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
  assertStringIncludes(loopback, UPLINK, "the router's address is the machine's 127.0.0.1");
  // A client that connects gets the address under which the guest sees it.
  const served = machine.run("nc -l -p 80 -e netstat -tn");
  served.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { text } = await runTool(world, ["socat", "-t", "5", "-", `tcp:${UPLINK}:8000`]);
  assertMatch(text, new RegExp(`10\\.0\\.2\\.15:80 +(::ffff:)?${PEER.replaceAll(".", "\\.")}:\\d+ +\\w`));
  await served;
}

machineTest("netd for QEMU: DHCP, ping, names, a download, a forward", [
  ...netdNeeds("socat"),
  ...QEMU_NEEDS,
], async () => {
  const { kernel, initrd } = await setupGuest();
  using world = createNetns(`nd-qemu-${Deno.pid}`);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const socket = `${folder}/net.sock`;
  const children: Child[] = [];
  try {
    assertEquals((await runTool(world, ["ip", "addr", "add", `${WORLD}/32`, "dev", "lo"])).code, 0);
    const netd = await startNetd([
      ...[
        "--qemu",
        socket,
        "--one-off",
        "--uplink",
        "tap",
        "--uplink-netns",
        world.name,
        "--uplink-device",
        "aka0",
        "--dns",
        PEER,
      ],
      ...["--forward", "hostfwd=tcp::8000-:80"],
    ]);
    children.push(netd, await startPeer(world));
    const netdev = `stream,id=net0,server=off,addr.type=unix,addr.path=${socket}`;
    {
      await using machine = new QemuMachine({ kernel, initrd, netdev, words: ["akarino.dhcp"], limitS: 120 });
      await tryMachine(machine, world);
      assertEquals(await machine.powerOff(), 0);
    }
    assertEquals((await netd.end()).code, 0, "--one-off: it ends with its guest");
    assertStringIncludes(netd.text, "netd: the machine has left");
  } finally {
    for (const child of children) {
      child.kill("SIGKILL");
      await child.end();
    }
    await Deno.remove(folder, { recursive: true });
  }
});
