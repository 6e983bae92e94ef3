/**
 * netd's options, as its parser and its help text read them.
 *
 * Path: netd/given, netd → netd/option_table → options/option_table.
 *
 * @module
 */

import type { ToolTable } from "../options/option_table.ts";

/** netd's command line. */
export const NETD: ToolTable = {
  name: "netd",
  command: "deno task netd",
  synopsis: "(--qemu SOCKET | --netns NAME|PID|PATH) [options]",
  about: "User-mode networking for a guest, by rewriting packets: no connection ends here.",
  groups: [
    [
      {
        name: "qemu",
        value: "SOCKET",
        help: "listen for QEMU: -netdev stream,id=n,server=off,addr.type=unix,addr.path=SOCKET",
      },
      {
        name: "netns",
        value: "NAME|PID|PATH",
        help: "make an interface in that network namespace, or take a persistent TAP that is there",
      },
      { name: "device", value: "NAME", usual: "tap0", help: "its name", under: true },
      { name: "macaddress", value: "MAC", help: "its hardware address (default: Linux chooses)", under: true },
      {
        name: "configure",
        short: "c",
        help: "give it address .100 and a default route at once; else a DHCP client inside asks",
        under: true,
      },
      {
        name: "userns-path",
        value: "PATH",
        help: "user namespace it is below, if only its owner may enter (default: that of PID)",
        under: true,
      },
    ],
    [
      { name: "uplink", value: "tap|tun", usual: "tap", help: "device that leads to the world" },
      { name: "uplink-device", value: "NAME", help: "its name (default: Linux chooses)", under: true },
      {
        name: "uplink-attach",
        help: "use the device NAME, which is there and set up; needs no root if it is yours",
        under: true,
      },
      { name: "uplink-address", value: "A/L", usual: "10.99.0.2/24", help: "our address on it", under: true },
      {
        name: "uplink-peer",
        value: "A/L",
        help: "Linux' address on it (default: the first of that network)",
        under: true,
      },
      {
        name: "uplink-gateway",
        value: "A",
        help: "where packets for the world go (default: the peer)",
        under: true,
      },
      {
        name: "uplink-netns",
        value: "NAME",
        help: "namespace of Linux' side (default: where netd runs)",
        under: true,
      },
      { name: "uplink-mtu", value: "N", usual: "1500", help: "its MTU", under: true },
    ],
    [
      {
        name: "ipv6",
        short: "6",
        aliases: ["enable-ipv6"],
        help: "the guest has IPv6: addresses that it makes itself, a router and a name server",
      },
      {
        name: "uplink-address6",
        value: "A/L",
        usual: "fd99::2/64",
        help: "our address on the uplink",
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
        help: "where packets for the IPv6 world go (default: the peer)",
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
      { name: "mtu", short: "m", value: "N", help: "MTU of the guest's link; DHCP tells it (default 1500)" },
      {
        name: "dns",
        value: "A",
        repeatable: true,
        help:
          "name server that the relay asks, in this order; repeatable (default: those of /etc/resolv.conf, which is " +
          "followed while netd runs, else the peer)",
      },
      {
        name: "disable-dns",
        help: "no name server of netd's: DHCP tells those that the relay would ask",
      },
      {
        name: "search",
        value: "DOMAIN",
        repeatable: true,
        help: "search domain that guests get; repeatable (default: those of /etc/resolv.conf)",
      },
      {
        name: "forward",
        value: "SPEC",
        repeatable: true,
        help: "tcp|udp:[addr:]hostport[-hostport]:guestport, or QEMU's hostfwd=; repeatable",
      },
      { name: "restrict", help: "the guest reaches nothing but what --allow names" },
      {
        name: "allow",
        value: "RULE",
        repeatable: true,
        help: "what the guest may reach: [proto:]network[:port[-port]]; repeatable",
      },
      { name: "deny", value: "RULE", repeatable: true, help: "what it may not reach, in the same form; repeatable" },
      {
        name: "disable-host-loopback",
        help:
          "the guest does not reach the machine that netd runs on: neither its 127.0.0.1 by the router's address, " +
          "nor the peer's address",
      },
    ],
    [
      { name: "api-socket", short: "a", value: "PATH", help: "commands of natctl come here" },
      {
        name: "socket-mode",
        value: "MODE",
        help: "permissions of the sockets of --qemu and --api-socket, in octal (default 0600)",
      },
      {
        name: "ready-fd",
        short: "r",
        value: "N",
        help: 'descriptor of the caller: "1" is written there when all is set up',
      },
      {
        name: "exit-fd",
        short: "e",
        value: "N",
        help: "descriptor of the caller: netd ends when it can be read, as a pipe whose other end is closed",
      },
      { name: "one-off", help: "netd ends when QEMU disconnects" },
      { name: "no-offload", help: "no unfinished checksums and uncut segments between guest and uplink" },
      {
        name: "busy-poll",
        value: "MS",
        usual: "0",
        help: "look for packets so long after the last one without sleeping: takes a core while packets come, and " +
          "answers a ping in two thirds of the time",
      },
      { name: "quiet", help: "print nothing but errors: no warnings either" },
    ],
  ],
  after: "A flag may have a value: --quiet=no is as without it.\n\n" +
    "Exit status: 0 after SIGINT, SIGTERM, or the guest's end; 1 if something cannot be had; 2 for a bad option.",
};
