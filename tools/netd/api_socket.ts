/**
 * ApiSocket: the NAT's control channel at a unix socket, for other programs.
 *
 * Path: daemon → api_socket → unix_socket, slirp_api, bound_path, nat/forward.
 *
 * One command a line, as in nat_control; a last line without a newline counts, too. Each answer ends with an empty
 * line. A command that begins with `{` is a request of slirp4netns' API: the answer is one line of JSON, and then the
 * connection is closed.
 *
 * A turn of the loop runs commands for {@link TURN_MS} at the most, or a single one: packets are handled in between.
 * Commands wait while {@link ANSWERS_MAX} bytes of answers wait.
 *
 * Limits: {@link CLIENTS_MAX} connections, of which the least recently active one makes room for a new one; a line of
 * {@link LINE_MAX} bytes; a client that reads none of its answers for {@link UNREAD_MS} is disconnected.
 *
 * @module
 */

import { SOCKET_MODE } from "../../devices/host/bound_path.ts";
import { GONE, LATER, type Loop, UnixListener, type UnixStream } from "../../devices/host/unix_socket.ts";
import type { Forward } from "../nat/forward.ts";
import { SlirpApi } from "./slirp_api.ts";

/** Connections at once. */
export const CLIENTS_MAX = 16;
/** Bytes of one command. */
const LINE_MAX = 4096;
/** Bytes of answers that wait for one client before its next command is run: some lists of maps. */
export const ANSWERS_MAX = 1 << 16;
/** How long one client's commands may take in one turn. */
const TURN_MS = 1;
/** How long a client may leave its answers unread. */
const UNREAD_MS = 10_000;

const NEWLINE = 10;
const BRACE = 0x7b;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Options of the API. */
interface ApiOptions {
  /** Runs a command of nat_control. */
  command(text: string): string;
  /** The forwards that are in force. */
  forwards(): readonly Forward[];
  /** The first guest's address: the default target of a forward. */
  readonly guestAddr: string;
  /** Mode of the socket's file. Default: the user's alone. */
  readonly mode?: number;
  /** As {@link UNREAD_MS}. */
  readonly unreadMs?: number;
}

/** A server of the control channel. */
export class ApiSocket {
  readonly #listener: UnixListener;
  /** In the order of their last activity. */
  readonly #clients = new Set<Client>();

