/**
 * The programs that a contest compares (contest.ts): how each is started, and the addresses that all of them use.
 *
 * @module
 */

import type { Netns } from "../../../devices/host/netns.ts";
import { ROOT } from "../check/tree.ts";
import { netdArguments } from "./netd.ts";

/** One version of IP, as guest, machine and world see it. */
export interface Family {
  readonly name: "IPv4" | "IPv6";
  readonly version: 4 | 6;
  /** Of the machine, of the world on their link, of the world behind that, and one that is not used. */
  readonly machine: string;
  readonly peer: string;
  readonly world: string;
  readonly dead: string;
  /** Of networks that the world says are unreachable, and that it says nothing about. */
  readonly unreachable: string;
  readonly silent: string;
  /** The guest's router and the guest, where they can be chosen. */
  readonly router: string;
  readonly guest: string;
  /** The port of the machine that leads to {@link SERVED}. */
  readonly port: number;
  /** Bytes of the datagram that fills an IP packet of 65,535 bytes. */
  readonly datagramMax: number;
}

/** Both of them. */
export const FAMILIES: readonly [Family, Family] = [
  {
    name: "IPv4",
    version: 4,
    machine: "10.99.0.2",
    peer: "10.99.0.1",
    world: "198.51.100.1",
    dead: "10.99.0.77",
    unreachable: "203.0.113.9",
    silent: "192.0.2.9",
    router: "10.0.2.2",
    guest: "10.0.2.100",
    port: 8000,
    datagramMax: 65_507,
  },
  {
    name: "IPv6",
    version: 6,
    machine: "fd99::2",
    peer: "fd99::1",
    world: "2001:db8:51::1",
    dead: "fd99::77",
    unreachable: "2001:db8:dead::9",
    silent: "2001:db8:b1ac::9",
    router: "fd00:0:0:2::2",
    guest: "fd00:0:0:2::f",
    port: 8006,
    datagramMax: 65_487,
  },
];

/** The guest's port of HTTP. */
const SERVED = 8082;
const [V4, V6] = FAMILIES;
/** A router's own address, as the others want it for IPv6. */
const ROUTER_LINK = "fe80::2";

/** Where a program runs, and what for. */
export interface Place {
  readonly world: Netns;
  readonly guest: Netns;
  /** The namespace whose sockets it uses, and where it runs; null: it has a device in the world. */
  readonly machine: Netns | null;
  /** A file that is not there yet. */
  readonly socketPath: string;
}

/** A network for a guest. */
export interface Contestant {
  readonly name: string;
  /** A program that must be there; null: it is ours. */
  readonly tool: string | null;
  /** Whether it has a device in the world, and no machine between. */
  readonly hasDevice?: boolean;
  command(place: Place): readonly string[];
  /** A program between it and the guest's device, in the guest's namespace. */
  wire?(place: Place): readonly string[];
  /** Shell in the guest's namespace: what else it needs. */
  setUp?(place: Place): string;
}

function netd(uplink: (place: Place) => readonly string[]): Contestant["command"] {
  return (place) => [
    Deno.execPath(),
    ...netdArguments([
      ...["--netns", place.guest.name, "--configure", "--ipv6", "--dns", V4.peer, ...uplink(place)],
      ...["--forward", `tcp:${V4.port}:${SERVED}`, "--forward", `tcp:[::]:${V6.port}-[${V6.guest}]:${SERVED}`],
    ]),
  ];
}

/** Options of pasta and passt. */
const PASST_OPTIONS = [
  ...["--foreground", "--quiet", "--runas", "0"],
  ...["--address", V4.guest, "--netmask", "24", "--gateway", V4.router, "--address", V6.guest],
  ...["--gateway", ROUTER_LINK, "--tcp-ports", `${V4.port}:${SERVED},${V6.port}:${SERVED}`, "--udp-ports", "none"],
];

/** What DHCP of passt would set; its router advertisements may have set their route already. */
const PASST_GUEST = `
ip link set tap0 mtu 65520 up
ip addr add ${V4.guest}/24 dev tap0
ip addr add ${V6.guest}/64 dev tap0 nodad
ip route add default via ${V4.router}
ip -6 route replace default via ${ROUTER_LINK} dev tap0
`;

/** All of them. */
export const CONTESTANTS: readonly Contestant[] = [
  {
    name: "netd tap",
    tool: null,
    hasDevice: true,
    command: netd(({ world }) => ["--uplink", "tap", "--uplink-netns", world.name, "--uplink-device", "aka0"]),
  },
  { name: "netd socket", tool: null, command: netd(() => ["--uplink", "socket"]) },
  {
    name: "slirp4netns",
    tool: "slirp4netns",
    command: ({ guest, socketPath }) => [
      ...["slirp4netns", "--netns-type=path", "--enable-ipv6", "--configure", "--api-socket", socketPath],
      ...[guest.path, "tap0"],
    ],
    // It has no forwards of IPv6.
    setUp: ({ socketPath }) => {
      const asked = { proto: "tcp", host_addr: "0.0.0.0", host_port: V4.port, guest_port: SERVED };
      const text = JSON.stringify({ execute: "add_hostfwd", arguments: asked });
      return `for i in $(seq 100); do [ -S ${socketPath} ] && break; sleep 0.1; done
printf '%s' '${text}' | socat -t 1 - UNIX-CONNECT:${socketPath}`;
    },
  },
  {
    name: "pasta",
    tool: "pasta",
    command: ({ guest }) => [
      ...["pasta", "--config-net", "--netns-only", ...PASST_OPTIONS, "--ns-ifname", "tap0"],
      ...["--tcp-ns", "none", "--udp-ns", "none", "--netns", guest.path],
    ],
  },
  {
    name: "passt",
    tool: "passt",
    command: ({ socketPath }) => ["passt", ...PASST_OPTIONS, "--socket", socketPath],
    wire: ({ socketPath }) => ["/usr/bin/python3", `${ROOT}/tests/kit/netd/frames.py`, "tap0", socketPath],
    setUp: () => PASST_GUEST,
  },
];
