/**
 * One TCP and a hand-made peer: `peer.sends`, `peer.expects`, `peer.expectsNothing`, in explicit virtual time.
 * peer_states.ts has one for every state.
 *
 * Sequence numbers are relative: 0 is the sender's SYN, 1 its first byte.
 *
 * @module
 */

import { assertEquals, fail } from "@std/assert";
import { type Block, Checksum } from "../../../kernel/block.ts";
import { Block as BlockClass } from "../../../kernel/block.ts";
import { VirtualClock } from "../../../kernel/time.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import {
  emitTcp,
  formatTcp,
  parseTcp,
  setTcpChecksum,
  TCP_ACK,
  TCP_CWR,
  TCP_ECE,
  TCP_FIN,
  TCP_PSH,
  TCP_RST,
  TCP_SYN,
  TCP_URG,
  tcpEmitLen,
  type TcpHeader,
} from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type SackBlock, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { Conv } from "../../../devices/ip/conv/conv.ts";
import { STATE_NAMES } from "../../../devices/ip/tcp/state.ts";
import type { Tcb } from "../../../devices/ip/tcp/tcb.ts";
import { HERE, HERE6, putIpHeader, TcpHost, THERE, THERE6 } from "./host.ts";

export const OUR_PORT = 80;
export const PEER_PORT = 5000;

/** A segment in words; omitted fields are absent (sends) or not checked (expects). */
export interface Said {
  /** Letters: S F R A P U E C. */
  readonly flags?: string;
  readonly seq?: number;
  readonly ack?: number;
  /** As in the header, unscaled. */
  readonly window?: number;
  readonly data?: string;
  /** Payload length, where the bytes do not matter. */
  readonly length?: number;
  readonly mss?: number;
  readonly scale?: number;
  readonly sackOk?: boolean;
  readonly ts?: readonly [number, number];
  readonly sack?: readonly (readonly [number, number])[];
  readonly urgent?: number;
  /** Raw bytes of options, instead of the others. */
  readonly rawOptions?: readonly number[];
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Bits of TOS. */
  readonly tos?: number;
}

const LETTERS: readonly (readonly [string, number])[] = [
  ["C", TCP_CWR],
  ["E", TCP_ECE],
  ["U", TCP_URG],
  ["A", TCP_ACK],
  ["P", TCP_PSH],
  ["R", TCP_RST],
  ["S", TCP_SYN],
  ["F", TCP_FIN],
];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How a peer's connection is to be. */
export interface Fixture {
  readonly iss?: number;
  readonly seed?: number;
  readonly version?: 4 | 6;
  readonly setup?: readonly string[];
  /** Options of the peer's SYN. */
  readonly syn?: Said;
  readonly window?: number;
}

/** A segment that the host sent. */
interface Heard {
  readonly header: TcpHeader;
  readonly data: Uint8Array;
  readonly tos: number;
  readonly atMs: number;
}

/** The peer of one host. */
export class TcpPeer {
  readonly clock: VirtualClock = new VirtualClock();
  readonly host: TcpHost;
  readonly heard: Heard[] = [];
  /** The peer's initial sequence number. */
  iss: number;
  /** The host's, once it has been heard. */
  irs = 0;
  window = 65_535;
  /** Timestamps go with every segment. */
  timestamps = false;
  tsVal = 1000;
  tsEcr = 0;
  conv!: Conv;
  /** The host's address. */
  readonly here: IpAddr;
  /** The peer's address. */
  readonly addr: IpAddr;
  readonly #ipHeaderLen: number;

  constructor(options: { iss?: number; seed?: number; version?: 4 | 6 } = {}) {
    this.iss = options.iss ?? 1000;
    const isV4 = options.version !== 6;
    this.here = isV4 ? HERE : HERE6;
    this.addr = isV4 ? THERE : THERE6;
    this.#ipHeaderLen = isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    this.host = new TcpHost(this.here, this.clock, options.seed ?? 7);
    this.host.onSend = (block) => {
      this.#hear(block);
      return "sent";
    };
  }

  get tcb(): Tcb {
    return this.conv.priv as Tcb;
  }

  get state(): string {
    return STATE_NAMES[this.tcb.state]!;
  }

