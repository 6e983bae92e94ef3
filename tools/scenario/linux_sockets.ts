/**
 * Sockets of this machine's Linux in a network namespace: no tools.
 *
 * Path: socket_endpoint → linux_sockets → linux_socket, linux_tcp.
 *
 * @module
 */

import { call, ECONNREFUSED, libc } from "../../devices/host/libc.ts";
import { LinuxSocket } from "../../devices/host/linux_socket.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { setOption, sockaddrIn } from "../../devices/host/socket_fd.ts";
import type { Clock } from "../../kernel/time.ts";
import { connectLinux, LinuxListener, type LinuxLoop } from "./linux_tcp.ts";
import type { ByteConn, Service } from "./endpoint.ts";
import type { Datagram, DatagramOptions, Datagrams, Sockets } from "./socket_endpoint.ts";

const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;

/** See above. */
export class LinuxSockets implements Sockets {
  readonly clock: Clock;

  constructor(readonly loop: LinuxLoop, readonly netns: Netns) {
    this.clock = loop.clock;
  }

  udp(options: DatagramOptions): Promise<Datagrams> {
    const socket = new LinuxSocket("udp", this.netns);
    try {
      if (options.local !== undefined) socket.bind("0.0.0.0", options.local);
      for (const [option, value] of [[IP_TTL, options.ttl], [IP_TOS, options.tos]] as const) {
        if (value === undefined) continue;
        setOption(socket.fd, "Cannot set a socket's option", IPPROTO_IP, option, value);
      }
      if (options.peer !== undefined) {
        const name = sockaddrIn(options.peer.addr, options.peer.port);
        call(`Cannot connect to ${options.peer.addr}`, libc().connect(socket.fd, name, name.length));
      }
    } catch (error) {
      socket.close();
      throw error;
    }
    return Promise.resolve(new LinuxDatagrams(this.loop, socket));
  }

  icmp(): Promise<Datagrams> {
    return Promise.resolve(new LinuxDatagrams(this.loop, new LinuxSocket("icmp", this.netns)));
  }

  listen(port: number, take: (conn: ByteConn) => void): Promise<Service> {
    return Promise.resolve(new LinuxListener(this.loop, this.netns, port, take));
  }

  dial(addr: string, port: number): Promise<ByteConn> {
    return connectLinux(this.loop, this.netns, addr, port);
  }
}

/** One socket in the loop. */
class LinuxDatagrams implements Datagrams {
  onMessage: ((message: Datagram) => void) | null = null;
  onRefused: (() => void) | null = null;
  readonly #socket: LinuxSocket;

  constructor(loop: LinuxLoop, socket: LinuxSocket) {
    this.#socket = socket;
    socket.onMessage = (message) => this.onMessage?.(message);
    socket.onError = (errno) => {
      if (errno === ECONNREFUSED) this.onRefused?.();
    };
    loop.reactor.add(socket);
  }

  send(bytes: Uint8Array, addr: string, port: number): void {
    this.#socket.sendTo(bytes, addr, port);
  }

  close(): void {
    this.#socket.close();
  }
}
