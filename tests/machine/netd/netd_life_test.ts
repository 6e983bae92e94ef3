/**
 * netd's life: signals and other causes of its end, what it leaves (nothing), what it refuses, and its control channel.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns } from "../../../devices/host/netns.ts";
import {
  Child,
  GUEST,
  netdArguments,
  type NetdLab,
  netdNeeds,
  openNetdLab,
  PEER,
  ROUTER,
  startNetd,
  UPLINK,
  WORLD,
} from "../../kit/netd/netd.ts";
import { runTool } from "../../kit/host/linux.ts";
import { ROOT } from "../../kit/check/tree.ts";
import { machineTest } from "../../kit/check/skip.ts";

machineTest("netd: forwards come and go by natctl, and by slirp4netns' API", netdNeeds("curl", "socat"), async () => {
  await using lab = await openNetdLab({ guestServers: true });
  const whoami = ["curl", "-sS", "-m", "2", `http://${UPLINK}:8001/whoami`];
  assertEquals((await lab.inWorld(whoami)).code, 7, "not yet");
  assertEquals(await lab.natctl("add", "tcp:8001:8080"), { code: 0, text: `tcp:8001:8080 ${GUEST} 0 0\n` });
  assertEquals(await lab.worldMust(...whoami), PEER);
  const again = await lab.natctl("add", "tcp:8000-8010:80");
  assertEquals(again.code, 1);
  assertMatch(again.text, /^natctl: Cannot forward tcp:8000-8010:80: the forward tcp:8001:8080 has the port\n$/);
  const listed = JSON.parse((await lab.natctl("--json", "list")).text);
  assertEquals(listed.forwards[0].forward, "tcp:8001:8080");
  assert(listed.forwards[0].in > 3 && listed.forwards[0].out > 3);
  await lab.guestMust("ping", "-c", "1", WORLD);
  assertMatch(
    (await lab.natctl("maps", "icmp")).text,
    new RegExp(`^icmp ${GUEST}!\\d+ \\*!\\d+ world icmp \\d+ 1 1\n$`),
  );
  assertMatch((await lab.natctl("stats")).text, /\nmaps-icmp 1\n/);
  assertEquals(await lab.natctl("maps", "tcp"), { code: 0, text: "" });
  assertEquals((await lab.natctl("remove", "tcp:8001:8080")).code, 0);
  assertEquals((await lab.inWorld(whoami)).code, 7, "no more");

  const ask = async (request: unknown) => {
    const { text } = await runTool(lab.world, ["socat", "-t", "2", "-", `unix-connect:${lab.apiSocket}`], {
      stdin: new TextEncoder().encode(JSON.stringify(request)),
    });
    return JSON.parse(text);
  };
  const asked = { proto: "tcp", host_addr: "0.0.0.0", host_port: 8001, guest_addr: GUEST, guest_port: 8080 };
  assertEquals(await ask({ execute: "add_hostfwd", arguments: asked }), { return: { id: 1 } });
  assertEquals(await lab.worldMust(...whoami), PEER);
  assertEquals((await ask({ execute: "list_hostfwd" })).return, { entries: [{ id: 1, ...asked }] });
  assertMatch((await ask({ execute: "add_hostfwd", arguments: asked })).error.desc, /has the port/);
  assertEquals(await ask({ execute: "remove_hostfwd", arguments: { id: 1 } }), { return: {} });
  assertEquals((await ask({ execute: "fly" })).error.desc, "bad request: unknown execute");
});

machineTest(
  "netd: a forward takes the port of a guest's open connection, which goes on",
  netdNeeds("curl", "socat"),
  async () => {
    await using lab = await openNetdLab({ guestServers: true });
    const served = lab.inWorld(["timeout", "15", "socat", "TCP-LISTEN:7007,reuseaddr", "EXEC:cat"]);
    const listens = "for i in $(seq 100); do ss -Hltn sport = :7007 | grep -q . && exit 0; sleep 0.1; done; exit 1";
    await lab.worldMust("sh", "-c", listens);
    const words = "(sleep 1; echo one; sleep 5; echo two)";
    const talk = `${words} | timeout 15 socat -t 2 - TCP:${WORLD}:7007,sourceport=8001`;
    const heard = lab.inGuest(["sh", "-c", talk]);
    const isOpen = async () => (await lab.natctl("maps", "tcp")).text.includes("!8001 world established");
    for (let i = 0; i < 50 && !await isOpen(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    assertEquals(await lab.natctl("add", "tcp:8001:8080"), { code: 0, text: `tcp:8001:8080 ${GUEST} 0 0\n` });
    assertEquals(await lab.worldMust("curl", "-sS", "-m", "2", `http://${UPLINK}:8001/whoami`), PEER);
    const listed = (await lab.natctl("maps", "tcp")).text;
    assertMatch(listed, new RegExp(`^tcp ${GUEST}!8001 \\*!8001 world established `, "m"));
    assertEquals([(await heard).text, (await served).code], ["one\ntwo\n", 0]);
  },
);

machineTest("natctl: an unreachable socket is named, a bad command line is status 2", netdNeeds(), async () => {
  const tries: [string[], number, string][] = [
    [["--socket", "/nowhere/api.sock", "list"], 1, "natctl: Cannot ask /nowhere/api.sock: No such file or directory"],
    [["list"], 2, "natctl: Want --socket PATH"],
    [["--socket", "/nowhere"], 2, "natctl: Want a command"],
    [["--socket", "/nowhere", "add", "a'b"], 2, 'natctl: Bad command "add a\'b"'],
    [["--frob"], 2, 'natctl: Unknown option "--frob"'],
    [["--help"], 0, "usage: deno task natctl --socket PATH [--json] COMMAND"],
  ];
  await Promise.all(tries.map(async ([words, status, text]) => {
    const allowed = ["--no-check", "--no-prompt", "--allow-net", "--allow-read", "--allow-write"];
    const natctl = new Child(Deno.execPath(), ["run", ...allowed, "tools/natctl.ts", ...words]);
    assertEquals([(await natctl.end()).code, natctl.text.slice(0, text.length)], [status, text]);
  }));
});

machineTest("netd: what a guest may not reach", netdNeeds("curl", "ping"), async () => {
  const options = ["--disable-host-loopback", "--deny", "tcp:198.51.100.0/24:8080", "--mtu", "9000"];
  await using lab = await openNetdLab({ options });
  for (const url of [`http://${WORLD}:8080/whoami`, `http://${PEER}:8080/whoami`]) {
    const { code } = await lab.inGuest(["curl", "-sS", "-m", "2", url]);
    assertEquals(code, 7, `${url}: refused at once`);
  }
  assertEquals((await lab.inGuest(["ping", "-c", "1", "-W", "1", PEER])).code, 1);
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", WORLD), "1 received");
  assertStringIncludes(await lab.guestMust("ping", "-c", "1", ROUTER), "1 received");
  assertMatch((await lab.natctl("stats")).text, /refused-policy-denied [3-9]/);
  assertMatch((await lab.natctl("show")).text, /deny tcp:198\.51\.100\.0\/24:8080/);
});

machineTest("netd: the end of the guest's process is its end, and nothing is left", netdNeeds(), async () => {
  using world = createNetns(`nd-life-${Deno.pid}`);
  const sleeper = new Child("unshare", ["--net", "sh", "-c", "echo up; exec sleep 60"]);
  await sleeper.until("up");
  const uplink = ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
  const netd = await startNetd(["--netns", `${sleeper.pid}`, ...uplink]);
  sleeper.kill("SIGKILL");
  const { code } = await netd.end();
  assertEquals([code, netd.text.trim().split("\n").at(-1)], [0, "netd: the guest's namespace is gone"]);
  await sleeper.end();
  const { text } = await runTool(world, ["ip", "-o", "link"]);
  assert(!text.includes("aka0"), text);
});

machineTest("netd: ready and exit descriptors", netdNeeds(), async () => {
  using world = createNetns(`nd-fd-${Deno.pid}`);
  using guest = createNetns(`nd-fdg-${Deno.pid}`);
  const options = [
    "--netns",
    guest.name,
    "--uplink",
    "tap",
    "--uplink-netns",
    world.name,
    "--ready-fd",
    "4",
    "--exit-fd",
    "3",
    "--quiet",
  ];
  const quoted = [Deno.execPath(), ...netdArguments(options)].map((word) => `'${word}'`).join(" ");
  // The left side holds the pipe open until the ready byte came to the fifo, and then for half a second.
  const script = `cd '${ROOT}'; mkfifo "$1"; { read -r -n 1 x <"$1"; echo "told $x" >&2; sleep 0.5; } | ` +
    `{ ${quoted} 3<&0 4>"$1" </dev/null; echo "status $?"; }`;
  const folder = await Deno.makeTempDir();
  const shell = new Child("bash", ["-c", script, "bash", `${folder}/fifo`]);
  await shell.end();
  await Deno.remove(folder, { recursive: true });
  assertEquals(shell.text.split("\n").sort(), ["", "status 0", "told 1"]);
});

machineTest("netd: what is not available is status 1, a bad option 2", netdNeeds(), async () => {
  const tries: [string[], number, RegExp][] = [
    [
      ["--netns", "absent-netns"],
      1,
      /^netd: Cannot open network namespace "absent-netns": .*there is no such namespace/,
    ],
    [["--qemu", "/nowhere/at/all.sock"], 1, /^netd: Cannot bind \/nowhere\/at\/all\.sock/],
    [["--netns", "x", "--mtu", "12"], 2, /^netd: Bad value "12" for --mtu: a whole number of 576 to 65521\nTry/],
    [["--frobnicate"], 2, /^netd: Unknown option "--frobnicate"/],
    [["--help"], 0, /^usage: deno task netd/],
  ];
  using world = createNetns(`nd-bad-${Deno.pid}`);
  for (const [options, status, text] of tries) {
    const uplink = status === 1 ? ["--uplink", "tap", "--uplink-netns", world.name] : [];
    const netd = new Child(Deno.execPath(), netdArguments([...options, ...uplink]));
    assertEquals([options[0], (await netd.end()).code], [options[0], status], netd.text);
    assertMatch(netd.text, text);
  }
});

machineTest(
  "netd: an uplink that is deleted is an error, a guest's interface that is deleted its end",
  netdNeeds(),
  async () => {
    using world = createNetns(`nd-gone-${Deno.pid}`);
    using guest = createNetns(`nd-goneg-${Deno.pid}`);
    const options = ["--netns", guest.name, "--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
    const deleted: [typeof world, string, number, string][] = [
      [world, "aka0", 1, 'netd: Cannot go on without uplink "aka0": deleted (ENODEV)'],
      [guest, "tap0", 0, "netd: the guest's interface tap0 is gone"],
    ];
    for (const [netns, device, status, line] of deleted) {
      const netd = await startNetd(options);
      assertEquals((await runTool(netns, ["ip", "link", "del", device])).code, 0);
      assertEquals([(await netd.end()).code, netd.text.trim().split("\n").at(-1)], [status, line]);
    }
  },
);

machineTest("netd: SIGTERM leaves nothing; what SIGKILL leaves does not stop the next", netdNeeds("ip"), async () => {
  using world = createNetns(`nd-kill-${Deno.pid}`);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const left = async () => {
    const files = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
    return [...files, ...(await runTool(world, ["ip", "-o", "link"])).text.match(/aka0/g) ?? []];
  };
  const sockets = ["--qemu", `${folder}/vm.sock`, "--api-socket", `${folder}/api.sock`];
  const options = [...sockets, "--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"];
  const killed = await startNetd(options);
  killed.kill("SIGKILL");
  await killed.end();
  assertEquals(await left(), ["api.sock", "vm.sock"], "the sockets' names, and no device");
  const netd = await startNetd(options);
  netd.kill("SIGTERM");
  assertEquals([(await netd.end()).code, await left()], [0, []]);
  await Deno.remove(folder);
});

/** An ARP request for the router, as QEMU's stream has it: length, then the frame (RFC 826). */
const WHO_HAS_ROUTER = new Uint8Array([
  ...[0, 0, 0, 42, 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6],
  ...[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2],
]);

