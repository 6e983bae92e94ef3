/**
 * netd's options, as its parser and its help text read them.
 *
 * Path: netd/given, netd → netd/option_table → options/option_table.
 *
 * @module
 */

import type { ToolTable } from "../options/option_table.ts";

/** Options that name a guest. */
const GUEST_GROUP = 0;

/** netd's command line. */
export const NETD: ToolTable = {
  name: "netd",
  command: "deno task netd",
  synopsis: "(--qemu SOCKET | --qemu-dgram SOCKET | --netns NAME|PID|PATH | run) [options]",
  about: 'User-mode networking for a guest: a namespace, a QEMU machine, or with "run" a command (netd run --help).',
  groups: [
    [
      {
        name: "qemu",
        value: "SOCKET",
        help: "listen for QEMU: -netdev stream,id=n,server=off,addr.type=unix,addr.path=SOCKET",
      },
      {
        name: "qemu-dgram",
        value: "SOCKET",
        help:
          "the same for -netdev dgram,id=n,remote.type=unix,remote.path=SOCKET,local.type=unix,local.path=SOCKET.qemu",
      },
      {
        name: "netns",
        value: "NAME|PID|PATH",
        help: "make a TAP in that network namespace, or take an existing persistent one",
      },
      { name: "device", value: "NAME", usual: "tap0", help: "its name", under: true },
      { name: "macaddress", value: "MAC", help: "its hardware address (default: Linux chooses)", under: true },
      {
        name: "configure",
        short: "c",
        help: "give it address .100 and a default route at once (default: a DHCP client inside does)",
        under: true,
      },
      {
        name: "userns-path",
        value: "PATH",
        help: "user namespace that owns it, if only its owner may enter (default: that of PID)",
        under: true,
      },
    ],
    [
      {
        name: "uplink",
        value: "socket|tap|tun",
        usual: "socket",
        help: "the way to the world: sockets of this process, which need no rights, or a device",
      },
      {
        name: "outbound-addr",
        value: "A|DEV",
        help: "source address of what the guest sends, or the interface that has it (default: by route)",
        under: true,
      },
      { name: "outbound-addr6", value: "A|DEV", help: "the same for IPv6", under: true },
      { name: "uplink-device", value: "NAME", help: "its name (default: Linux chooses)", under: true },
      {
        name: "uplink-attach",
        help: "use the existing device NAME as it is; its owner needs no root",
        under: true,
      },
      {
        name: "uplink-address",
        value: "A/L",
        usual: "10.99.0.2/24",
        help: "address of the host kernel on it",
        under: true,
      },
      {
        name: "uplink-peer",
        value: "A/L",
        help: "Linux' address on it (default: the first of that network)",
        under: true,
      },
      {
        name: "uplink-gateway",
        value: "A",
        help: "next hop for the world (default: the peer)",
        under: true,
      },
      {
        name: "uplink-netns",
        value: "NAME",
        help: "namespace of Linux' side (default: where netd runs)",
        under: true,
      },
      {
        name: "uplink-nat",
        help:
          "set ip_forward and an nftables table of netd's own, with its forwards as ports of this machine; removed " +
          "at the end",
        under: true,
      },
      { name: "uplink-mtu", value: "N", usual: "1500", help: "its MTU", under: true },
    ],
    [
      {
        name: "ipv6",
        short: "6",
        aliases: ["enable-ipv6"],
        help: "IPv6 for the guest: addresses by router advertisement, a router and a name server",
      },
      {
        name: "uplink-address6",
        value: "A/L",
        usual: "fd99::2/64",
        help: "IPv6 address of the host kernel on the uplink",
        under: true,
      },
      {
        name: "uplink-peer6",
        value: "A/L",
        help: "Linux' address on it (default: the first of that network)",
        under: true,
      },
      {
        name: "uplink-gateway6",
        value: "A",
        help: "next hop for the IPv6 world (default: the peer)",
        under: true,
      },
      {
        name: "cidr6",
        value: "A/64",
        help: "the guest's network (default fd00:0:0:2::/64: router ::2, name server ::3)",
        under: true,
      },
    ],
    [
      {
        name: "cidr",
        value: "A/L",
        help:
          "the guest's network (default 10.0.2.0/24: router .2, name server .3, DHCP from .15 on, --configure .100)",
      },
      { name: "mtu", short: "m", value: "N", help: "MTU of the guest's link, also sent by DHCP (default 1500)" },
      {
        name: "dns",
        value: "A",
        repeatable: true,
        help: "name server that the relay asks, in order; repeatable (default: those of /etc/resolv.conf, which netd " +
          "reads again when it changes, else the peer)",
      },
      {
        name: "disable-dns",
        help: "no relay: DHCP gives the guest the servers that the relay would ask",
      },
      {
        name: "search",
        value: "DOMAIN",
        repeatable: true,
        help: "search domain for guests; repeatable (default: those of /etc/resolv.conf)",
      },
      {
        name: "forward",
        value: "SPEC",
        repeatable: true,
        help: "a port of this machine that leads to the guest's: tcp|udp:[addr:]hostport[-hostport]:guestport, or " +
          "QEMU's hostfwd=; repeatable",
      },
      { name: "restrict", help: "the guest reaches only the destinations of --allow" },
      {
        name: "allow",
        value: "RULE",
        repeatable: true,
        help: "a destination that the guest may reach: [proto:]network[:port[-port]]; repeatable",
      },
      {
        name: "deny",
        value: "RULE",
        repeatable: true,
        help: "a destination that it may not reach, in the same form; repeatable",
      },
      {
        name: "disable-host-loopback",
        help: "the guest does not reach the machine of netd: neither its 127.0.0.1 by the router's address, nor the " +
          "peer's address",
      },
    ],
    [
      { name: "api-socket", short: "a", value: "PATH", help: "socket for the commands of natctl" },
      {
        name: "socket-mode",
        value: "MODE",
        help: "permissions of the sockets of --qemu and --api-socket, in octal (default 0600)",
      },
      {
        name: "ready-fd",
        short: "r",
        value: "N",
        help: 'descriptor of the caller: netd writes "1" there when it is ready',
      },
      {
        name: "exit-fd",
        short: "e",
        value: "N",
        help:
          "descriptor of the caller: netd ends when it becomes readable, as a pipe does when its other end is closed",
      },
      { name: "one-off", help: "netd ends when QEMU disconnects" },
      { name: "no-offload", help: "compute every checksum and cut every segment in netd" },
      {
        name: "busy-poll",
        value: "MS",
        usual: "0",
        help: "poll without sleeping for this long after the last packet: uses a core while packets arrive, and " +
          "answers a ping in two thirds of the time",
      },
      { name: "quiet", help: "print only errors, and no warnings" },
    ],
  ],
  after: "A flag may have a value: --quiet=no is the default.\n\n" +
    "Exit status: 0 after SIGINT, SIGTERM, or the guest's end; 1 if a resource is not available; 2 for a bad option.",
};

/** The command line of `netd run`: netd's, without the options that name a guest. */
export const NETD_RUN: ToolTable = {
  ...NETD,
  name: "netd run",
  command: "deno task run",
  synopsis: "[options] [-- COMMAND [ARGUMENT…]]",
  about: "Runs COMMAND, or a shell, in a network of its own. Needs no root.",
  groups: NETD.groups.filter((_, at) => at !== GUEST_GROUP),
  after: "Exit status: that of COMMAND, or 128 and the number of the signal that ended it; 1 if a resource is not " +
    "available; 2 for a bad option.",
};
