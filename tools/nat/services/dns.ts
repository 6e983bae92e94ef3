/**
 * DNS relay: the guests' name server, behind two doors, UDP and TCP, for both versions of IP.
 *
 * Path: nat, dns_sockets, names → services/dns → dns_servers, dns_zone, wire/dns, random.
 *
 * # Theory of operation
 *
 * ```
 *   asker ─question─▶ zone ─own answer─▶ asker
 *                      └─▶ table of pending questions ─id of ours─▶ first server, then the next ─answer─▶ asker, its id
 * ```
 *
 * A question is passed on with its bytes unchanged but for the id, over UDP if it came over UDP and over TCP if over
 * TCP; the answer goes back in the same way. So every type, EDNS, and what will be invented next works.
 *
 * **Each question** has an entry in the table from when it came until it is answered. An answer is taken for one only
 * if everything fits: the socket that it was sent by (and so our port, and the server's address and port), the id, and
 * the question in it (RFC 5452 9.1). Ids are drawn at random, of those that no other entry has.
 *
 * **The order** is that of resolv.conf(5): the first server; after `timeout` the next; when all were asked, all again,
 * `attempts` times; then SERVFAIL. A server that refuses (ICMP, a reset, no route) is left at once. So is one that
 * answers SERVFAIL, NOTIMP or REFUSED, as long as another was not asked; if none knows more, that answer is passed on.
 * A guest that repeats its question is impatient: the next server is asked without waiting for the time-out.
 *
 * A zone transfer (AXFR, IXFR) is many messages: its entry stays until no more come.
 *
 * Limits: {@link PENDING_MAX} questions, {@link ASKER_MAX} of one guest: at a limit the guest's own oldest, or the
 * oldest of all, is given up with SERVFAIL. {@link QUESTION_MAX} bytes a question.
 *
 * Time is a parameter; nothing is sent before {@link DnsRelay.run}, which its owner calls when it has work.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { DNS_NOTIMP, DNS_REFUSED, DNS_SERVFAIL } from "../../../kernel/wire/dns.ts";
import { type DnsScan, isDnsAnswerTo, sameDnsQuery, scanDns } from "../../../kernel/wire/dns_scan.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { DnsPatience, DnsServers } from "./dns_servers.ts";
import { dnsServerFailure, type DnsZone } from "./dns_zone.ts";

/** Most questions that wait: at 150 bytes each a third of a megabyte. */
export const PENDING_MAX = 2048;
/** Most questions of one guest: four guests that flood leave no room, one does. */
export const ASKER_MAX = 512;
/** Longest question: names take 255 bytes; an update, or a cookie and padding, a little more. */
export const QUESTION_MAX = 4096;

const TYPE_IXFR = 251;
const TYPE_AXFR = 252;

/** The client of a question. */
export interface DnsAsker {
  /** What limits are counted by: the guest. */
  readonly owner: object;
  /** Tells one door, and one port or connection of the owner, from another. */
  readonly port: number;
  readonly byTcp: boolean;
  /** Takes an answer. */
  answer(message: Uint8Array): void;
}

/** Where a question was sent: one socket to one server. */
export interface DnsPlace {
  readonly server: IpAddr;
  /** Our ids of the questions that wait for an answer there. */
  readonly ids: Set<number>;
}

/** Sends questions to servers: sockets in earnest, a list in tests. */
export interface DnsUpstream {
  /** Sends `message`; null: it cannot be done (no route, no port). */
  send(server: IpAddr, message: Uint8Array, byTcp: boolean): DnsPlace | null;
  /** One question less waits at `place`. */
  released(place: DnsPlace): void;
}

/** A question that waits. */
interface Pending {
  readonly id: number;
  readonly asker: DnsAsker;
  readonly scan: DnsScan;
  /** With our id. */
  readonly message: Uint8Array;
  readonly isTransfer: boolean;
  /** Servers asked in this round, and where. */
  asked: IpAddr[];
  readonly places: DnsPlace[];
  round: number;
  deadline: number;
  /** It was answered; a server that was thought dead may answer, too. */
  isDone: boolean;
  /** What the asker gets if no server knows more. */
  fallback: Uint8Array | null;
}

/** What a relay is made of. */
interface DnsRelayStart {
  readonly zone: DnsZone;
  readonly servers: DnsServers;
  readonly random: Random;
}

