/**
 * Forwards of the uplink: listening sockets of the machine whose callers become callers of the near stack.
 *
 * Path: uplink → forwards → tcp_relay, datagram_relay, host_sockets.
 *
 * The near stack sees who called; a caller on the machine itself is the link's peer. One of the other version of IP,
 * which the near stack's port cannot see, is the peer, too; and all are where the context hides callers.
 *
 * @module
 */

import type { BindRequest, HostListener, SocketEnd, SocketFailure } from "../../kernel/host_sockets.ts";
import { Job } from "../../kernel/job.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { UplinkContext } from "./context.ts";
import type { DatagramRelay } from "./datagram_relay.ts";
import type { TcpRelay } from "./tcp_relay.ts";

/** Calls taken of one listener in a turn. */
const CALLS_PER_TURN = 32;

/** What leads where. */
export interface ForwardPorts {
  readonly protocol: "tcp" | "udp";
  /** Version of IP of the near stack's port. */
  readonly version: 4 | 6;
  /** Address of the machine; null: every one, of both versions. */
  readonly address: IpAddr | null;
  /** First port of the machine, and how many. */
  readonly port: number;
  readonly count: number;
  /** First port of the near stack. */
  readonly nearPort: number;
}

/** A port that could not be opened, and why. */
export interface ForwardRefusal {
  readonly port: number;
  readonly failure: SocketFailure;
}

/** An open forward. */
export interface OpenForward {
  close(): void;
}

interface Closable {
  close(): void;
}

/** See above. */
export class UplinkForwards {
  readonly #context: UplinkContext;
  readonly #tcp: TcpRelay;
  readonly #udp: DatagramRelay;
  readonly #open = new Set<OpenForward>();

  constructor(context: UplinkContext, tcp: TcpRelay, udp: DatagramRelay) {
    this.#context = context;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  /** Opens all ports of `ports`, or none. */
  open(ports: ForwardPorts): OpenForward | ForwardRefusal {
    const sockets: Closable[] = [];
    for (let i = 0; i < ports.count; i++) {
      const port = ports.port + i;
      const opened = this.#openPort(ports, { port, nearPort: ports.nearPort + i });
      if (typeof opened === "string") {
        for (const socket of sockets) socket.close();
        return { port, failure: opened };
      }
      sockets.push(opened);
    }
    const forward: OpenForward = {
      close: () => {
        this.#open.delete(forward);
        for (const socket of sockets) socket.close();
      },
    };
    this.#open.add(forward);
    return forward;
  }

  #openPort(ports: ForwardPorts, at: { port: number; nearPort: number }): Closable | SocketFailure {
    const { address } = ports;
    if (address !== null) return this.#bind(ports, { version: address.isV4 ? 4 : 6, address, port: at.port }, at);
    const both = this.#bind(ports, { version: 6, address: null, port: at.port, dualStack: true }, at);
    // A machine without IPv6.
    const isAbsent = both === "EAFNOSUPPORT" || both === "EADDRNOTAVAIL";
    return isAbsent ? this.#bind(ports, { version: 4, address: null, port: at.port }, at) : both;
  }

  #bind(ports: ForwardPorts, request: BindRequest, { nearPort }: { nearPort: number }): Closable | SocketFailure {
    if (ports.protocol === "udp") {
      return this.#udp.openForward({ ...request, toPort: nearPort, toVersion: ports.version });
    }
    const listener = this.#context.sockets.listen(request);
    if (typeof listener === "string") return listener;
    const { near } = ports.version === 4 ? this.#context.v4 : this.#context.v6;
    const job = new Job(this.#context.clock.jobs, () => {
      if (!this.#accept(listener, { address: near, port: nearPort })) job.wake();
    });
    listener.onReady = () => job.wake();
    job.wake();
    return listener;
  }

  /** Takes what calls; false: there may be more. */
  #accept(listener: HostListener, near: SocketEnd): boolean {
    for (let i = 0; i < CALLS_PER_TURN; i++) {
      const socket = listener.accept();
      if (socket === null) return true;
      if (socket === "shortage") {
        // What is idle makes room; else the caller waits in the listener's queue.
        if (this.#udp.evict() === 0) return true;
        continue;
      }
      this.#tcp.callNear(socket, near, { address: this.#shown(socket.remote.address, near), port: socket.remote.port });
    }
    return false;
  }

  /** The address by which the near stack sees a caller. */
  #shown(caller: IpAddr, near: SocketEnd): IpAddr {
    const { v4, v6, sockets, hidesCallers } = this.#context;
    const { peer } = near.address.isV4 ? v4 : v6;
    const isHidden = hidesCallers || caller.isV4 !== near.address.isV4 || caller.isLoopback || caller.isLinkLocal ||
      sockets.isLocal(caller);
    return isHidden ? peer : caller;
  }

  close(): void {
    for (const forward of [...this.#open]) forward.close();
  }
}
