/**
 * NetLog: the `log` file, lines of what the stack does, for the subjects that its readers set.
 *
 * Path: icmp_base, ip_stack, neighbor/arp → netlog → kernel/ctl, error, rendez, ip_addr.
 *
 * Live only while the file is open; the oldest bytes give way to the newest. Text is built only if it is
 * wanted, so callers write `if (log.wants(LogFlag.Udp)) log.line(LogFlag.Udp, …)`.
 *
 * Limits: {@link LOG_BYTES_MAX} bytes wait; readers share them, each byte goes to one (as in Plan 9).
 *
 * @module
 */

import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type OrWait, Rendez } from "../../../kernel/rendez.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";

/** Bytes that wait for a reader (Akaros' ring). */
export const LOG_BYTES_MAX = 4096;

/** Subjects, bits. */
export const LogFlag = {
  Ppp: 1,
  Ip: 2,
  Fs: 4,
  Tcp: 8,
  Icmp: 16,
  Udp: 32,
  Gre: 64,
  TcpReset: 128,
  TcpRetransmit: 256,
  TcpAll: 512,
  UdpMessages: 1024,
  IpMessages: 2048,
  Esp: 4096,
  Arp: 8192,
  Bypass: 16384,
} as const;

/** Akaros' words for them, and two of ours (arp, bypass). */
const WORDS: ReadonlyMap<string, number> = new Map([
  ["ppp", LogFlag.Ppp],
  ["ip", LogFlag.Ip],
  ["fs", LogFlag.Fs],
  ["tcp", LogFlag.Tcp],
  ["icmp", LogFlag.Icmp],
  ["udp", LogFlag.Udp],
  ["gre", LogFlag.Gre],
  ["tcpreset", LogFlag.TcpReset],
  ["tcprxmt", LogFlag.TcpRetransmit],
  ["tcpall", LogFlag.Tcp | LogFlag.TcpAll | LogFlag.TcpReset | LogFlag.TcpRetransmit],
  ["udpmsg", LogFlag.UdpMessages],
  ["ipmsg", LogFlag.IpMessages],
  ["esp", LogFlag.Esp],
  ["arp", LogFlag.Arp],
  ["bypass", LogFlag.Bypass],
  ["all", 0x7fff],
]);

const encoder = new TextEncoder();

/** The log of one stack. */
export class NetLog {
  /** Bytes that were dropped before they were read. */
  lost = 0;
  #openers = 0;
  #flags = 0;
  #only: IpAddr | null = null;
  #ring: Uint8Array = new Uint8Array(0);
  #start = 0;
  #length = 0;
  readonly #readable: Rendez = new Rendez();

  /** Whether a line about `flag`, and about `addr` if it is about one address, would be kept. */
  wants(flag: number, addr: IpAddr | null = null): boolean {
    if ((this.#flags & flag) === 0 || this.#openers === 0) return false;
    return this.#only === null || addr === null || addr.equals(this.#only);
  }

  /** Adds a line; nothing unless {@link wants}. */
  line(flag: number, text: string, addr: IpAddr | null = null): void {
    if (!this.wants(flag, addr)) return;
    for (const byte of encoder.encode(text + "\n")) this.#put(byte);
    this.#readable.wakeup();
  }

  /** One more has the file open. */
  open(): void {
    if (this.#openers++ === 0) this.#ring = new Uint8Array(LOG_BYTES_MAX);
  }

  /** One fewer; the last one takes text, flags and filter along. */
  close(): void {
    if (--this.#openers > 0) return;
    this.#ring = new Uint8Array(0);
    this.#start = this.#length = this.#flags = 0;
    this.#only = null;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** The oldest bytes, which are then gone; or where to wait. */
  read(buf: Uint8Array): OrWait<number> {
    if (this.#length === 0) return this.#readable;
    const count = Math.min(buf.length, this.#length);
    for (let i = 0; i < count; i++) buf[i] = this.#ring[(this.#start + i) % LOG_BYTES_MAX]!;
    this.#start = (this.#start + count) % LOG_BYTES_MAX;
    this.#length -= count;
    return count;
  }

  /** `set flag…`, `clear flag…`, `only addr` (`only *`: all again). EINVAL: anything else. */
  ctl(words: readonly string[]): void {
    const [verb, ...args] = words;
    if (args.length === 0) throw new KernelError("EINVAL", "Cannot set the log: want set|clear flag … or only addr");
    if (verb === "only") {
      this.#only = args[0] === "*" ? null : parseIpAddr(args[0]!);
      if (this.#only === null && args[0] !== "*") {
        throw new KernelError("EINVAL", `Cannot log only ${shown(args[0]!)}: not an address`);
      }
      return;
    }
    let flags = 0;
    // Unknown flags are ignored, as in Akaros: programs name subjects that only other systems have.
    for (const word of args) flags |= WORDS.get(word) ?? 0;
    if (verb === "set") this.#flags |= flags;
    else if (verb === "clear") this.#flags &= ~flags;
    else throw new KernelError("EINVAL", `Cannot run ${shown(verb ?? "")}: no such command`);
  }

  #put(byte: number): void {
    this.#ring[(this.#start + this.#length) % LOG_BYTES_MAX] = byte;
    if (this.#length < LOG_BYTES_MAX) {
      this.#length++;
    } else {
      this.#start = (this.#start + 1) % LOG_BYTES_MAX;
      this.lost++;
    }
  }
}