/** The relay of one NAT. */
export class DnsRelay {
  readonly zone: DnsZone;
  readonly servers: DnsServers;
  /** Called when {@link run} has something to do. */
  onWork: () => void = () => {};
  /** Null: no server is known. */
  upstream: DnsUpstream | null = null;
  readonly counters = { asked: 0, answered: 0, failed: 0, dropped: 0, movedOn: 0, unmatched: 0 };
  readonly #random: Random;
  /** By our id, in the order of their deadlines. */
  readonly #pending = new Map<number, Pending>();
  readonly #counts = new Map<object, number>();
  /** Entries that are to be sent now. */
  #due: Pending[] = [];

  constructor({ zone, servers, random }: DnsRelayStart) {
    this.zone = zone;
    this.servers = servers;
    this.#random = random;
  }

  /** Questions that wait. */
  get size(): number {
    return this.#pending.size;
  }

  /** The host has other servers now. Questions that wait go on with them. */
  setServers(list: readonly IpAddr[], patience: DnsPatience): void {
    this.servers.set(list, patience);
  }

  /** Takes the message from `at` to `end`; our own answer comes at once, a server's later, and some get none. */
  ask(asker: DnsAsker, message: { buf: Uint8Array; at: number; end: number }, now: number): void {
    const { buf, at, end } = message;
    const scan = scanDns(buf, at, end);
    const verdict = scan === null || end - at > QUESTION_MAX ? "drop" : this.zone.judge(scan);
    if (verdict === "drop") this.counters.dropped++;
    else if (verdict !== "ask") asker.answer(verdict);
    else if (this.servers.list.length === 0 || this.upstream === null) asker.answer(dnsServerFailure(scan!));
    else this.#add(asker, scan!, buf.slice(at, end), now);
  }