machineTest("netd: one machine after the other is served at the same socket", netdNeeds(), async () => {
  using world = createNetns(`nd-again-${Deno.pid}`);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const path = `${folder}/vm.sock`;
  const netd = await startNetd(["--qemu", path, "--uplink", "tap", "--uplink-netns", world.name]);
  try {
    for (let i = 0; i < 3; i++) {
      using machine = await Deno.connect({ transport: "unix", path });
      // The second leaves in the middle of a frame.
      await machine.write(WHO_HAS_ROUTER.subarray(0, i === 1 ? 20 : WHO_HAS_ROUTER.length));
      if (i === 1) continue;
      const answer = new Uint8Array(64);
      assertEquals(await machine.read(answer), 46);
      assertEquals([...answer.subarray(24, 26), ...answer.subarray(32, 36)], [0, 2, 10, 0, 2, 2], `machine ${i}`);
    }
  } finally {
    netd.kill("SIGTERM");
    assertEquals((await netd.end()).code, 0, netd.text);
    await Deno.remove(folder, { recursive: true });
  }
});

machineTest("netd: commands are answered while guest and world flood it", netdNeeds("hping3"), async () => {
  await using lab = await openNetdLab({ options: ["--forward", "udp:8000:9"] });
  const floods: [NetdLab["guest"], string[]][] = [
    [lab.guest, ["--udp", "-p", "9", PEER]],
    [lab.world, ["--udp", "-p", "8000", UPLINK]],
  ];
  for (const [netns, words] of floods) {
    const flood = runTool(netns, ["timeout", "1", "hping3", "--flood", "-q", ...words]);
    const conn = await Deno.connect({ transport: "unix", path: lab.apiSocket });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const began = performance.now();
    for (let i = 0; i < 3; i++) {
      await conn.write(new TextEncoder().encode("list\n"));
      assert(await conn.read(new Uint8Array(4096)) !== null);
    }
    conn.close();
    assert(performance.now() - began < 5000, `3 answers took ${performance.now() - began} ms`);
    await flood;
    assertStringIncludes(await lab.guestMust("ping", "-c", "3", "-i", "0.2", WORLD), " bytes from ");
  }
});
