/**
 * The guest's interface in a namespace that netd itself may not enter: one below a user namespace (`unshare -Urn`) of
 * the user that runs netd.
 *
 * Path: open_guest → guest_tap → tap_opener, tun_taken, libc, netns.
 *
 * @module
 */

import { EACCES, EPERM, HostError } from "../../devices/host/libc.ts";
import { openNetns } from "../../devices/host/netns.ts";
import type { TapPort } from "../../devices/host/tun.ts";
import { takeTap } from "../../devices/host/tun_taken.ts";
import { netnsOf, type TapRequest } from "../vmm/guests/netns_guest.ts";
import type { OpenerAnswer, OpenerRequest } from "./tap_opener.ts";

const OPENER = new URL("tap_opener.ts", import.meta.url).pathname;

/** Place of a guest's interface. */
interface GuestPlace {
  readonly netns: string;
  /** File of its user namespace; null: that of the process, if one was named. */
  readonly userns: string | null;
}

/** The file of the user namespace that has to be entered first; null: the network namespace can be entered as it is. */
export function usernsToEnter({ netns, userns }: GuestPlace): string | null {
  try {
    openNetns(netnsOf(netns)).run(() => {});
    return null;
  } catch (error) {
    const isRefused = error instanceof HostError && (error.errno === EPERM || error.errno === EACCES);
    const found = userns ?? /^\/proc\/\d+\/ns\/(?=net$)/.exec(netnsOf(netns))?.[0].concat("user") ?? null;
    if (!isRefused || found === null) throw error;
    return found;
  }
}

/**
 * Opens the interface from within the user namespace at `userns`, sets up the rest there, and takes over the interface.
 */
export async function openBelow(userns: string, request: TapRequest, gateway?: string): Promise<TapPort> {
  const { name, netns, mtu, address, offload, take, mac } = request;
  const { path } = openNetns(netns);
  const asked: OpenerRequest = {
    tap: {
      name,
      mtu,
      ...(address === undefined ? {} : { address }),
      ...(offload === undefined ? {} : { offload }),
      ...(take === undefined ? {} : { take }),
      ...(mac === undefined ? {} : { mac: [...mac] }),
    },
    ...(gateway === undefined ? {} : { gateway }),
  };
  const program = [Deno.execPath(), "run", "--no-prompt", "--no-check", "--allow-ffi", OPENER, JSON.stringify(asked)];
  const child = new Deno.Command("nsenter", {
    args: ["--preserve-credentials", `--user=${userns}`, `--net=${path}`, ...program],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const said = new Response(child.stderr).text();
  try {
    const answer = await firstLine(child.stdout);
    if (answer === "") {
      await child.status;
      const reason = (await said).trim().split("\n").at(-1) ?? "";
      throw new HostError(`Cannot open "${name}" in ${netns}`, EPERM, { reason });
    }
    const got = JSON.parse(answer) as OpenerAnswer;
    if ("error" in got) throw Object.assign(new HostError("", got.errno), { message: got.error });
    return takeTap(child.pid, got.held, netns, request);
  } finally {
    await child.stdin.close();
    await child.status;
    await said;
  }
}

/** The first line; empty if there is none. The rest is discarded. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const reader = stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  while (!text.includes("\n")) {
    const { done, value } = await reader.read();
    if (done) return "";
    text += value;
  }
  await reader.cancel();
  return text.slice(0, text.indexOf("\n"));
}
