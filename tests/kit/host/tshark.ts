/**
 * tshark, as a judge of captures that we did not write.
 *
 * @module
 */

import { assert } from "@std/assert";

/** What our programs speak, as tshark names it. */
const SPOKEN = "arp|data|dhcp|dhcpv6|dns|eth|ethertype|http|icmp|icmpv6|igmp|ip|ipv6|ipv6\\.[a-z]+|mdns|raw|tcp|udp";

/**
 * Layers of a packet (frame.protocols) that are what they say. tshark takes any port that it knows for that port's
 * protocol, also one that was drawn at random: text to such a port is "malformed" as the protocol that it is not.
 */
const KNOWN_LAYERS = `^(${SPOKEN})(:(${SPOKEN}))*$`;

/** Display filter of the packets that are not what their layers ask for. */
export const MALFORMED = `_ws.malformed && frame.protocols matches "${KNOWN_LAYERS.replaceAll("\\", "\\\\")}"`;

/** Whether tshark did not guess a packet's layers from a port that has another use. */
export function areKnownLayers(protocols: string): boolean {
  return new RegExp(KNOWN_LAYERS).test(protocols);
}

/** Lines that tshark writes of the packets that `filter` lets through; every checksum is looked at. */
export async function tsharkLines(file: string, filter: string): Promise<string[]> {
  const checks = ["ip", "tcp", "udp"].flatMap((name) => ["-o", `${name}.check_checksum:TRUE`]);
  const { success, stdout, stderr } = await new Deno.Command("tshark", {
    args: ["-n", "-r", file, ...checks, "-Y", filter],
  }).output();
  const decoder = new TextDecoder();
  assert(success, decoder.decode(stderr));
  return decoder.decode(stdout).split("\n").filter((line) => line !== "");
}
