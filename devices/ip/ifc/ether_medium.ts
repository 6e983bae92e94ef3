/**
 * Medium `ether`: IP over Ethernet (RFC 894, RFC 1112 6.4, RFC 2464), through the files of an `#ether` interface.
 *
 * Path: ipifc_proto → ether_medium → neighbor/arp, ip_input, job, wire/arp.
 *
 * `bind ether /net/ether0` opens that directory's `clone` thrice, for the types of IPv4, ARP and IPv6, and sees of the
 * interface only what its files say. The data files are tapped: an edge wakes one job, which reads until it would have
 * to wait.
 *
 * Limits: {@link RX_BATCH} frames in one run of the job.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type EventSink, FdTap, TapEvent } from "../../../kernel/fd_tap.ts";
import type { PortOffloads } from "../../../kernel/host.ts";
import { Job } from "../../../kernel/job.ts";
import { ARP_LEN, type ArpPacket, emitArp, parseArp } from "../../../kernel/wire/arp.ts";
import {
  ETHER_HEADER_LEN,
  etherSrcIs,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  setEtherDst,
  setEtherSrc,
  setEtherType,
} from "../../../kernel/wire/ethernet.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { MAC_BROADCAST, type MacAddr, multicastMacV4, multicastMacV6 } from "../../../kernel/wire/mac_addr.ts";
import { Arrival } from "../packet/arrival.ts";
import type { ArpTable } from "../neighbor/arp.ts";
import type { ArpLink, Link, NdLink } from "../link/ifc.ts";
import { type EtherFiles, openEtherFiles, readEtherFacts } from "./ether_files.ts";
import { ipInput } from "../network/ip_input.ts";
import type { Medium, MediumIfc } from "./medium.ts";

/** Frames read in one run of the job: others have their turn between, and a flood cannot keep us for ever. */
export const RX_BATCH = 256;

/** What makes 6 of 4, and 4 of 6. */
const VERSIONS = 4 ^ 6;
const RX_EVENTS = TapEvent.Readable | TapEvent.Hangup;

/** The bond of one interface with one Ethernet. */
class EtherLink implements Link, EventSink {
  readonly device: string;
  readonly mac: MacAddr;
  readonly offloads: PortOffloads;
  readonly mtu?: number;
  readonly arpLink: ArpLink;
  readonly ndLink: NdLink;
  readonly #arp: ArpTable;
  readonly #ip: EtherFiles;
  readonly #arpFiles: EtherFiles;
  readonly #ip6: EtherFiles;
  /** All three, by the `id` of their taps. */
  readonly #files: readonly EtherFiles[];
  readonly #taps: readonly FdTap[];
  readonly #job: Job;
  /** How often each multicast address is wanted: many groups share one. */
  readonly #groups = new Map<number, number>();
  #bound = true;

  constructor(readonly ifc: MediumIfc, path: string) {
    const { env, arp } = ifc.stack;
    const facts = readEtherFacts(env, path);
    this.device = path;
    this.mac = facts.mac;
    this.offloads = facts.offloads;
    if (facts.mtu !== null) this.mtu = facts.mtu + ETHER_HEADER_LEN;
    this.#arp = arp;
    const link = { ifc, medium: "ether", mac: facts.mac, defendedMs: -Infinity };
    this.arpLink = {
      ...link,
      sendResolved: (block, mac) => this.#transmit(this.#ip, block, mac),
      sendArp: (packet, dst) => this.#sendArp(packet, dst),
    };
    this.ndLink = { ...link, sendResolved: (block, mac) => this.#transmit(this.#ip6, block, mac) };
    this.#job = new Job(env.clock.jobs, () => this.#receive());
    this.#ip = openEtherFiles(env, path, ETHERTYPE_IPV4);
    this.#arpFiles = closingOnError([this.#ip], () => openEtherFiles(env, path, ETHERTYPE_ARP));
    this.#ip6 = closingOnError([this.#ip, this.#arpFiles], () => openEtherFiles(env, path, ETHERTYPE_IPV6));
    const all = this.#files = [this.#ip, this.#arpFiles, this.#ip6];
    this.#taps = closingOnError(all, () => all.map((files, id) => this.#tap(files, id)));
  }

  write(block: Block, gateway: IpAddr): void {
    if (!gateway.isV4) return this.#write6(block, gateway);
    const mac = this.#arp.resolved(this.arpLink, gateway);
    if (mac !== null) this.#transmit(this.#ip, block, mac);
    else if (gateway.isMulticast) this.#transmit(this.#ip, block, multicastMacV4(gateway));
    else if (this.ifc.stack.self.cast(gateway) === "broadcast") this.#transmit(this.#ip, block, MAC_BROADCAST);
    else this.#arp.output(this.arpLink, block, gateway);
  }

  #write6(block: Block, gateway: IpAddr): void {
    const { nd } = this.ifc.stack;
    if (gateway.isMulticast) return this.#transmit(this.#ip6, block, multicastMacV6(gateway));
    const mac = nd.resolved(this.ndLink, gateway);
    if (mac !== null) this.#transmit(this.#ip6, block, mac);
    else nd.output(this.ndLink, block, gateway);
  }

  addAddress(addr: IpAddr): void {
    if (addr.isV4) this.#arp.announce(this.arpLink, addr);
    else this.ifc.stack.nd.announce(this.ndLink, addr);
  }

  joinGroup(group: IpAddr): void {
    const mac = multicastMac(group);
    const count = this.#groups.get(mac.key) ?? 0;
    if (count === 0) this.#filesOf(group).control(`addmulti ${mac.toHex()}`);
    this.#groups.set(mac.key, count + 1);
    if (!group.isV4) this.ifc.stack.mld.joined(this.ifc, group);
  }

