/**
 * netd at start: what it takes from its caller and from the machine, and what it says of a machine where no packet
 * would pass.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createNetns } from "../../../devices/host/netns.ts";
import { Child, netdNeeds, ROUTER, startNetd } from "../../kit/netd/netd.ts";
import { runTool } from "../../kit/host/linux.ts";
import { machineTest } from "../../kit/check/skip.ts";

/** netd with what the task lets it: it also asks for the firewall's rules. */
const NETD = ["run", "--no-check", "--no-prompt", "--allow-ffi", "--allow-run=nsenter", "tools/netd.ts"];

/** A machine with a way to the world, and a guest's namespace. */
function lab() {
  const id = crypto.randomUUID().slice(0, 8);
  const world = createNetns(`ns-world-${id}`);
  const guest = createNetns(`ns-guest-${id}`);
  const must = async (where: typeof world, text: string) => {
    const { code, text: said } = await runTool(where, ["sh", "-ec", text]);
    assertEquals(code, 0, `${text}: ${said}`);
    return said;
  };
  const options = ["--netns", guest.name, "--uplink", "tap", "--uplink-netns", world.name];
  /** Starts it, ends it when it is ready; what it wrote, and its exit status. */
  const start = async (...more: string[]) => {
    const netd = new Child(Deno.execPath(), [...NETD, ...options, ...more]);
    await netd.until("netd: ready").catch(() => {});
    netd.kill("SIGTERM");
    const { code } = await netd.end();
    return { code, text: netd.text };
  };
  const close = () => {
    guest.close();
    world.close();
  };
  return { world, guest, must, options, start, [Symbol.dispose]: close };
}

const VETH = "ip link add v0 type veth peer v1; ip addr add 192.0.2.2/24 dev v0; ip link set v0 up; " +
  "ip link set v1 up; ip route add default via 192.0.2.1; sysctl -qw net.ipv4.ip_forward=0";

machineTest(
  "netd warns of a machine that does not forward, translate or accept, and no more once that is mended",
  netdNeeds("nft", "sysctl"),
  async () => {
    using at = lab();
    await at.must(at.world, VETH);
    await at.must(
      at.world,
      "nft add table ip f; nft add chain ip f fw '{ type filter hook forward priority 0; policy drop; }'",
    );
    await at.must(at.world, "nft add chain ip f in '{ type filter hook input priority 0; policy drop; }'");
    const device = ["--uplink-device", "aka0", "--dns", "192.0.2.53"];
    const { code, text } = await at.start(...device);
    assertEquals(code, 0, text);
    assertMatch(text, /warning: this machine does not forward IPv4/);
    await at.must(at.world, "sysctl -qw net.ipv4.ip_forward=1");
    const second = await at.start(...device);
    assertMatch(second.text, /warning: the chain ip f in drops/);
    assertMatch(second.text, /warning: the chain ip f fw drops/);
    assertMatch(second.text, /warning: no rule of this machine translates 10\.99\.0\.2/);
    await at.must(at.world, mendsIn(second.text));
    const third = await at.start(...device);
    assertEquals([third.code, third.text.includes("warning")], [0, false], third.text);
  },
);

/** The commands that the warnings name. */
function mendsIn(text: string): string {
  const found = text.split("\n").filter((line) => line.includes("warning: ")).map((line) =>
    /: ((?:sysctl|nft) .*)$/.exec(line)
  );
  return found.map((match) => match?.[1] ?? "false").join("; ");
}

machineTest("netd refuses an uplink whose network another device has, an idle one too", netdNeeds(), async () => {
  using at = lab();
  const first = await startNetd([...at.options, "--quiet=no"]);
  try {
    const { code, text } = await at.start("--device", "tap1");
    assertEquals(code, 1, text);
    assertMatch(text, /Cannot use 10\.99\.0\.2\/24 .* "tap0" .* Use --uplink-address 10\.98\.0\.2\/24/);
    const other = await at.start("--device", "tap1", "--uplink-address", "10.98.0.2/24");
    assertEquals(other.code, 0, other.text);
  } finally {
    first.kill("SIGTERM");
    await first.end();
  }
  await at.must(
    at.world,
    "ip tuntap add aka0 mode tap vnet_hdr; ip addr add 10.99.0.1/24 dev aka0; ip link set aka0 up",
  );
  assertMatch((await at.start()).text, /Cannot use 10\.99\.0\.2\/24 .* "aka0" /);
  const attach = ["--uplink-attach", "--uplink-device", "aka0"];
  assertEquals((await at.start(...attach)).code, 0);
  const far = await at.start(...attach, "--uplink-address", "10.55.0.2/24");
  assertEquals(far.code, 1, far.text);
  assertMatch(far.text, /Cannot use 10\.55\.0\.2\/24 .* not by "aka0", which has 10\.99\.0\.1\/24/);
  const own = await at.start(...attach, "--uplink-address", "10.99.0.1/24", "--uplink-gateway", "10.99.0.9");
  assertMatch(own.text, /this machine has it itself, on "aka0"/);
});

