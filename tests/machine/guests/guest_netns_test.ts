/**
 * A network namespace as the guest: Linux' own tools in it, and nothing but our kernel at the other end of its
 * interface.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { HostError } from "../../../devices/host/libc.ts";
import { createNetns, openNetns } from "../../../devices/host/netns.ts";
import { setUpNetns } from "../../../devices/host/netns_setup.ts";
import { openTap, type TapPort } from "../../../devices/host/tun.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { udpEcho } from "../../../tools/scenario/programs.ts";
import type { Pollable } from "../../../tools/vmm/guests/guest.ts";
import { type NetnsGuest, netnsGuest, type NetnsGuestOptions } from "../../../tools/vmm/guests/netns_guest.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";
import { labNeeds, runTool, type ToolOptions, type ToolResult } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";

const HOST = "10.78.0.1";
const GUEST = "10.78.0.15";
const ECHO_PORT = 7;

/** A guest, and a host on the other end of its interface. */
class NetnsLab implements AsyncDisposable {
  constructor(readonly host: Host, readonly guest: NetnsGuest<TapPort>) {}

  /** Runs a tool in the guest. */
  run(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(openNetns(this.guest.path), command, options);
  }

  async mustRun(...command: string[]): Promise<string> {
    const { code, text } = await this.run(command);
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest.close();
    await this.host.close();
  }
}

async function openLab(options: NetnsGuestOptions): Promise<NetnsLab> {
  // The host needs the port, and the port the host's loop.
  const found: Pollable[] = [];
  const guest = netnsGuest({ openTap, setUpNetns }, { add: (pollable) => found.push(pollable) }, options);
  // A wire of its own with a clock that is real: what boot makes for a TAP, with the guest's in its place.
  const host = await boot({ wire: "tap", port: guest.port, address: `${HOST}/24` });
  for (const pollable of found) host.reactor!.add(pollable);
  udpEcho(host.spawn("echo"), ECHO_PORT).catch(() => {});
  return new NetnsLab(host, guest);
}

machineTest(
  "a new namespace: set up, it pings, echoes and knows its router",
  labNeeds("ip", "ping", "socat"),
  async () => {
    const mac = new Uint8Array([2, 0, 0, 0, 0x78, 15]);
    await using lab = await openLab({
      address: [`${GUEST}/24`, "fd00:78::15/64"],
      gateway: HOST,
      mtu: 1400,
      mac,
      device: "eth0",
    });
    assertMatch(lab.guest.name, /^netns:akarino-\d+-\d+$/);
    const links = await lab.mustRun("ip", "-o", "link");
    assertEquals(
      links.match(/^\d+: (\w+)/gm)?.map((one) => one.replace(/.* /, "")),
      ["lo", "eth0"],
      "its only interface",
    );
    assertMatch(links, /lo: <LOOPBACK,UP,LOWER_UP>/);
    assertMatch(links, /eth0: .* mtu 1400 .*link\/ether 02:00:00:00:78:0f/);
    assertMatch(await lab.mustRun("ip", "addr", "show", "eth0"), /inet 10\.78\.0\.15\/24[^]*inet6 fd00:78::15\/64/);
    assertEquals((await lab.mustRun("ip", "route", "show", "default")).trim(), `default via ${HOST} dev eth0`);

    assertStringIncludes(await lab.mustRun("ping", "-c", "3", "-i", "0.01", HOST), "3 received, 0% packet loss");
    assertStringIncludes(await lab.mustRun("ping", "-c", "2", "-i", "0.01", "-s", "65507", HOST), "2 received");
    assertStringIncludes(await lab.mustRun("ping", "-c", "1", GUEST), "1 received", "its own address, by loopback");
    const stdin = pattern(9000, 3);
    const { bytes } = await lab.run(["socat", "-b", "65536", "-t", "0.2", "-", `udp-datagram:${HOST}:${ECHO_PORT}`], {
      stdin,
    });
    assertEquals(bytes, stdin);
  },
);

/** The name of the program that a process runs; Deno itself may not look into /proc without every permission. */
async function commandOf(pid: number): Promise<string> {
  const { stdout } = await new Deno.Command("cat", { args: [`/proc/${pid}/comm`] }).output();
  return new TextDecoder().decode(stdout);
}

machineTest("a namespace by name and by process: left to DHCP, and left alone", labNeeds("ip", "ping"), async () => {
  using netns = createNetns(`akarino-guest-${Deno.pid}`);
  const sleeper = new Deno.Command("nsenter", { args: [`--net=${netns.path}`, "sleep", "60"] }).spawn();
  try {
    // Until nsenter has become the sleeper, the process is in our own namespace.
    while (await commandOf(sleeper.pid) !== "sleep\n") {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const [which, name] of [[netns.name, netns.name], [sleeper.pid, `/proc/${sleeper.pid}/ns/net`]] as const) {
      await using lab = await openLab({ netns: which });
      assertEquals(lab.guest.name, `netns:${name}`);
      assertEquals((await lab.mustRun("ip", "-4", "addr", "show", "tap0")).includes("inet"), false, "no address yet");
      await lab.mustRun("ip", "addr", "add", `${GUEST}/24`, "dev", "tap0");
      assertStringIncludes(await lab.mustRun("ping", "-c", "1", HOST), "1 received");
    }
  } finally {
    sleeper.kill("SIGKILL");
    await sleeper.status;
  }
  const { success } = await new Deno.Command("test", { args: ["-e", netns.path] }).output();
  assert(success, "what was only opened stays");
});

machineTest("a guest that cannot be made leaves nothing behind", labNeeds("ip"), async () => {
  const error = await assertRejects(() => openLab({ netns: "akarino-absent" }), HostError);
  assertStringIncludes(error.message, "there is no such namespace");
  const far = await assertRejects(() => openLab({ address: `${GUEST}/24`, gateway: "192.0.2.1" }), HostError);
  assertStringIncludes(far.message, 'Cannot set the default route by 192.0.2.1 on "tap0": network is unreachable');
  const { stdout } = await new Deno.Command("ip", { args: ["netns", "list"] }).output();
  assertEquals(new TextDecoder().decode(stdout).match(new RegExp(`akarino-${Deno.pid}-`)), null);
});
