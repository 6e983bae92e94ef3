/**
 * Media whose units are IP packets: `pkt`, where a user program is the wire, and `tun`, where a port of the host is.
 *
 * Path: ipifc_proto → packet_medium → ip_input, medium, block, kernel/ctl.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { NO_OFFLOADS, type PacketPort } from "../../../kernel/host.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ipInput } from "../network/ip_input.ts";
import type { Link } from "../link/ifc.ts";
import type { Medium, MediumIfc } from "./medium.ts";

/** Bytes of packets that wait for the reader of a pkt interface's data file (Akaros). */
export const PKT_QUEUE_LIMIT = 65535;
/** Least MTU of a link that IP may use (RFC 791 3.2). */
const MTU_MIN = 68;

/** `bind pkt`: the data file carries the packets; it is unbound when the interface is closed. */
export const pktMedium: Medium = {
  name: "pkt",
  // Akaros counts a header that pkt does not have.
  headerLen: 14,
  mtuMin: 40,
  mtuMax: 4096,
  keeps: false,
  bind(ifc) {
    return {
      device: "pkt",
      offloads: NO_OFFLOADS,
      write(block) {
        if (ifc.conv.rq.pass(block) !== "ok") countBusy(ifc);
      },
      inject: (block) => ipInput(ifc.stack, block, ifc),
      unbind() {},
    };
  },
};

/** The bond of one interface with one packet port. */
class TunLink implements Link {
  readonly device: string;
  readonly offloads: PacketPort["offloads"];
  readonly mtu: number;

  constructor(readonly ifc: MediumIfc, readonly port: PacketPort) {
    this.device = port.name;
    this.offloads = port.offloads;
    this.mtu = port.mtu;
    port.receive = (block) => ipInput(ifc.stack, block, ifc);
  }

  write(block: Block, _gateway: IpAddr): void {
    if (!this.port.transmit(block)) countBusy(this.ifc);
  }

  unbind(): void {
    this.port.receive = null;
  }
}

/** `bind tun NAME`: NAME is one of `ports`. */
export function tunMedium(ports: ReadonlyMap<string, PacketPort>): Medium {
  return {
    name: "tun",
    headerLen: 0,
    mtuMin: MTU_MIN,
    mtuMax: 65535,
    keeps: true,
    bind(ifc, args) {
      const name = args[0] ?? "";
      const port = ports.get(name);
      if (port === undefined) throw new KernelError("ENODEV", `Cannot bind: there is no packet port ${shown(name)}`);
      if (port.receive !== null) throw new KernelError("EBUSY", `Cannot bind: packet port ${shown(name)} is in use`);
      return new TunLink(ifc, port);
    },
  };
}

function countBusy(ifc: MediumIfc): void {
  ifc.stack.stats.outLinkBusy++;
  ifc.errorsOut++;
}
