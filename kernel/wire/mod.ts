/**
 * Packet formats: bytes ↔ records, one file a format: parse, emit, and the accessors of single fields. Nothing here
 * knows a kernel, keeps a state or imports anything; every function takes a buffer and an offset, and a parser answers
 * null for what is malformed.
 *
 * Path: user program → wire/mod → ethernet, arp, ipv4, ipv6, icmp, icmp6, nd, mld, udp, tcp, dhcp, dns, pcapng.
 *
 * ```ts
 * import { emitUdp, formatUdp, parseIpAddr, parseUdp, setUdpChecksum, UDP_HEADER_LEN } from "@akarino/akarino/wire";
 *
 * const [src, dst] = [parseIpAddr("2001:db8::1")!, parseIpAddr("2001:db8::2")!];
 * const datagram = new Uint8Array(UDP_HEADER_LEN + 5);
 * emitUdp({ srcPort: 5000, dstPort: 53, payloadLen: 5 }, datagram, 0);
 * datagram.set(new TextEncoder().encode("hello"), UDP_HEADER_LEN);
 * setUdpChecksum(datagram, 0, src, dst);
 * const header = parseUdp(datagram, 0, datagram.length)!;
 * console.log(header.dstPort, formatUdp(header)); // 53 …
 * ```
 *
 * @module
 */

export * from "./arp.ts";
export * from "./bytes.ts";
export * from "./checksum.ts";
export * from "./checksum_wide.ts";
export * from "./dhcp.ts";
export * from "./dns.ts";
export * from "./dns_name.ts";
export * from "./dns_record.ts";
export * from "./dns_scan.ts";
export * from "./ethernet.ts";
export * from "./icmp.ts";
export * from "./icmp6.ts";
export * from "./ip_addr.ts";
export * from "./ip_proto.ts";
export * from "./ipv4.ts";
export * from "./ipv6.ts";
export * from "./mac_addr.ts";
export * from "./mld.ts";
export * from "./nd.ts";
export * from "./pcapng.ts";
export * from "./seq.ts";
export * from "./tcp.ts";
export * from "./tcp_options.ts";
export * from "./udp.ts";
