/**
 * What kinds of maps there are: by protocol, by where the remote is, and by what a map is at the moment.
 *
 * Path: map, nat/guest, tcp_flows → map_class.
 *
 * @module
 */

/** Protocols that are mapped; index of caps and counts. */
export const MapProto = { Udp: 0, Tcp: 1, Icmp: 2 } as const;
export type MapProto = typeof MapProto[keyof typeof MapProto];
/** Their names, which are also those of their directories in /net. */
export const MAP_PROTO_NAMES = ["udp", "tcp", "icmp"] as const;

/** Where a map's remotes are: each has its own maps, so that neither can be taken for the other. */
export const Realm = {
  /** Wherever the host has a route. */
  World: 0,
  /** The host's loopback, which the guest calls the router. */
  Host: 1,
  /** The door of the name server: connections to it end at the host (services/dns). */
  Dns: 2,
} as const;
export type Realm = typeof Realm[keyof typeof Realm];

/** What a dynamic map is at the moment. */
export const MapClass = {
  Udp: 0,
  Dns: 1,
  Icmp: 2,
  TcpOpening: 3,
  TcpClosing: 4,
  TcpEstablished: 5,
  UdpUnanswered: 6,
  TcpHalfClosed: 7,
} as const;
export type MapClass = typeof MapClass[keyof typeof MapClass];
/** Their names, as `maps` prints them. */
export const MAP_CLASS_NAMES = [
  "udp",
  "dns",
  "icmp",
  "opening",
  "closing",
  "established",
  "unanswered",
  "half-closed",
] as const;
