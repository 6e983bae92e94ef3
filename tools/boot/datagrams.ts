/**
 * UDP for scripts that know `Deno.DatagramConn`: receive, send, and an iterator over what arrives.
 *
 * Path: boot → datagrams → ends, dial, proc, net_addr, udp_headers.
 *
 * One conversation in `headers` mode: each message carries the addresses of its two ends before its bytes. What arrives
 * while the program does not ask waits in the conversation's queue; what exceeds its limit is dropped, and counted in
 * `/net/udp/stats`.
 *
 * @module
 */

import { getRecord, HeaderMode, putRecord, recordLen } from "../../devices/ip/udp/udp_headers.ts";
import { type Conversation, hangUp } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { IP_UNSPECIFIED, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import type { WaitOptions } from "../../kernel/wait.ts";
import { each, orHangUp } from "./ends.ts";
import { type ListenOptions, localOf, type NetAddr, netAddrOf } from "./net_addr.ts";

/** One end of a datagram. */
export type DatagramAddr = NetAddr<"udp">;

const MODE = HeaderMode.Headers;
const RECORD_LEN = recordLen(MODE);
/** The longest datagram, and its record. */
const MESSAGE_MAX = RECORD_LEN + 65535;

/** A local end of UDP. `Host.listenDatagram` makes one. */
export class DatagramConn implements AsyncIterable<[Uint8Array<ArrayBuffer>, DatagramAddr]> {
  /** Our end. */
  readonly addr: DatagramAddr;
  /** Directory of the conversation. */
  readonly dir: string;
  readonly #proc: Proc;
  readonly #conv: Conversation;
  #isClosed = false;

  /** For {@link listenDatagrams}. */
  constructor(proc: Proc, conv: Conversation, local: string) {
    this.#proc = proc;
    this.#conv = conv;
    this.dir = conv.dir;
    this.addr = netAddrOf("udp", local);
  }

  get #isOpen(): boolean {
    return !this.#isClosed && !this.#proc.hasEnded;
  }

  /**
   * The next datagram and the end that it came from; sleeps until there is one. With `into` the bytes are put there,
   * and what does not fit is lost. Rejects with EBADF once it or its host is closed.
   */
  receive(into?: Uint8Array<ArrayBuffer>, wait?: WaitOptions): Promise<[Uint8Array<ArrayBuffer>, DatagramAddr]> {
    return this.#proc.compound((bounds) => this.#receive(into, bounds), wait);
  }

  async #receive(
    into: Uint8Array<ArrayBuffer> | undefined,
    wait: WaitOptions,
  ): Promise<[Uint8Array<ArrayBuffer>, DatagramAddr]> {
    try {
      const block = this.#isOpen ? await this.#proc.blockread(this.#conv.data, MESSAGE_MAX, wait) : null;
      if (block !== null) {
        const { raddr, rport } = getRecord(MODE, block.buf, block.rp);
        const bytes = block.bytes().subarray(RECORD_LEN);
        const data = into?.subarray(0, bytes.length) ?? new Uint8Array(bytes.length);
        data.set(bytes.subarray(0, data.length));
        block.free();
        return [data, { transport: "udp", hostname: `${raddr}`, port: rport }];
      }
    } catch (error) {
      if (this.#isOpen || !(error instanceof KernelError)) throw error;
    }
    throw new KernelError("EBADF", `Cannot receive at port ${this.addr.port}: the conversation was closed`);
  }

  /**
   * Sends a datagram to `to`; how many bytes. Throws KernelError: EMSGSIZE, EHOSTUNREACH, EINVAL for an address that is
   * none, EBADF once it or its host is closed.
   */
  async send(data: Uint8Array, to: { hostname: string; port: number }, wait?: WaitOptions): Promise<number> {
    const raddr = parseIpAddr(to.hostname);
    if (raddr === null) throw new KernelError("EINVAL", `Cannot send to "${to.hostname}": not an IP address`);
    if (!(Number.isInteger(to.port) && to.port >= 1 && to.port <= 65535)) {
      throw new KernelError("EINVAL", `Cannot send to port ${to.port}: want 1 to 65535`);
    }
    if (!this.#isOpen) throw new KernelError("EBADF", `Cannot send at port ${this.addr.port}: it was closed`);
    const message = new Uint8Array(RECORD_LEN + data.length);
    const ends = { raddr, laddr: IP_UNSPECIFIED, ifcAddr: IP_UNSPECIFIED, rport: to.port, lport: this.addr.port };
    putRecord(MODE, ends, message, 0);
    message.set(data, RECORD_LEN);
    await this.#proc.blockwrite(this.#conv.data, message, wait);
    return data.length;
  }

  /** Every datagram until {@link close}, or until its host is closed. */
  [Symbol.asyncIterator](): AsyncGenerator<[Uint8Array<ArrayBuffer>, DatagramAddr], void, void> {
    return each({ next: () => this.receive(), isOpen: () => this.#isOpen });
  }

  /** Gives the port back; what waits to be received is dropped. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isClosed = true;
    hangUp(this.#proc, this.#conv);
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Announces a UDP port. Throws KernelError: EFAIL if the port is held, EINVAL. */
export function listenDatagrams(proc: Proc, options: ListenOptions): Promise<DatagramConn> {
  return proc.compound(async () => {
    const conv = await proc.announce(`udp!${localOf(options)}`, { setup: ["headers"] });
    const make = async () => new DatagramConn(proc, conv, await proc.readText(`${conv.dir}/local`));
    return await orHangUp(proc, conv, make);
  });
}
