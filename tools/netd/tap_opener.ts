/**
 * A program that netd starts inside a user and a network namespace, to open the guest's device there. netd takes the
 * device over (devices/host/tun_taken) and closes this program's standard input, which ends it.
 *
 * Path: guest_tap → tap_opener → tun_taken, libc, netns_setup, netns_guest.
 *
 * Its argument and its answer are a line of JSON each: {@link OpenerRequest}, {@link OpenerAnswer}.
 *
 * @module
 */

import { HostError } from "../../devices/host/libc.ts";
import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { type HeldTap, holdTap } from "../../devices/host/tun_taken.ts";
import type { TapRequest } from "../vmm/guests/netns_guest.ts";

/** A request to open the device. */
export interface OpenerRequest {
  readonly tap: Pick<TapRequest, "name" | "mtu" | "address" | "offload" | "take"> & {
    readonly mac?: readonly number[];
  };
  readonly gateway?: string;
}

/** The result. */
export type OpenerAnswer = { readonly held: HeldTap } | { readonly error: string; readonly errno: number };

const OWN_NETNS = "/proc/thread-self/ns/net";

function open({ tap, gateway }: OpenerRequest): OpenerAnswer {
  try {
    const { mac, ...options } = tap;
    const { held } = holdTap(mac === undefined ? options : { ...options, mac: new Uint8Array(mac) });
    setUpNetns(OWN_NETNS, { device: held.name, ...(gateway === undefined ? {} : { gateway }) });
    return { held };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { error: error.message, errno: error.errno };
  }
}

if (import.meta.main) {
  console.log(JSON.stringify(open(JSON.parse(Deno.args[0]!) as OpenerRequest)));
  for await (const _ of Deno.stdin.readable);
}
