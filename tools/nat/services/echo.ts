/**
 * ICMP echo to the router: ping of 10.0.2.2 is answered here and nowhere else (RFC 792, RFC 1812 4.3.3.6).
 *
 * Path: nat/outbound → echo.
 *
 * @module
 */

import { ICMP_ECHO_REPLY, setIcmpType } from "../../../kernel/wire/icmp.ts";
import { ipv4Dst, ipv4HeaderLen, ipv4Src, setIpv4Dst, setIpv4Src, setIpv4Ttl } from "../../../kernel/wire/ipv4.ts";

const REPLY_TTL = 64;

/** Turns the whole echo request at `at` into its reply, in place. Id, sequence, data, TOS and options stay. */
export function replyEcho(buf: Uint8Array, at: number): void {
  const src = ipv4Src(buf, at);
  setIpv4Src(buf, at, ipv4Dst(buf, at));
  setIpv4Dst(buf, at, src);
  setIpv4Ttl(buf, at, REPLY_TTL);
  setIcmpType(buf, at + ipv4HeaderLen(buf, at), ICMP_ECHO_REPLY);
}
