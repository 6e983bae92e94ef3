/**
 * Datagrams as struct mmsghdr: the batch that is sent, and the one set of slots in which a whole process receives.
 *
 * Path: datagrams → datagram_sets → message_set, names.
 *
 * @module
 */

import type { DatagramIn, DatagramOut, SocketEnd } from "../../../kernel/host_sockets.ts";
import { IP_UNSPECIFIED, IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { controlSpace, MessageSet } from "./message_set.ts";
import { endAt, putName } from "./names.ts";

/** Messages of one sendmmsg(2), and of one recvmmsg(2). */
export const SEND_BATCH = 64;
export const RECEIVE_BATCH = 32;
/** Pieces of a message that is sent: a payload in one block has one. */
const PARTS_MAX = 4;
/** The longest datagram: with smaller slots a larger one would be cut. Only pages that were written to are memory. */
const SLOT_LEN = 65536;

const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_PKTINFO = 8;
const SOL_IPV6 = 41;
const IPV6_PKTINFO = 50;
const IPV6_HOPLIMIT = 52;
const IPV6_DONTFRAG = 62;
const IPV6_TCLASS = 67;
/** Level and type of what is an int. */
const IP_TTL_OF = [SOL_IP, IP_TTL] as const;
const IP_TOS_OF = [SOL_IP, IP_TOS] as const;
const IPV6_HOPLIMIT_OF = [SOL_IPV6, IPV6_HOPLIMIT] as const;
const IPV6_TCLASS_OF = [SOL_IPV6, IPV6_TCLASS] as const;
const IPV6_DONTFRAG_OF = [SOL_IPV6, IPV6_DONTFRAG] as const;
const SOL_UDP = 17;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
/** struct in_pktinfo: interface, our address, the header's destination. struct in6_pktinfo: address, interface. */
const PKTINFO_LEN = 12;
const PKTINFO_SOURCE = 4;
const PKTINFO_DEST = 8;
const PKTINFO6_LEN = 20;
const CONTROL = 3 * controlSpace(4) + controlSpace(PKTINFO6_LEN) + controlSpace(2);

/** A batch of messages to send. */
class SendSet {
  readonly #set = new MessageSet(SEND_BATCH, { pieces: PARTS_MAX, control: CONTROL });

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#set.bytes;
  }

  /** Makes message `i` of `message`. */
  put(i: number, version: 4 | 6, message: DatagramOut): void {
    const set = this.#set;
    set.setNameLength(i, putName(version, message.to, set.bytes, set.nameAt(i)));
    set.setParts(i, message.parts);
    // A socket of both versions takes what is of the destination's.
    set.setControlLength(i, message.to.address.isV4 ? this.#control4(i, message) : this.#control6(i, message));
  }

  #control4(i: number, { ttl, tos, from, segmentSize }: DatagramOut): number {
    const set = this.#set;
    let at = set.putInt(i, 0, IP_TTL_OF, ttl);
    at = set.putInt(i, at, IP_TOS_OF, tos);
    if (from !== null) {
      const data = set.putControl(i, at, { level: SOL_IP, type: IP_PKTINFO, length: PKTINFO_LEN });
      set.bytes.fill(0, data, data + PKTINFO_LEN);
      from.putV4(set.bytes, data + PKTINFO_SOURCE);
      at += controlSpace(PKTINFO_LEN);
    }
    return this.#segments(i, at, segmentSize);
  }

  #control6(i: number, { ttl, tos, from, dontFragment, segmentSize }: DatagramOut): number {
    const set = this.#set;
    let at = set.putInt(i, 0, IPV6_HOPLIMIT_OF, ttl);
    at = set.putInt(i, at, IPV6_TCLASS_OF, tos);
    if (dontFragment) at = set.putInt(i, at, IPV6_DONTFRAG_OF, 1);
    if (from !== null) {
      const data = set.putControl(i, at, { level: SOL_IPV6, type: IPV6_PKTINFO, length: PKTINFO6_LEN });
      set.bytes.fill(0, data, data + PKTINFO6_LEN);
      from.put(set.bytes, data);
      at += controlSpace(PKTINFO6_LEN);
    }
    return this.#segments(i, at, segmentSize);
  }

  #segments(i: number, at: number, size: number): number {
    if (size === 0) return at;
    const data = this.#set.putControl(i, at, { level: SOL_UDP, type: UDP_SEGMENT, length: 2 });
    this.#set.view.setUint16(data, size, true);
    return at + controlSpace(2);
  }
}

let sending: SendSet | null = null;

/** The process' one batch: nothing waits between filling and sending it. */
export function sendSet(): SendSet {
  return sending ??= new SendSet();
}

/** The slots, and one record that describes each datagram in turn. */
interface ReceiveSet {
  readonly set: MessageSet;
  readonly slots: Uint8Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly record: { -readonly [K in keyof DatagramIn]: DatagramIn[K] };
}

let receiving: ReceiveSet | null = null;

/** The process' one set of slots, ready for `count` datagrams. */
export function receiveSet(count: number): ReceiveSet {
  receiving ??= makeReceiveSet();
  const { set } = receiving;
  for (let i = 0; i < count; i++) set.clear(i);
  return receiving;
}

function makeReceiveSet(): ReceiveSet {
  const set = new MessageSet(RECEIVE_BATCH, { control: 256 });
  const slots = new Uint8Array(RECEIVE_BATCH * SLOT_LEN);
  for (let i = 0; i < RECEIVE_BATCH; i++) set.setParts(i, [slots.subarray(i * SLOT_LEN, (i + 1) * SLOT_LEN)]);
  const nobody: SocketEnd = { address: IP_UNSPECIFIED, port: 0 };
  const record = { from: nobody, to: IP_UNSPECIFIED, payload: slots, ttl: 0, tos: 0, segmentSize: 0 };
  return { set, slots, bytes: set.bytes, record };
}

/** Datagram `i` of what was received, until the next one is asked for. `local` is the end of the socket. */
export function receivedAt({ set, slots, record }: ReceiveSet, i: number, local: SocketEnd): DatagramIn {
  const { view, bytes } = set;
  record.from = endAt(bytes, set.nameAt(i)) ?? local;
  record.to = local.address;
  record.payload = slots.subarray(i * SLOT_LEN, i * SLOT_LEN + set.length(i));
  record.ttl = record.tos = record.segmentSize = 0;
  set.eachControl(i, (level, type, at, length) => {
    if (level === SOL_IP) {
      if (type === IP_TTL) record.ttl = view.getInt32(at, true);
      // One byte here, an int when it is sent.
      else if (type === IP_TOS) record.tos = bytes[at]!;
      else if (type === IP_PKTINFO && length >= PKTINFO_LEN) record.to = IpAddr.v4At(bytes, at + PKTINFO_DEST);
    } else if (level === SOL_IPV6) {
      if (type === IPV6_HOPLIMIT) record.ttl = view.getInt32(at, true);
      else if (type === IPV6_TCLASS) record.tos = view.getInt32(at, true);
      else if (type === IPV6_PKTINFO && length >= PKTINFO6_LEN) record.to = IpAddr.at(bytes, at);
    } else if (level === SOL_UDP && type === UDP_GRO) record.segmentSize = view.getInt32(at, true);
  });
  return record;
}
