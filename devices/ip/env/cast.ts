/**
 * How many an address stands for.
 *
 * Path: iplifc, self_table, packet → cast.
 *
 * @module
 */

/** How a packet is addressed: to one host, all of a net, or a group. */
export type Cast = "unicast" | "broadcast" | "multicast";
