/**
 * A party that is a program of a kernel of ours: nothing but system calls.
 *
 * Path: guest_steps → kernel_endpoint → dial, system calls.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import type { Clock } from "../../kernel/time.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type ByteConn, type Endpoint, type IcmpReport, Refused, type SendOptions, type Service } from "./endpoint.ts";
import { ANSWER_MS, type EchoAnswer, within } from "./environment.ts";

const UDP_HEADERS_LEN = 52;
const IP_HEADER_LEN = 20;
const ICMP_HEADER_LEN = 8;
const CHUNK = 65536;
const ICMP_ECHO_REQUEST = 8;
const ICMP_SEQ_AT = 6;
const IPV4_TTL_AT = 8;
const IPV4_SRC_AT = 12;

/** Ends that are nobody's fault: the service, or its host, was ended. */
const ENDS: ReadonlySet<string> = new Set(["EINTR", "EBADF"]);

/** A program. */
export class KernelEndpoint implements Endpoint {
  /** What went wrong in its services. */
  readonly errors: string[] = [];
  /** Of the last echo request. */
  #seq = 0;

  constructor(readonly name: string, readonly proc: Proc, readonly clock: Clock, public address: string) {}

  async serveUdp(
    port: number,
    answer: (bytes: Uint8Array) => Uint8Array | null,
    options: SendOptions = {},
  ): Promise<Service> {
    const { proc } = this;
    const conv = await proc.announce(`udp!*!${port}`, { ctl: ["headers", ...ctlOf(options)] });
    this.#run(this.#answerAll(conv, answer));
    return { close: () => hangUp(proc, conv) };
  }

  async #answerAll(conv: Conversation, answer: (bytes: Uint8Array) => Uint8Array | null): Promise<void> {
    for await (const datagram of this.proc.blocks(conv.data)) {
      const bytes = datagram.bytes();
      const payload = answer(bytes.subarray(UDP_HEADERS_LEN));
      if (payload === null) continue;
      const out = new Uint8Array(UDP_HEADERS_LEN + payload.length);
      out.set(bytes.subarray(0, UDP_HEADERS_LEN));
      out.set(payload, UDP_HEADERS_LEN);
      datagram.free();
      await this.proc.blockwrite(conv.data, out);
    }
  }

  async serveTcp(port: number, talk: (conn: ByteConn) => Promise<void>): Promise<Service> {
    const conv = await this.proc.announce(`tcp!*!${port}`);
    const state = { isOpen: true };
    // The close wakes whoever sleeps at its `listen`: an error that is none.
    const calls = this.#takeCalls(conv, talk, state).catch((error) => state.isOpen ? Promise.reject(error) : undefined);
    this.#run(calls);
    return {
      close: () => {
        state.isOpen = false;
        hangUp(this.proc, conv);
      },
    };
  }

  async #takeCalls(
    conv: Conversation,
    talk: (conn: ByteConn) => Promise<void>,
    state: { readonly isOpen: boolean },
  ): Promise<void> {
    while (state.isOpen) {
      const call = await listen(this.proc, conv);
      const remote = (await this.proc.readText(`${call.dir}/remote`)).trim();
      const conn = new KernelConn(this.proc, call, remote);
      this.#run(talk(conn).finally(() => conn.close()));
    }
  }

  #run(program: Promise<void>): void {
    program.catch((error) => {
      if (!ENDS.has(error?.code)) this.errors.push(`${this.name}: ${error}`);
    });
  }

  async exchange(addr: string, port: number, payload: Uint8Array, options: SendOptions = {}): Promise<Uint8Array> {
    const local = options.local === undefined ? {} : { local: `${options.local}` };
    const conv = await this.proc.dial(`udp!${addr}!${port}`, { ...local, ctl: ctlOf(options) });
    try {
      await this.proc.blockwrite(conv.data, payload);
      const answer = await this.#wait(`answer of ${payload.length} bytes`, this.proc.blockread(conv.data));
      return answer.bytes().slice();
    } catch (error) {
      throw refusalOf(error);
    } finally {
      hangUp(this.proc, conv);
    }
  }

  async ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array> {
    const seq = this.#seq = (this.#seq + 1) & 0xffff;
    return (await kernelPing(this, addr, { id, seq, payload })).payload;
  }

  async #wait(what: string, answer: Promise<Block | null>): Promise<Block> {
    // Who comes too late finds the conversation closed.
    answer.catch(() => {});
    return (await within(this.clock, ANSWER_MS, what, answer))!;
  }

  async dial(addr: string, port: number): Promise<ByteConn> {
    try {
      const conv = await this.proc.dial(`tcp!${addr}!${port}`);
      return new KernelConn(this.proc, conv, `${addr}!${port}`);
    } catch (error) {
      throw refusalOf(error);
    }
  }

  async probe(addr: string, port: number, ttl: number): Promise<IcmpReport> {
    const conv = await this.proc.dial(`udp!${addr}!${port}`, { ctl: [`ttl ${ttl}`] });
    const err = await this.proc.open(`${conv.dir}/err`, Open.Read);
    try {
      await this.proc.blockwrite(conv.data, new Uint8Array(32));
      const bytes = (await this.#wait(`ICMP message about TTL ${ttl}`, this.proc.blockread(err))).bytes();
      const at = (bytes[0]! & 15) * 4;
      return { from: `${IpAddr.v4At(bytes, IPV4_SRC_AT)}`, type: bytes[at]!, code: bytes[at + 1]! };
    } finally {
      this.proc.sys.close(err);
      hangUp(this.proc, conv);
    }
  }
}

