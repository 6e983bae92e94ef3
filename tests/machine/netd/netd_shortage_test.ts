/**
 * netd where something has run out: descriptors, room in its standard output, the disk. Nothing of it is an absence of
 * the guest, or a reason to turn for nothing, to wait for ever, or to print a stack trace.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns } from "../../../devices/host/netns.ts";
import { CLIENTS_MAX } from "../../../tools/netd/api_socket.ts";
import { askProc, Child, netdArguments, netdNeeds, openNetdLab, startNetd, WORLD } from "../../kit/netd/netd.ts";
import { aloneTest } from "../../kit/check/skip.ts";
import { ROOT } from "../../kit/check/tree.ts";

/** Clock ticks in a second (proc(5)). */
const TICKS = 100;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Connections to the API, and the answer that the last of them waits for. */
interface Crowd {
  readonly conns: Deno.UnixConn[];
  readonly last: Promise<string>;
}

/**
 * Lets a process open one descriptor more. That one, and what is in reserve, is taken by connections, until one is not
 * answered.
 */
async function exhaust(pid: number, api: string): Promise<Crowd> {
  const taken = new Set((await askProc(pid, "ls", "fd")).trim().split("\n").map(Number));
  let limit = 1;
  // A new descriptor has the lowest number that is free, which must be below the limit: there is one.
  while (taken.has(limit - 1)) limit++;
  const { success } = await new Deno.Command("prlimit", { args: [`--pid=${pid}`, `--nofile=${limit}:`] }).output();
  assert(success);
  const conns: Deno.UnixConn[] = [];
  for (;;) {
    conns.push(await connect(api));
    const last = ask(conns.at(-1)!);
    last.catch(() => {});
    if (await Promise.race([last, sleep(300)]) === undefined) return { conns, last };
    assert(conns.length < CLIENTS_MAX, "there are more descriptors than clients may be");
  }
}

