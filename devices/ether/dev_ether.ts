/**
 * EtherDev, the device `#ether`: network interfaces as files. `#ether.N` is NIC N; netif.ts shows its tree.
 *
 * Path: dev → dev_ether → netif, ether → host.
 *
 * The data file carries one frame a message, from the destination address to the last byte of payload, without checksum
 * sequence. A byte write gets our address as its source; a block write is sent as it is, so that a bridge can be
 * written. A frame without a whole header is refused, and so is one longer than the MTU allows unless the port cuts it.
 *
 * Limits: 32 NICs. No VLANs: `#ether.N.V` is refused with EFAIL.
 *
 * @module
 */

import { assert } from "../../kernel/assert.ts";
import { type Block, BLOCK_MAX } from "../../kernel/block.ts";
import { Chan } from "../../kernel/chan.ts";
import { parseNumber } from "../../kernel/ctl.ts";
import { ChanCtl, Dev, type DevEnv } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent } from "../../kernel/fd_tap.ts";
import type { FramePort } from "../../kernel/host.ts";
import { type Dir, EVE, Open, QidType } from "../../kernel/qid.ts";
import { breadQueue, readQueue } from "../../kernel/queue_file.ts";
import type { OrWait } from "../../kernel/rendez.ts";
import { offloadFits } from "../../kernel/inet/offload.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { MAC_ADDR_LEN } from "../../kernel/wire/mac_addr.ts";
import { EtherController, type EtherEnv } from "./ether.ts";
import type { EtherConv } from "./ether_conv.ts";
import { netifConv, NetifKind, netifKind, netifList, netifLookup, netifPath, netifStat, netifText } from "./netif.ts";
import { netifCtl } from "./netif_ctl.ts";
import { portCuts } from "./offload.ts";

/** NICs of a kernel (Akaros). */
export const NICS_MAX = 32;
/** Highest VLAN number (IEEE 802.1Q; 4095 is reserved there and allowed by Akaros). */
const VLAN_MAX = 4095;

/** Events that a tap on a data file may ask for. Priority and Error are accepted, as on `#ip`, and never come. */
const TAP_EVENTS = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup | TapEvent.RdHup | TapEvent.Error |
  TapEvent.Priority;

/** Flags of a chan that may change while it is open. */
const SETTABLE = Open.NonBlock | Open.Append;

/** The device `#ether`. */
export class EtherDev extends Dev {
  readonly name = "ether";
  #env: EtherEnv;
  #nics: (EtherController | null)[] = [];

  constructor(env: Pick<DevEnv, "clock" | "blocks">) {
    super();
    this.#env = env;
  }

  /** Adds `port` as a NIC and returns its number. EINVAL: not the address of one interface; ENOSPC: 32 NICs. */
  attachPort(port: FramePort): number {
    if (port.mac.length !== MAC_ADDR_LEN || (port.mac[0]! & 1) !== 0) {
      throw new KernelError("EINVAL", `Cannot attach "${port.name}": its address is not that of one interface`);
    }
    const gap = this.#nics.indexOf(null);
    const number = gap < 0 ? this.#nics.length : gap;
    if (number >= NICS_MAX) throw new KernelError("ENOSPC", `Cannot attach "${port.name}": there are ${NICS_MAX} NICs`);
    this.#nics[number] = new EtherController(number, port, this.#env);
    return number;
  }

  /** Removes a NIC and hangs up its conversations; the port is not closed. ENODEV: no such NIC. */
  detachPort(number: number, reason = "the port is gone"): void {
    this.nic(number).hangup(reason);
    this.#nics[number] = null;
  }

  /** The NIC `number`. ENODEV: there is none. */
  nic(number: number): EtherController {
    const nic = this.#nics[number] ?? null;
    if (nic === null) throw new KernelError("ENODEV", `Cannot find NIC ${number} of #ether`);
    return nic;
  }

  override attach(spec: string, _user: string): Chan {
    const [number, vlan, ...rest] = spec.split(".");
    if (rest.length > 0) throw new KernelError("EINVAL", `Cannot attach "#ether.${spec}": want NIC or NIC.VLAN`);
    const nic = this.nic(number === "" ? 0 : parseNumber(number!));
    if (vlan !== undefined) {
      parseNumber(vlan, { min: 1, max: VLAN_MAX });
      throw new KernelError("EFAIL", `Cannot attach "#ether.${spec}": VLANs are not supported`);
    }
    const qid = { path: netifPath(NetifKind.Root), vers: 0, type: QidType.Dir };
    return new Chan(this, qid, { instance: nic.number, path: `#ether.${nic.number}`, aux: nic });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    return netifLookup(nicOf(dir), dir.qid.path, name);
  }

  override list(dir: Chan): Dir[] {
    return netifList(nicOf(dir), dir.qid.path);
  }

  override stat(chan: Chan): Dir {
    return netifStat(nicOf(chan), chan.qid.path);
  }