/** Sends an echo request; its answer, and not a late one to another: that of a lost or a repeated request. */
export async function kernelPing(
  { proc, clock }: { readonly proc: Proc; readonly clock: Clock },
  addr: string,
  { id, seq, payload }: { readonly id: number; readonly seq: number; readonly payload: Uint8Array },
): Promise<EchoAnswer> {
  const conv = await proc.dial(`icmp!${addr}!1`, { local: String(id) });
  const answer = async (): Promise<Uint8Array> => {
    while (true) {
      const bytes = (await proc.blockread(conv.data))!.bytes();
      if (get16(bytes, (bytes[0]! & 15) * 4 + ICMP_SEQ_AT) === seq) return bytes;
    }
  };
  try {
    // The user leaves room for the IP header and fills the message; the kernel fills identifier and checksum.
    const message = new Uint8Array(IP_HEADER_LEN + ICMP_HEADER_LEN + payload.length);
    message[IP_HEADER_LEN] = ICMP_ECHO_REQUEST;
    put16(message, IP_HEADER_LEN + ICMP_SEQ_AT, seq);
    message.set(payload, IP_HEADER_LEN + ICMP_HEADER_LEN);
    await proc.blockwrite(conv.data, message);
    const reading = answer();
    // Who comes too late finds the conversation closed.
    reading.catch(() => {});
    const bytes = await within(clock, ANSWER_MS, `answer to echo request ${id}/${seq}`, reading);
    return { ttl: bytes[IPV4_TTL_AT]!, payload: bytes.slice((bytes[0]! & 15) * 4 + ICMP_HEADER_LEN) };
  } finally {
    hangUp(proc, conv);
  }
}

function ctlOf(options: SendOptions): string[] {
  const { ttl, tos } = options;
  return [...(ttl === undefined ? [] : [`ttl ${ttl}`]), ...(tos === undefined ? [] : [`tos ${tos}`])];
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof KernelError) || !/refused/i.test(error.message)) return error;
  return new Refused(error.message);
}

/** A conversation of tcp. */
class KernelConn implements ByteConn {
  #buf = new Uint8Array(CHUNK);
  #isOpen = true;

  constructor(readonly proc: Proc, readonly conv: Conversation, readonly remote: string) {}

  async read(): Promise<Uint8Array | null> {
    const count = await this.proc.read(this.conv.data, this.#buf);
    return count === 0 ? null : this.#buf.subarray(0, count);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.proc.write(this.conv.data, bytes.subarray(at, at + CHUNK));
    }
  }

  async closeWrite(): Promise<void> {
    await this.proc.write(this.conv.ctl, "shutdown wr");
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.proc.fds.has(this.conv.data)) hangUp(this.proc, this.conv);
  }
}
