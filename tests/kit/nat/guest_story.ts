/** A whole kernel as the guest behind a NAT, and what differs between the versions of IP in its stories. */

import { SeededRandom } from "../../../kernel/random.ts";
import { boot } from "../../../tools/boot/boot.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { NatProgram } from "../../../tools/nat/program.ts";
import type { V6Options } from "../../../tools/nat/config6.ts";
import { GuestPort } from "./guest_port.ts";
import { advance, User } from "../ip/story.ts";
import { addIpv6, PEER6, US6 } from "../ip/story6.ts";
import { DNS, GUEST, HOST, REMOTE, ROUTER } from "./nat.ts";

/** The guest's SLAAC address: the network's prefix with the EUI-64 of the hardware address 00:01:02:03:04:0b. */
export const SELF = "fd00::2:201:2ff:fe03:40b";
export const ROUTER6 = "fd00:0:0:2::2";
const DNS6 = "fd00:0:0:2::3";
/** Long enough for a packet to go round, neighbours' questions included. */
const ROUND_MS = 20;

/** Host, remote and guest kernels, the guest's address from the router's advertisement. */
export async function tellGuest(options: { nat?: Partial<NatOptions>; v6?: Partial<V6Options> } = {}) {
  const host = await boot();
  const remote = await host.neighbor({ address: `${REMOTE}/24` });
  const user = new User(host);
  const there = new User(remote);
  addIpv6(user, US6);
  addIpv6(there, PEER6);
  const mtu = options.nat?.mtu ?? 1500;
  const port = new GuestPort(host, 1500);
  const kernel = await host.neighbor({ port, address: null });
  const guest = new User(kernel);
  const program = port.program = new NatProgram({
    proc: host.spawn("nat"),
    clock: host.clock,
    random: new SeededRandom(1),
    toGuest: (frame) => port.receive?.(frame),
    nat: {
      ...{ hostAddr: `${HOST}/24`, nameServers: [REMOTE], mtu },
      ...options.nat,
      v6: { hostAddr: `${US6}/64`, ...options.v6 },
    },
  });
  guest.command("/net/ipifc/1/ctl", "recvra6 on");
  advance(host, 4000);
  guest.command("/net/ipifc/1/ctl", `add ${GUEST} /24`);
  guest.command("/net/iproute", `add 0.0.0.0 /0 ${ROUTER}`);
  return {
    ...{ host, remote, user, there, guest, program },
    round: () => advance(host, ROUND_MS),
    async [Symbol.asyncDispose]() {
      program.close();
      await host.world.close();
    },
  };
}

export type GuestStory = Awaited<ReturnType<typeof tellGuest>>;

/** One version of IP in these stories. */
export interface Version {
  readonly name: string;
  readonly us: string;
  readonly peer: string;
  readonly self: string;
  readonly router: string;
  readonly dns: string;
  readonly loopback: string;
  /** Bytes of the IP header, the protocol's directory, and the type of an echo request. */
  readonly header: number;
  readonly icmp: string;
  readonly echo: number;
  /** Most bytes of a guest's datagram, and of one to it. */
  readonly largest: readonly [up: number, down: number];
  readonly denied: string;
  /** Type and code of ICMP errors. */
  readonly codes: {
    readonly prohibited: readonly number[];
    readonly hops: readonly number[];
    readonly port: readonly number[];
  };
  /** A forward of the guest's `port`. */
  forward(hostPort: number, port: number): string;
}

export const VERSIONS: readonly Version[] = [
  {
    ...{ name: "IPv4", us: HOST, peer: REMOTE, self: GUEST, router: ROUTER, dns: DNS, loopback: "127.0.0.1" },
    ...{ header: 20, icmp: "icmp", echo: 8, largest: [65_507, 65_507], denied: "tcp:10.0.0.0/24:80" },
    codes: { prohibited: [3, 13], hops: [11, 0], port: [3, 3] },
    forward: (hostPort, port) => `:${hostPort}-${GUEST}:${port}`,
  },
  {
    ...{ name: "IPv6", us: US6, peer: PEER6, self: SELF, router: ROUTER6, dns: DNS6, loopback: "::1" },
    // A guest's fragments go on with a fragment header of eight bytes.
    ...{ header: 40, icmp: "icmpv6", echo: 128, largest: [65_519, 65_527], denied: "tcp:[2001:db8::/32]:80" },
    codes: { prohibited: [1, 1], hops: [3, 0], port: [1, 4] },
    forward: (hostPort, port) => `:${hostPort}-[${SELF}]:${port}`,
  },
];
