/**
 * LinuxDatagrams: an unconnected UDP socket of Linux, or a ping socket (icmp(7)).
 *
 * Path: linux_sockets → datagrams → edge_socket, send_batch, receive_batch, error_queue.
 *
 * With IP_RECVERR every ICMP error about a datagram is queued with the destination that it is about, and is pending
 * until that entry is read: it is the result of the next call, send or receive, whatever its destination, which has
 * then done nothing. So the queue is emptied into what takeReport() gives whenever there is an error, and the call is
 * made again.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type {
  DatagramIn,
  DatagramOut,
  HostDatagrams,
  SocketEnd,
  SocketFailure,
  SocketReport,
} from "../../../kernel/host_sockets.ts";
import { BROKEN, EdgeSocket, READ, WRITE } from "./edge_socket.ts";
import { type EdgeWatch, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "./edge_watch.ts";
import { nextReport } from "./error_queue.ts";
import { EAGAIN, lastErrno } from "../libc.ts";
import { RECEIVE_MAX, ReceiveBatch } from "./receive_batch.ts";
import { SendBatch } from "./send_batch.ts";
import { type Option, setInt } from "./calls.ts";
import { FAMILY4, FAMILY6, type SocketFamily } from "./family.ts";

/** Reports that are kept for an owner who does not take them: the oldest, and the last. */
const REPORTS_MAX = 64;
/** Calls again for errors of earlier datagrams, which may come one after the other. */
const TRIES_MAX = 8;
/** Values of IP_MTU_DISCOVER: DF clear; and DF set, whatever Linux knows of the path, which the sender finds itself. */
const PMTUDISC_DONT = 0;
const PMTUDISC_PROBE = 3;

/** Options without which a socket does not do what it must: errors, and what a datagram came with. */
export function datagramOptions({ level, options }: SocketFamily): Option[] {
  return [
    [level, options.receiveErrors, 1],
    [level, options.receiveTtl, 1],
    [level, options.receiveTos, 1],
    [level, options.receiveInfo, 1],
  ];
}

let sending: SendBatch | null = null;
/** Memory to receive into that is not in use: a second is made only if a datagram's taker receives in turn. */
const receiving: ReceiveBatch[] = [];

/** A socket for datagrams. */
export class LinuxDatagrams extends EdgeSocket implements HostDatagrams {
  refusal: SocketFailure | null = null;
  readonly #isDual: boolean;
  readonly #reports: SocketReport[] = [];
  /** The option of the socket as it is; null: not set yet. */
  #dontFragment: boolean | null = null;

  /** Takes over `fd`; `isDual`: it is of IPv6, and for IPv4 too. */
  constructor(fd: number, family: SocketFamily, watch: EdgeWatch, isDual: boolean) {
    super(fd, family, watch);
    this.#isDual = isDual;
    this.may = READ | WRITE;
  }

  override edge(events: number): void {
    let flags = 0;
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) !== 0) flags |= READ;
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) !== 0) flags |= WRITE;
    if ((events & EPOLLERR) !== 0) this.#collect();
    // Reports that a call has collected meanwhile are news as well.
    if (this.#reports.length > 0) flags |= BROKEN;
    this.may |= flags & (READ | WRITE);
    this.tell(flags);
  }

  send(messages: readonly DatagramOut[], count: number): number {
    this.refusal = null;
    const batch = sending ??= new SendBatch();
    batch.index = batch.offset = 0;
    for (let tries = 0; batch.index < count;) {
      if (this.fd < 0 || (this.may & WRITE) === 0) return this.#full(batch);
      const message = messages[batch.index]!;
      this.#setDontFragment(message.dontFragment);
      const slots = batch.fill(messages, count, this.family);
      if (batch.send(this.fd, slots) > 0) {
        tries = 0;
        continue;
      }
      const errno = lastErrno();
      if (errno === EAGAIN) return this.#full(batch);
      const failure = errnoName(errno);
      const collected = this.#collect();
      const isOwn = collected > 0 && this.#isOwnRefusal(failure, message.to);
      // An error of an earlier datagram that found no room in the queue leaves no entry: one more call in any case.
      if (isOwn || tries >= (collected > 0 ? TRIES_MAX : 1)) {
        this.refusal = failure;
        return batch.index;
      }
      tries++;
    }
    return count;
  }

  /** Whether the last report is Linux' own about the datagram to `to` that it has just refused. */
  #isOwnRefusal(refusal: SocketFailure, to: SocketEnd): boolean {
    const report = this.#reports.at(-1)!;
    if (report.origin !== "local" || report.failure !== refusal || !report.to.address.equals(to.address)) return false;
    // IPv4 of Linux does not keep the port.
    this.#reports[this.#reports.length - 1] = { ...report, to };
    return true;
  }

  /** No room: of a message in pieces the rest is lost, as a datagram may be. */
  #full(batch: SendBatch): number {
    this.lacks(WRITE);
    return batch.offset === 0 ? batch.index : batch.index + 1;
  }

  #setDontFragment(on: boolean): void {
    if (this.#dontFragment === on) return;
    this.#dontFragment = on;
    const value = on ? PMTUDISC_PROBE : PMTUDISC_DONT;
    const { family } = this;
    setInt(this.fd, [family.level, family.options.mtuDiscover, value]);
    if (this.#isDual) setInt(this.fd, [FAMILY4.level, FAMILY4.options.mtuDiscover, value]);
  }

  receive(sink: (datagram: DatagramIn) => void, max: number): number {
    const batch = receiving.pop() ?? new ReceiveBatch();
    try {
      return this.#receive(batch, sink, max);
    } finally {
      receiving.push(batch);
    }
  }

  #receive(batch: ReceiveBatch, sink: (datagram: DatagramIn) => void, max: number): number {
    let total = 0;
    for (let tries = 0; total < max && this.fd >= 0 && (this.may & READ) !== 0;) {
      const wanted = Math.min(RECEIVE_MAX, max - total);
      const count = batch.receive(this.fd, wanted);
      if (count < 0) {
        if (lastErrno() !== EAGAIN && tries++ < TRIES_MAX) this.#collect();
        else this.may &= ~READ;
        continue;
      }
      total += count;
      // Fewer: the queue is empty, or an error has come meanwhile, whose edge is still to come.
      if (count < wanted) this.may &= ~READ;
      for (let i = 0; i < count; i++) {
        const datagram = batch.take(i, this.family);
        if (this.fd >= 0) sink(datagram);
      }
    }
    if (total < max) this.lacks(READ);
    return total;
  }

  override takeReport(): SocketReport | null {
    const report = this.#reports.shift() ?? null;
    if (report === null) this.lacks(BROKEN);
    return report;
  }

  /** Empties the error queue, and with it the pending error; answers how many entries it had. */
  #collect(): number {
    let count = 0;
    for (let report = nextReport(this.fd); report !== null; report = nextReport(this.fd)) {
      if (this.#reports.length >= REPORTS_MAX) this.#reports.pop();
      this.#reports.push(report);
      count++;
    }
    return count;
  }
}

/** Options of a socket of IPv6 that is for IPv4, too. */
export function dualOptions(): Option[] {
  return [...datagramOptions(FAMILY6), ...datagramOptions(FAMILY4)];
}
