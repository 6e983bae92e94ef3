/**
 * An endpoint that is a program of a kernel of ours: nothing but system calls.
 *
 * Path: guest_steps → kernel_endpoint → dial, ip_family, system calls.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import type { Clock } from "../../kernel/time.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import { ICMP_HEADER_LEN } from "../../kernel/wire/icmp.ts";
import { IPV4_HEADER_LEN, ipv4Src } from "../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN, ipv6Src } from "../../kernel/wire/ipv6.ts";
import {
  type ByteConn,
  type Endpoint,
  type IcmpReport,
  Refused,
  type SendOptions,
  type Service,
  type TcpService,
  type UdpService,
} from "./endpoint.ts";
import { ANSWER_MS, within } from "./environment.ts";
import { familyOf, ipHeaderLen, type IpVersion } from "./ip_family.ts";

const UDP_HEADERS_LEN = 52;
const CHUNK = 65536;
const ICMP_SEQ_AT = 6;
const PROBE_BYTES = 32;

/** How a program's calls end when its service, or its host, is closed: no fault. */
const ENDS: ReadonlySet<string> = new Set(["EINTR", "EBADF"]);

/** A program. */
export class KernelEndpoint implements Endpoint {
  /** What went wrong in its services. */
  readonly errors: string[] = [];
  /** A guest's are empty until it is configured. */
  readonly addresses: Record<IpVersion, string>;
  /** Of the last echo request. */
  #seq = 0;

  constructor(readonly name: string, readonly proc: Proc, readonly clock: Clock, addresses: Record<IpVersion, string>) {
    this.addresses = addresses;
  }

  /** Its conversation takes datagrams of both versions, whatever is asked for. */
  async serveUdp(service: UdpService): Promise<Service> {
    const { proc } = this;
    const conv = await proc.announce(`udp!*!${service.port}`, { ctl: ["headers", ...ctlOf(service)] });
    this.#run(this.#answerAll(conv, service));
    return { close: () => hangUp(proc, conv) };
  }

  async #answerAll(conv: Conversation, service: UdpService): Promise<void> {
    for await (const datagram of this.proc.blocks(conv.data)) {
      const bytes = datagram.bytes();
      const payload = service.answer(bytes.subarray(UDP_HEADERS_LEN));
      if (payload === null) continue;
      const out = new Uint8Array(UDP_HEADERS_LEN + payload.length);
      out.set(bytes.subarray(0, UDP_HEADERS_LEN));
      out.set(payload, UDP_HEADERS_LEN);
      datagram.free();
      await this.proc.blockwrite(conv.data, out);
    }
  }

  async serveTcp({ port, talk }: TcpService): Promise<Service> {
    const conv = await this.proc.announce(`tcp!*!${port}`);
    const state = { isOpen: true };
    // The close wakes the `listen` that sleeps, with an error that is no fault.
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

  /** A late answer to another request, a lost or a repeated one, is not taken. */
  async ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array> {
    const seq = this.#seq = (this.#seq + 1) & 0xffff;
    const { icmp, version } = familyOf(addr);
    const conv = await this.proc.dial(`${icmp.name}!${addr}!1`, { local: String(id) });
    try {
      // The user leaves room for the IP header and fills the message; the kernel fills in the checksum.
      const at = version === 4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
      const message = new Uint8Array(at + ICMP_HEADER_LEN + payload.length);
      icmp.emitEcho({ reply: false, id, seq, data: payload }, message, at);
      await this.proc.blockwrite(conv.data, message);
      const what = `answer to echo request ${id}/${seq}`;
      return await within(this.clock, ANSWER_MS, what, unheard(this.#echoReply(conv, seq)));
    } finally {
      hangUp(this.proc, conv);
    }
  }

  /** The payload of the reply with `seq`. */
  async #echoReply(conv: Conversation, seq: number): Promise<Uint8Array> {
    while (true) {
      const bytes = (await this.proc.blockread(conv.data))!.bytes();
      const at = ipHeaderLen(bytes);
      if (get16(bytes, at + ICMP_SEQ_AT) === seq) return bytes.slice(at + ICMP_HEADER_LEN);
    }
  }

  async #wait(what: string, answer: Promise<Block | null>): Promise<Block> {
    return (await within(this.clock, ANSWER_MS, what, unheard(answer)))!;
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
      await this.proc.blockwrite(conv.data, new Uint8Array(PROBE_BYTES));
      const bytes = (await this.#wait(`ICMP message about TTL ${ttl}`, this.proc.blockread(err))).bytes();
      const at = ipHeaderLen(bytes);
      const from = familyOf(addr).version === 4 ? ipv4Src(bytes, 0) : ipv6Src(bytes, 0);
      return { from: `${from}`, type: bytes[at]!, code: bytes[at + 1]! };
    } finally {
      this.proc.sys.close(err);
      hangUp(this.proc, conv);
    }
  }

  async neighbor(addr: string): Promise<string | null> {
    const lines = (await this.proc.readText("/net/arp")).split("\n").map((line) => line.trim().split(/\s+/));
    return lines.find((line) => line[1] !== "WAIT" && line[2] === addr)?.[3] ?? null;
  }
}

/** An answer that comes too late finds the conversation closed: an error that no caller waits for. */
function unheard<T>(answer: Promise<T>): Promise<T> {
  answer.catch(() => {});
  return answer;
}

function ctlOf({ ttl, tos }: SendOptions): string[] {
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
