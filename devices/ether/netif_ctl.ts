/**
 * The commands of a conversation's ctl file.
 *
 * Path: dev_ether → netif_ctl → ether, ether_conv.
 *
 * @module
 */

import { type CtlVerb, parseNumber, parseSwitch, runCtl, shown } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { type MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import type { EtherController } from "./ether.ts";
import type { EtherConv } from "./ether_conv.ts";

/** The conversation that a command is for. */
interface NetifTarget {
  readonly nic: EtherController;
  readonly conv: EtherConv;
}

/** Negative types are 32-bit numbers in Akaros; all stand for every type. */
const TYPE_MIN = -0x80000000;
const TYPE_MAX = 0xffff;

function connect({ nic, conv }: NetifTarget, [word]: readonly string[]): void {
  const type = parseNumber(word!, { min: TYPE_MIN, max: TYPE_MAX });
  if (type === 0) throw new KernelError("EINVAL", "Cannot connect to type 0: not a type");
  nic.connect(conv, type);
}

function parseMac(word: string): MacAddr {
  const mac = parseMacAddr(word);
  if (mac === null) throw new KernelError("EFAIL", `Cannot use ${shown(word)}: not a MAC address`);
  return mac;
}

function noVlans(): never {
  throw new KernelError("EFAIL", "Cannot set up a VLAN: VLANs are not supported");
}

/** All commands. */
export const NETIF_VERBS: readonly CtlVerb<NetifTarget>[] = [
  { name: "connect", usage: "connect type", minArgs: 1, maxArgs: 1, run: connect },
  {
    name: "promiscuous",
    usage: "promiscuous",
    minArgs: 0,
    maxArgs: 0,
    run: ({ nic, conv }) => nic.setPromiscuous(conv),
  },
  {
    name: "headersonly",
    usage: "headersonly",
    minArgs: 0,
    maxArgs: 0,
    run: ({ conv }) => void (conv.headersOnly = true),
  },
  { name: "bridge", usage: "bridge", minArgs: 0, maxArgs: 0, run: ({ conv }) => void (conv.bridge = true) },
  {
    name: "addmulti",
    usage: "addmulti mac",
    minArgs: 1,
    maxArgs: 1,
    run: ({ nic, conv }, [mac]) => nic.addGroup(conv, parseMac(mac!)),
  },
  {
    name: "remmulti",
    usage: "remmulti mac",
    minArgs: 1,
    maxArgs: 1,
    run: ({ nic, conv }, [mac]) => nic.removeGroup(conv, parseMac(mac!)),
  },
  {
    // Ours: without it checksums are finished before a frame is read.
    name: "offload",
    usage: "offload [on|off]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ conv }, [word]) => void (conv.offload = parseSwitch(word ?? "on")),
  },
  // Output here never sleeps: a frame that the port cannot take now is dropped. So these two change nothing.
  {
    name: "nonblocking",
    usage: "nonblocking [0|1]",
    minArgs: 0,
    maxArgs: 1,
    run: (_, [word]) => void checkSwitch(word),
  },
  { name: "oneblock", usage: "oneblock", minArgs: 0, maxArgs: 0, run: () => {} },
  {
    name: "scanbs",
    usage: "scanbs seconds",
    minArgs: 0,
    maxArgs: 1,
    run: ({ nic }) => {
      throw new KernelError("EFAIL", `Cannot scan on ether${nic.number}: it is not wireless`);
    },
  },
  { name: "ea", usage: "ea mac", minArgs: 0, maxArgs: 1, run: noVlans },
  { name: "disable", usage: "disable", minArgs: 0, maxArgs: 0, run: noVlans },
];

function checkSwitch(word = "1"): void {
  parseSwitch(word);
}

/** Runs a command that was written to a ctl file; see {@link runCtl} for the errors. */
export function netifCtl(target: NetifTarget, bytes: Uint8Array): void {
  target.nic.checkThere();
  runCtl(NETIF_VERBS, target, bytes);
}
