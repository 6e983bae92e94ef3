/**
 * The two versions of IP as a story of the NAT sees them: as `families.ts`, with the addresses of the story's kernels.
 *
 * @module
 */

import { PEER6, US6 } from "../ip/story6.ts";
import { FAMILIES, type Family, type FamilySegment } from "./families.ts";
import { HOST, type NatStory, type NatStoryOptions, REMOTE, tellNat } from "./nat.ts";

/** One version of IP in a story: packets go to the story's remote unless they say otherwise. */
export interface StoryFamily extends Family {
  /** Another guest of the same link. */
  readonly second: string;
  /** A neighbour of the host that does not answer. */
  readonly dead: string;
  /** Boots a story with this version. */
  tell(options?: NatStoryOptions): Promise<NatStory>;
  /** From the remote to the host. */
  udpIn(options?: FamilySegment): Uint8Array;
  tcpIn(options?: FamilySegment): Uint8Array;
}

/** Both versions. */
export const STORY_FAMILIES: readonly StoryFamily[] = FAMILIES.map((family) => {
  const { is6 } = family;
  const [host, remote] = is6 ? [US6, PEER6] : [HOST, REMOTE];
  return {
    ...family,
    host,
    remote,
    second: is6 ? "fd00:0:0:2::16" : "10.0.2.16",
    dead: is6 ? "2001:db8::77" : "10.0.0.77",
    tell: (options = {}) => tellNat({ ...options, is6 }),
    udp: (options) => family.udp({ dst: remote, ...options }),
    tcp: (options) => family.tcp({ dst: remote, ...options }),
    echo: (options) => family.echo({ dst: remote, ...options }),
    udpIn: (options) => family.udp({ src: remote, dst: host, srcPort: 7, dstPort: 4000, ...options }),
    tcpIn: (options) => family.tcp({ src: remote, dst: host, srcPort: 80, dstPort: 4000, ...options }),
  };
});
