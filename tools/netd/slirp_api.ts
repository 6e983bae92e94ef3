/**
 * SlirpApi: slirp4netns' API (`add_hostfwd`, `list_hostfwd`, `remove_hostfwd`) on top of the NAT's own commands, for
 * programs that use slirp4netns (rootless containers).
 *
 * Path: api_socket → slirp_api → map, nat/forward.
 *
 * Answers have the fields and texts of slirp4netns 1.2, as far as it has them. Its manual shows the list of forwards
 * below `return`, the program puts it beside that: here it is in both places.
 *
 * @module
 */

import { MAP_PROTO_NAMES } from "../nat/map.ts";
import { formatForward, type Forward } from "../nat/forward.ts";

/** One forward as slirp4netns asks for and lists it. */
interface Entry {
  readonly id: number;
  readonly proto: string;
  readonly host_addr: string;
  readonly host_port: number;
  readonly guest_addr: string;
  readonly guest_port: number;
  /** Number of ports, from these on; default one. slirp4netns has no ranges. */
  readonly count?: number;
}

class RequestError extends Error {}

type Fields = Readonly<Record<string, unknown>>;

/** Handler of the API's requests. */
export class SlirpApi {
  readonly #command: (text: string) => string;
  readonly #guestAddr: string;
  readonly #forwards: () => readonly Forward[];
  /** The ids of forwards that were added or listed here. The NAT decides which are in force. */
  readonly #ids = new WeakMap<Forward, number>();
  #lastId = 0;

  /**
   * `command` runs a command of nat_control; `guestAddr` is the guest unless a request names another; `forwards` are
   * those in force, the newest last.
   */
  constructor(command: (text: string) => string, guestAddr: string, forwards: () => readonly Forward[]) {
    this.#command = command;
    this.#guestAddr = guestAddr;
    this.#forwards = forwards;
  }

  /** Answers one request; never throws. */
  answer(text: string): string {
    try {
      return JSON.stringify(this.#run(parse(text)));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      return JSON.stringify({ error: { desc: `bad request: ${error.message}` } });
    }
  }

  #run({ execute, arguments: args }: Fields): unknown {
    switch (execute) {
      case "add_hostfwd":
        return { return: this.#add(isFields(args) ? args : {}) };
      case "list_hostfwd": {
        const entries = this.#forwards().map((forward) => this.#entryOf(forward));
        return { return: { entries }, entries };
      }
      case "remove_hostfwd":
        return { return: this.#remove(isFields(args) ? args : {}) };
      default:
        throw new RequestError(typeof execute === "string" ? "unknown execute" : "no execute found");
    }
  }

  #add(args: Fields): { id: number } {
    const { proto, host_port, guest_port } = args;
    // slirp4netns takes an empty address for none. A forward without a guest address follows the guest's current one.
    const isGiven = args.guest_addr !== undefined && args.guest_addr !== "";
    const host_addr = args.host_addr === "" ? "0.0.0.0" : args.host_addr ?? "0.0.0.0";
    const guest_addr = isGiven ? args.guest_addr : this.#guestAddr;
    const entry = {
      proto: checked("add_hostfwd", "proto", proto, proto === "tcp" || proto === "udp") as string,
      host_addr: checked("add_hostfwd", "host_addr", host_addr, isAddr(host_addr)) as string,
      host_port: checked("add_hostfwd", "host_port", host_port, isPort(host_port)) as number,
      guest_addr: checked("add_hostfwd", "guest_addr", guest_addr, isAddr(guest_addr)) as string,
      guest_port: checked("add_hostfwd", "guest_port", guest_port, isPort(guest_port)) as number,
    };
    const guest = isGiven ? entry.guest_addr : "";
    this.#nat("add", `${entry.proto}:${entry.host_addr}:${entry.host_port}-${guest}:${entry.guest_port}`);
    return { id: this.#idOf(this.#forwards().at(-1)!) };
  }

  #remove({ id }: Fields): Record<string, never> {
    const forward = typeof id === "number" ? this.#forwards().find((one) => this.#ids.get(one) === id) : undefined;
    checked("remove_hostfwd", "id", id, forward !== undefined);
    this.#nat("remove", formatForward(forward!.spec));
    return {};
  }

  #idOf(forward: Forward): number {
    const known = this.#ids.get(forward);
    if (known === undefined) this.#ids.set(forward, ++this.#lastId);
    return known ?? this.#lastId;
  }

  #entryOf(forward: Forward): Entry {
    const { spec, map } = forward;
    return {
      id: this.#idOf(forward),
      proto: MAP_PROTO_NAMES[spec.proto],
      host_addr: `${spec.bound ?? (map.is6 ? "::" : "0.0.0.0")}`,
      host_port: map.hostPort,
      guest_addr: `${map.guest.addr}`,
      guest_port: spec.guestPort,
      ...(spec.count > 1 ? { count: spec.count } : {}),
    };
  }

  #nat(verb: "add" | "remove", forward: string): void {
    const answer = this.#command(`${verb} ${forward}`);
    if (!answer.startsWith("ok")) throw new RequestError(`${verb}_hostfwd: ${answer.replace(/^error: /, "").trim()}`);
  }
}

function parse(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError("cannot parse JSON");
  }
  return isFields(value) ? value : {};
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null;
}

function checked<T>(request: string, name: string, value: T, isGood: boolean): T {
  if (!isGood) throw new RequestError(`${request}: bad arguments.${name}`);
  return value;
}

function isAddr(value: unknown): boolean {
  return typeof value === "string" && /^\d+(\.\d+){3}$/.test(value);
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65535;
}
