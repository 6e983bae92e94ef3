/**
 * How a packet came in.
 *
 * Path: loopback_queue, ip6_input, ip_input → arrival.
 *
 * @module
 */

/** From a link; from a link, in a frame for many; from ourselves. */
export const Arrival = { Link: 0, LinkBroadcast: 1, Local: 2 } as const;
export type Arrival = typeof Arrival[keyof typeof Arrival];
