/**
 * NatControl: what a person or a program may ask a running NAT: one command, one answer. A function of text and NAT.
 *
 * Path: program → control → nat, map, nat/forward, kernel/ctl.
 *
 *     add SPEC · remove SPEC · list          forwards (see nat_forward)
 *     maps [PROTO] · stats · leases · show   what there is
 *     help                                   this
 *
 * `json` before a command has the answer as JSON: `{"ok":true,…}`. As text the first line is `ok` or `error: …`.
 *
 * @module
 */

import { shown, splitWords } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { exposureOf } from "./exposure.ts";
import { MAP_CLASS_NAMES, MAP_PROTO_NAMES, type NatMap, Realm } from "./map.ts";
import type { Nat } from "./nat.ts";
import { formatForward } from "./forward.ts";

/** Most maps that one answer lists: it is one block of a pipe. */
export const MAPS_SHOWN_MAX = 256;

/** One line of an answer: names and values, in order. */
type Row = Readonly<Record<string, string | number>>;

/** What a command answers. */
interface Answer {
  /** Name of the rows in JSON. */
  readonly name: string;
  readonly rows: readonly Row[];
  /** Rows that were left out. */
  readonly more?: number;
}

type Verb = (nat: Nat, args: readonly string[], now: number) => Answer;

const VERBS: Readonly<Record<string, { usage: string; args: readonly [min: number, max: number]; run: Verb }>> = {
  add: { usage: "add SPEC", args: [1, 1], run: (nat, [spec]) => forwardsOf([nat.addForward(spec!)]) },
  remove: { usage: "remove SPEC", args: [1, 1], run: (nat, [spec]) => forwardsOf([nat.removeForward(spec!)]) },
  list: { usage: "list", args: [0, 0], run: (nat) => forwardsOf(nat.forwards.list) },
  maps: { usage: "maps [udp|tcp|icmp]", args: [0, 1], run: listMaps },
  stats: { usage: "stats", args: [0, 0], run: listStats },
  leases: { usage: "leases", args: [0, 0], run: listLeases },
  show: {
    usage: "show",
    args: [0, 0],
    run: (nat) => ({ name: "exposure", rows: exposureOf(nat).map((line) => ({ line })) }),
  },
  help: {
    usage: "help",
    args: [0, 0],
    run: () => ({ name: "commands", rows: Object.values(VERBS).map(({ usage }) => ({ usage })) }),
  },
};

/** Runs one command and answers it; never throws. */
export function runNatCommand(nat: Nat, text: string, now: number): string {
  let isJson = false;
  try {
    const words = splitWords(text);
    if (words[0] === "json") {
      isJson = true;
      words.shift();
    }
    const [name = "help", ...args] = words;
    const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
    if (verb === undefined) throw new KernelError("EINVAL", `Cannot run ${shown(name)}: no such command, try help`);
    if (args.length < verb.args[0] || args.length > verb.args[1]) {
      throw new KernelError("EINVAL", `Cannot run ${shown(name)}: usage: ${verb.usage}`);
    }
    return format(verb.run(nat, args, now), isJson);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return isJson
      ? `${JSON.stringify({ ok: false, errno: error.code, error: error.message })}\n`
      : `error: ${error.message}\n`;
  }
}

function format(answer: Answer, isJson: boolean): string {
  const { name, rows, more = 0 } = answer;
  if (isJson) return `${JSON.stringify({ ok: true, [name]: rows, ...(more > 0 ? { more } : {}) })}\n`;
  const lines = rows.map((row) => Object.values(row).join(" "));
  if (more > 0) lines.push(`and ${more} more`);
  return ["ok", ...lines].map((line) => `${line}\n`).join("");
}

function forwardsOf(forwards: Nat["forwards"]["list"]): Answer {
  const rows = forwards.map(({ spec, map }) => ({
    forward: formatForward(spec),
    guest: `${map.guest.addr}`,
    in: map.packetsIn,
    out: map.packetsOut,
  }));
  return { name: "forwards", rows };
}

function listMaps(nat: Nat, [proto]: readonly string[], now: number): Answer {
  const wanted = proto === undefined ? -1 : MAP_PROTO_NAMES.indexOf(proto as typeof MAP_PROTO_NAMES[number]);
  if (proto !== undefined && wanted < 0) throw new KernelError("EINVAL", `Cannot list ${shown(proto)}: no protocol`);
  const rows: Row[] = [];
  let more = 0;
  for (const map of nat.table.maps()) {
    if (wanted >= 0 && map.proto !== wanted) continue;
    if (rows.length < MAPS_SHOWN_MAX) rows.push(rowOf(nat, map, now));
    else more++;
  }
  return { name: "maps", rows, more };
}

const REALM_NAMES: Readonly<Record<Realm, string>> = {
  [Realm.World]: "world",
  [Realm.Host]: "host",
  [Realm.Dns]: "dns",
};

function rowOf(nat: Nat, map: NatMap, now: number): Row {
  return {
    proto: MAP_PROTO_NAMES[map.proto],
    guest: `${map.guest.addr}!${map.guestPort}`,
    host: `${map.bound ?? "*"}!${map.hostPort}`,
    realm: REALM_NAMES[map.realm],
    state: MAP_CLASS_NAMES[map.class]!,
    expiresMs: Math.max(0, Math.round(map.lastUse + nat.table.lifetimeOf(map) - now)),
    out: map.packetsOut,
    in: map.packetsIn,
  };
}

function listStats(nat: Nat): Answer {
  const rows: Row[] = nat.counters.entries().map(([counter, count]) => ({ counter, count }));
  MAP_PROTO_NAMES.forEach((name, proto) => rows.push({ counter: `maps-${name}`, count: nat.table.count(proto as 0) }));
  rows.push({ counter: "guests", count: [...nat.table.guests].length });
  rows.push({ counter: "fragment-bytes", count: nat.reassembler.bytes });
  const beyond = nat.doors?.counters?.() ?? {};
  for (const [counter, count] of Object.entries(beyond)) rows.push({ counter: `uplink-${counter}`, count });
  return { name: "stats", rows };
}

function listLeases(nat: Nat, _args: readonly string[], now: number): Answer {
  const rows = nat.dhcp.leases.map(({ addr, mac, expires, isOffer }) => ({
    addr: `${addr}`,
    mac: mac < 0 ? "declined" : `${new MacAddr(Math.floor(mac / 2 ** 32), mac | 0)}`,
    state: isOffer ? "offered" : "leased",
    expiresMs: Math.max(0, Math.round(expires - now)),
  }));
  return { name: "leases", rows };
}