  #hear(block: Block): void {
    const { buf, rp, wp } = block;
    const at = rp + this.#ipHeaderLen;
    const header = parseTcp(buf, at, wp)!;
    if ((header.flags & TCP_SYN) !== 0) this.irs = header.seq;
    if (header.options.hasTimestamps) this.tsEcr = header.options.tsVal;
    const data = buf.slice(at + header.headerLen, wp);
    const tos = this.addr.isV4 ? buf[rp + 1]! : (buf[rp]! << 4 | buf[rp + 1]! >> 4) & 0xff;
    this.heard.push({ header, data, tos, atMs: this.clock.now() });
    block.free();
  }

  /** Sends a segment to the host, now. */
  sends(said: Said): void {
    this.host.receive(this.#build(said));
  }

  #build(said: Said): Block {
    const flags = flagBits(said.flags ?? "A");
    const data = said.data !== undefined ? encoder.encode(said.data) : new Uint8Array(said.length ?? 0);
    const hasAck = (flags & TCP_ACK) !== 0;
    const fields = {
      srcPort: said.srcPort ?? PEER_PORT,
      dstPort: said.dstPort ?? OUR_PORT,
      seq: seq.add(this.iss, said.seq ?? 1),
      ack: hasAck ? seq.add(this.irs, said.ack ?? 1) : 0,
      flags,
      window: said.window ?? this.window,
      urgent: said.urgent ?? 0,
      options: this.#options(said),
    };
    const raw = said.rawOptions ?? [];
    const block = BlockClass.alloc(tcpEmitLen(fields) + raw.length + data.length);
    const { buf, rp } = block;
    let headerLen = emitTcp(said.rawOptions === undefined ? fields : { ...fields, options: NO_TCP_OPTIONS }, buf, rp);
    buf.set(raw, rp + headerLen);
    headerLen += raw.length;
    buf[rp + 12] = headerLen << 2;
    buf.set(data, rp + headerLen);
    block.wp = rp + headerLen + data.length;
    setTcpChecksum(buf, rp, block.wp, { src: this.addr, dst: this.here });
    putIpHeader(block, { src: this.addr, dst: this.here, tos: said.tos ?? 0 });
    block.checksum = Checksum.None;
    return block;
  }

  #options(said: Said): TcpOptions {
    const ts = said.ts ?? (this.timestamps ? [this.tsVal, this.tsEcr] as const : undefined);
    return {
      ...NO_TCP_OPTIONS,
      mss: said.mss ?? 0,
      windowScale: said.scale ?? -1,
      sackPermitted: said.sackOk ?? false,
      hasTimestamps: ts !== undefined,
      tsVal: ts?.[0] ?? 0,
      tsEcr: ts?.[1] ?? 0,
      sack: (said.sack ?? []).map(([left, right]): SackBlock => ({
        left: seq.add(this.irs, left),
        right: seq.add(this.irs, right),
      })),
    };
  }

  /** The next segment that the host has sent is this. */
  expects(said: Said): Heard {
    const heard = this.heard.shift();
    if (heard === undefined) fail(`Expected ${JSON.stringify(said)}, but nothing was sent (${this.state})`);
    const { header, data } = heard;
    const got: Record<string, unknown> = {
      flags: flagLetters(header.flags),
      seq: seq.diff(header.seq, this.irs),
      ack: (header.flags & TCP_ACK) !== 0 ? seq.diff(header.ack, this.iss) : 0,
      window: header.window,
      data: decoder.decode(data),
      length: data.length,
      mss: header.options.mss,
      scale: header.options.windowScale,
      sackOk: header.options.sackPermitted,
      ts: [header.options.tsVal, header.options.tsEcr],
      sack: header.options.sack.map(({ left, right }) => [seq.diff(left, this.iss), seq.diff(right, this.iss)]),
      tos: heard.tos,
      srcPort: header.srcPort,
      dstPort: header.dstPort,
      urgent: header.urgent,
    };
    const wanted: Record<string, unknown> = { ...said };
    if (said.flags !== undefined) wanted.flags = flagLetters(flagBits(said.flags));
    for (const key of Object.keys(got)) if (!(key in wanted)) delete got[key];
    assertEquals(got, wanted, `heard ${formatTcp(header)} with ${data.length} bytes`);
    return heard;
  }

  /** The host has sent nothing that was not expected. */
  expectsNothing(): void {
    assertEquals(this.heard.map(({ header, data }) => `${formatTcp(header)} len ${data.length}`), []);
  }

  /** Whatever the host has sent by now is of no interest. */
  ignores(): void {
    this.heard.length = 0;
  }

  /** The bytes that the user reads now, `EOF` at the end. */
  reads(): string {
    const buf = new Uint8Array(1 << 17);
    let text = "";
    while (true) {
      const count = this.conv.rq.read(buf);
      if (typeof count !== "number") return text + (count === "closed" ? "EOF" : "");
      text += decoder.decode(buf.subarray(0, count));
    }
  }

  writes(text: string): void {
    const count = this.host.write(this.conv, encoder.encode(text));
    if (typeof count !== "number") fail(`Cannot write: ${count}`);
  }

  ctl(command: string): void {
    this.host.ctl(this.conv, command);
  }

  close(): void {
    this.host.close(this.conv);
  }
}

function flagBits(letters: string): number {
  return LETTERS.reduce((bits, [letter, bit]) => letters.includes(letter) ? bits | bit : bits, 0);
}

function flagLetters(bits: number): string {
  return LETTERS.map(([letter, bit]) => (bits & bit) !== 0 ? letter : "").join("");
}
