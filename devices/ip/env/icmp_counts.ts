/**
 * IcmpCounts: messages of ICMP or ICMPv6 that were received and sent, by type.
 *
 * Path: icmp_base, icmp/icmp, icmp/icmp6 → icmp_counts.
 *
 * @module
 */

/** Types that have a line in `stats`: 0 to 137 (Akaros), and the report of groups. */
const TYPES_COUNTED = 144;

/** Counters of one stack. */
export class IcmpCounts {
  inMsgs = 0;
  outMsgs = 0;
  readonly in: number[] = [];
  readonly out: number[] = [];

  countIn(type: number): void {
    this.inMsgs++;
    if (type < TYPES_COUNTED) this.in[type] = (this.in[type] ?? 0) + 1;
  }

  countOut(type: number): void {
    this.outMsgs++;
    if (type < TYPES_COUNTED) this.out[type] = (this.out[type] ?? 0) + 1;
  }

  /** Types of which there was any, or that have a name. */
  types(named: Readonly<Record<number, string>>): number[] {
    const all: number[] = [];
    for (let type = 0; type < TYPES_COUNTED; type++) {
      if (named[type] !== undefined || (this.in[type] ?? 0) + (this.out[type] ?? 0) > 0) all.push(type);
    }
    return all;
  }
}
