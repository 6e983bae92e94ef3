/**
 * ClaimPort: the wire of a second stack: the data file of a bypassed conversation, as a port of whole IP packets.
 *
 * Path: user_stack → claim_port → dial, proc, sys, block.
 *
 * The kernel's errors about our packets reach the second stack as a network's would: a block of the `err` file is an
 * ICMP packet already, and "too big" from a write is made one (RFC 1191 4), so that path MTU discovery works.
 *
 * @module
 */

import type { Block, BlockPool } from "../../kernel/block.ts";
import { type Conversation, hangUp } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { PacketPort, PortOffloads } from "../../kernel/host.ts";
import { Job } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import { AGAIN } from "../../kernel/sys.ts";
import {
  emitIcmpError,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpErrorLen,
  icmpMtuRest,
} from "../../kernel/wire/icmp.ts";
import { IP_PROTO_ICMP } from "../../kernel/wire/ip_proto.ts";
import { emitIpv4, IPV4_HEADER_LEN, ipv4Dst, ipv4Src } from "../../kernel/wire/ipv4.ts";

/** Packets taken in one system call. */
const BATCH = 64;
/** Answers to our own packets that wait for their turn; a write that is refused makes one. */
const ANSWERS_MAX = 64;
const TTL = 64;

/** Counters of a port. */
export interface ClaimCounters {
  packetsIn: number;
  packetsOut: number;
  /** Packets that the kernel refused, by errno. */
  readonly refused: Record<string, number>;
  /** ICMP errors from the `err` file. */
  errorsIn: number;
}

/** The port of one claim. */
export class ClaimPort implements PacketPort {
  readonly kind = "packet";
  readonly name = "claim0";
  readonly mbps = 10_000;
  readonly offloads: PortOffloads = { checksum: true, tcpSegment: true, udpSegment: false };
  receive: ((block: Block) => void) | null = null;
  readonly counters: ClaimCounters = { packetsIn: 0, packetsOut: 0, refused: {}, errorsIn: 0 };
  readonly #proc: Proc;
  readonly #conv: Conversation;
  readonly #pool: BlockPool;
  #err = -1;
  #isOpen = true;
  /** ICMP answers that the stack gets when its current call has returned. */
  #answers: Block[] = [];
  readonly #job: Job;

  /** `conv` is bypassed, with `offload on`; its descriptors are the port's from now on. */
  constructor(proc: Proc, conv: Conversation, options: { mtu: number; pool: BlockPool }) {
    this.#proc = proc;
    this.#conv = conv;
    this.#pool = options.pool;
    this.mtu = options.mtu;
    this.#job = new Job(proc.kernel.clock.jobs, () => this.#giveAnswers());
  }

  readonly mtu: number;

  get link(): boolean {
    return this.#isOpen;
  }

  /** Moves packets until {@link close}, or the end of the process. */
  async run(): Promise<void> {
    this.#err = await this.#proc.open(`${this.#conv.dir}/err`, Open.Read);
    await Promise.all([
      this.#read(this.#conv.data, () => this.counters.packetsIn++),
      this.#read(this.#err, () => this.counters.errorsIn++),
    ]);
  }

  async #read(fd: number, count: () => void): Promise<void> {
    while (this.#isOpen) {
      const blocks = await this.#proc.blockreadv(fd, BATCH).catch((error) => this.#forgive(error));
      if (blocks === null) return;
      for (const block of blocks) {
        count();
        this.#give(block);
      }
      this.#proc.kernel.clock.jobs.run();
    }
  }

  /** Our own close, or the end of the process, ends a read. */
  #forgive(error: unknown): null {
    const isEnd = error instanceof KernelError && (error.code === "EBADF" || error.code === "EINTR");
    if (!isEnd) throw error;
    return null;
  }

  #give(block: Block): void {
    if (this.receive === null) block.free();
    else this.receive(block);
  }

  transmit(block: Block): boolean {
    if (!this.#isOpen || !this.#proc.fds.has(this.#conv.data)) {
      block.free();
      return false;
    }
    try {
      // A bypassed conversation takes or refuses at once.
      const count = this.#proc.sys.blockwrite(this.#conv.data, block);
      if (count !== AGAIN) this.counters.packetsOut++;
      return count !== AGAIN;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.counters.refused[error.code] = (this.counters.refused[error.code] ?? 0) + 1;
      if (error.code === "EMSGSIZE" && error.length !== undefined) this.#answerTooBig(block, error.length);
      block.free();
      return false;
    }
  }

  /** The ICMP error that a router on the path would have sent. */
  #answerTooBig(packet: Block, mtu: number): void {
    if (this.#answers.length >= ANSWERS_MAX) return;
    const { buf, rp } = packet;
    const rest = icmpMtuRest(mtu);
    const error = { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG, rest, packet: packet.bytes() };
    const payloadLen = icmpErrorLen(error);
    const answer = this.#pool.alloc(IPV4_HEADER_LEN + payloadLen);
    const at = answer.rp;
    answer.wp = at + IPV4_HEADER_LEN + payloadLen;
    const ends = { src: ipv4Dst(buf, rp), dst: ipv4Src(buf, rp) };
    emitIpv4({ ...ends, protocol: IP_PROTO_ICMP, payloadLen, ttl: TTL }, answer.buf, at);
    emitIcmpError(error, answer.buf, at + IPV4_HEADER_LEN);
    this.#answers.push(answer);
    this.#job.wake();
  }

  #giveAnswers(): void {
    for (const answer of this.#answers.splice(0)) this.#give(answer);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const answer of this.#answers.splice(0)) answer.free();
    // The end of the process has closed them.
    if (!this.#proc.fds.has(this.#conv.data)) return;
    if (this.#err >= 0) this.#proc.sys.close(this.#err);
    hangUp(this.#proc, this.#conv);
  }
}
