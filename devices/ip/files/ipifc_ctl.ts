/**
 * The ctl verbs of an interface (Akaros ipifc): bind, add, remove, mtu and the rest.
 *
 * Path: ipifc_proto → ipifc_ctl → ipifc, addr6, iplifc, medium.
 *
 * Masks are written as people do: `/24` of an IPv4 address, or dotted; `/64` of an IPv6 one.
 *
 * An Ethernet interface with any IPv6 address has a link-local one, too (RFC 4291 2.1): `add` makes it of the hardware
 * address where there is none.
 *
 * @module
 */

import { type CtlVerb, parseNumber, parseSwitch, shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type IpAddr, parseIpAddr, parseIpMask, prefixLength } from "../../../kernel/wire/ip_addr.ts";
import { eui64, LINK_LOCAL_PREFIX, MASK_64 } from "../../../kernel/inet/addr6.ts";
import { defaultMask, type IplifcFields } from "../link/iplifc.ts";
import type { Ipifc } from "../ifc/ipifc.ts";
import type { Medium } from "../ifc/medium.ts";

/** What a command acts on. */
export interface IpifcTarget {
  readonly ifc: Ipifc;
  readonly media: readonly Medium[];
  /** One more, or one fewer, reason to keep the interface when it is not open. */
  keep(): void;
  unkeep(): void;
}

/** An address of `add` and what belongs to it. */
interface AddArgs extends IplifcFields {
  readonly maxtu: number | null;
}

function bind({ ifc, media, keep }: IpifcTarget, [name, ...args]: readonly string[]): void {
  const medium = media.find((one) => one.name === name);
  if (medium === undefined) {
    const known = media.map((one) => one.name).join(", ");
    throw new KernelError("EFAIL", `Cannot bind to ${shown(name!)}: no such medium; there are ${known}`);
  }
  ifc.bind(medium, args);
  if (medium.keeps) keep();
}

function unbind({ ifc, unkeep }: IpifcTarget): void {
  const keeps = ifc.medium?.keeps === true;
  ifc.unbind();
  if (keeps) unkeep();
}

function add({ ifc }: IpifcTarget, args: readonly string[]): void {
  withMaxtu(ifc, parseAdd(args), (wanted) => {
    ifc.addAddress(wanted);
    if (!wanted.local.isV4 && !wanted.local.isUnspecified) addLinkLocal(ifc);
  });
}

/** Tentative addresses are an affair of IPv6: an IPv4 address counts at once, as in Akaros. */
function tryAddress({ ifc }: IpifcTarget, args: readonly string[]): void {
  withMaxtu(ifc, parseAdd(args), (wanted) => {
    if (wanted.local.isUnspecified) throw new KernelError("EINVAL", `Cannot try ${wanted.local}: it is no host's`);
    ifc.stack.dad.start(ifc, wanted);
    if (!wanted.local.isV4) addLinkLocal(ifc);
  });
}

/** `add6`: nothing but the link-local address. */
function add6({ ifc }: IpifcTarget): void {
  if (ifc.link?.ndLink === undefined) {
    throw new KernelError("EFAIL", "Cannot add6: the interface has no hardware address");
  }
  addLinkLocal(ifc);
}

/** Gives an interface with a hardware address its link-local address, if it has none of any making. */
function addLinkLocal(ifc: Ipifc): void {
  const mac = ifc.link?.ndLink?.mac;
  if (mac === undefined || ifc.lifcs.some(({ local }) => !local.isV4 && local.isLinkLocal)) return;
  const local = eui64(LINK_LOCAL_PREFIX, mac);
  ifc.addAddress({ local, mask: MASK_64, remote: LINK_LOCAL_PREFIX, proxy: false });
}

function withMaxtu(ifc: Ipifc, wanted: AddArgs, work: (wanted: AddArgs) => void): void {
  const { maxtu } = ifc;
  if (wanted.maxtu !== null) ifc.setMaxtu(wanted.maxtu);
  try {
    work(wanted);
  } catch (error) {
    ifc.setMaxtu(maxtu);
    throw error;
  }
}

function connect({ ifc }: IpifcTarget, args: readonly string[]): void {
  const wanted = parseAdd(args);
  if (wanted.maxtu !== null) ifc.setMaxtu(wanted.maxtu);
  // The old ones go only when it is certain that the new one can be had.
  if (ifc.link !== null) ifc.removeAllAddresses();
  ifc.addAddress(wanted);
  if (!wanted.local.isV4 && !wanted.local.isUnspecified) addLinkLocal(ifc);
  ifc.conv.connected();
}

function remove({ ifc }: IpifcTarget, [addrText, maskText, remoteText]: readonly string[]): void {
  const local = parseAddr(addrText!);
  const remote = remoteText === undefined ? null : parseAddr(remoteText);
  ifc.removeAddress(local, parseMask(maskText!, local), remote);
}

