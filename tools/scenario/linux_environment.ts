/**
 * The host on a TAP or TUN device in a network namespace of its own, and Linux as the remote: real sockets, no tools.
 *
 * Path: scenario → linux_environment → boot, linux_socket.
 *
 * @module
 */

import { call, cString, libc } from "../../devices/host/libc.ts";
import { LinuxSocket, type Received } from "../../devices/host/linux_socket.ts";
import type { TapPort, TunPort } from "../../devices/host/tun.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { boot, type Host } from "../boot/boot.ts";
import type { PortObserver } from "../boot/observe_port.ts";
import { LinuxSockets } from "./linux_sockets.ts";
import { echoRequest, SocketEndpoint } from "./socket_endpoint.ts";
import { PacketLog } from "./packet_log.ts";
import { ANSWER_MS, type EchoAnswer, type Environment, type Remote, type RemoteUdp, within } from "./environment.ts";

const LINUX_ADDRESS = "10.99.0.1";
const HOST_ADDRESS = "10.99.0.2";
const PREFIX = "/24";

/** Boots the host on a new device. Throws HostError where that may not be. */
export async function linuxEnvironment(wire: "tap" | "tun", observe?: PortObserver): Promise<Environment> {
  const log = new PacketLog(wire === "tap" ? ETHER_HEADER_LEN : 0);
  const see: PortObserver = (direction, block, wallMs) => {
    log.see(direction, block);
    observe?.(direction, block, wallMs);
  };
  const linux = { netns: "new", address: `${LINUX_ADDRESS}${PREFIX}`, name: `aka${wire}0` };
  const host = await boot({ wire, address: `${HOST_ADDRESS}${PREFIX}`, linux, observe: see });
  const { netns } = host.port as TapPort | TunPort;
  const remote = new LinuxRemote(host, netns!);
  const endpoint = new SocketEndpoint(
    "Linux",
    new LinuxSockets({ reactor: host.reactor!, clock: host.clock }, netns!),
    LINUX_ADDRESS,
  );
  return {
    ...{ wire, host, remote, endpoint, log },
    close: async () => {
      remote.close();
      endpoint.close();
      await host.world.close();
    },
  };
}

/** Linux' own stack inside the namespace. */
class LinuxRemote implements Remote {
  readonly name = "Linux";
  readonly address = LINUX_ADDRESS;
  #icmp: LinuxSocket | null = null;
  #pending: ((message: Received) => boolean) | null = null;

  constructor(readonly host: Host, readonly netns: Netns) {}

  resolved(): Promise<string | null> {
    return Promise.resolve(linuxNeighbour(this.netns, HOST_ADDRESS));
  }

  async ping(id: number, seq: number, payload: Uint8Array): Promise<EchoAnswer> {
    const socket = this.#icmpSocket();
    const answer = Promise.withResolvers<EchoAnswer>();
    this.#pending = ({ bytes }) => {
      const at = (bytes[0]! & 15) * 4;
      const isOurs = bytes[at] === 0 && get16(bytes, at + 4) === id && get16(bytes, at + 6) === seq;
      if (isOurs) answer.resolve({ ttl: bytes[8]!, payload: bytes.subarray(at + 8) });
      return isOurs;
    };
    socket.sendTo(echoRequest(id, seq, payload), HOST_ADDRESS, 0);
    return await within(this.host.clock, ANSWER_MS, `answer to echo request ${id}/${seq}`, answer.promise);
  }

  #icmpSocket(): LinuxSocket {
    if (this.#icmp !== null) return this.#icmp;
    const socket = this.#icmp = new LinuxSocket("icmp", this.netns);
    socket.onMessage = (message) => {
      if (this.#pending?.(message) === true) this.#pending = null;
    };
    this.host.reactor!.add(socket);
    return socket;
  }

  openUdp(): Promise<RemoteUdp> {
    return Promise.resolve(new LinuxUdp(this.host, this.netns));
  }

  close(): void {
    this.#icmp?.close();
  }
}

/** One UDP socket of Linux. */
class LinuxUdp implements RemoteUdp {
  #socket: LinuxSocket;
  #waiting: ((message: Received) => void) | null = null;

  constructor(readonly host: Host, netns: Netns) {
    this.#socket = new LinuxSocket("udp", netns);
    this.#socket.onMessage = (message) => this.#waiting?.(message);
    host.reactor!.add(this.#socket);
  }

  async exchange(payload: Uint8Array, port: number): Promise<Uint8Array> {
    const answer = Promise.withResolvers<Uint8Array>();
    this.#waiting = (message) => {
      if (message.addr === HOST_ADDRESS && message.port === port) answer.resolve(message.bytes);
    };
    this.#socket.sendTo(payload, HOST_ADDRESS, port);
    return await within(this.host.clock, ANSWER_MS, `answer of ${payload.length} bytes`, answer.promise);
  }

  close(): void {
    this.#socket.close();
  }
}

function get16(buf: Uint8Array, at: number): number {
  return (buf[at]! << 8) | buf[at + 1]!;
}

/** A file of /proc, read on this thread: Deno's own calls would read another thread's namespace. */
function readSmallFile(path: string): string {
  const fd = call(`Cannot open ${path}`, libc().open(cString(path), 0, 0));
  const buf = new Uint8Array(16384);
  const count = call(`Cannot read ${path}`, libc().read(fd, buf, BigInt(buf.length)));
  libc().close(fd);
  return new TextDecoder().decode(buf.subarray(0, count));
}

/** The hardware address that Linux in `netns` has found for `addr`; null: none (yet). */
export function linuxNeighbour(netns: Netns, addr: string): string | null {
  return neighbourIn(netns.run(() => readSmallFile("/proc/thread-self/net/arp")), addr);
}

/** The hardware address for `addr` in the text of Linux' /proc/net/arp; null: none (yet). */
export function neighbourIn(table: string, addr: string): string | null {
  const line = table.split("\n").find((one) => one.startsWith(`${addr} `));
  const mac = line?.split(/\s+/)[3];
  return mac === undefined || mac === "00:00:00:00:00:00" ? null : mac;
}
