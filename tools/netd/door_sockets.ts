/**
 * DoorSockets: the machine's listening sockets beside a device as uplink: a second interface of the host kernel, and
 * the far side of a socket uplink behind it that serves callers only.
 *
 * Path: netd/uplink → door_sockets → tools/uplink/uplink, forward_sockets, linux_sockets.
 *
 * No route leads there, so the guest's own packets do not take it, and what is sent to the link's addresses is refused.
 * Answers to other addresses than the link's would leave by the device: every caller is shown as the link's peer.
 *
 * @module
 */

import { HostError } from "../../devices/host/libc.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { LinuxSockets, raiseDescriptorLimit } from "../../devices/host/sockets/linux_sockets.ts";
import { KernelError } from "../../kernel/error.ts";
import { Open } from "../../kernel/qid.ts";
import type { Proc } from "../../kernel/proc.ts";
import { parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import type { Host } from "../boot/boot.ts";
import type { DoorLink, ForwardSpec } from "../nat/forward.ts";
import { descriptor } from "../uplink/far_conv.ts";
import { PacketLink } from "../uplink/packet_link.ts";
import { Uplink } from "../uplink/uplink.ts";
import { ForwardSockets } from "./forward_sockets.ts";
import { type DeviceUplink, SOCKET_ENDS, SOCKET_ENDS6 } from "./uplink_options.ts";

const encoder = new TextEncoder();

/** Where they are. */
interface DoorSocketsOptions {
  readonly host: Host;
  readonly uplink: Pick<DeviceUplink, "address" | "v6">;
  /** The namespace of Linux' side; null: that of netd. */
  readonly netns: Netns | null;
  /** The ends of the link. */
  readonly link: { readonly 4: DoorLink; readonly 6: DoorLink };
}

/** See above. */
export class DoorSockets {
  readonly #sockets: LinuxSockets;
  readonly #uplink: Uplink;
  readonly #forwards: ForwardSockets;

  /** Makes interface and sockets. Throws KernelError. */
  constructor({ host, uplink, netns, link: ends }: DoorSocketsOptions) {
    requireApart(uplink.address);
    const link = new PacketLink(host.clock.jobs);
    for (const port of [link.near, link.far]) host.ip.packetPorts.set(port.name, port);
    const proc = host.spawn("forwards");
    addInterface(proc, link.near.name, [SOCKET_ENDS.address, ...uplink.v6 === null ? [] : [SOCKET_ENDS6.address]]);
    try {
      raiseDescriptorLimit();
      const where = netns === null ? {} : { netns };
      this.#sockets = new LinuxSockets({ reactor: host.reactor!, clock: host.clock, ...where });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      throw new KernelError("EFAIL", error.message);
    }
    this.#uplink = new Uplink({
      proc,
      link,
      sockets: this.#sockets,
      v4: ends[4],
      v6: ends[6],
      policy: { hostLoopback: false, isClosed: true },
      hidesCallers: true,
    });
    this.#forwards = new ForwardSockets(this.#uplink.forwards);
  }

  /** Opens the machine's ports of a forward. Throws KernelError: address, port and reason. */
  open(spec: ForwardSpec, port: number): void {
    this.#forwards.open(spec, port);
  }

  /** Closes them. */
  close(spec: ForwardSpec): void {
    this.#forwards.close(spec);
  }

  /** Closes all. */
  end(): void {
    this.#uplink.close();
    this.#sockets.close();
  }
}

/** The link's network must not hide the uplink's. */
function requireApart(address: string): void {
  const [text = "", length = ""] = address.split("/");
  const [near = "", own = ""] = SOCKET_ENDS.address.split("/");
  const mask = parseIpMask(`/${Math.min(Number(length), Number(own))}`, true)!;
  if (!parseIpAddr(text)!.sameNet(parseIpAddr(near)!, mask)) return;
  throw new KernelError("EINVAL", `Cannot listen on this machine: the uplink's network ${address} has ${near}/${own}`);
}

function addInterface(proc: Proc, port: string, addresses: readonly string[]): void {
  const ctl = descriptor(proc.sys.open("#ip/ipifc/clone", Open.ReadWrite));
  for (const verb of [`bind tun ${port}`, ...addresses.map((address) => `add ${address.replace("/", " /")}`)]) {
    proc.sys.write(ctl, encoder.encode(verb));
  }
  proc.sys.close(ctl);
}