/** Seconds of processor that a process has used. */
async function processorOf(pid: number): Promise<number> {
  const fields = (await askProc(pid, "cat", "stat")).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function connect(path: string): Promise<Deno.UnixConn> {
  return await Deno.connect({ transport: "unix", path });
}

/** One command's answer by a connection, which has some seconds for it. */
async function ask(conn: Deno.UnixConn): Promise<string> {
  await conn.write(new TextEncoder().encode("list\n"));
  return new TextDecoder().decode(await readSome(conn));
}

async function readSome(conn: Deno.UnixConn): Promise<Uint8Array> {
  const room = new Uint8Array(4096);
  const limit = setTimeout(() => conn.close(), 5000);
  try {
    return room.subarray(0, await conn.read(room) ?? 0);
  } finally {
    clearTimeout(limit);
  }
}

aloneTest(
  "netd without a descriptor goes on, and answers when there are some again",
  netdNeeds("prlimit"),
  async () => {
    await using lab = await openNetdLab({ options: [] });
    const { conns, last } = await exhaust(lab.netd.pid, lab.apiSocket);
    const before = await processorOf(lab.netd.pid);
    assertStringIncludes(await lab.guestMust("ping", "-c", "5", "-i", "0.3", WORLD), "5 received");
    const used = (await processorOf(lab.netd.pid)) - before;
    assert(used < 0.6, `${used} s of processor in 1.2 s`);
    assertEquals(lab.netd.text.trim().split("\n").at(-1), "netd: ready");
    conns.shift()!.close();
    assertEquals(await last, "ok\n\n", "it was not forgotten");
    for (const conn of conns) conn.close();
  },
);

aloneTest(
  "netd --qemu without a descriptor: a machine waits without a turn for nothing",
  netdNeeds("prlimit"),
  async () => {
    using world = createNetns(`nd-emf-${Deno.pid}`);
    const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
    const path = `${folder}/vm.sock`;
    const crowd: Deno.UnixConn[] = [];
    const netd = await startNetd([
      "--qemu",
      path,
      "--uplink",
      "tap",
      "--uplink-netns",
      world.name,
      "--api-socket",
      `${folder}/api.sock`,
    ]);
    try {
      crowd.push(...(await exhaust(netd.pid, `${folder}/api.sock`)).conns);
      // The first has the descriptor that was in reserve, and the second none.
      const first = await connect(path);
      await sleep(50);
      using second = await connect(path);
      await sleep(300);
      const before = await processorOf(netd.pid);
      await sleep(1000);
      const used = (await processorOf(netd.pid)) - before;
      assert(used < 0.4, `${used} s of processor in 1 s`);
      crowd.pop()!.close();
      first.close();
      // An ARP request for the router: an answer comes to the machine that has waited.
      const frame = new Uint8Array(4 + 42).fill(255, 4, 10);
      frame.set([0, 0, 0, 42]);
      frame.set([2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 2, 15], 10);
      frame.set([10, 0, 2, 2], 42);
      await second.write(frame);
      assertEquals((await readSome(second)).length, 46);
    } finally {
      for (const conn of crowd) conn.close();
      netd.kill("SIGTERM");
      assertEquals((await netd.end()).code, 0, netd.text);
      await Deno.remove(folder, { recursive: true });
    }
  },
);

/** A shell that runs netd with its output somewhere, says its number, and tells its status. */
function shell(script: string, options: readonly string[]): Child {
  const command = [Deno.execPath(), ...netdArguments(options)].map((word) => `'${word}'`).join(" ");
  return new Child("bash", ["-c", `cd '${ROOT}'; ${script.replaceAll("NETD", command)}`]);
}

aloneTest(
  "netd: a standard output that is full, closed or not read stops neither netd nor its end",
  netdNeeds(),
  async () => {
    using world = createNetns(`nd-out-${Deno.pid}`);
    using guest = createNetns(`nd-outg-${Deno.pid}`);
    const options = [
      "--netns",
      guest.name,
      "--uplink",
      "tap",
      "--uplink-netns",
      world.name,
      "--uplink-device",
      "aka0",
      "--ready-fd",
      "9",
    ];
    const wait = 'read -r -n 1 x <&8; sleep 0.3; kill -TERM $!; wait $!; echo "status $?"';
    // A pipe for --ready-fd, and for each try a standard output of its own.
    const ready = "d=$(mktemp -d); mkfifo $d/r; exec 8<>$d/r; rm -r $d;";
    const tries: [string, string, RegExp][] = [
      [
        "full",
        `${ready} NETD 9>&8 >/dev/full & ${wait}`,
        /^netd: Cannot write to standard output: no space left.*ENOSPC/m,
      ],
      [
        "closed",
        `${ready} NETD 9>&8 > >(exit) & ${wait}`,
        /^(netd: Cannot write to standard output: broken pipe|status)/m,
      ],
      [
        "not read",
        `${ready} d=$(mktemp -d); mkfifo $d/o; exec 7<>$d/o; rm -r $d; timeout 0.2 cat /dev/zero >&7; ` +
        `NETD 9>&8 >&7 & ${wait}`,
        /^status/m,
      ],
    ];
    for (const [name, script, text] of tries) {
      const child = shell(script, options);
      await child.end();
      assertMatch(child.text, text, name);
      assertMatch(child.text, /^status 0$/m, `${name}: ${child.text}`);
      assert(!/^\s+at /m.test(child.text), child.text);
    }
  },
);

aloneTest("netd that ends leaves its successor's socket alone", netdNeeds(), async () => {
  using world = createNetns(`nd-succ-${Deno.pid}`);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const options = (name: string) => [
    ...["--qemu", `${folder}/${name}.sock`, "--api-socket", `${folder}/api.sock`, "--socket-mode", "0660"],
    ...["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", name],
  ];
  const first = await startNetd(options("aka0"));
  await Deno.remove(`${folder}/api.sock`);
  const second = await startNetd([...options("aka1"), "--uplink-address", "10.98.0.2/24"]);
  first.kill("SIGTERM");
  assertEquals((await first.end()).code, 0);
  using conn = await connect(`${folder}/api.sock`);
  assertEquals(await ask(conn), "ok\n\n");
  assertEquals(Deno.statSync(`${folder}/api.sock`).mode! & 0o777, 0o660);
  second.kill("SIGTERM");
  assertEquals([(await second.end()).code, [...Deno.readDirSync(folder)]], [0, []]);
  await Deno.remove(folder);
});

aloneTest(
  "scenario: a disk that is full is exit 1 and a line, at --pcap and at its own output",
  ["root"],
  async () => {
    const task = `'${Deno.execPath()}' task --quiet`;
    const disk = "d=$(mktemp -d); mount -t tmpfs -o size=64k none $d";
    const tries: [string, RegExp][] = [
      [
        `${disk}; ${task} scenario --wire memory --pcap $d/a >/dev/null; echo "status $?"; umount $d; rmdir $d`,
        /^scenario: Cannot write "\/.*\/a" of --pcap: No space left.*\nstatus 1\n$/,
      ],
      [
        `${task} scenario --wire memory >/dev/full; echo "status $?"`,
        /^scenario: Cannot write to standard output: No space left.*\nstatus 1\n$/,
      ],
      [
        `${task} natctl --help >/dev/full; echo "status $?"`,
        /^natctl: Cannot write to standard output: No space left.*\nstatus 1\n$/,
      ],
    ];
    for (const [script, text] of tries) {
      const child = new Child("unshare", ["--mount", "bash", "-c", `cd '${ROOT}'; ${script}`]);
      await child.end();
      assertMatch(child.text, text);
    }
  },
);
