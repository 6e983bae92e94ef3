/**
 * ApiSocket: the NAT's control channel at a unix socket, for programs elsewhere.
 *
 * Path: natctl, socat → unix_socket → api_socket → NatProgram.command; and back.
 *
 * One command a line, as in nat_control; what is sent before the end of the stream without a newline is one, too. Each
 * answer ends with an empty line. What begins with `{` is a request of slirp4netns' API, and is answered as there: one
 * line of JSON, after which the connection is closed.
 *
 * Limits: {@link CLIENTS_MAX} connections; a line of {@link LINE_MAX} bytes; who leaves {@link WAITING_MAX} bytes of
 * answers unread is disconnected.
 *
 * @module
 */

import { GONE, LATER, type Loop, UnixListener, type UnixStream } from "../../devices/host/unix_socket.ts";
import { SlirpApi } from "./slirp_api.ts";

/** Connections at once. */
export const CLIENTS_MAX = 16;
/** Bytes of one command. */
export const LINE_MAX = 4096;
/** Bytes of answers that wait for one client: some lists of maps. */
export const WAITING_MAX = 1 << 20;

const NEWLINE = 10;
const BRACE = 0x7b;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What the API is of. */
export interface ApiOptions {
  /** Runs a command of nat_control. */
  command(text: string): string;
  /** The first guest's address: whom a forward is for unless it says. */
  readonly guestAddr: string;
}

/** See above. */
export class ApiSocket {
  readonly #listener: UnixListener;
  readonly #clients = new Set<Client>();

  /** Listens at `path`. Throws HostError. */
  constructor(path: string, loop: Loop, { command, guestAddr }: ApiOptions) {
    this.#listener = new UnixListener(path);
    const slirp = new SlirpApi(command, guestAddr);
    this.#listener.onConnection((stream) => {
      if (this.#clients.size >= CLIENTS_MAX) return stream.close();
      const client = new Client(stream, loop, { command, slirp: (text) => slirp.answer(text) });
      client.onGone = () => this.#clients.delete(client);
      this.#clients.add(client);
    });
    loop.add(this.#listener);
  }

  /** Ends it and its connections. */
  close(): void {
    this.#listener.close();
    for (const client of [...this.#clients]) client.close();
  }
}

/** Who answers. */
interface Answerers {
  command(text: string): string;
  slirp(text: string): string;
}

/** One connection. */
class Client {
  onGone: () => void = () => {};
  readonly #stream: UnixStream;
  readonly #loop: Loop;
  readonly #answerers: Answerers;
  readonly #room = new Uint8Array(LINE_MAX);
  #line = 0;
  #waiting: Uint8Array = new Uint8Array(0);
  /** Nothing more is read; closed when all is written. */
  #ending = false;

  constructor(stream: UnixStream, loop: Loop, answerers: Answerers) {
    this.#stream = stream;
    this.#loop = loop;
    this.#answerers = answerers;
    stream.onReadable = () => this.#read();
    stream.onWritable = () => this.#write();
    loop.add(stream);
  }

  close(): void {
    this.#stream.close();
    this.onGone();
  }

  /** One read; answers what the loop wants to know. */
  #read(): number {
    if (this.#ending) return -1;
    const got = this.#stream.read(this.#room.subarray(this.#line));
    if (got === LATER) return 0;
    if (got === GONE) {
      if (this.#line > 0) this.#run(this.#line);
      this.#end();
      return -1;
    }
    this.#line += got;
    for (let at = this.#newline(); at >= 0 && !this.#ending && !this.#isRequest(); at = this.#newline()) {
      this.#run(at);
      this.#room.copyWithin(0, at + 1, this.#line);
      this.#line -= at + 1;
    }
    // slirp4netns' clients need not end their request with a newline, and may have some inside.
    if (this.#isRequest() && isWholeJson(this.#room.subarray(0, this.#line))) this.#run(this.#line);
    if (this.#line === LINE_MAX) {
      this.#send("error: Cannot run a command of so many bytes\n\n");
      this.#end();
    }
    this.#write();
    return this.#stream.fd < 0 ? -1 : 1;
  }

  #isRequest(): boolean {
    return this.#line > 0 && this.#room[0] === BRACE;
  }

  #newline(): number {
    return this.#room.subarray(0, this.#line).indexOf(NEWLINE);
  }

  /** Runs the first `length` bytes. */
  #run(length: number): void {
    const text = decoder.decode(this.#room.subarray(0, length)).trim();
    if (text === "") return;
    if (!text.startsWith("{")) return this.#send(`${this.#answerers.command(text)}\n`);
    this.#send(`${this.#answerers.slirp(text)}\n`);
    this.#end();
  }

  #send(text: string): void {
    const bytes = encoder.encode(text);
    const all = new Uint8Array(this.#waiting.length + bytes.length);
    all.set(this.#waiting);
    all.set(bytes, this.#waiting.length);
    this.#waiting = all;
    if (all.length > WAITING_MAX) this.close();
  }

  #end(): void {
    this.#ending = true;
    this.#line = 0;
    this.#write();
  }

  #write(): void {
    while (this.#waiting.length > 0) {
      const count = this.#stream.write(this.#waiting);
      if (count === GONE) return this.close();
      if (count === LATER) return this.#stream.awaitWritable(this.#loop);
      this.#waiting = this.#waiting.subarray(count);
    }
    if (this.#ending) this.close();
  }
}

function isWholeJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(decoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}
