/**
 * Counters of a socket uplink, by name: its `stats`.
 *
 * Path: context → counters.
 *
 * @module
 */

/** What an uplink counts. Every drop has a name. */
export class UplinkCounters {
  /** Packets from near that were malformed or have a protocol without sockets. */
  badPackets = 0;
  otherProtocols = 0;
  /** Packets to destinations that the policy closes. */
  refusedDestinations = 0;
}
