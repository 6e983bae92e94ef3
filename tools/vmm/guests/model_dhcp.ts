/**
 * ModelDhcp: the DHCP client of the model guest (RFC 2131 4.4): a user program that asks for an address and sets up the
 * guest's interface, its default route and its `ndb`.
 *
 * Path: guest kernel's programs → model_dhcp → udp conversation in `headers` mode, ipifc ctl, iproute, ndb.
 *
 * Limits: one lease is asked for and taken; it is not renewed (a scenario is shorter than a lease).
 *
 * @module
 */

import { hangUp } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import type { Clock } from "../../../kernel/time.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
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
} from "../../../kernel/wire/dhcp.ts";
import { IpAddr, IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../../kernel/wire/mac_addr.ts";

/** Bytes of the record before each datagram in `headers` mode: addresses of 16 bytes, then two ports. */
const HEADERS_LEN = 52;
const HEADERS_PORTS = 48;
/** How often a message is repeated, and after how long (RFC 2131 4.1 says 4 s; a guest of ours is near). */
const TRIES = 5;
const ANSWER_MS = 1000;
const POLL_MS = 5;

/** What the guest was given. */
export interface Lease {
  readonly address: string;
  readonly prefix: number;
  readonly router: string;
  readonly nameServers: readonly string[];
  readonly mtu: number | null;
  readonly seconds: number;
  readonly server: string;
}

/** What the client needs to know. */
export interface DhcpClientOptions {
  readonly proc: Proc;
  readonly clock: Clock;
  readonly mac: Uint8Array;
  /** Transaction number. */
  readonly xid: number;
  /** Its interface's directory. Default `/net/ipifc/1`. */
  readonly ifc?: string;
}

/** Asks for a lease and sets everything up. Throws KernelError ETIMEDOUT if nobody answers. */
export async function modelDhcp(options: DhcpClientOptions): Promise<Lease> {
  const { proc, ifc = "/net/ipifc/1" } = options;
  // As Plan 9's ipconfig does: an interface without an address of its own may send with this one.
  await proc.writeText(`${ifc}/ctl`, "add 0.0.0.0 0.0.0.0");
  const conv = await proc.announce(`udp!*!${DHCP_CLIENT_PORT}`, { ctl: ["headers"] });
  let lease: Lease;
  try {
    const client = new Client(options, conv.data);
    const offer = await client.ask(DHCP_DISCOVER, [], DHCP_OFFER);
    const server = dhcpAddrs(offer.options, DHCP_OPTION_SERVER_ID);
    const wanted: [number, Uint8Array][] = [
      [DHCP_OPTION_REQUESTED_ADDR, encodeDhcpAddrs([offer.yiaddr])],
      [DHCP_OPTION_SERVER_ID, encodeDhcpAddrs(server)],
    ];
    lease = leaseOf(await client.ask(DHCP_REQUEST, wanted, DHCP_ACK));
  } finally {
    hangUp(proc, conv);
    await proc.writeText(`${ifc}/ctl`, "remove 0.0.0.0 0.0.0.0");
  }
  await setUp(proc, ifc, lease);
  return lease;
}

/** One conversation with the servers of the link. */
class Client {
  constructor(readonly options: DhcpClientOptions, readonly data: number) {}

  /** Sends a message until an answer of type `wanted` comes. */
  async ask(type: number, more: readonly [number, Uint8Array][], wanted: number): Promise<DhcpMessage> {
    const datagram = this.#datagram(type, more);
    for (let i = 0; i < TRIES; i++) {
      await this.options.proc.blockwrite(this.data, datagram);
      const answer = await this.#answer(wanted);
      if (answer !== null) return answer;
    }
    throw new KernelError("ETIMEDOUT", "Cannot get a lease: no DHCP server answers");
  }

  #datagram(type: number, more: readonly [number, Uint8Array][]): Uint8Array {
    const { xid, mac } = this.options;
    const none = IPV4_UNSPECIFIED;
    const addrs = { ciaddr: none, yiaddr: none, siaddr: none, giaddr: none, chaddr: MacAddr.at(mac, 0) };
    const message: DhcpMessage = {
      ...{ op: DHCP_BOOT_REQUEST, hops: 0, xid, secs: 0, broadcast: true, sname: "", file: "" },
      ...addrs,
      options: new Map([[DHCP_OPTION_TYPE, encodeDhcpNumber(type, 1)], ...more]),
    };
    const bytes = new Uint8Array(HEADERS_LEN + dhcpLen(message));
    IpAddr.v4(0xffffffff | 0).put(bytes, 0);
    none.put(bytes, 16);
    none.put(bytes, 32);
    put16(bytes, HEADERS_PORTS, DHCP_SERVER_PORT);
    put16(bytes, HEADERS_PORTS + 2, DHCP_CLIENT_PORT);
    emitDhcp(message, bytes, HEADERS_LEN);
    return bytes;
  }

  async #answer(wanted: number): Promise<DhcpMessage | null> {
    const { proc, clock, xid } = this.options;
    const endMs = clock.now() + ANSWER_MS;
    while (clock.now() < endMs) {
      const stat = proc.sys.fstat(this.data);
      if (stat === AGAIN || Number((stat as { length: number }).length) === 0) {
        await sleep(clock, POLL_MS);
        continue;
      }
      const bytes = (await proc.blockread(this.data))!.bytes();
      const message = parseDhcp(bytes, HEADERS_LEN, bytes.length);
      if (message?.op === DHCP_BOOT_REPLY && message.xid === xid && dhcpType(message) === wanted) return message;
    }
    return null;
  }
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
  if (mtu !== null) await proc.writeText(`${ifc}/ctl`, `mtu ${mtu}`);
  if (router !== "") await proc.writeText("/net/iproute", `add 0 0 ${router}`);
  const lines = [`ip=${address} ipmask=/${prefix} ipgw=${router}`, ...nameServers.map((addr) => `\tdns=${addr}`)];
  await proc.writeText("/net/ndb", `${lines.join("\n")}\n`);
}

function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.timer(resolve).arm(ms));
}