  override open(chan: Chan, flags: number, user: string): OrWait<Chan> {
    const kind = netifKind(chan.qid.path);
    const holds = kind === NetifKind.Clone || kind === NetifKind.Data || kind === NetifKind.Ctl;
    if (!holds || (flags & Open.Path) !== 0) return super.open(chan, flags, user);
    const nic = nicOf(chan);
    this.checkPermission(this.stat(chan), flags, user);
    const conv = kind === NetifKind.Clone ? nic.freeConv() : convOf(chan);
    nic.claim(conv, user);
    if (kind === NetifKind.Clone) {
      chan.qid = netifStat(nic, netifPath(NetifKind.Ctl, conv.number)).qid;
      chan.path = `${chan.path.replace(/\/?clone$/, "")}/${conv.number}/ctl`;
    }
    return this.markOpen(chan, flags);
  }

  override close(chan: Chan): void {
    const kind = netifKind(chan.qid.path);
    const held = kind === NetifKind.Data || kind === NetifKind.Ctl;
    if (held && chan.opened && (chan.flags & Open.Path) === 0) nicOf(chan).release(convOf(chan));
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    if (netifKind(chan.qid.path) === NetifKind.Data) return readQueue(convOf(chan).queue, buf);
    if (chan.isDir) throw new KernelError("EISDIR", `Cannot read "${chan.path}": it is a directory`);
    return this.readText(chan, buf, offset, () => netifText(nicOf(chan), chan.qid.path));
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    if (netifKind(chan.qid.path) === NetifKind.Data) return breadQueue(convOf(chan).queue, max);
    return super.bread(chan, max);
  }

  override write(chan: Chan, bytes: Uint8Array, offset: number): OrWait<number> {
    const nic = nicOf(chan);
    switch (netifKind(chan.qid.path)) {
      case NetifKind.Data:
        checkFrame(nic, bytes.length);
        if (bytes.length > nic.frameMax) throw tooLong("E2BIG", nic, bytes.length);
        nic.write(bytes);
        return bytes.length;
      case NetifKind.Ctl:
        netifCtl({ nic, conv: convOf(chan) }, bytes);
        return bytes.length;
      default:
        return super.write(chan, bytes, offset);
    }
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    if (netifKind(chan.qid.path) !== NetifKind.Data) return super.bwrite(chan, block);
    const nic = nicOf(chan);
    const { length } = block;
    checkFrame(nic, length);
    if (!offloadFits(block, block.rp + ETHER_HEADER_LEN)) {
      throw new KernelError("EINVAL", "Cannot write a frame whose checksum or segmentation lies outside of it");
    }
    const lengthMax = portCuts(block, nic.port.offloads) ? ETHER_HEADER_LEN + BLOCK_MAX : nic.frameMax;
    if (length > lengthMax) throw tooLong("EMSGSIZE", nic, length);
    nic.output(block);
    return length;
  }

  /** Changes the owner or permission bits of a conversation's files; only its owner and eve may. */
  override wstat(chan: Chan, change: Partial<Dir>, user: string): void {
    const conv = netifConv(nicOf(chan), chan.qid.path);
    const { uid, mode, ...others } = change;
    if (conv === null || conv.inUse === 0 || Object.keys(others).length > 0) return super.wstat(chan, change, user);
    if (user !== conv.owner && user !== EVE) {
      throw new KernelError("EPERM", `Cannot change "${chan.path}": it belongs to ${conv.owner}`);
    }
    if (uid !== undefined) conv.owner = uid;
    if (mode !== undefined) conv.perm = mode & 0o666;
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    if (netifKind(chan.qid.path) !== NetifKind.Data) return super.tapfd(chan, tap, command);
    const conv = convOf(chan);
    conv.taps.apply(tap, command, TAP_EVENTS);
    return conv.level;
  }

  override chanCtl(chan: Chan, op: number, arg: number): number {
    if (op !== ChanCtl.SetFlags) return super.chanCtl(chan, op, arg);
    chan.flags = (chan.flags & ~SETTABLE) | (arg & SETTABLE);
    return 0;
  }
}

/** The NIC of a chan; it may be gone. */
function nicOf(chan: Chan): EtherController {
  return chan.aux as EtherController;
}

/** The conversation of a chan that was walked to: it existed then, and conversations are never removed. */
function convOf(chan: Chan): EtherConv {
  const conv = netifConv(nicOf(chan), chan.qid.path);
  assert(conv !== null, "the file belongs to a conversation");
  return conv;
}

/** EPIPE: the NIC is gone; EINVAL: shorter than a header. */
function checkFrame(nic: EtherController, length: number): void {
  if (nic.gone !== null) throw new KernelError("EPIPE", nic.gone);
  if (length < ETHER_HEADER_LEN) {
    throw new KernelError("EINVAL", `Cannot send a frame of ${length} bytes: its header has ${ETHER_HEADER_LEN}`);
  }
}

function tooLong(code: "E2BIG" | "EMSGSIZE", nic: EtherController, length: number): KernelError {
  return new KernelError(code, `Cannot send a frame of ${length} bytes: the limit is ${nic.frameMax}`);
}