machineTest(
  "netd takes a persistent TAP that is there, leaves it, and says if it is held",
  netdNeeds("ping"),
  async () => {
    using at = lab();
    await at.must(at.guest, "ip tuntap add tap0 mode tap; ip link set tap0 up");
    const netd = await startNetd(at.options);
    await at.must(at.guest, `ip addr add 10.0.2.100/24 dev tap0; ip route add default via ${ROUTER}`);
    assertStringIncludes(await at.must(at.guest, `ping -c 1 ${ROUTER}`), "1 received");
    const held = await at.start("--uplink-address", "10.98.0.2/24");
    assertEquals(held.code, 1, held.text);
    assertMatch(held.text, /TAP device "tap0": .*another program holds it/);
    netd.kill("SIGTERM");
    assertEquals((await netd.end()).code, 0, netd.text);
    assertStringIncludes(await at.must(at.guest, "ip link show tap0"), "tap0");
    await at.must(at.guest, "ip link del tap0; ip link add tap0 type veth peer tap9");
    assertMatch((await at.start()).text, /an interface of that name that is no TAP/);
  },
);

machineTest("netd names the option of a descriptor that cannot be what it is for", netdNeeds(), async () => {
  using at = lab();
  const withFds = async (redirections: string, ...options: string[]) => {
    const quoted = [Deno.execPath(), ...NETD, ...at.options, ...options].map((word) => `'${word}'`).join(" ");
    const netd = new Child("sh", ["-c", `exec ${quoted} ${redirections}`]);
    await netd.until("netd: ready").catch(() => {});
    netd.kill("SIGTERM");
    const { code } = await netd.end();
    return `${code} ${netd.text}`;
  };
  assertMatch(await withFds("", "-r", "777"), /^1 netd: Cannot use descriptor 777 of --ready-fd: bad file/);
  assertMatch(await withFds("", "-e", "777"), /^1 netd: Cannot use descriptor 777 of --exit-fd: bad file/);
  assertMatch(await withFds("7</dev/null", "-r", "7"), /^2 netd: Bad value "7" for --ready-fd: .* cannot be written/);
  assertMatch(await withFds("7</", "-r", "7"), /^2 netd: Bad value "7" for --ready-fd: .* not a directory/);
  assertMatch(
    await withFds("7</dev/null", "-e", "7"),
    /^2 netd: .* --exit-fd: a pipe or socket .* not a character dev/,
  );
  // Deno has its own from 3 on: none of them is taken for the caller's.
  const own = await Promise.all([3, 5, 9].map((fd) => withFds(`${fd}<&-`, "-r", `${fd}`)));
  for (const text of own) {
    assertMatch(text, /^[12] netd: (?:.*one of Deno's own|Cannot use descriptor \d of --ready-fd)/);
  }
});

machineTest(
  "netd names a namespace that is not there first, and an uplink that it may not make",
  netdNeeds(),
  async () => {
    using at = lab();
    const say = async (program: string, ...args: string[]) => {
      const child = new Child(program, args);
      const { code } = await child.end();
      return `${code} ${child.text}`;
    };
    const absent = await say(Deno.execPath(), ...NETD, "--netns", "no-such-one");
    assertMatch(absent, /^1 netd: Cannot open network namespace "no-such-one": .*there is no such namespace/);
    const refused = await say("unshare", "-U", Deno.execPath(), ...NETD, "--uplink", "tap", "--netns", at.guest.name);
    assertMatch(refused, /^1 netd: Cannot make the uplink, a TAP device: .*--uplink-attach --uplink-device NAME/);
  },
);

machineTest("netd enters a namespace by its name also below a user namespace", [...netdNeeds(), "userns"], async () => {
  using world = createNetns(`ns-uw-${crypto.randomUUID().slice(0, 8)}`);
  const sleeper = new Child("unshare", ["-Urn", "sh", "-c", "echo up; exec sleep 60"]);
  await sleeper.until("up");
  const name = `ns-user-${Deno.pid}`;
  const user = ["--userns-path", `/proc/${sleeper.pid}/ns/user`];
  try {
    await runTool(world, [
      "sh",
      "-ec",
      `touch /run/netns/${name}; mount --bind /proc/${sleeper.pid}/ns/net /run/netns/${name}`,
    ]);
    const netd = await startNetd(["--netns", name, "--uplink", "tap", "--uplink-netns", world.name, "-c", ...user]);
    netd.kill("SIGTERM");
    assertEquals((await netd.end()).code, 0, netd.text);
  } finally {
    sleeper.kill("SIGKILL");
    await sleeper.end();
    await runTool(world, ["sh", "-c", `umount /run/netns/${name}; rm -f /run/netns/${name}`]);
  }
});
