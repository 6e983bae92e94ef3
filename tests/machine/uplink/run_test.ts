/**
 * `netd run`, and the socket uplink below it, as an ordinary user without a capability and without a device, against
 * Linux: a machine and the world beyond it are namespaces of the test's own.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { machineTest, type Need } from "../../kit/check/skip.ts";
import { READ_BY_TCP, runTool, type ToolResult } from "../../kit/host/linux.ts";
import { addr, type Heard, message, SocketLab } from "../../kit/host/sockets.ts";
import { bytesOf } from "../../kit/netd/peer.ts";
import { Child, netdNeeds, startPeer, WORLD } from "../../kit/netd/netd.ts";
import { startAsNobody } from "../../kit/netd/rootless.ts";

const NEEDS: Need[] = [...netdNeeds("curl", "ping", "/usr/bin/python3", "unshare"), "userns"];

/** The machine's address, and the router's towards it. */
const MACHINE = "10.77.0.2";
const MACHINE6 = "fd77::2";
const GATEWAY = "10.77.0.1";
const WORLD6 = "2001:db8:77::1";

/** A machine and the world behind a link, with servers in both. */
class Lab implements AsyncDisposable {
  readonly children: Child[] = [];

  readonly #folders: string[] = [];

  constructor(readonly machine: Netns, readonly world: Netns) {}

  /** Starts netd as a user without rights, where the machine is. */
  async start(...options: readonly string[]): Promise<Child> {
    const folder = await Deno.makeTempDir({ prefix: "akarino-run-" });
    this.#folders.push(folder);
    return startAsNobody(this.machine.path, folder, options);
  }

  async must(netns: Netns, command: string): Promise<string> {
    const { code, text }: ToolResult = await runTool(netns, command.split(" "));
    assertEquals(code, 0, `${command}: ${text}`);
    return text;
  }

  /** Runs `script` by `netd run`; its output and status. */
  async run(script: string, ...options: readonly string[]): Promise<{ code: number; text: string }> {
    const netd = await this.start("run", "--dns", GATEWAY, ...options, "--", "sh", "-c", script);
    const { code } = await netd.end();
    return { code, text: netd.text };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) {
      child.kill("SIGKILL");
      await child.end();
    }
    this.machine.close();
    this.world.close();
    for (const folder of this.#folders) await Deno.remove(folder, { recursive: true });
  }
}

async function openLab(): Promise<Lab> {
  const id = crypto.randomUUID().slice(0, 8);
  const lab = new Lab(createNetns(`up-machine-${id}`), createNetns(`up-world-${id}`));
  try {
    const { machine, world } = lab;
    await lab.must(machine, `ip link add up0 type veth peer name up0 netns ${world.name}`);
    for (const [netns, address, address6] of [[machine, MACHINE, MACHINE6], [world, GATEWAY, "fd77::1"]] as const) {
      for (const verb of [`addr add ${address}/24 dev up0`, `addr add ${address6}/64 dev up0 nodad`]) {
        await lab.must(netns, `ip ${verb}`);
      }
      for (const device of ["lo", "up0"]) await lab.must(netns, `ip link set ${device} up`);
    }
    for (const address of [`${WORLD}/32`, `${WORLD6}/128`]) await lab.must(world, `ip addr add ${address} dev lo`);
    await lab.must(machine, `ip route add default via ${GATEWAY}`);
    await lab.must(machine, "ip -6 route add default via fd77::1");
    lab.children.push(await startPeer(world), await startPeer(machine));
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

machineTest("netd run, as a user without rights: names, downloads, refusals and pings", NEEDS, async (t) => {
  await using lab = await openLab();
  await lab.must(lab.machine, "sysctl -qw net.ipv4.ping_group_range=65534\t65534");
  const url = `http://${WORLD}:8080`;

  await t.step("the world sees the machine, and every byte is as it was sent", async () => {
    const { code, text } = await lab.run(`curl -sS ${url}/whoami; echo; curl -sS ${url}/bytes/3000000 | sha256sum`);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(3_000_000))).toHex();
    assertEquals({ code, text: text.split("\n").slice(0, 2) }, { code: 0, text: [MACHINE, `${hash}  -`] });
  });

  await t.step("names are those of the machine's server, and its exit status is the command's", async () => {
    const { code, text } = await lab.run("cat /etc/resolv.conf; getent ahostsv4 any.test | head -1; exit 7");
    assertEquals(code, 7, text);
    assertMatch(text, /^nameserver 10\.0\.2\.3\n192\.0\.2\.77 /);
    assertEquals((await lab.run("kill -TERM $$")).code, 128 + 15);
  });

  await t.step("a refused port is refused at once, and a ping of a dead address is not answered", async () => {
    const refused = await lab.run(`time -p curl -sS ${url.replace("8080", "8099")}`);
    assertEquals(refused.code, 7, refused.text);
    assert(Number(/real (\S+)/.exec(refused.text)?.[1]) < 1, refused.text);
    assertStringIncludes((await lab.run(`ping -c 1 -W 2 ${WORLD}`)).text, "1 received");
    assertStringIncludes((await lab.run("ping -c 1 -W 1 10.77.0.9")).text, "0 received");
  });

  await t.step("the machine's loopback is the router's address, and closed if that is disabled", async () => {
    const { text } = await lab.run("curl -sS http://10.0.2.2:8081/whoami");
    assertEquals(text, "127.0.0.1");
    for (const address of ["10.0.2.2:8081", `${MACHINE}:8080`]) {
      const closed = await lab.run(`curl -sS -m 2 http://${address}/whoami`, "--disable-host-loopback");
      assertEquals(closed.code, 7, closed.text);
    }
  });

  await t.step("IPv6 is there with --ipv6", async () => {
    const wait = "for i in 1 2 3 4 5 6 7 8; do ip -6 route show default | grep -q . && break; sleep 0.3; done";
    const { text } = await lab.run(`${wait}; ping -6 -c 3 -i 0.3 -W 2 ${WORLD6}`, "--ipv6");
    assertMatch(text, /[123] received/);
  });

  await t.step("without ping sockets netd says so, and a ping is prohibited", async () => {
    await lab.must(lab.machine, "sysctl -qw net.ipv4.ping_group_range=1\t0");
    const { text } = await lab.run(`ping -c 1 -W 2 ${WORLD}`);
    assertStringIncludes(text, "netd: warning: guests cannot ping by IPv4");
    assertMatch(text, /From 10\.0\.2\.2 .*Packet filtered/);
  });
});

