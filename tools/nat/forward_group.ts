/**
 * ForwardGroup: the forwards that lead to one port of a guest, and by which of them each remote came.
 *
 * Path: nat/forward, nat/guest → forward_group → addr_hash, ip_addr.
 *
 * Limits: {@link REMOTES_MAX} remotes.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type AddrEntry, AddrMap, copyAddr } from "./addr_hash.ts";
import type { RemoteEnd } from "./tcp_flows.ts";

/** Most remotes that one forwarded port remembers; the first to come is the first to go. */
export const REMOTES_MAX = 4096;

/** The ends of a packet that came in, as the host has them. */
interface HostEnds {
  readonly src: IpAddr;
  readonly dst: IpAddr;
}

/** A remote of a forwarded port: by which forward it came, and the ends as the host has them. */
interface ForwardPath<M> extends AddrEntry<ForwardPath<M>> {
  readonly map: M;
  readonly real: IpAddr;
  readonly local: IpAddr;
}

/** See above. `M` is the kind of the forwards' maps. */
export class ForwardGroup<M extends { readonly bound: IpAddr | null }> {
  readonly maps: M[] = [];
  readonly #paths = new AddrMap<ForwardPath<M>>();

  /** How many remotes it remembers. */
  get length(): number {
    return this.#paths.size;
  }

  /** How to answer the remote that the guest knows as `end`; or null. */
  pathTo({ remote, remoteHash, remotePort }: RemoteEnd): ForwardPath<M> | null {
    return this.#paths.get(remoteHash, remote, remotePort);
  }

  /** Remembers that the remote which the guest knows as `end` came by `map`, between these ends. */
  remember(end: RemoteEnd, map: M, { src, dst }: HostEnds): void {
    const old = this.pathTo(end);
    if (old !== null) {
      if (old.map === map && old.real.equals(src) && old.local.equals(dst)) return;
      this.#paths.delete(old);
    } else if (this.#paths.size >= REMOTES_MAX) this.#forgetFirst();
    const { remote, remoteHash: hash, remotePort: port } = end;
    const addrs = { addr: copyAddr(remote), real: copyAddr(src), local: copyAddr(dst) };
    const path = { ...addrs, hash, port, nextSame: null, map };
    this.#paths.add(path);
  }

  /** The forward that a packet of the guest's own takes, from the host's address `local`; null: none of them. */
  mapAt(local: IpAddr): M | null {
    return this.maps.find(({ bound }) => bound === null || bound.equals(local)) ?? null;
  }

  /** Forgets a forward and the remotes that came by it. */
  remove(map: M): void {
    this.maps.splice(this.maps.indexOf(map), 1);
    for (const path of this.#paths.values()) if (path.map === map) this.#paths.delete(path);
  }

  #forgetFirst(): void {
    const first = this.#paths.values().next().value;
    if (first !== undefined) this.#paths.delete(first);
  }
}