  /** Listens at `path`. Throws HostError. */
  constructor(path: string, loop: Loop, options: ApiOptions) {
    const { command, forwards, guestAddr, mode = SOCKET_MODE, unreadMs = UNREAD_MS } = options;
    this.#listener = new UnixListener(path, mode);
    const slirp = new SlirpApi(command, guestAddr, forwards);
    const answerers = { command, slirp: (text: string) => slirp.answer(text), unreadMs };
    this.#listener.onConnection((stream) => {
      if (this.#clients.size >= CLIENTS_MAX) [...this.#clients][0]!.close();
      const client = new Client(stream, loop, answerers);
      client.onGone = () => this.#clients.delete(client);
      client.onHeard = () => {
        this.#clients.delete(client);
        this.#clients.add(client);
      };
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

/** Runs the commands of a connection, and limits how long an answer waits. */
interface Answerers {
  command(text: string): string;
  slirp(text: string): string;
  readonly unreadMs: number;
}

/** One connection. */
class Client {
  onGone: () => void = () => {};
  onHeard: () => void = () => {};
  readonly #stream: UnixStream;
  readonly #loop: Loop;
  readonly #answerers: Answerers;
  readonly #room = new Uint8Array(LINE_MAX);
  /** Bytes in {@link #room}. */
  #line = 0;
  /** Answers that wait, the first perhaps in part. */
  readonly #answers: Uint8Array[] = [];
  #waiting = 0;
  /** The other end sends no more. */
  #isOver = false;
  /** No more commands are run; closed once everything is written. */
  #isEnding = false;
  /** Whether to read more: not while too many commands wait. */
  #isReading = true;
  /** The loop polls the stream. */
  #isWatched = true;
  #turn: ReturnType<typeof setImmediate> | null = null;
  #unread: ReturnType<typeof setTimeout> | null = null;

  constructor(stream: UnixStream, loop: Loop, answerers: Answerers) {
    this.#stream = stream;
    this.#loop = loop;
    this.#answerers = answerers;
    stream.onReadable = () => this.#read();
    stream.onWritable = () => this.#work();
    loop.add(stream);
  }

  /** Closes it, and drops its work. */
  close(): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#setUnread(false);
    this.#turn = null;
    this.#answers.length = 0;
    this.#isEnding = true;
    this.#stream.close();
    this.onGone();
  }

  /** Reads once; returns what `drain` returns. */
  #read(): number {
    const got = this.#stream.read(this.#room.subarray(this.#line));
    if (got === LATER) return 0;
    this.onHeard();
    if (got === GONE) this.#isOver = true;
    else this.#line += got;
    this.#isReading = false;
    this.#work();
    this.#isWatched = this.#isReading && this.#stream.fd >= 0;
    return this.#isWatched ? 1 : -1;
  }

  /** Runs the commands that may run now, writes what can be written, and schedules the rest. */
  #work(): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
    this.#write();
    const end = performance.now() + TURN_MS;
    while (!this.#isEnding && this.#waiting < ANSWERS_MAX) {
      const length = this.#commandLength();
      if (length < 0) break;
      this.#run(length);
      if (performance.now() >= end) break;
    }
    this.#write();
    if (this.#stream.fd < 0) return;
    if (this.#isEnding) return this.#waiting === 0 ? this.close() : undefined;
    if (this.#commandLength() < 0) this.#readOn();
    else if (this.#waiting < ANSWERS_MAX) this.#turn = setImmediate(() => this.#work());
  }

  /** No complete command is left. */
  #readOn(): void {
    if (this.#isOver) {
      this.#isEnding = true;
      if (this.#waiting === 0) this.close();
      return;
    }
    this.#isReading = true;
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.#loop.add(this.#stream);
  }

  /** Bytes of the first complete command; -1: there is none. */
  #commandLength(): number {
    const bytes = this.#room.subarray(0, this.#line);
    if (this.#line === 0) return -1;
    // slirp4netns' clients need not end their request with a newline, and may have some inside.
    const isWhole = this.#room[0] === BRACE ? isWholeJson(bytes) : false;
    if (isWhole) return this.#line;
    const newline = this.#room[0] === BRACE ? -1 : bytes.indexOf(NEWLINE);
    return newline < 0 && (this.#isOver || this.#line === LINE_MAX) ? this.#line : newline;
  }

  /** Runs the first `length` bytes. */
  #run(length: number): void {
    const isTooLong = length === LINE_MAX;
    const text = decoder.decode(this.#room.subarray(0, length)).trim();
    this.#room.copyWithin(0, length + 1, this.#line);
    this.#line = Math.max(0, this.#line - length - 1);
    if (isTooLong) {
      this.#send("error: Cannot run a command of so many bytes\n\n");
      this.#isEnding = true;
    } else if (text.startsWith("{")) {
      this.#send(`${this.#answerers.slirp(text)}\n`);
      this.#isEnding = true;
    } else if (text !== "") this.#send(`${this.#answerers.command(text)}\n`);
  }

  #send(text: string): void {
    const bytes = encoder.encode(text);
    this.#answers.push(bytes);
    this.#waiting += bytes.length;
  }

  #write(): void {
    while (this.#answers.length > 0) {
      const first = this.#answers[0]!;
      const count = this.#stream.write(first);
      if (count === GONE) return this.close();
      if (count === LATER) {
        if (this.#unread === null) this.#setUnread(true);
        return this.#stream.awaitWritable(this.#loop);
      }
      this.#setUnread(false);
      this.#waiting -= count;
      if (count === first.length) this.#answers.shift();
      else this.#answers[0] = first.subarray(count);
    }
  }

  /** Starts or stops the timer of unread answers. */
  #setUnread(on: boolean): void {
    if (this.#unread !== null) clearTimeout(this.#unread);
    this.#unread = on ? setTimeout(() => this.close(), this.#answerers.unreadMs) : null;
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
