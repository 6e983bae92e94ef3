/**
 * NatSockets: the host's ports, as bypassed conversations of `#ip`: the NAT's port broker, by system calls.
 *
 * Path: program → sockets → context, proc, sys, map.
 *
 * A map's port is the guest's own if it is free (from {@link PRESERVE_MIN} on, so that the host keeps its well-known
 * ports to itself), else one of the same parity (RFC 4787 REQ-4) if one of {@link PARITY_TRIES} is free, else any.
 * A forward's is what it says: one conversation for all its ports. A map that had a port before gets that or none.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { type EventQueue, TapEvent } from "../../kernel/fd_tap.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import type { Random } from "../../kernel/random.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { Tap } from "../../kernel/syscall_table.ts";
import type { PortBroker } from "./context.ts";
import type { ForwardDoors } from "./forward.ts";
import { MAP_PROTO_NAMES, MapProto, type NatMap, Realm } from "./map.ts";

/** Lowest guest port that the host is asked for as it is. */
const PRESERVE_MIN = 1024;
/** How many other ports of the same parity are tried. */
const PARITY_TRIES = 2;
/** Ports that are tried for parity: those that `#ip` itself hands out (Akaros: 5000 to 65535). */
const PARITY_FROM = 5000;
const PARITY_PAIRS = (65536 - PARITY_FROM) / 2;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const ONLY_IPV6 = encoder.encode("bypass-version 6");
const ONLY_REPLIES = encoder.encode("bypass-echo replies");
const OFFLOAD_ON = encoder.encode("offload on");

/** How ports are claimed. */
interface SocketOptions {
  readonly proc: Proc;
  /** Where readiness of the conversations lands; an event's data is its map. */
  readonly events: EventQueue;
  readonly random: Random;
  /** Where the network is. Default `/net`. */
  readonly netDir?: string;
  /** Whether packets may come and go with checksums owed and segments uncut. */
  readonly offload?: boolean;
  /** Hears of each port that is no longer used. */
  readonly doors?: Pick<ForwardDoors, "released"> | null;
}

/** The conversations of one NAT. */
export class NatSockets implements PortBroker {
  readonly #proc: Proc;
  readonly #events: EventQueue;
  readonly #random: Random;
  readonly #netDir: string;
  readonly #offload: boolean;
  readonly #doors: Pick<ForwardDoors, "released"> | null;
  /** Conversations that are open. */
  openCount = 0;
  #buf = new Uint8Array(64);

  constructor(options: SocketOptions) {
    this.#proc = options.proc;
    this.#events = options.events;
    this.#random = options.random;
    this.#netDir = options.netDir ?? "/net";
    this.#offload = options.offload ?? false;
    this.#doors = options.doors ?? null;
  }

  /** The directory of the conversation of `map`. */
  dirOf(map: NatMap): string {
    return `${this.#protoDir(map)}/${map.conv}`;
  }

  #protoDir({ proto, is6 }: NatMap): string {
    return `${this.#netDir}/${is6 && proto === MapProto.Icmp ? "icmpv6" : MAP_PROTO_NAMES[proto]}`;
  }

  open(map: NatMap): string {
    const { sys } = this.#proc;
    let ctl = -1;
    try {
      ctl = fdOf(sys.open(`${this.#protoDir(map)}/clone`, Open.ReadWrite | Open.NonBlock));
      map.conv = parseInt(this.#readText(ctl), 10);
      if (map.is6) sys.write(ctl, ONLY_IPV6);
      const port = this.#claim(ctl, map);
      if (map.proto === MapProto.Icmp) sys.write(ctl, ONLY_REPLIES);
      if (this.#offload) sys.write(ctl, OFFLOAD_ON);
      this.#attach(map, port);
      return "";
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return error.message;
    } finally {
      if (ctl >= 0) sys.close(ctl);
    }
  }

  close(map: NatMap): void {
    if (map.fd < 0) return;
    const { fd } = map;
    map.fd = -1;
    this.openCount--;
    this.#proc.sys.close(fd);
    // The number may be given to another map at once.
    this.#events.drop(fd);
    this.#doors?.released?.(map.proto, map.is6 ? 6 : 4, map.hostPort);
  }

  /** Opens the data file of a conversation that has its port; 0: one that it chose. */
  #attach(map: NatMap, port: number): void {
    const { sys } = this.#proc;
    const dir = this.dirOf(map);
    const fd = fdOf(sys.open(`${dir}/data`, Open.ReadWrite | Open.NonBlock));
    try {
      const hostPort = port === 0 ? this.#localPort(dir) : port;
      const filter = TapEvent.Readable | TapEvent.Error | TapEvent.Hangup;
      sys.tapFds([{ fd, command: Tap.Add, filter, queue: this.#events, id: fd, data: map, level: true }]);
      map.hostPort = hostPort;
    } catch (error) {
      sys.close(fd);
      throw error;
    }
    map.fd = fd;
    this.openCount++;
  }

  /** Claims the first of the ports that can be had; answers it, 0 if `#ip` chose. Throws what refused the last. */
  #claim(ctl: number, map: NatMap): number {
    const prefix = map.bound === null ? "bypass " : `bypass ${map.bound}!`;
    if (map.isStatic || map.hostPort !== 0) {
      const last = map.count > 1 ? `-${map.hostPort + map.count - 1}` : "";
      // 0: a port that is free.
      this.#write(ctl, `${prefix}${map.hostPort}${last}`);
      return map.hostPort;
    }
    // A claim of 127.0.0.1 would win over a host program that has the port on all addresses: take one that is free.
    const mayChoose = map.realm !== Realm.Host && map.guestPort !== 0;
    const tries = mayChoose ? 1 + (map.proto === MapProto.Icmp ? 0 : PARITY_TRIES) : 0;
    for (let i = 0; i < tries; i++) {
      const port = this.#candidate(map, i);
      if (port === 0) continue;
      try {
        this.#write(ctl, `${prefix}${port}`);
        return port;
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
      }
    }
    this.#write(ctl, `${prefix}0`);
    return 0;
  }

  /** The port to try at the `i`th place; 0: none. */
  #candidate(map: NatMap, i: number): number {
    if (i > 0) return PARITY_FROM + 2 * this.#random.below(PARITY_PAIRS) + map.guestPort % 2;
    return map.proto === MapProto.Icmp || map.guestPort >= PRESERVE_MIN ? map.guestPort : 0;
  }

  #localPort(dir: string): number {
    const { sys } = this.#proc;
    const fd = fdOf(sys.open(`${dir}/local`, Open.Read));
    try {
      const text = this.#readText(fd);
      return parseInt(text.slice(text.lastIndexOf("!") + 1), 10);
    } finally {
      sys.close(fd);
    }
  }

  #readText(fd: number): string {
    const count = this.#proc.sys.read(fd, this.#buf);
    return count === AGAIN ? "" : decoder.decode(this.#buf.subarray(0, count as number));
  }

  #write(fd: number, text: string): void {
    this.#proc.sys.write(fd, encoder.encode(text));
  }
}

/** A descriptor; a file that would have to be waited for is busy. */
function fdOf(fd: number | typeof AGAIN): number {
  if (fd === AGAIN) throw new KernelError("EBUSY", "Cannot open it now");
  return fd as number;
}