  leaveGroup(group: IpAddr): void {
    const mac = multicastMac(group);
    const count = this.#groups.get(mac.key) ?? 0;
    if (!group.isV4) this.ifc.stack.mld.left(this.ifc, group);
    if (count > 1) {
      this.#groups.set(mac.key, count - 1);
    } else if (this.#groups.delete(mac.key)) {
      this.#filesOf(group).control(`remmulti ${mac.toHex()}`);
    }
  }

  #filesOf(group: IpAddr): EtherFiles {
    return group.isV4 ? this.#ip : this.#ip6;
  }

  unbind(): void {
    this.#bound = false;
    this.#arp.removeLink(this.arpLink);
    this.ifc.stack.nd.removeLink(this.ndLink);
    this.ifc.stack.mld.forget(this.ifc);
    this.#files.forEach((files, i) => {
      files.data.dev.tapfd(files.data, this.#taps[i]!, "remove");
      files.close();
    });
  }

  /** For the taps: `id` says which data file has news. */
  send(id: number, _events: number): void {
    this.#files[id]!.pending = true;
    this.#job.wake();
  }

  #sendArp(packet: ArpPacket, dst: MacAddr): void {
    const block = this.ifc.stack.env.blocks.alloc(ARP_LEN);
    block.wp += emitArp(packet, block.buf, block.rp);
    this.#transmit(this.#arpFiles, block, dst);
  }

  #transmit(files: EtherFiles, block: Block, dst: MacAddr): void {
    const at = block.push(ETHER_HEADER_LEN);
    setEtherDst(block.buf, at, dst);
    setEtherSrc(block.buf, at, this.mac);
    setEtherType(block.buf, at, files.type);
    const { stats } = this.ifc.stack;
    const result = files.write(block);
    if (result === "sent") return;
    if (result === "busy") stats.outLinkBusy++;
    else stats.outLinkError++;
    this.ifc.errorsOut++;
    block.free();
  }

  #tap(files: EtherFiles, id: number): FdTap {
    const tap = new FdTap({ fd: -1, filter: RX_EVENTS, id, queue: this });
    if ((files.data.dev.tapfd(files.data, tap, "add") & RX_EVENTS) !== 0) this.send(id, 0);
    return tap;
  }

  #receive(): void {
    if (this.#arpFiles.pending) this.#drain(this.#arpFiles);
    if (this.#ip.pending) this.#drain(this.#ip);
    if (this.#ip6.pending) this.#drain(this.#ip6);
  }

  #drain(files: EtherFiles): void {
    for (let i = 0; i < RX_BATCH; i++) {
      // What a packet leads to may unbind us.
      if (!this.#bound) return;
      const block = files.read();
      if (typeof block === "string") {
        files.pending = false;
        if (block === "error") this.ifc.errorsIn++;
        return;
      }
      if (files.type === ETHERTYPE_IPV4) this.#inputIp(block, 4);
      else if (files.type === ETHERTYPE_ARP) this.#inputArp(block);
      else this.#inputIp6(block);
    }
    this.#job.wake();
  }

  #inputIp(block: Block, version: number): void {
    const { buf, rp, wp } = block;
    if (wp - rp < ETHER_HEADER_LEN) return this.#refuse(block);
    // A packet in a frame of the other version's type passes filters that look at the type.
    if (wp - rp > ETHER_HEADER_LEN && buf[rp + ETHER_HEADER_LEN]! >>> 4 === (version ^ VERSIONS)) {
      this.ifc.stack.stats.inBadVersion++;
      return block.free();
    }
    const arrival = (block.buf[block.rp]! & 1) === 0 ? Arrival.Link : Arrival.LinkBroadcast;
    block.pull(ETHER_HEADER_LEN);
    ipInput(this.ifc.stack, block, this.ifc, arrival);
  }

  /**
   * Our own groups come back from #ether while it is promiscuous: a search for a neighbour must not be answered by us.
   */
  #inputIp6(block: Block): void {
    const { buf, rp, wp } = block;
    if (wp - rp >= ETHER_HEADER_LEN && etherSrcIs(buf, rp, this.mac)) return block.free();
    this.#inputIp(block, 6);
  }

  #inputArp(block: Block): void {
    const packet = parseArp(block.own().buf, block.rp + ETHER_HEADER_LEN, block.wp);
    if (packet === null) this.ifc.stack.stats.arpMalformed++;
    else this.#arp.input(this.arpLink, packet);
    block.free();
  }

  #refuse(block: Block): void {
    this.ifc.errorsIn++;
    block.free();
  }
}

function multicastMac(group: IpAddr): MacAddr {
  return group.isV4 ? multicastMacV4(group) : multicastMacV6(group);
}

/** What `make` makes; if it throws, `files` are closed. */
function closingOnError<T>(files: readonly EtherFiles[], make: () => T): T {
  try {
    return make();
  } catch (error) {
    for (const one of files) one.close();
    throw error;
  }
}

/** `bind ether /net/ether0`. */
export const etherMedium: Medium = {
  name: "ether",
  headerLen: ETHER_HEADER_LEN,
  mtuMin: 60,
  mtuMax: 1514,
  keeps: true,
  bind(ifc, args) {
    if (args.length !== 1) throw new KernelError("EINVAL", "Cannot bind: usage: bind ether /net/etherN");
    return new EtherLink(ifc, args[0]!);
  },
};