/** `ip [mask [remote [mtu [proxy]]]]`. */
function parseAdd(args: readonly string[]): AddArgs {
  const [addrText, maskText, remoteText, mtuText, proxyText] = args;
  const local = parseAddr(addrText!);
  if (local.isMulticast || local.isLimitedBroadcast) {
    throw new KernelError("EINVAL", `Cannot add ${local}: not the address of one host`);
  }
  const mask = maskText === undefined ? defaultMask(local) : parseMask(maskText, local);
  const remote = remoteText === undefined ? local.and(mask) : parseAddr(remoteText);
  if (remote.isV4 !== local.isV4) throw new KernelError("EINVAL", `Cannot add ${local}: ${remote} has another version`);
  if (proxyText !== undefined && proxyText !== "proxy") {
    throw new KernelError("EINVAL", `Cannot use ${shown(proxyText)}: want proxy or nothing`);
  }
  if (proxyText !== undefined && !local.isV4) {
    throw new KernelError("EPROTONOSUPPORT", `Cannot add ${local}: there is no proxy for neighbour discovery`);
  }
  const maxtu = mtuText === undefined ? null : parseNumber(mtuText);
  return { local, mask, remote, maxtu, proxy: proxyText !== undefined };
}

function parseAddr(text: string): IpAddr {
  const addr = parseIpAddr(text);
  if (addr === null) throw new KernelError("EINVAL", `Cannot use ${shown(text)}: not an IP address`);
  return addr;
}

function parseMask(text: string, addr: IpAddr): IpAddr {
  const mask = parseIpMask(text, addr.isV4);
  if (mask === null || prefixLength(mask) === null) {
    throw new KernelError("EINVAL", `Cannot use ${shown(text)}: not a mask for ${addr}`);
  }
  return mask;
}

function setForwarding({ ifc }: IpifcTarget, [word]: readonly string[]): void {
  ifc.stack.forwarding = readSwitch(word);
}

/** `on`, `off`, a number, or nothing for `on`. */
function readSwitch(word: string | undefined): boolean {
  const isWord = word === undefined || word === "on" || word === "off";
  return isWord ? parseSwitch(word ?? "on") : parseNumber(word) !== 0;
}

function receiveAdverts({ ifc }: IpifcTarget, [word]: readonly string[]): void {
  if (readSwitch(word)) ifc.stack.adverts.start(ifc);
  else ifc.stack.adverts.stop(ifc);
}

const ADD_ARGS = "ip [mask [remote [mtu [proxy]]]]";

/** Every verb there is. */
export const IPIFC_VERBS: readonly CtlVerb<IpifcTarget>[] = [
  { name: "bind", usage: "bind medium [device]", minArgs: 1, maxArgs: 2, run: bind },
  { name: "unbind", usage: "unbind", minArgs: 0, maxArgs: 0, run: unbind },
  { name: "add", usage: `add ${ADD_ARGS}`, minArgs: 1, maxArgs: 5, run: add },
  { name: "try", usage: `try ${ADD_ARGS}`, minArgs: 1, maxArgs: 5, run: tryAddress },
  { name: "add6", usage: "add6", minArgs: 0, maxArgs: 0, run: add6 },
  { name: "recvra6", usage: "recvra6 [on|off|n]", minArgs: 0, maxArgs: 1, run: receiveAdverts },
  { name: "connect", usage: `connect ${ADD_ARGS}`, minArgs: 1, maxArgs: 5, run: connect },
  { name: "remove", usage: "remove ip mask [remote]", minArgs: 2, maxArgs: 3, run: remove },
  {
    name: "mtu",
    usage: "mtu n",
    minArgs: 1,
    maxArgs: 1,
    run: ({ ifc }, [word]) => ifc.setMaxtu(parseNumber(word!)),
  },
  {
    name: "reassemble",
    usage: "reassemble [on|off]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ ifc }, [word]) => void (ifc.reassembles = parseSwitch(word ?? "on")),
  },
  {
    name: "localnet",
    usage: "localnet [on|off]",
    minArgs: 0,
    maxArgs: 1,
    run: ({ ifc }, [word]) => void (ifc.localnet = parseSwitch(word ?? "on")),
  },
  { name: "iprouting", usage: "iprouting [on|off|n]", minArgs: 0, maxArgs: 1, run: setForwarding },
  {
    name: "joinmulti",
    usage: "joinmulti group",
    minArgs: 1,
    maxArgs: 1,
    run: ({ ifc }, [group]) => ifc.joinGroup(parseAddr(group!)),
  },
  {
    name: "leavemulti",
    usage: "leavemulti group",
    minArgs: 1,
    maxArgs: 1,
    run: ({ ifc }, [group]) => ifc.leaveGroup(parseAddr(group!)),
  },
];
