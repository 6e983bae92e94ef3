/**
 * Settings of an interface that Linux drops when it goes down: IPv6 addresses, which are also dropped while the MTU is
 * below that of IPv6, and routes. netd sets them again when the interface is back.
 *
 * Path: daemon, open_guest → kept → link_watch, netdev, netns_setup.
 *
 * @module
 */

import { EEXIST, HostError } from "../../devices/host/libc.ts";
import { LinkWatch } from "../../devices/host/link_watch.ts";
import type { NetDevice } from "../../devices/host/netdev.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { addDefaultRoute } from "../../devices/host/netns_setup.ts";
import type { Loop } from "../vmm/guests/guest.ts";
import { IPV6_MTU_MIN } from "../../kernel/wire/ipv6.ts";

/** An interface with its settings. */
export interface KeptLink {
  /** Its role, for messages: `uplink`, `guest's interface`. */
  readonly what: string;
  readonly device: NetDevice;
  readonly netns: Netns | null;
  readonly addresses: readonly string[];
  /** Router of the default route; left out: there is none. */
  readonly gateway?: string;
}

/** Lets `loop` poll it; `say` gets a line for each event. Returns a function that stops that. Throws HostError. */
export function keepLink(link: KeptLink, loop: Loop, say: (line: string) => void): () => void {
  const { what, device } = link;
  const six = link.addresses.filter((address) => address.includes(":"));
  const least = six.length > 0 ? IPV6_MTU_MIN : 0;
  let isWhole = true;
  const watch = new LinkWatch(device, link.netns, (state) => {
    const isNow = state === null || (state.up && state.mtu >= least);
    if (isWhole && !isNow) say(`${what} ${device.name} ${state.up ? `has MTU ${state.mtu}: no IPv6` : "is down"}`);
    if (isNow && (!isWhole || state === null)) tellBack(link, six, say);
    isWhole = isNow;
  });
  loop.add(watch);
  return () => watch.close();
}

function tellBack(link: KeptLink, six: readonly string[], say: (line: string) => void): void {
  const name = `${link.what} ${link.device.name}`;
  try {
    const set = setAgain(link, six);
    say(`${name} is back${set.length === 0 ? "" : `: set again ${set.join(", ")}`}`);
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    // It may have gone down again: then another event follows.
    say(`${name} is back, but not whole: ${error.message}`);
  }
}

/** Sets the missing ones; returns which. Throws HostError. */
function setAgain({ device, netns, gateway }: KeptLink, six: readonly string[]): string[] {
  const work = () => [
    ...six.filter((address) => isNew(() => device.addAddress(address))),
    ...gateway !== undefined && isNew(() => addDefaultRoute(device.name, gateway)) ? [`the route by ${gateway}`] : [],
  ];
  return netns === null ? work() : netns.run(work);
}

/** Runs the setting; false: it existed. Throws HostError for any other refusal. */
function isNew(set: () => void): boolean {
  try {
    set();
    return true;
  } catch (error) {
    if (error instanceof HostError && error.errno === EEXIST) return false;
    throw error;
  }
}