  #add(asker: DnsAsker, scan: DnsScan, message: Uint8Array, now: number): void {
    const again = this.#repeated(asker, scan);
    if (again !== null) {
      this.#due.push(again);
      this.onWork();
      return;
    }
    this.#makeRoom(asker.owner);
    const id = this.#drawId();
    put16(message, 0, id);
    const type = scan.question?.type ?? 0;
    const entry: Pending = {
      ...{ id, asker, scan, message, isTransfer: asker.byTcp && (type === TYPE_AXFR || type === TYPE_IXFR) },
      ...{ asked: [], places: [], round: 0, deadline: now + this.servers.patience.timeoutMs },
      ...{ isDone: false, fallback: null },
    };
    this.counters.asked++;
    this.#pending.set(id, entry);
    this.#counts.set(asker.owner, (this.#counts.get(asker.owner) ?? 0) + 1);
    this.#due.push(entry);
    this.onWork();
  }

  /** The entry of which `scan` is a repetition: same port, id and question. */
  #repeated(asker: DnsAsker, scan: DnsScan): Pending | null {
    if (!this.#counts.has(asker.owner)) return null;
    for (const entry of this.#pending.values()) {
      if (entry.scan.id !== scan.id || entry.asker.port !== asker.port || entry.asker.owner !== asker.owner) continue;
      if (entry.asker.byTcp === asker.byTcp && !entry.isDone && sameDnsQuery(scan, entry.scan)) return entry;
    }
    return null;
  }

  #makeRoom(owner: object): void {
    if ((this.#counts.get(owner) ?? 0) >= ASKER_MAX) {
      for (const entry of this.#pending.values()) if (entry.asker.owner === owner) return this.#giveUp(entry);
    }
    if (this.#pending.size < PENDING_MAX) return;
    for (const entry of this.#pending.values()) return this.#giveUp(entry);
  }

  #drawId(): number {
    let id = this.#random.u32() >>> 16;
    while (this.#pending.has(id)) id = (id + 1) & 0xffff;
    return id;
  }

  /** Sends what is to be sent, and goes on with what has waited long enough. */
  run(now: number): void {
    for (let due = this.#due; due.length > 0; due = this.#due) {
      this.#due = [];
      for (const entry of due) if (this.#pending.get(entry.id) === entry && !entry.isDone) this.#moveOn(entry, now);
    }
    for (const entry of this.#pending.values()) {
      if (entry.deadline > now) break;
      this.#timedOut(entry, now);
    }
  }

  /** When {@link run} has something to do, if nothing happens until then; Infinity: never. */
  nextDeadline(): number {
    for (const { deadline } of this.#pending.values()) return deadline;
    return Infinity;
  }

  #timedOut(entry: Pending, now: number): void {
    if (entry.isDone) return this.#remove(entry);
    const silent = entry.asked.at(-1);
    if (silent !== undefined) this.servers.failed(silent, now);
    this.#moveOn(entry, now);
  }

  /** Asks the next server that can be asked; gives the question up if there is none. */
  #moveOn(entry: Pending, now: number): void {
    const { timeoutMs, attempts } = this.servers.patience;
    if (entry.asked.length > 0) this.counters.movedOn++;
    while (entry.round < attempts) {
      const server = this.servers.next(entry.asked);
      if (server === null) {
        if (entry.fallback !== null) break;
        entry.round++;
        entry.asked = [];
        continue;
      }
      entry.asked.push(server);
      if (!this.#send(entry, server)) {
        this.servers.failed(server, now);
        continue;
      }
      const probe = this.servers.takeProbe(server, now);
      if (probe !== null && !entry.isTransfer) this.#send(entry, probe);
      this.#wait(entry, now + timeoutMs);
      return;
    }
    this.#giveUp(entry);
  }

  /** The table is in the order of deadlines: the entry stands last again. */
  #wait(entry: Pending, deadline: number): void {
    entry.deadline = deadline;
    this.#pending.delete(entry.id);
    this.#pending.set(entry.id, entry);
  }

  #send(entry: Pending, server: IpAddr): boolean {
    const place = this.upstream?.send(server, entry.message, entry.asker.byTcp) ?? null;
    if (place === null) return false;
    place.ids.add(entry.id);
    if (!entry.places.includes(place)) entry.places.push(place);
    return true;
  }

  /** A message has come to `place`. What does not fit a question that waits there is dropped. */
  answered(place: DnsPlace, message: Uint8Array, now: number): void {
    const scan = scanDns(message, 0, message.length);
    const entry = scan === null || !place.ids.has(scan.id) ? undefined : this.#pending.get(scan.id);
    if (scan === null || entry === undefined || !scan.flags.response || !isDnsAnswerTo(scan, entry.scan)) {
      this.counters.unmatched++;
      return;
    }
    this.servers.answered(place.server);
    if (entry.isDone && !entry.isTransfer) {
      this.#leave(entry, place);
      if (entry.places.length === 0) this.#remove(entry);
      return;
    }
    const { rcode } = scan.flags;
    const isUseless = !entry.isDone && (rcode === DNS_SERVFAIL || rcode === DNS_NOTIMP || rcode === DNS_REFUSED);
    if (isUseless && entry.round === 0 && this.servers.next(entry.asked) !== null) {
      entry.fallback = message;
      this.#leave(entry, place);
      this.#due.push(entry);
      return this.onWork();
    }
    this.#deliver(entry, message);
    if (entry.isTransfer && rcode === 0) {
      entry.isDone = true;
      return this.#wait(entry, now + this.servers.patience.timeoutMs);
    }
    this.#leave(entry, place);
    // A server that is thought dead may answer a little later: then it is not.
    entry.isDone = entry.places.some(({ server }) => this.servers.isDead(server));
    if (!entry.isDone) this.#remove(entry);
  }

  /**
   * `place` is gone: refused, reset, or unreachable. Questions that wait there go to the next server; to the same again
   * if it has answered others there: some servers close a connection after each answer.
   */
  lost(place: DnsPlace, now: number, hasAnswered = false): void {
    if (place.ids.size > 0 && !hasAnswered) this.servers.failed(place.server, now);
    for (const id of [...place.ids]) {
      const entry = this.#pending.get(id);
      place.ids.delete(id);
      if (entry === undefined) continue;
      this.#leave(entry, place);
      const isLast = entry.asked.at(-1)?.equals(place.server) === true;
      if (isLast && hasAnswered) entry.asked.pop();
      if (isLast && !entry.isDone) this.#due.push(entry);
    }
    this.onWork();
  }

  /** The connection of `asker` is over: answers for it are dropped. */
  forget(asker: DnsAsker): void {
    for (const entry of [...this.#pending.values()]) if (entry.asker === asker) this.#remove(entry);
  }

  #deliver(entry: Pending, message: Uint8Array): void {
    put16(message, 0, entry.scan.id);
    this.counters.answered++;
    entry.asker.answer(message);
  }

  #giveUp(entry: Pending): void {
    if (!entry.isDone && entry.fallback !== null) this.#deliver(entry, entry.fallback);
    else if (!entry.isDone) {
      this.counters.failed++;
      entry.asker.answer(dnsServerFailure(entry.scan));
    }
    this.#remove(entry);
  }

  #remove(entry: Pending): void {
    if (!this.#pending.delete(entry.id)) return;
    const left = this.#counts.get(entry.asker.owner)! - 1;
    if (left === 0) this.#counts.delete(entry.asker.owner);
    else this.#counts.set(entry.asker.owner, left);
    for (const place of [...entry.places]) this.#leave(entry, place);
  }

  #leave(entry: Pending, place: DnsPlace): void {
    const at = entry.places.indexOf(place);
    if (at < 0) return;
    entry.places.splice(at, 1);
    place.ids.delete(entry.id);
    this.upstream?.released(place);
  }
}