machineTest("A forward of the socket uplink is a port of the machine, and shows who called", NEEDS, async (t) => {
  await using lab = await openLab();
  const sleeper = new Child("setpriv", [
    ...["--reuid", "65534", "--regid", "65534", "--clear-groups"],
    ...["unshare", "-Urn", "sh", "-c", "echo up; exec sleep 60"],
  ]);
  lab.children.push(sleeper);
  await sleeper.until("up");
  const netd = await lab.start(
    ...["--netns", `${sleeper.pid}`, "--configure", "--dns", WORLD, "--forward", "tcp:8088:8080"],
    ...["--forward", "tcp:127.0.0.1:8089:8080", "--forward", "udp:7007:7"],
  );
  lab.children.push(netd);
  await netd.until("netd: ready");
  const guest = new Child("nsenter", [
    ...[`--net=/proc/${sleeper.pid}/ns/net`, Deno.execPath(), "run", "--no-check", "--no-prompt", "--allow-net"],
    ...["--allow-ffi", "tests/kit/netd/peer.ts"],
  ]);
  lab.children.push(guest);
  await guest.until("ready");

  await t.step("another machine's address, or the router's for the machine itself", async () => {
    assertEquals(await lab.must(lab.world, `curl -sS http://${MACHINE}:8088/whoami`), GATEWAY);
    assertEquals(await lab.must(lab.machine, "curl -sS http://127.0.0.1:8088/whoami"), "10.0.2.2");
    assertEquals(await lab.must(lab.machine, "curl -sS http://127.0.0.1:8089/whoami"), "10.0.2.2");
  });

  await t.step("a datagram to one at every address is answered from there", async () => {
    await using sockets = new SocketLab({ netns: lab.world });
    const socket = sockets.datagrams(GATEWAY);
    const to = { address: addr(MACHINE), port: 7007 };
    assertEquals(socket.send([message(to, "hello")], 1), 1);
    const [{ text, from }] = await sockets.hear(socket) as [Heard];
    assertEquals([text, from], ["hello", to]);
  });

  await t.step("one on the loopback is not reached from elsewhere, and one without a server is reset", async () => {
    const { code } = await runTool(lab.world, ["curl", "-sS", "-m", "2", `http://${MACHINE}:8089/whoami`]);
    assertEquals(code, 7);
    guest.kill("SIGKILL");
    await guest.end();
    const { text } = await runTool(lab.world, [...READ_BY_TCP, MACHINE, "8088"]);
    assertStringIncludes(text, "ConnectionResetError");
  });

  await t.step("at its end nothing is left", async () => {
    sleeper.kill("SIGKILL");
    assertEquals((await netd.end()).code, 0, netd.text);
    assertEquals(await lab.must(lab.machine, "ss -Hltn sport = :8088"), "");
  });
});
