/**
 * Sockets of this machine's Linux in a network namespace: no tools.
 *
 * Path: socket_endpoint → linux_sockets → linux_socket, linux_tcp, rtnetlink.
 *
 * @module
 */

import { call, ECONNREFUSED, libc } from "../../devices/host/libc.ts";
import { LinuxSocket } from "../../devices/host/linux_socket.ts";
import { hostNeighbor } from "../../devices/host/rtnetlink.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { setOption, sockaddr } from "../../devices/host/socket_fd.ts";
import type { Clock } from "../../kernel/time.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { connectLinux, LinuxListener, type LinuxLoop } from "./linux_tcp.ts";
import type { ByteConn, Service } from "./endpoint.ts";
import type { IpVersion, PerVersion } from "./ip_family.ts";
import type { Datagram, DatagramOptions, Datagrams, Sockets } from "./socket_endpoint.ts";

/** Level and options of a socket's TTL (hop limit) and TOS (traffic class), by version of IP. */
const OPTIONS: PerVersion<{ readonly level: number; readonly ttl: number; readonly tos: number }> = {
  4: { level: 0, ttl: 2, tos: 1 },
  6: { level: 41, ttl: 16, tos: 67 },
};

/** Every address, and the loopback's. */
const ANY: PerVersion<string> = { 4: "0.0.0.0", 6: "::" };
export const LOOPBACK: PerVersion<string> = { 4: "127.0.0.1", 6: "::1" };

/** See above. */
export class LinuxSockets implements Sockets {
  readonly clock: Clock;

  /** `netns`: null is where this program is. Services are `at` these addresses. */
  constructor(readonly loop: LinuxLoop, readonly netns: Netns | null, readonly at: PerVersion<string> = ANY) {
    this.clock = loop.clock;
  }

  udp(options: DatagramOptions): Promise<Datagrams> {
    const { version } = options;
    const socket = new LinuxSocket("udp", this.netns, version);
    try {
      if (options.local !== undefined) socket.bind(this.at[version], options.local);
      const { level, ttl, tos } = OPTIONS[version];
      for (const [option, value] of [[ttl, options.ttl], [tos, options.tos]] as const) {
        if (value === undefined) continue;
        setOption(socket.fd, { level, option, value }, "Cannot set a socket's option");
      }
      if (options.peer !== undefined) {
        const name = sockaddr(options.peer.addr, options.peer.port);
        call(`Cannot connect to ${options.peer.addr}`, libc().connect(socket.fd, name, name.length));
      }
    } catch (error) {
      socket.close();
      throw error;
    }
    return Promise.resolve(new LinuxDatagrams(this.loop, socket));
  }

  icmp(version: IpVersion): Promise<Datagrams> {
    return Promise.resolve(new LinuxDatagrams(this.loop, new LinuxSocket("icmp", this.netns, version)));
  }

  listen(version: IpVersion, port: number, take: (conn: ByteConn) => void): Promise<Service> {
    return Promise.resolve(new LinuxListener(this.loop, this.netns, { version, addr: this.at[version], port }, take));
  }

  dial(addr: string, port: number): Promise<ByteConn> {
    return connectLinux(this.loop, this.netns, addr, port);
  }

  neighbor(addr: string): Promise<string | null> {
    const look = () => hostNeighbor(parseIpAddr(addr)!);
    const found = this.netns === null ? look() : this.netns.run(look);
    return Promise.resolve(found === null ? null : `${found}`);
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
