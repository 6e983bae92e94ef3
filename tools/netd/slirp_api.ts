/**
 * SlirpApi: slirp4netns' API (`add_hostfwd`, `list_hostfwd`, `remove_hostfwd`) on top of the NAT's own commands, for
 * programs that know slirp4netns (rootless containers).
 *
 * Path: api_socket → slirp_api → NatProgram.command. Manual: slirp4netns(1), "API SOCKET".
 *
 * @module
 */

/** One forward as it was asked for. */
interface Entry {
  readonly id: number;
  readonly proto: string;
  readonly host_addr: string;
  readonly host_port: number;
  readonly guest_addr: string;
  readonly guest_port: number;
}

class RequestError extends Error {}

/** See above. */
export class SlirpApi {
  readonly #command: (text: string) => string;
  readonly #entries = new Map<number, Entry>();
  #lastId = 0;

  /** `command` runs a command of nat_control. */
  constructor(command: (text: string) => string) {
    this.#command = command;
  }

  /** Answers one request; never throws. */
  answer(text: string): string {
    try {
      return JSON.stringify({ return: this.#run(JSON.parse(text)) });
    } catch (error) {
      if (!(error instanceof RequestError) && !(error instanceof SyntaxError)) throw error;
      return JSON.stringify({ error: { desc: `bad request: ${error.message}` } });
    }
  }

  #run(request: unknown): unknown {
    const { execute, arguments: args } = record(request);
    switch (execute) {
      case "add_hostfwd":
        return this.#add(record(args));
      case "list_hostfwd":
        return { entries: [...this.#entries.values()] };
      case "remove_hostfwd":
        return this.#remove(record(args));
      default:
        throw new RequestError(`unknown execute ${JSON.stringify(execute)}`);
    }
  }

  #add(args: Record<string, unknown>): { id: number } {
    const { proto, host_addr = "0.0.0.0", host_port, guest_addr = "", guest_port } = args;
    if (proto !== "tcp" && proto !== "udp") throw new RequestError("proto: want tcp or udp");
    const entry: Entry = {
      id: this.#lastId + 1,
      proto,
      host_addr: textOf(host_addr, "host_addr"),
      host_port: portOf(host_port, "host_port"),
      guest_addr: textOf(guest_addr, "guest_addr"),
      guest_port: portOf(guest_port, "guest_port"),
    };
    this.#nat("add", entry);
    this.#entries.set(++this.#lastId, entry);
    return { id: entry.id };
  }

  #remove(args: Record<string, unknown>): Record<string, never> {
    const entry = this.#entries.get(Number(args.id));
    if (entry === undefined) throw new RequestError(`no such id ${JSON.stringify(args.id)}`);
    this.#entries.delete(entry.id);
    this.#nat("remove", entry);
    return {};
  }

  #nat(verb: string, { proto, host_addr, host_port, guest_addr, guest_port }: Entry): void {
    const answer = this.#command(`${verb} ${proto}:${host_addr}:${host_port}-${guest_addr}:${guest_port}`);
    if (!answer.startsWith("ok")) throw new RequestError(answer.replace(/^error: /, "").trim());
  }
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new RequestError("want an object");
  return value as Record<string, unknown>;
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== "string" || /[^\d.]/.test(value)) throw new RequestError(`${name}: want an IPv4 address`);
  return value;
}

function portOf(value: unknown, name: string): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65535) return Number(value);
  throw new RequestError(`${name}: want a port`);
}
