/**
 * netd as a user without rights starts it (uid 65534), for a namespace of that user's (`unshare -Urn`); what root makes
 * for it, once, is the uplink.
 *
 *     await using lab = await openRootlessLab();
 *     await lab.guestMust("ping", "-c", "1", WORLD);
 *
 * @module
 */

import { createNetns, openNetns } from "../../../devices/host/netns.ts";
import { Child, NetdLab, PEER, startPeer, untilReady, v8Flags, WORLD } from "./netd.ts";
import { ROOT } from "../check/tree.ts";

/** Makes a command one of a user without any right. */
export const AS_NOBODY: readonly string[] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/**
 * Runs a program as a user without any right, in a mount namespace of its own. $1: a folder; $2: Deno; $3: the
 * checkout; then the program's file and options. Folders of root's are closed to others: what it is made of is mounted,
 * or copied, where everybody may look. So is a /dev/net/tun that everybody may open, as udev makes it.
 */
const START = `
set -e
folder=$1 deno=$2 tree=$3
shift 3
cache=$("$deno" info | sed -n 's/^DENO_DIR location: //p')
mount -t tmpfs -o mode=755 tmpfs "$folder"
cd "$folder"
mkdir tree cache
touch deno
mknod tun c 10 200
chmod 666 tun
mount --bind tun /dev/net/tun
mount --bind "$deno" deno
mount --bind "$tree" tree
cp -r "$cache/npm" cache
chmod -R a+rwX cache
cd tree
export DENO_DIR="$folder/cache" HOME="$folder" PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec ${AS_NOBODY.join(" ")} "$folder/deno" run ${v8Flags()} --no-check --no-prompt --allow-ffi \\
  --allow-run=nsenter,unshare --allow-read=/etc/resolv.conf "$@"
`;

/** A command that runs a program of the checkout in the namespace at the path `netns`, as a user without any right. */
function rootlessCommand(netns: string, folder: string, program: readonly string[]): string[] {
  const start = ["unshare", "--mount", "sh", "-c", START, "sh", folder, Deno.execPath(), ROOT];
  return ["nsenter", `--net=${netns}`, ...start, ...program];
}

/** A command that runs netd in the namespace at the path `netns`, as a user without any right; `folder` is its own. */
export function rootlessNetd(netns: string, folder: string, options: readonly string[]): string[] {
  return rootlessCommand(netns, folder, ["tools/netd.ts", ...options]);
}

/** Starts netd with `options` as that user, in the namespace at the path `netns`. */
export function startAsNobody(netns: string, folder: string, options: readonly string[]): Child {
  return runAsNobody(netns, folder, ["tools/netd.ts", ...options]);
}

/** As {@link startAsNobody}, for any program of the checkout: its file, and its options. */
export function runAsNobody(netns: string, folder: string, program: readonly string[]): Child {
  const [command, ...args] = rootlessCommand(netns, folder, program);
  return new Child(command!, args);
}

/** Makes world, guest, uplink and netd. What the API socket's place would be, netd may not write. */
export async function openRootlessLab(...options: string[]): Promise<NetdLab> {
  const id = crypto.randomUUID().slice(0, 8);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const world = createNetns(`nd-world-${id}`);
  const sleeper = new Child(AS_NOBODY[0]!, [
    ...AS_NOBODY.slice(1),
    ...["unshare", "-Urn", "sh", "-c", "echo up; exec sleep 600"],
  ]);
  const lab = new NetdLab(world, openNetns(`/proc/${sleeper.pid}/ns/net`), folder);
  try {
    await sleeper.until("up");
    await lab.worldMust("ip", "addr", "add", `${WORLD}/32`, "dev", "lo");
    await lab.worldMust("ip", "tuntap", "add", "dev", "aka0", "mode", "tap", "user", "65534", "vnet_hdr");
    await lab.worldMust("ip", "addr", "add", `${PEER}/24`, "dev", "aka0");
    await lab.worldMust("ip", "link", "set", "aka0", "up");
    const netd = startAsNobody(world.path, folder, [
      ...["--netns", `${sleeper.pid}`, "--uplink", "tap", "--uplink-attach", "--uplink-device", "aka0", "--dns", PEER],
      ...options,
    ]);
    lab.netd = await untilReady(netd);
    lab.children.push(await startPeer(world), sleeper);
    return lab;
  } catch (error) {
    lab.children.push(sleeper);
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}
