/**
 * ModelDhcp: the DHCP client of the model guest (RFC 2131 4.4): a user program that asks for an address and sets up the
 * guest's interface, its default route and its `ndb`.
 *
 * Path: boot/guest, guest_side, linux_dhcp → model/dhcp → dial, proc, sys, block.
 *
 * Limits: it takes one lease and does not renew it (a scenario is shorter than a lease).
 *
 * @module
 */

import type { Block } from "../../../../kernel/block.ts";
import { hangUp } from "../../../../kernel/dial.ts";
import { KernelError } from "../../../../kernel/error.ts";
import type { Proc } from "../../../../kernel/proc.ts";
import { AGAIN } from "../../../../kernel/sys.ts";
import type { Clock } from "../../../../kernel/time.ts";
import { put16 } from "../../../../kernel/wire/bytes.ts";
import {
  DHCP_ACK,
  DHCP_BOOT_REPLY,
  DHCP_BOOT_REQUEST,
  DHCP_CLIENT_PORT,
  DHCP_DISCOVER,
  DHCP_OFFER,
  DHCP_OPTION_DNS_SERVERS,
  DHCP_OPTION_LEASE_TIME,
  DHCP_OPTION_MTU,
  DHCP_OPTION_REQUESTED_ADDR,
  DHCP_OPTION_ROUTERS,
  DHCP_OPTION_SERVER_ID,
  DHCP_OPTION_SUBNET_MASK,
  DHCP_OPTION_TYPE,
  DHCP_REQUEST,
  DHCP_SERVER_PORT,
  dhcpAddrs,
  dhcpLen,
  type DhcpMessage,
  dhcpNumber,
  dhcpType,
  emitDhcp,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  parseDhcp,
} from "../../../../kernel/wire/dhcp.ts";
import { ETHER_HEADER_LEN } from "../../../../kernel/wire/ethernet.ts";
import { IpAddr, IPV4_UNSPECIFIED } from "../../../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../../../kernel/wire/mac_addr.ts";

/** Bytes of the record before each datagram in `headers` mode: addresses of 16 bytes, then two ports. */
const HEADERS_LEN = 52;
const HEADERS_PORTS = 48;
/** How often a message is sent. */
const TRIES = 5;
/** After how long it is repeated (RFC 2131 4.1 recommends 4 s; our guest is near). */
export const DHCP_ANSWER_MS = 1000;
const POLL_MS = 5;

/** The lease of a guest. */
export interface Lease {
  readonly address: string;
  readonly prefix: number;
  readonly router: string;
  readonly nameServers: readonly string[];
  readonly mtu: number | null;
  readonly seconds: number;
  readonly server: string;
}

