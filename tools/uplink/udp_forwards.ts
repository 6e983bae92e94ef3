/**
 * UdpForwards: UDP ports of the machine that lead to ports of near. Near sees who called; its answers leave by the
 * socket that was called, from the address that was asked.
 *
 * Path: datagram_relay → udp_forwards → caller_table, relay_port, host_sockets, context.
 *
 * Several sockets may lead to one port of near: of both versions, or of several addresses of the machine.
 *
 * @module
 */

import type { BindRequest, SocketEnd, SocketFailure } from "../../kernel/host_sockets.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type Caller, CallerTable } from "./caller_table.ts";
import type { UplinkContext } from "./context.ts";
import { linkVersion } from "./link_version.ts";
import { type Outbox, portKey, RelayPort } from "./relay_port.ts";

/** Where the machine listens, and where it leads. */
export interface ForwardRequest extends BindRequest {
  /** Port of near, and its version of IP. Callers of the other version are shown as the link's peer. */
  readonly toPort: number;
  readonly toVersion: 4 | 6;
}

/** An open forward. */
export interface UdpForward {
  /** Where the machine listens. */
  readonly local: SocketEnd;
  /** Closes its socket. */
  close(): void;
}

/** The forwards to one port of near. */
interface Group {
  readonly callers: CallerTable<RelayPort>;
  readonly ports: RelayPort[];
}

/** All UDP forwards. */
export class UdpForwards {
  readonly #context: UplinkContext;
  readonly #outbox: Outbox;
  readonly #watch: (port: RelayPort) => void;
  /** By {@link portKey}. */
  readonly #groups = new Map<number, Group>();
  /** Forwards that listen at every address, by {@link portKey}: what near sends of its own accord leaves there. */
  readonly #anywhere = new Map<number, RelayPort[]>();

  /** `watch` is called for each socket that is opened. */
  constructor(context: UplinkContext, outbox: Outbox, watch: (port: RelayPort) => void) {
    this.#context = context;
    this.#outbox = outbox;
    this.#watch = watch;
  }

  /** Opens one; or says why the port cannot be had. */
  open({ toPort, toVersion, ...bind }: ForwardRequest): UdpForward | SocketFailure {
    const socket = this.#context.sockets.datagrams(bind);
    if (typeof socket === "string") return socket;
    this.#context.counters.udpOpened++;
    const link = linkVersion(toVersion);
    const key = portKey(toVersion, toPort);
    const group = this.#groups.get(key) ?? { callers: new CallerTable<RelayPort>(this.#context, link), ports: [] };
    this.#groups.set(key, group);
    const { callers } = group;
    const port = new RelayPort(link, toPort, socket, { outbox: this.#outbox, callers });
    group.ports.push(port);
    if (isEverywhere(bind, toVersion)) this.#anywhere.set(key, [...this.#anywhere.get(key) ?? [], port]);
    this.#watch(port);
    return { local: socket.local, close: () => this.#close(port, group) };
  }

  /** The caller whom near's port `key` answers by a packet to `address` and `port`; null: it is no answer. */
  answering(key: number, address: IpAddr, port: number): Caller<RelayPort> | null {
    if (this.#groups.size === 0) return null;
    return this.#groups.get(key)?.callers.shownAs(address, port) ?? null;
  }

  /** The forward from whose port near's port `key` may reach every destination; null: there is none. */
  anywhere(key: number): RelayPort | null {
    return this.#anywhere.get(key)?.[0] ?? null;
  }

  /** Closes all. */
  close(): void {
    for (const group of this.#groups.values()) for (const port of [...group.ports]) this.#close(port, group);
  }

  #close(port: RelayPort, { callers, ports }: Group): void {
    if (port.isClosed) return;
    port.close();
    callers.forget(port);
    ports.splice(ports.indexOf(port), 1);
    const { key } = port;
    if (ports.length === 0) this.#groups.delete(key);
    const left = this.#anywhere.get(key)?.filter((one) => one !== port) ?? [];
    if (left.length > 0) this.#anywhere.set(key, left);
    else this.#anywhere.delete(key);
  }
}

/** Whether a forward's socket reaches destinations of `toVersion` that never called it. */
function isEverywhere({ version, address, dualStack, device }: BindRequest, toVersion: 4 | 6): boolean {
  return address === null && device === undefined && (version === toVersion || dualStack === true);
}
