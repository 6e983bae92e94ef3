/**
 * LimitReport: says that a limit was met: one line in sum a minute at most, as a flood must not flood the log.
 *
 * Path: nat, make_map → limit_report → nat/counters, map.
 *
 * The first event is said at once, what follows at the end of the minute. The figures are the counters' growth.
 *
 * @module
 */

import { type Counters, Reason } from "./counters.ts";

import { type Guest, MAP_PROTO_NAMES, type MapProto } from "./map.ts";

/** Between two lines. */
export const REPORT_MS = 60_000;

/** What is said of a counter that grew. */
const WORDS: readonly (readonly [(counters: Counters) => number, string])[] = [
  [({ refused }) => refused[Reason.GuestCap]!, "refused as the guest has all the maps it may have"],
  [({ refused }) => refused[Reason.TotalCap]!, "refused as all guests together have all maps"],
  [({ refused }) => refused[Reason.NoPort]!, "refused as the host gave no port"],
  [({ refused }) => refused[Reason.Guests]!, "packets refused as there are too many guests, or addresses of one"],
  [({ evictedEstablished }) => evictedEstablished, "idle established connections ended for new ones"],
  [({ evictedHalfClosed }) => evictedHalfClosed, "idle half-closed connections ended for new ones"],
  [
    ({ mapsEvicted, evictedEstablished, evictedHalfClosed }) => mapsEvicted - evictedEstablished - evictedHalfClosed,
    "other maps ended for new ones",
  ],
  [({ remotesForgotten }) => remotesForgotten, "remotes of filters forgotten for new ones"],
];

/** What there is to say about the limits of one NAT. */
export class LimitReport {
  /** When there is something to say; Infinity: nothing. */
  due = Infinity;
  #said = -Infinity;
  #last: number[];
  #guest: Guest | null = null;
  #proto: MapProto | null = null;

  constructor(readonly counters: Counters) {
    this.#last = WORDS.map(([count]) => count(counters));
  }

  /** A limit was met by `guest` (null: one that is not known) with a map of `proto` (null: not a map's). */
  note(now: number, guest: Guest | null, proto: MapProto | null): void {
    if (this.due === Infinity) this.due = Math.max(now, this.#said + REPORT_MS);
    this.#guest = guest;
    this.#proto = proto;
  }

  /** The line to be said now; empty: none. */
  take(now: number): string {
    if (now < this.due) return "";
    this.due = Infinity;
    this.#said = now;
    const counts = WORDS.map(([count]) => count(this.counters));
    const grown = WORDS.map(([, words], i) => ({ words, by: counts[i]! - this.#last[i]! })).filter(({ by }) => by > 0);
    this.#last = counts;
    if (grown.length === 0) return "";
    const proto = this.#proto === null ? "" : `${MAP_PROTO_NAMES[this.#proto]} `;
    const last = this.#guest === null ? "" : `; the last: ${proto}of ${this.#guest.addr}`;
    return `limits met: ${grown.map(({ words, by }) => `${by} ${words}`).join(", ")}${last}`;
  }
}
