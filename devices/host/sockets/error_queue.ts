/**
 * The error queue of a socket (ip(7), IP_RECVERR): which ICMP error came, from whom, about which packet.
 *
 * Path: stream, datagrams → error_queue → message_set, names, libc.
 *
 * @module
 */

import type { SocketEnd, SocketReport } from "../../../kernel/host_sockets.ts";
import { errnoName } from "../../../kernel/error.ts";
import { libc } from "../libc.ts";
import { MessageSet } from "./message_set.ts";
import { endAt } from "./names.ts";

const MSG_ERRQUEUE_DONTWAIT = 0x2040;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const IP_RECVERR = 11;
const IPV6_RECVERR = 25;
const EMSGSIZE = 90;
/** Values of ee_origin. */
const ORIGIN_ICMP = 2;
const ORIGIN_ICMP6 = 3;
/** Bytes of a struct sock_extended_err, behind which the offender's name is. */
const EXTENDED_LEN = 16;
/** More than Linux keeps of a packet: of UDP 520 bytes came back of 1400, of IPv6 1184. */
const PAYLOAD_MAX = 2048;

/** One for the process: nothing here waits. */
let shared: { readonly set: MessageSet; readonly payload: Uint8Array<ArrayBuffer> } | null = null;

function buffers(): NonNullable<typeof shared> {
  if (shared !== null) return shared;
  const set = new MessageSet(1, { control: 512 });
  const payload = new Uint8Array(PAYLOAD_MAX);
  set.setParts(0, [payload]);
  return shared = { set, payload };
}

/** Takes the oldest entry; null: there is none. `to` is the packet's destination where Linux does not say it. */
export function takeErrorReport(fd: number, to: SocketEnd): SocketReport | null {
  const { set, payload } = buffers();
  set.clear(0);
  // Safe because the set and what it points to are kept above.
  const length = libc().recvmsg(fd, set.bytes, MSG_ERRQUEUE_DONTWAIT);
  if (length < 0) return null;
  let report: SocketReport | null = null;
  set.eachControl(0, (level, type, at, size) => {
    const isError = (level === SOL_IP && type === IP_RECVERR) || (level === SOL_IPV6 && type === IPV6_RECVERR);
    if (!isError || size < EXTENDED_LEN) return;
    const { view, bytes } = set;
    const errno = view.getUint32(at, true);
    const origin = bytes[at + 4]!;
    const isIcmp = origin === ORIGIN_ICMP || origin === ORIGIN_ICMP6;
    report = {
      failure: errnoName(errno),
      origin: isIcmp ? "icmp" : "local",
      type: isIcmp ? bytes[at + 5]! : 0,
      code: isIcmp ? bytes[at + 6]! : 0,
      mtu: errno === EMSGSIZE ? view.getUint32(at + 8, true) : 0,
      offender: isIcmp && size > EXTENDED_LEN ? endAt(bytes, at + EXTENDED_LEN)?.address ?? null : null,
      to: endAt(bytes, set.nameAt(0)) ?? to,
      payload: payload.slice(0, length),
    };
  });
  return report;
}