/** Options of the client. */
interface DhcpClientOptions {
  readonly proc: Proc;
  readonly clock: Clock;
  readonly mac: Uint8Array;
  /** Transaction number. */
  readonly xid: number;
  /** Its interface's directory. Default `/net/ipifc/1`. */
  readonly ifc?: string;
  /** Gives up when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Asks for a lease and sets everything up. Throws KernelError ETIMEDOUT if there is no answer. */
export async function modelDhcp(options: DhcpClientOptions): Promise<Lease> {
  const { proc, clock, ifc = "/net/ipifc/1", signal } = options;
  // As Plan 9's ipconfig does: an interface without an address of its own may send with this one.
  await proc.writeText(`${ifc}/ctl`, "add 0.0.0.0 0.0.0.0");
  const conv = await proc.announce(`udp!*!${DHCP_CLIENT_PORT}`, { ctl: ["headers"] });
  let lease: Lease;
  try {
    lease = await askForLease(options, async (message, accept) => {
      await proc.blockwrite(conv.data, withHeaders(message));
      for (const endMs = clock.now() + DHCP_ANSWER_MS; clock.now() < endMs;) {
        signal?.throwIfAborted();
        const block = proc.sys.blockread(conv.data);
        const answer = block === AGAIN || block === null
          ? null
          : accept((block as Block).bytes().subarray(HEADERS_LEN));
        if (answer !== null) return answer;
        if (block === AGAIN) await sleep(clock, POLL_MS);
      }
      return null;
    });
  } finally {
    hangUp(proc, conv);
    await proc.writeText(`${ifc}/ctl`, "remove 0.0.0.0 0.0.0.0");
  }
  await setUp(proc, ifc, lease);
  return lease;
}

/** Sends a message to 255.255.255.255 and returns the first accepted answer; null: none in time. */
type DhcpExchange = (
  message: Uint8Array,
  accept: (bytes: Uint8Array) => DhcpMessage | null,
) => Promise<DhcpMessage | null>;

/** Discover, offer, request, ack; each repeated a few times. Throws KernelError ETIMEDOUT if there is no answer. */
export async function askForLease(
  client: { readonly mac: Uint8Array; readonly xid: number },
  exchange: DhcpExchange,
): Promise<Lease> {
  const ask = async (type: number, more: readonly [number, Uint8Array][], wanted: number): Promise<DhcpMessage> => {
    const message = messageOf(client, type, more);
    const accept = (bytes: Uint8Array) => {
      const read = parseDhcp(bytes, 0, bytes.length);
      const isOurs = read?.op === DHCP_BOOT_REPLY && read.xid === client.xid && dhcpType(read) === wanted;
      return isOurs ? read : null;
    };
    for (let i = 0; i < TRIES; i++) {
      const answer = await exchange(message, accept);
      if (answer !== null) return answer;
    }
    throw new KernelError("ETIMEDOUT", "Cannot get a lease: no DHCP server answers");
  };
  const offer = await ask(DHCP_DISCOVER, [], DHCP_OFFER);
  const server = dhcpAddrs(offer.options, DHCP_OPTION_SERVER_ID);
  return leaseOf(
    await ask(DHCP_REQUEST, [
      [DHCP_OPTION_REQUESTED_ADDR, encodeDhcpAddrs([offer.yiaddr])],
      [DHCP_OPTION_SERVER_ID, encodeDhcpAddrs(server)],
    ], DHCP_ACK),
  );
}

function messageOf(
  client: { readonly mac: Uint8Array; readonly xid: number },
  type: number,
  more: readonly [number, Uint8Array][],
): Uint8Array {
  const none = IPV4_UNSPECIFIED;
  const addrs = { ciaddr: none, yiaddr: none, siaddr: none, giaddr: none, chaddr: MacAddr.at(client.mac, 0) };
  const message: DhcpMessage = {
    op: DHCP_BOOT_REQUEST,
    hops: 0,
    xid: client.xid,
    secs: 0,
    broadcast: true,
    sname: "",
    file: "",
    ...addrs,
    options: new Map([[DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)], ...more]),
  };
  const bytes = new Uint8Array(dhcpLen(message));
  emitDhcp(message, bytes, 0);
  return bytes;
}

/** The record before a datagram to every server of the link, and the datagram. */
function withHeaders(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADERS_LEN + message.length);
  IpAddr.v4(0xffffffff | 0).put(bytes, 0);
  IPV4_UNSPECIFIED.put(bytes, 16);
  IPV4_UNSPECIFIED.put(bytes, 32);
  put16(bytes, HEADERS_PORTS, DHCP_SERVER_PORT);
  put16(bytes, HEADERS_PORTS + 2, DHCP_CLIENT_PORT);
  bytes.set(message, HEADERS_LEN);
  return bytes;
}

/** One line of text. */
export function formatLease(lease: Lease): string {
  const { address, prefix, server, router, nameServers, mtu, seconds } = lease;
  return `${address}/${prefix} from ${server}: router ${router}, name server ${nameServers.join(", ")}, MTU ${mtu}, ` +
    `${seconds} s`;
}

function leaseOf(ack: DhcpMessage): Lease {
  const { options } = ack;
  const mask = dhcpAddrs(options, DHCP_OPTION_SUBNET_MASK)[0]?.w3 ?? ~0;
  return {
    address: `${ack.yiaddr}`,
    prefix: 32 - Math.log2((~mask >>> 0) + 1),
    router: `${dhcpAddrs(options, DHCP_OPTION_ROUTERS)[0] ?? ""}`,
    nameServers: dhcpAddrs(options, DHCP_OPTION_DNS_SERVERS).map((addr) => `${addr}`),
    mtu: dhcpNumber(options, DHCP_OPTION_MTU),
    seconds: dhcpNumber(options, DHCP_OPTION_LEASE_TIME) ?? 0,
    server: `${dhcpAddrs(options, DHCP_OPTION_SERVER_ID)[0] ?? ""}`,
  };
}

async function setUp(proc: Proc, ifc: string, lease: Lease): Promise<void> {
  const { address, prefix, router, nameServers, mtu } = lease;
  await proc.writeText(`${ifc}/ctl`, `add ${address} /${prefix}`);
  if (mtu !== null) await proc.writeText(`${ifc}/ctl`, `mtu ${mtu + ETHER_HEADER_LEN}`);
  if (router !== "") await proc.writeText("/net/iproute", `add 0 0 ${router}`);
  const lines = [`ip=${address} ipmask=/${prefix} ipgw=${router}`, ...nameServers.map((addr) => `\tdns=${addr}`)];
  await proc.writeText("/net/ndb", `${lines.join("\n")}\n`);
}

function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.timer(resolve).arm(ms));
}
