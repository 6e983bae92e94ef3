/**
 * The records that a udp conversation in headers mode puts before each payload, on read and on write.
 *
 * Path: udp → udp_headers.
 *
 *     headers (52)     remote 16 | local 16 | interface 16 | remote port 2 | local port 2
 *     oldheaders (36)  remote 16 | local 16 | remote port 2 | local port 2
 *
 * Addresses are 16 bytes (IPv4 mapped), ports in network order. On write a local address that is not ours means
 * "choose", unless `foreign-local` is on; the interface address is not looked at, and the local port only where the
 * conversation announced a range.
 *
 * @module
 */

import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { IP_ADDR_LEN, IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** Whether and which record stands before the payload. */
export const HeaderMode = { None: 0, Headers: 1, OldHeaders: 2 } as const;
export type HeaderMode = typeof HeaderMode[keyof typeof HeaderMode];

const LENGTHS = [0, 52, 36] as const;
/** Bytes of the longest record. */
export const UDP_RECORD_MAX = 52;

/** Sender and receiver of a datagram. */
export interface UdpEnds {
  readonly raddr: IpAddr;
  readonly laddr: IpAddr;
  readonly ifcAddr: IpAddr;
  readonly rport: number;
  readonly lport: number;
}

/** Bytes of the record. */
export function recordLen(mode: HeaderMode): number {
  return LENGTHS[mode];
}

/** Writes the record. */
export function putRecord(mode: HeaderMode, ends: UdpEnds, buf: Uint8Array, at: number): void {
  ends.raddr.put(buf, at);
  ends.laddr.put(buf, at + IP_ADDR_LEN);
  const withIfc = mode === HeaderMode.Headers;
  if (withIfc) ends.ifcAddr.put(buf, at + 2 * IP_ADDR_LEN);
  const ports = at + (withIfc ? 3 : 2) * IP_ADDR_LEN;
  put16(buf, ports, ends.rport);
  put16(buf, ports + 2, ends.lport);
}

/** Reads the record, which is all there. */
export function getRecord(mode: HeaderMode, buf: Uint8Array, at: number): UdpEnds {
  const withIfc = mode === HeaderMode.Headers;
  const ports = at + (withIfc ? 3 : 2) * IP_ADDR_LEN;
  const laddr = IpAddr.at(buf, at + IP_ADDR_LEN);
  return {
    raddr: IpAddr.at(buf, at),
    laddr,
    ifcAddr: withIfc ? IpAddr.at(buf, at + 2 * IP_ADDR_LEN) : laddr,
    rport: get16(buf, ports),
    lport: get16(buf, ports + 2),
  };
}
